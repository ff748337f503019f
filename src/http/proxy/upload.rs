//! The body of a request on its way to the app, and how far it has come, seen from outside of hyper, which reads it in a
//! task of its own.
//!
//! What the app does not take of an upload is read and dropped for a moment: closing at once would reset the connection of a
//! client that is still sending, and take from it the answer that says why (RFC 9112, section 9.6).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::body::{BodyError, Idle, trailers};
use super::tasks::Tasks;
use crate::access::IdentityFields;
use crate::bounds::{CONTINUE_WAIT, UPLOAD_LINGER};
use crate::http::forwarded;
use crate::http::request_body::{BrokenBody, RequestBody};

/// The body of a request to the app.
pub(super) struct Upload(Option<Sending>);

struct Sending {
    /// Taken when the rest is read and dropped.
    body: Option<RequestBody>,
    /// Until the app sends 100.
    gate: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    idle: Idle,
    identity: Arc<IdentityFields>,
    progress: Arc<Progress>,
    tasks: Tasks,
    ended: bool,
}

/// How far a request's body has come.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// Milliseconds from `began` to the last frame.
    moved: AtomicU64,
    /// Whether hyper waits for the client's next frame; otherwise it is the app that does not read.
    wanted: AtomicBool,
    /// Whether anything was asked of the client yet.
    asked: AtomicBool,
    go_on: CancellationToken,
    done: CancellationToken,
}

impl Upload {
    /// No body.
    pub(super) fn empty() -> Self {
        Self(None)
    }

    /// The client's body; with `expects`, it is asked for only once the app sends 100.
    pub(super) fn new(
        body: RequestBody,
        expects: bool,
        idle: Option<Duration>,
        identity: &Arc<IdentityFields>,
        tasks: &Tasks,
    ) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress::new());
        let at_gate = Arc::clone(&progress);
        let gate: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move { at_gate.may_go_on().await });
        let sending = Sending {
            body: Some(body),
            gate: expects.then_some(gate),
            idle: Idle::new(idle),
            identity: Arc::clone(identity),
            progress: Arc::clone(&progress),
            tasks: tasks.clone(),
            ended: false,
        };
        (Self(Some(sending)), progress)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(sending) = &mut self.0 else { return Poll::Ready(None) };
        let Some(body) = &mut sending.body else { return Poll::Ready(None) };
        if let Some(gate) = &mut sending.gate {
            ready!(gate.as_mut().poll(cx));
            sending.gate = None;
        }
        let polled = Pin::new(&mut *body).poll_frame(cx).map(|frame| {
            frame.map(|result| {
                let frame = result.map_err(|error| match error {
                    BrokenBody::Http1(error) => BodyError::Broken(error),
                    BrokenBody::Http2(error) => BodyError::GivenUp(error),
                })?;
                Ok(trailers(frame, |fields| forwarded::trailers_to_app(fields, &sending.identity)))
            })
        });
        let frame = sending.idle.bound(polled, cx, BodyError::Idle);
        match &frame {
            Poll::Pending => sending.progress.wanted(),
            Poll::Ready(Some(Ok(_))) => sending.progress.moved(),
            Poll::Ready(Some(Err(_)) | None) => sending.ended = true,
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().and_then(|sending| sending.body.as_ref()).is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.as_ref().and_then(|sending| sending.body.as_ref());
        body.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.progress.finish();
        let Some(body) = self.body.take() else { return };
        // A client that was not asked to send would be asked now, after its answer.
        if !self.ended && !body.is_end_stream() && self.gate.is_none() {
            self.tasks.spawn(async move {
                // Whatever comes is dropped, also an error.
                let _ = timeout(UPLOAD_LINGER, drain(body)).await;
            });
        }
    }
}

async fn drain(mut body: RequestBody) {
    while let Some(Ok(_)) = body.frame().await {}
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            moved: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            go_on: CancellationToken::new(),
            done: CancellationToken::new(),
        }
    }

    /// The app has sent 100.
    pub(super) fn go_on(&self) {
        self.go_on.cancel();
    }

    /// Waits for the app's 100, or long enough (RFC 9110, section 10.1.1: not for ever).
    pub(super) async fn may_go_on(&self) {
        // Either way it goes on.
        let _ = timeout(CONTINUE_WAIT, self.go_on.cancelled()).await;
    }

    /// A frame came from the client.
    pub(super) fn moved(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
        self.wanted.store(false, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
    }

    /// The next frame was asked for and is not there.
    pub(super) fn wanted(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether nothing of the body was asked for: its client may not even send it.
    pub(super) fn untouched(&self) -> bool {
        !self.asked.load(Ordering::Relaxed)
    }

    /// hyper has let go of the body.
    pub(super) fn finish(&self) {
        self.done.cancel();
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.is_cancelled()
    }

    /// Waits until hyper has let go of the body: all of it is on its way, or its connection is gone.
    pub(super) async fn done(&self) {
        self.done.cancelled().await;
    }

    /// Waits until the app has read nothing for `limit`. A client that does not send has a limit
    /// of its own, within the body.
    pub(super) async fn refused(&self, limit: Duration) {
        loop {
            self.still(limit).await;
            if !self.wanted.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(limit).await;
        }
    }

    /// Waits until no frame has come for `limit`, counted from now or later.
    pub(super) async fn still(&self, limit: Duration) {
        let mut since = Instant::now();
        loop {
            sleep_until(since + limit).await;
            let moved = self.began + Duration::from_millis(self.moved.load(Ordering::Relaxed));
            if moved <= since {
                return;
            }
            since = moved;
        }
    }
}
