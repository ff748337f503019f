//! The body of an answer on its way back to the client, and how its end ends the upload of its request.
//!
//! The connection to the app goes on with an upload after its answer is over. If the client
//! then stops sending, or the app stops reading, both connections would wait for ever
//! (hyper#4176). So the end of an answer watches what is left of its upload, and cuts the
//! connection to the app once that does not move: hyper asks a body for nothing while the app does
//! not read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::{BodyError, Idle, trailers};
use super::connect::Cut;
use super::metrics::{ProxyOutcome, Tally};
use super::tasks::Tasks;
use super::upload::Progress;
use super::{http1, http2};
use crate::bounds::UPLOAD_LINGER;
use crate::http::forwarded;

/// The body of the app's answer. It ends with an error when the app's does: the client then sees
/// a connection that breaks, never a body that looks complete.
#[derive(Debug)]
pub struct ProxyBody {
    body: UpstreamBody,
    idle: Idle,
    ended: bool,
    tally: Tally,
    link: Option<Link>,
}

/// The body of an answer, by how it comes.
#[derive(Debug)]
pub(super) enum UpstreamBody {
    Http1(http1::Download),
    Http2(http2::Download),
}

/// What an answer needs to end the upload of its request.
#[derive(Debug)]
pub(super) struct Link {
    tasks: Tasks,
    connection: Cut,
    progress: Arc<Progress>,
}

impl Link {
    pub(super) fn new(tasks: &Tasks, connection: Cut, progress: Arc<Progress>) -> Self {
        Self { tasks: tasks.clone(), connection, progress }
    }

    /// Ends what is left of the upload: when it stops moving if the answer was `complete`; at
    /// once if the answer is not read, or nothing of the body was asked for.
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
    pub(super) fn new(body: UpstreamBody, idle: Option<Duration>, tally: Tally, link: Option<Link>) -> Self {
        Self { body, idle: Idle::new(idle), ended: false, tally, link }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.body {
            UpstreamBody::Http1(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|result| result.map_err(BodyError::Broken)))
            }
            UpstreamBody::Http2(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|result| result.map_err(BodyError::Reset)))
            }
        };
        let polled = polled.map_ok(|frame| trailers(frame, forwarded::trailers_to_client));
        let frame = this.idle.bound(polled, cx, BodyError::Idle);
        match &frame {
            Poll::Ready(None) => this.ended = true,
            Poll::Ready(Some(Err(_))) => this.tally.set(ProxyOutcome::Cut),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            UpstreamBody::Http1(body) => body.is_end_stream(),
            UpstreamBody::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            UpstreamBody::Http1(body) => body.size_hint(),
            UpstreamBody::Http2(body) => body.size_hint(),
        }
    }
}

impl Drop for ProxyBody {
    fn drop(&mut self) {
        let complete = self.ended || self.is_end_stream();
        if complete {
            self.tally.set(ProxyOutcome::Answered);
        }
        if let Some(link) = self.link.take() {
            link.release(complete);
        }
    }
}
