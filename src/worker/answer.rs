//! Answers of the worker's own, and the body of an answer whose end is told.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::metrics::Ended;
use super::server::Failed;
use crate::describe::problem;

/// What the exchange is told where the server gives no answer that could be passed on. The type tells it from an answer of the server.
pub(super) fn failure(failed: Failed) -> Response<Bytes> {
    let (slug, title, status, detail) = match failed {
        Failed::Unreachable => (
            "server-unreachable",
            "The server of the worker cannot be reached",
            StatusCode::SERVICE_UNAVAILABLE,
            "the worker has no connection to its server: nothing was done, so the request can be sent again",
        ),
        Failed::Broken => (
            "server-broke",
            "The server of the worker broke off",
            StatusCode::BAD_GATEWAY,
            "the server of the worker went before it answered: it may have begun",
        ),
        Failed::Malformed => (
            "server-malformed",
            "The server of the worker sent no answer of HTTP",
            StatusCode::BAD_GATEWAY,
            "what the server of the worker sent cannot be passed on: see the log of the worker",
        ),
    };
    let mut response = Response::new(Bytes::from(problem::json(slug, title, status, detail)));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fields.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Where the consumer fetches the answer.
pub(super) fn see_other(location: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How a failure counts.
pub(super) fn ended(failed: Failed) -> Ended {
    match failed {
        Failed::Unreachable => Ended::Refused,
        Failed::Broken => Ended::Broken,
        Failed::Malformed => Ended::Malformed,
    }
}

type OnEnd = Box<dyn FnOnce(Ended) + Send>;

/// The body of the server's answer. Whoever waits for its end is told how it was: also where it is dropped before.
pub(super) struct Passing {
    body: Incoming,
    on_end: Option<OnEnd>,
}

impl Passing {
    pub(super) fn new(body: Incoming, on_end: impl FnOnce(Ended) + Send + 'static) -> Self {
        Self { body, on_end: Some(Box::new(on_end)) }
    }

    fn end(&mut self, how: Ended) {
        if let Some(on_end) = self.on_end.take() {
            on_end(how);
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.end(Ended::Answered),
            Poll::Ready(Some(Err(_))) => self.end(Ended::Broken),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // With a length, nobody asks for more than that.
        let how = if self.body.is_end_stream() { Ended::Answered } else { Ended::Cancelled };
        self.end(how);
    }
}
