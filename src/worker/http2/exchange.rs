//! One request of a connection of HTTP/2: on to the server, and its answer back, both as they come.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::ext::on_informational;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::body::StreamBody;
use crate::bounds::WORKER_INTERIM;
use crate::room::room;
use crate::worker::answer::{self, ended, failure};
use crate::worker::context::{Answer, Context, Work};
use crate::worker::fields;
use crate::worker::metrics::Ended;
use crate::worker::server::{Failed, Upload};
use crate::worker::slots::Taken;
use crate::worker::standing::Busy;

/// Has a request answered. `kept` is cancelled where the answer stays here.
pub(super) async fn run(
    context: Arc<Context>,
    (taken, busy): (Taken, Busy),
    kept: CancellationToken,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (request, interim) = outbound(request);
    let Some(Work { taken, answer }) = work(&context, (taken, request), interim, &mut respond).await else {
        return context.metrics.ended(Ended::Cancelled);
    };
    let how = match answer {
        Ok(Answer::Through(response)) => through(response, respond).await,
        Ok(Answer::Kept(location, fetch)) => {
            kept.cancel();
            // Where the exchange has gone meanwhile nobody learns of the place.
            if whole(answer::see_other(location), &mut respond) { fetch.ended().await } else { Ended::Cancelled }
        }
        Err(Failed::Unreachable) => {
            // Nothing was done: another worker can take it.
            respond.send_reset(Reason::REFUSED_STREAM);
            Ended::Refused
        }
        Err(Failed::Broken) => {
            // Whether it may be repeated is for the exchange to say.
            respond.send_reset(Reason::INTERNAL_ERROR);
            Ended::Broken
        }
        Err(failed @ Failed::Malformed) => {
            if whole(failure(failed), &mut respond) {
                ended(failed)
            } else {
                Ended::Cancelled
            }
        }
    };
    context.metrics.ended(how);
    drop((taken, busy));
}

/// The request for the server, and the interim answers to it.
fn outbound(request: Request<RecvStream>) -> (Request<Upload>, mpsc::Receiver<Response<()>>) {
    let (mut head, body) = request.into_parts();
    fields::to_server(&mut head.headers, head.uri.authority());
    head.version = Version::HTTP_11;
    let mut request = Request::from_parts(head, StreamBody::new(body).boxed_unsync());
    let (sends, interim) = mpsc::channel(WORKER_INTERIM);
    on_informational(&mut request, move |informational| {
        let status = informational.status();
        // A 100 is for who waits for one, which the exchange is not; a 101 is nobody's.
        if status == StatusCode::CONTINUE || status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let mut head = Response::new(());
        *head.status_mut() = status;
        head.headers_mut().clone_from(informational.headers());
        fields::strip(head.headers_mut());
        // A hint that finds no room is no loss.
        let _ = sends.try_send(head);
    });
    (request, interim)
}

/// What came of it; none: the exchange has taken it back, and the server is let go of.
async fn work(
    context: &Context,
    (taken, request): (Taken, Request<Upload>),
    mut interim: mpsc::Receiver<Response<()>>,
    respond: &mut SendResponse<Bytes>,
) -> Option<Work> {
    let mut working = pin!(context.work(taken, request));
    loop {
        tokio::select! {
            biased;
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return None,
            Some(head) = interim.recv() => {
                // The stream may be gone, which is seen next.
                let _ = respond.send_informational(head);
            }
            work = &mut working => return Some(work),
        }
    }
}

/// Sends an answer of the worker's own; false: the stream is gone.
fn whole(response: Response<Bytes>, respond: &mut SendResponse<Bytes>) -> bool {
    let (head, body) = response.into_parts();
    let is_empty = body.is_empty();
    let sent = respond.send_response(Response::from_parts(head, ()), is_empty);
    sent.and_then(|mut stream| if is_empty { Ok(()) } else { stream.send_data(body, true) }).is_ok()
}

/// Passes the server's answer on as it comes.
async fn through(response: Response<Incoming>, mut respond: SendResponse<Bytes>) -> Ended {
    let (head, mut body) = response.into_parts();
    let is_empty = body.is_end_stream();
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), is_empty) else {
        return Ended::Cancelled;
    };
    if is_empty {
        return Ended::Answered;
    }
    loop {
        let frame = tokio::select! {
            biased;
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return Ended::Cancelled,
            frame = body.frame() => frame,
        };
        let sent = match frame {
            None => stream.send_data(Bytes::new(), true).map(|()| Some(Ended::Answered)),
            Some(Err(error)) => {
                tracing::debug!(%error, "the server broke off within its answer");
                // Never a body that looks whole.
                stream.send_reset(Reason::INTERNAL_ERROR);
                Ok(Some(Ended::Broken))
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let is_last = body.is_end_stream();
                    write(&mut stream, data, is_last).await.map(|()| is_last.then_some(Ended::Answered))
                }
                Err(frame) => {
                    let Ok(mut trailers) = frame.into_trailers() else { continue };
                    fields::strip(&mut trailers);
                    stream.send_trailers(trailers).map(|()| Some(Ended::Answered))
                }
            },
        };
        match sent {
            Ok(None) => {}
            Ok(Some(ended)) => return ended,
            Err(_) => return Ended::Cancelled,
        }
    }
}

/// Sends what the exchange has room for, until all is sent.
async fn write(stream: &mut SendStream<Bytes>, mut data: Bytes, is_last: bool) -> Result<(), h2::Error> {
    while !data.is_empty() {
        let room = room(stream, data.len()).await.ok_or_else(|| h2::Error::from(Reason::CANCEL))?;
        let part = data.split_to(room);
        stream.send_data(part, is_last && data.is_empty())?;
    }
    Ok(())
}
