//! The body of a request, whichever protocol it comes by. What is read of it makes room for more.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// The body of a request.
#[derive(Debug)]
pub enum RequestBody {
    /// Over HTTP/1.1.
    Http1(Incoming),
    /// Over HTTP/2.
    Http2(StreamBody),
}

/// A body that comes on a stream of HTTP/2.
#[derive(Debug)]
pub struct StreamBody {
    stream: RecvStream,
    /// How many bytes are still to come, if the head says it.
    left: Option<u64>,
    /// Only trailers may follow.
    data_ended: bool,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BrokenBody {
    /// The client broke off, or sent something that is not framed as it should be.
    #[error("the body broke off")]
    Http1(#[source] hyper::Error),
    /// The client reset its stream, whatever the code, or its connection broke.
    #[error("the stream of the body was reset")]
    Http2(#[source] h2::Error),
}

impl StreamBody {
    /// The body that comes on `stream`, behind a head with these fields.
    #[must_use]
    pub fn new(stream: RecvStream, fields: &HeaderMap) -> Self {
        // h2 has checked it: there is one, or several that are the same.
        let length = || fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let left = if stream.is_end_stream() { Some(0) } else { length() };
        Self { stream, left, data_ended: false }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        if !this.data_ended {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only where the stream is over, and then nobody waits for room.
                    let _ = this.stream.flow_control().release_capacity(data.len());
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.data_ended = true,
            }
        }
        let trailers = ready!(this.stream.poll_trailers(cx));
        Poll::Ready(trailers.transpose().map(|result| result.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match &mut *self {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(BrokenBody::Http1),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(BrokenBody::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
