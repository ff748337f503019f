//! The bodies: of a request on its way to the app, of its answer on the way back, and what ties
//! them together when the answer is first.
//!
//! hyper's connection to the app goes on with an upload after its answer is over. If the client
//! then stops sending, or the app stops reading, both connections would wait for ever
//! (hyper#4176). So the end of an answer watches what is left of its upload, and cuts the
//! connection to the app once that does not move; it is cut at the socket, since hyper asks a body
//! for nothing while the app does not read. What nobody wants of an upload is then read and
//! dropped for a moment: closing at once would reset the connection of a client that is still
//! sending, and take from it the answer that says why (RFC 9112, section 9.6).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::connect::Handle;
use super::http2::Download;
use super::metrics::{Outcome, Tally};
use super::tasks::Tasks;
use super::upload::Progress;
use crate::bounds::UPLOAD_LINGER;
use crate::http::forwarded;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Its sender broke off, or sent something that is not framed as it should be.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// The app reset its stream, or the connection that it shares with others broke.
    #[error("the app broke off")]
    Reset(#[source] h2::Error),
    /// The client reset its stream of HTTP/2: hyper shows that as an end for some codes.
    #[error("the client gave it up")]
    GivenUp,
    /// Its sender sent nothing for this long.
    #[error("nothing of the body came for {0:?}")]
    Idle(Duration),
}

/// The body of the app's answer. It ends with an error when the app's does: the client then sees
/// a connection that breaks, never a body that looks complete.
#[derive(Debug)]
pub struct ProxyBody {
    body: Answer,
    idle: Idle,
    ended: bool,
    tally: Tally,
    link: Option<Link>,
}

/// The body of an answer, by how it comes.
#[derive(Debug)]
pub(super) enum Answer {
    Http1(Incoming),
    Http2(Download),
}

/// What an answer needs to end the upload of its request.
#[derive(Debug)]
pub(super) struct Link {
    tasks: Tasks,
    connection: Handle,
    progress: Arc<Progress>,
}

/// The body of a request to the app.
pub(super) struct Upload(Option<Sending>);

struct Sending {
    /// Taken when the rest is read and dropped.
    body: Option<Incoming>,
    /// Whether it comes over HTTP/2.
    http2: bool,
    /// Until the app says 100.
    gate: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    idle: Idle,
    progress: Arc<Progress>,
    tasks: Tasks,
    ended: bool,
}

/// A limit for silence; its timer is made at the first one.
#[derive(Debug)]
struct Idle {
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

type Polled = Option<Result<Frame<Bytes>, BodyError>>;

impl Idle {
    fn new(limit: Option<Duration>) -> Self {
        Self { limit, timer: None, waiting: false }
    }

    /// Called when there is something.
    fn reset(&mut self) {
        self.waiting = false;
    }

    /// Called when there is nothing: the limit, once that has been so for long enough. Only time
    /// in which somebody asked counts, so that a slow reader is no silence of the sender.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx).map(|()| limit)
    }

    /// What `polled` gave, and an error where that is nothing for too long.
    fn bound(&mut self, polled: Poll<Polled>, cx: &mut Context<'_>) -> Poll<Polled> {
        match polled {
            Poll::Ready(frame) => {
                self.reset();
                Poll::Ready(frame)
            }
            Poll::Pending => self.poll(cx).map(|limit| Some(Err(BodyError::Idle(limit)))),
        }
    }
}

impl Upload {
    /// No body.
    pub(super) fn empty() -> Self {
        Self(None)
    }

    /// The client's body; with `expects`, it is asked for only once the app says 100.
    pub(super) fn new(
        body: Incoming,
        http2: bool,
        expects: bool,
        idle: Option<Duration>,
        tasks: &Tasks,
    ) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress::new());
        let at_gate = Arc::clone(&progress);
        let gate: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move { at_gate.may_go_on().await });
        let sending = Sending {
            body: Some(body),
            http2,
            gate: expects.then_some(gate),
            idle: Idle::new(idle),
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
        let polled = Pin::new(&mut *body).poll_frame(cx).map(|frame| match frame {
            None if sending.http2 && !body.is_end_stream() => Some(Err(BodyError::GivenUp)),
            frame => frame.map(|result| {
                result.map(|frame| trailers(frame, forwarded::trailers_to_app)).map_err(BodyError::Broken)
            }),
        });
        let frame = sending.idle.bound(polled, cx);
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

/// The frame, with trailers changed by `change`.
fn trailers(frame: Frame<Bytes>, change: impl FnOnce(&mut HeaderMap)) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut fields) => {
            change(&mut fields);
            Frame::trailers(fields)
        }
        Err(frame) => frame,
    }
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

impl Link {
    pub(super) fn new(tasks: &Tasks, connection: Handle, progress: Arc<Progress>) -> Self {
        Self { tasks: tasks.clone(), connection, progress }
    }

    /// Ends what is left of the upload: when it stops moving if the answer was `complete`; at
    /// once if nobody reads the answer, or nothing of the body was asked for.
    fn release(self, complete: bool) {
        if self.progress.is_done() {
            return;
        }
        let Self { tasks, connection, progress } = self;
        if !complete || progress.untouched() {
            return connection.cut();
        }
        tasks.spawn(async move {
            tokio::select! {
                () = progress.done() => {}
                () = progress.still(UPLOAD_LINGER) => connection.cut(),
            }
        });
    }
}

impl ProxyBody {
    pub(super) fn new(body: Answer, idle: Option<Duration>, tally: Tally, link: Option<Link>) -> Self {
        Self { body, idle: Idle::new(idle), ended: false, tally, link }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.body {
            Answer::Http1(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|result| result.map_err(BodyError::Broken)))
            }
            Answer::Http2(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|result| result.map_err(BodyError::Reset)))
            }
        };
        let polled = polled.map_ok(|frame| trailers(frame, forwarded::trailers_to_client));
        let frame = this.idle.bound(polled, cx);
        match &frame {
            Poll::Ready(None) => this.ended = true,
            Poll::Ready(Some(Err(_))) => this.tally.set(Outcome::Cut),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Answer::Http1(body) => body.is_end_stream(),
            Answer::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Answer::Http1(body) => body.size_hint(),
            Answer::Http2(body) => body.size_hint(),
        }
    }
}

impl Drop for ProxyBody {
    fn drop(&mut self) {
        let complete = self.ended || self.is_end_stream();
        if complete {
            self.tally.set(Outcome::Answered);
        }
        if let Some(link) = self.link.take() {
            link.release(complete);
        }
    }
}
