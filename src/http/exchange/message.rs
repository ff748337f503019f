//! A request as one message of HTTP/1.1 (RFC 9112, section 10.1), for workers that poll and want all of it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};

use crate::exchange::body::{BodyError, BodyReader};
use crate::exchange::entry::Request;
use crate::http::writing;

/// A request as a message. Its body is chunked where its length is not known.
#[derive(Debug)]
pub struct MessageBody {
    head: Option<Bytes>,
    body: BodyReader,
    is_chunked: bool,
    ended: bool,
}

impl MessageBody {
    pub(super) fn new(request: &Request, fields: &HeaderMap, body: BodyReader) -> Self {
        let is_chunked = body.size_hint().exact().is_none();
        let mut head = BytesMut::new();
        head.put_slice(format!("{} {} HTTP/1.1\r\n", request.method, request.target).as_bytes());
        for (name, value) in fields {
            if *name == header::TRANSFER_ENCODING {
                continue;
            }
            writing::field(name, value, &mut head);
        }
        if is_chunked {
            head.put_slice(b"transfer-encoding: chunked\r\n");
        }
        head.put_slice(b"\r\n");
        Self { head: Some(head.freeze()), body, is_chunked, ended: false }
    }
}

impl Body for MessageBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(head) = this.head.take() {
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        while !this.ended {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose()? else {
                this.ended = true;
                if this.is_chunked {
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(writing::LAST_CHUNK)))));
                }
                break;
            };
            // Trailers have no place in it.
            let Ok(data) = frame.into_data() else { continue };
            if !this.is_chunked {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if !data.is_empty() {
                let mut chunk = BytesMut::with_capacity(data.len() + 16);
                writing::chunk(&data, &mut chunk);
                return Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_none() && (self.ended || !self.is_chunked && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
