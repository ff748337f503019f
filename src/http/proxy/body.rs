//! What both bodies of a proxied request have in common: why one ends early, the limit for silence, and trailers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Its sender broke off, or sent something that is not framed as it should be.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// The app reset its stream, or the connection that it shares with others broke.
    #[error("the app broke off")]
    Reset(#[source] h2::Error),
    /// The client reset its stream of HTTP/2, whatever the code, or its connection broke.
    #[error("the client gave it up")]
    GivenUp(#[source] h2::Error),
    /// Its sender sent nothing for this long.
    #[error("nothing of the body came for {0:?}")]
    Idle(Duration),
}

/// A limit for silence; its timer is made at the first one.
#[derive(Debug)]
pub(in crate::http) struct Idle {
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Idle {
    pub(in crate::http) fn new(limit: Option<Duration>) -> Self {
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
    pub(in crate::http) fn bound<T, E>(
        &mut self,
        polled: Poll<Option<Result<T, E>>>,
        cx: &mut Context<'_>,
        error: impl FnOnce(Duration) -> E,
    ) -> Poll<Option<Result<T, E>>> {
        match polled {
            Poll::Ready(frame) => {
                self.reset();
                Poll::Ready(frame)
            }
            Poll::Pending => self.poll(cx).map(|limit| Some(Err(error(limit)))),
        }
    }
}

/// The frame, with trailers changed by `change`.
pub(super) fn trailers(frame: Frame<Bytes>, change: impl FnOnce(&mut HeaderMap)) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut fields) => {
            change(&mut fields);
            Frame::trailers(fields)
        }
        Err(frame) => frame,
    }
}
