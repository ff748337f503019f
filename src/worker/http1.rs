//! A connection of HTTP/1.1 on which the worker is the server: one slot. Where the server gives no answer, neither does this: the
//! connection ends, and the exchange says whether the request may be repeated.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioTimer;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::answer::{Passing, ended, failure, see_other};
use super::context::{Answer, Context, Work};
use super::fields;
use super::metrics::Ended;
use super::redirect::Fetch;
use super::seat::Served;
use super::server::Failed;
use super::slots::Taken;
use super::standing::{Busy, Counted};
use crate::bounds::{UPSTREAM_FIELDS, WORKER_HEAD_BYTES, WORKER_IDLE};
use crate::telemetry::chain;

type Download = UnsyncBoxBody<Bytes, hyper::Error>;
/// An answer that is kept, with what it takes until it is fetched.
type Kept = (Fetch, Taken, Busy);

/// There is no answer: the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("there is no answer of the server")]
struct NoAnswer;

/// Serves a connection until it ends; `over`: nothing more is offered on it. Gives how it ended once what was answered on it is sent,
/// also by the way of `--redirect-response`.
pub(super) async fn serve(
    io: Upgraded,
    context: &Arc<Context>,
    counted: Counted,
    over: impl Future<Output = ()>,
) -> Served {
    let kept = CancellationToken::new();
    // One at most: the connection ends with it.
    let (keeps, mut keep) = mpsc::channel::<Kept>(1);
    let count = AtomicU64::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        count.fetch_add(1, Ordering::Relaxed);
        // In this order: who sees the connection busy sees the request, too.
        let taken = context.slots.begin();
        let held = (taken, counted.standing.begin());
        answer(Arc::clone(context), held, keeps.clone(), kept.clone(), request)
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(WORKER_IDLE).max_buf_size(WORKER_HEAD_BYTES);
    builder.max_headers(UPSTREAM_FIELDS);
    let mut connection = Box::pin(builder.serve_connection(io, service));
    let mut over = pin!(over);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { tokio::select! { () = &mut over => {}, () = kept.cancelled() => {} } } => {
            counted.standing.withdraw();
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    drop(connection);
    if let Ok((fetch, taken, busy)) = keep.try_recv() {
        context.metrics.ended(fetch.ended().await);
        drop((taken, busy));
    }
    let count = count.into_inner();
    match ended {
        // It was idle for long: another one is as good.
        Err(error) if error.is_timeout() && count == 0 => Served::ended(1),
        Err(error) if !error.is_timeout() && !error.is_user() => Served::lost(count, &chain(&error)),
        Ok(()) | Err(_) => Served::ended(count),
    }
}

async fn answer(
    context: Arc<Context>,
    (taken, busy): (Taken, Busy),
    keeps: mpsc::Sender<Kept>,
    kept: CancellationToken,
    request: Request<Incoming>,
) -> Result<Response<Download>, NoAnswer> {
    let (mut head, body) = request.into_parts();
    let is_repeatable = fields::is_repeatable(&head.method, &head.headers);
    fields::to_server(&mut head.headers, None);
    let body = body.map_err(Box::<dyn Error + Send + Sync>::from).boxed_unsync();
    // Dropped with the connection, where the exchange has taken it back.
    let mut unless_answered = Cancelled(Some(Arc::clone(&context)));
    let Work { taken, answer } = context.work(taken, Request::from_parts(head, body)).await;
    unless_answered.0 = None;
    match answer {
        Ok(Answer::Through(response)) => {
            let on_end = move |how| {
                context.metrics.ended(how);
                drop((taken, busy));
            };
            Ok(response.map(|body| Passing::new(body, on_end).boxed_unsync()))
        }
        Ok(Answer::Kept(location, fetch)) => {
            let mut response = whole(see_other(location));
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            kept.cancel();
            // There is room: it is the only one.
            let _ = keeps.try_send((fetch, taken, busy));
            Ok(response)
        }
        Err(failed) => {
            context.metrics.ended(ended(failed));
            let is_answered = match failed {
                Failed::Malformed => true,
                Failed::Unreachable => !is_repeatable,
                Failed::Broken => false,
            };
            if is_answered { Ok(whole(failure(failed))) } else { Err(NoAnswer) }
        }
    }
}

fn whole(response: Response<Bytes>) -> Response<Download> {
    response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

/// Counts a request that was dropped before its answer.
struct Cancelled(Option<Arc<Context>>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.metrics.ended(Ended::Cancelled);
        }
    }
}
