//! A request that is no plain poll, on a task of its own: from its head to the last byte of its answer.

use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderValue, Method, Request, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Duration, timeout};

use super::Reset;
use super::respond::{self, Piece};
use crate::http::Router;
use crate::http::connection::{Answering, ConnectionState};
use crate::http::date::Date;
use crate::http::request_body::RequestBody;
use crate::http::response::Body;
use crate::room::room;

/// Why an answer is not sent to its end.
enum GivenUp {
    /// The client has given the stream up, or is gone.
    Gone,
    /// It has made no room for long.
    Stalled,
}

/// Answers a request.
pub(super) async fn run(
    router: Arc<Router>,
    connection: Arc<ConnectionState>,
    request: Request<RequestBody>,
    mut respond: SendResponse<Piece>,
    mut answering: Answering,
) {
    let is_head = request.method() == Method::HEAD;
    let slow_readers_cut = router.metrics.slow_readers_cut.clone();
    let response = tokio::select! {
        biased;
        response = router.handle(request, &connection) => response,
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
    };
    answering.answered();
    let (mut parts, body) = response.into_parts();
    if let Some(Reset(reason)) = parts.extensions.remove() {
        return respond.send_reset(reason);
    }
    // To HEAD there is no body, also where an answer of our own has one (RFC 9110, section 9.3.2).
    let ended = is_head || body.is_end_stream();
    if let Some(length) = body.length().filter(|_| !ended && !parts.headers.contains_key(header::CONTENT_LENGTH)) {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    match respond.send_response(respond::head(parts.status, parts.headers, &Date::now()), ended) {
        Ok(_) if ended => {}
        Ok(mut stream) => match send(&mut stream, body).await {
            Ok(()) => {}
            Err(GivenUp::Gone) => tracing::trace!("a stream has ended before its answer"),
            Err(GivenUp::Stalled) => {
                slow_readers_cut.inc();
                stream.send_reset(Reason::CANCEL);
            }
        },
        Err(error) => {
            tracing::debug!(%error, "an answer cannot be sent");
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

/// Sends a body as it comes, as far as the client has room for it.
async fn send(stream: &mut SendStream<Piece>, mut body: Body) -> Result<(), GivenUp> {
    let patience = body.patience();
    loop {
        let frame = tokio::select! {
            biased;
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return Err(GivenUp::Gone),
            frame = body.frame() => frame,
        };
        match frame {
            None => return give(stream, Bytes::new(), true),
            Some(Err(error)) => {
                stream.send_reset(reason(&error));
                return Ok(());
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let is_last = body.is_end_stream();
                    write(stream, data, is_last, patience).await?;
                    if is_last {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    let Ok(trailers) = frame.into_trailers() else { continue };
                    return stream.send_trailers(trailers).map_err(|_| GivenUp::Gone);
                }
            },
        }
    }
}

/// Sends what the client has room for, until all is sent.
async fn write(
    stream: &mut SendStream<Piece>,
    mut data: Bytes,
    is_last: bool,
    patience: Option<Duration>,
) -> Result<(), GivenUp> {
    while !data.is_empty() {
        let room = room(stream, data.len());
        let room = match patience {
            Some(patience) => timeout(patience, room).await.map_err(|_| GivenUp::Stalled)?,
            None => room.await,
        };
        let room = room.ok_or(GivenUp::Gone)?;
        let now = data.split_to(room);
        let is_all = data.is_empty();
        give(stream, now, is_last && is_all)?;
        if is_all {
            return Ok(());
        }
    }
    give(stream, data, is_last)
}

fn give(stream: &mut SendStream<Piece>, data: Bytes, is_last: bool) -> Result<(), GivenUp> {
    stream.send_data(data.into(), is_last).map_err(|_| GivenUp::Gone)
}

/// The code that tells the client of an error: that of the app's stream, if it was reset.
fn reason(error: &(dyn Error + 'static)) -> Reason {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(reason) = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
            return reason;
        }
        next = error.source();
    }
    Reason::INTERNAL_ERROR
}
