//! A worker that is asked by HTTP/2: as many requests at once as it has slots, on one connection.
//!
//! h2 and not hyper's client, for the reasons that `http::proxy` has, and since hyper's is not woken by SETTINGS: nothing is sent
//! before they are here, so that h2 queues no request inside, where it would be out of turn.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{PingPong, Reason, SendStream};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::request::{fields, uri};
use super::ReverseWorker;
use super::pump::{self, Stopped};
use crate::bounds::{EXCHANGE_PING, EXCHANGE_REFUSED, EXCHANGE_SETTLE, EXCHANGE_WINDOW, UPSTREAM_BUFFER};
use crate::exchange::Given;
use crate::exchange::body::BodyReader;
use crate::exchange::core::Lost;
use crate::exchange::job::Job;
use crate::exchange::workers::{Went, Worker};
use crate::http::request_body::StreamBody;
use crate::room::room;

/// A connection, as its slots know it.
struct Shared {
    worker: ReverseWorker,
    known: Option<Arc<Worker>>,
    sender: SendRequest<Bytes>,
    /// How many slots there are.
    limit: watch::Receiver<usize>,
    /// The worker is asked for nothing more.
    closing: CancellationToken,
}

/// Asks a worker until its connection ends.
pub(super) async fn serve<S>(io: S, worker: ReverseWorker, slots: usize)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let most = u32::try_from(slots).unwrap_or(u32::MAX);
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(EXCHANGE_WINDOW)
        .initial_connection_window_size(EXCHANGE_WINDOW.saturating_mul(most))
        .initial_max_send_streams(0)
        .max_header_list_size(u32::try_from(UPSTREAM_BUFFER).unwrap_or(u32::MAX))
        .max_send_buffer_size(UPSTREAM_BUFFER);
    let (sender, mut connection) = match builder.handshake::<_, Bytes>(io).await {
        Ok(made) => made,
        Err(error) => return tracing::debug!(%error, "a worker's connection cannot be used"),
    };
    let dialled = worker.exchange.dialled(&worker.details);
    let Some(ping) = connection.ping_pong() else { return };
    let (limits, limit) = watch::channel(0);
    let known = dialled.worker();
    let shared = Shared { worker, known, sender: sender.clone(), limit, closing: CancellationToken::new() };
    let mut all = Box::pin(slots_of(&shared, slots));
    let left = tokio::select! {
        biased;
        ended = drive(&mut connection, sender.clone(), &shared.closing) => {
            dialled.ends(match ended {
                Ok(()) => Went::because("it closed its connection"),
                Err(error) => Went::because(format!("its connection broke: {error}")),
            });
            // Each stream knows how it has ended, which decides what becomes of its request.
            shared.closing.cancel();
            all.await;
            return;
        }
        () = pings(ping, (sender, slots), limits) => {
            // It is told before its requests go to others.
            return dialled.ends(Went::because("it does not answer PING"));
        }
        left = &mut all => left,
    };
    let why = if shared.worker.caller.lost().is_some() { "its credential is not good any more" } else { left };
    // Nobody can ask any more, so h2 says GOAWAY and closes.
    drop(all);
    drop(shared);
    dialled.ends(Went::because(why));
    if let Ok(Err(error)) = timeout(EXCHANGE_SETTLE, connection).await {
        tracing::debug!(%error, "a worker's connection broke at its end");
    }
}

/// Drives a connection to its end, and says when its worker takes nothing more (GOAWAY).
async fn drive<S>(
    connection: &mut Connection<S, Bytes>,
    mut sender: SendRequest<Bytes>,
    closing: &CancellationToken,
) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| {
        let ended = Pin::new(&mut *connection).poll(cx);
        if matches!(sender.poll_ready(cx), Poll::Ready(Err(_))) {
            closing.cancel();
        }
        ended
    })
    .await
}

/// Looks whether the worker lives, and how many requests it takes at once; until it does not answer. Its SETTINGS come before its
/// answer to the first PING.
async fn pings(mut ping: PingPong, (sender, slots): (SendRequest<Bytes>, usize), limits: watch::Sender<usize>) {
    let (interval, limit) = EXCHANGE_PING;
    while let Ok(Ok(_)) = timeout(limit, ping.ping(h2::Ping::opaque())).await {
        let most = sender.current_max_send_streams().min(slots);
        limits.send_if_modified(|limit| std::mem::replace(limit, most) != most);
        sleep(interval).await;
    }
}

/// Asks in so many slots, until the worker is to go: why.
async fn slots_of(shared: &Shared, slots: usize) -> &'static str {
    let Shared { worker, closing, .. } = shared;
    let all: FuturesUnordered<_> = (0..slots).map(|index| slot(shared, index)).collect();
    let mut all = std::pin::pin!(all.collect::<()>());
    // One for all slots, which look at no more than `closing`.
    let mut leaves = std::pin::pin!(worker.leaves());
    let because = |left: Option<&'static str>| {
        if closing.is_cancelled() { "it takes nothing more (GOAWAY)" } else { left.unwrap_or("this server stops") }
    };
    tokio::select! {
        biased;
        left = &mut leaves => {
            let why = because(Some(left));
            closing.cancel();
            all.await;
            why
        }
        () = &mut all => because(leaves.now_or_never()),
    }
}

/// Asks for one item after the other.
async fn slot(shared: &Shared, index: usize) {
    let Shared { worker, known, sender, limit, closing } = shared;
    let (mut opens, mut shuts) = (limit.clone(), limit.clone());
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled() => return,
            // The sender lives as long as the connection.
            Ok(_) = opens.wait_for(|limit| *limit > index) => {}
        }
        let mut slot = worker.exchange.offer(worker.key.clone(), known.clone());
        let given = tokio::select! {
            biased;
            () = closing.cancelled() => return,
            given = slot.given() => given,
            Ok(_) = shuts.wait_for(|limit| *limit <= index) => continue,
        };
        let Given::Job(job) = given else { return };
        if worker.caller.lost().is_some() {
            // Dropped, the job goes to another worker; without slots the connection ends.
            return;
        }
        if ask(sender.clone(), job, worker.exchange.config().deadline.as_secs()).await {
            // Or it would be asked again at once, since the newest slot is taken first.
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                () = sleep(EXCHANGE_REFUSED) => {}
            }
        }
    }
}

/// Asks for one item. Whether the worker would not take it.
async fn ask(mut sender: SendRequest<Bytes>, mut job: Job, time_left: u64) -> bool {
    let body = job.body();
    if poll_fn(|cx| sender.poll_ready(cx)).await.is_err() {
        // Dropped, the job goes to another worker.
        return true;
    }
    let (mut answer, stream) = match sender.send_request(request(&job, time_left), body.is_end_stream()) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "a worker takes no further request");
            return true;
        }
    };
    job.written();
    let cancelled = job.cancelled().clone();
    let upload = upload(stream, body);
    let mut upload = std::pin::pin!(upload);
    let mut uploads = true;
    let answer = loop {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => return false,
            answer = head(&mut answer) => break answer,
            uploaded = &mut upload, if uploads => {
                uploads = false;
                if uploaded.is_err() {
                    return false;
                }
            }
        }
    };
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%error, "a worker did not answer");
            let how = lost(&error);
            job.lost(how);
            return how == Lost::Unwritten;
        }
    };
    let (parts, received) = response.into_parts();
    let body = StreamBody::new(received, &parts.headers);
    let pass = pump::pass(job, parts, body);
    let mut pass = std::pin::pin!(pass);
    loop {
        tokio::select! {
            biased;
            passed = &mut pass => {
                if let Err(Stopped::Broke | Stopped::Malformed) = passed {
                    tracing::debug!("a worker broke off its answer");
                }
                return false;
            }
            _ = &mut upload, if uploads => uploads = false,
        }
    }
}

async fn head(answer: &mut ResponseFuture) -> Result<Response<h2::RecvStream>, h2::Error> {
    poll_fn(|cx| {
        // They end here, as those of the app do.
        while let Poll::Ready(Some(Ok(_))) = answer.poll_informational(cx) {}
        Pin::new(&mut *answer).poll(cx)
    })
    .await
}

/// How a job is lost whose stream has ended without an answer (RFC 9113, section 8.7).
fn lost(error: &h2::Error) -> Lost {
    let is_refused = error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
    if is_refused {
        Lost::Unwritten
    } else if error.is_library() && error.reason() == Some(Reason::PROTOCOL_ERROR) {
        Lost::Malformed
    } else {
        Lost::Written
    }
}

/// Why a body is not sent to its end.
struct Unsent;

/// Sends the body of a request. Dropped before its end, the stream is reset.
async fn upload(mut send: SendStream<Bytes>, mut body: BodyReader) -> Result<(), Unsent> {
    if body.is_end_stream() {
        return Ok(());
    }
    loop {
        let frame = match body.frame().await {
            None => return send.send_data(Bytes::new(), true).map_err(|_| Unsent),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                tracing::debug!(error, "a consumer broke off its body");
                send.send_reset(Reason::CANCEL);
                return Err(Unsent);
            }
        };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    // Reset, or gone: what waits for the answer sees that.
                    let Some(room) = room(&mut send, data.len()).await else { return Ok(()) };
                    send.send_data(data.split_to(room), false).map_err(|_| Unsent)?;
                }
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { continue };
                return send.send_trailers(trailers).map_err(|_| Unsent);
            }
        }
    }
}

fn request(job: &Job, time_left: u64) -> Request<()> {
    let entry = job.entry();
    let mut headers = fields(job, time_left);
    let host = headers.remove(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(host.unwrap_or_else(|| Authority::from_static("localhost")));
    parts.path_and_query = uri(&entry.request).into_parts().path_and_query;
    let mut request = Request::new(());
    *request.method_mut() = entry.request.method.clone();
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}
