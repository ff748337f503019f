//! The port where consumers fetch what is kept, and nothing else.
//!
//! | request | answer |
//! |---|---|
//! | `GET /<key>` | the answer, once; 410 when it was fetched or its time is over |
//! | `HEAD /<key>` | its head; it stays |
//! | another path | 404 |
//! | another method | 405 |

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use super::patience::Patient;
use super::{Kept, Redirect, is_key};
use crate::bounds::{HEAD_BYTES, HEAD_FIELDS, HEAD_READ, WORKER_FETCHES, WORKER_STALLED};
use crate::describe::problem;
use crate::sockets;
use crate::worker::answer::Passing;
use crate::worker::metrics::Ended;

type Download = UnsyncBoxBody<Bytes, hyper::Error>;

/// After a failed accept (out of descriptors, mostly): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the port for ever. Who finds [`WORKER_FETCHES`] connections waits until one has ended.
pub(in crate::worker) async fn serve_fetches(listener: TcpListener, redirect: Arc<Redirect>) {
    let places = Arc::new(Semaphore::new(WORKER_FETCHES));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let redirect = Arc::clone(&redirect);
                connections.spawn(async move {
                    connection(stream, &redirect).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection to --redirect-response");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one request, and closes.
async fn connection(stream: TcpStream, redirect: &Redirect) {
    if sockets::tune(&stream).is_err() {
        // The peer is gone already.
        return;
    }
    let service =
        service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request, redirect)) });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_READ);
    builder.max_buf_size(HEAD_BYTES).max_headers(HEAD_FIELDS);
    builder.keep_alive(false);
    let stream = TokioIo::new(Patient::new(stream, WORKER_STALLED));
    if let Err(error) = builder.serve_connection(stream, service).await {
        tracing::debug!(%error, "a connection to --redirect-response ended");
    }
}

fn answer(request: &Request<Incoming>, redirect: &Redirect) -> Response<Download> {
    // Behind a path of --advertise, or without it where a proxy has taken it away.
    let key = request.uri().path().rsplit('/').next().unwrap_or_default();
    if !is_key(key) {
        return refusal(StatusCode::NOT_FOUND, "not-found", "Nothing is here", "only answers that are kept are here");
    }
    if *request.method() == Method::HEAD {
        let fields = redirect.kept().get(key).map(|kept| fields(&kept.response));
        return fields.map_or_else(gone, |fields| {
            let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
            *response.headers_mut() = fields;
            response
        });
    }
    if *request.method() != Method::GET {
        let mut response = refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "The method is not allowed here",
            "an answer is fetched by GET: send that, as a client does that follows a 303",
        );
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    redirect.take(key).map_or_else(gone, given)
}

/// The answer, and who waits for its end learns of it.
fn given(kept: Kept) -> Response<Download> {
    let Kept { response, sent } = kept;
    let fields = fields(&response);
    let on_end = move |how| {
        let how = match how {
            Ended::Answered => Ended::Fetched,
            Ended::Broken => Ended::Broken,
            Ended::Fetched | Ended::Unfetched | Ended::Cancelled | Ended::Refused | Ended::Malformed => {
                Ended::Unfetched
            }
        };
        // The worker may have ended.
        let _ = sent.send(how);
    };
    let mut response = Response::new(Passing::new(response.into_body(), on_end).boxed_unsync());
    *response.headers_mut() = fields;
    response
}

/// Those of the server. It can be fetched once, so nobody may keep it for others unless the server has said so.
fn fields(response: &Response<Incoming>) -> HeaderMap {
    let mut fields = response.headers().clone();
    fields.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    fields
}

fn gone() -> Response<Download> {
    let detail = "the answer was fetched already, or nobody came for it in time: send the request again";
    refusal(StatusCode::GONE, "result-gone", "The answer is gone", detail)
}

fn refusal(status: StatusCode, slug: &str, title: &str, detail: &str) -> Response<Download> {
    let body = Full::new(Bytes::from(problem::json(slug, title, status, detail)));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
