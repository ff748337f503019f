//! An answer as hyper writes it: its head and its body.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tokio::time::Duration;

use super::exchange::WorkerBody;
use super::proxy::{BodyError, ProxyBody};
use super::topic::TopicBody;
use crate::bounds::STREAM_STALLED;
use crate::describe::Answer;
use crate::exchange::body::BodyError as ExchangeBodyError;
use crate::hub::FanOutGuard;

/// An answer of our own. `fan_out` is kept until the body is handed to the connection.
#[must_use]
pub fn response(answer: Answer, fan_out: Option<FanOutGuard>) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.fields());
    if let Some(bytes) = answer.into_body() {
        *response.body_mut() = Body::Whole { bytes: Some(bytes), fan_out };
    }
    response
}

impl Body {
    /// How long its client may make no room for what has come; none: that is for who sends it to know.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Self::Topic(_) => Some(STREAM_STALLED),
            Self::Empty | Self::Whole { .. } | Self::App(_) | Self::Exchange(_) => None,
        }
    }

    /// How many bytes it has, where that is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        http_body::Body::size_hint(self).exact()
    }
}

/// Why the body of an answer ends early.
#[derive(Debug, thiserror::Error)]
pub enum BrokenAnswer {
    /// The app's did.
    #[error("the answer of the app broke off")]
    App(#[source] BodyError),
    /// That of an exchange did.
    #[error("the answer of an exchange broke off")]
    Exchange(#[source] ExchangeBodyError),
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// None.
    Empty,
    /// Bytes that are here already, shared with all who get the same.
    Whole {
        /// The bytes; taken when they are handed to the connection.
        bytes: Option<Bytes>,
        /// Kept until then.
        fan_out: Option<FanOutGuard>,
    },
    /// What the app answers, as it comes.
    App(ProxyBody),
    /// What a worker answers, or what it is asked.
    Exchange(WorkerBody),
    /// What readers of a topic are told.
    Topic(TopicBody),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole { bytes, .. } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::App(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BrokenAnswer::App)))
            }
            Self::Exchange(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BrokenAnswer::Exchange)))
            }
            Self::Topic(body) => body.poll_part(cx).map(|part| part.map(|part| Ok(Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole { bytes, .. } => bytes.is_none(),
            Self::App(body) => body.is_end_stream(),
            Self::Exchange(body) => body.is_end_stream(),
            Self::Topic(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::App(body) => body.size_hint(),
            Self::Exchange(body) => body.size_hint(),
            Self::Topic(_) => SizeHint::default(),
        }
    }
}
