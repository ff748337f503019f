//! A worker that is asked by HTTP/1.1: one request at a time, on its connection.

use std::sync::{Arc, OnceLock};

use futures::TryStreamExt as _;
use http::{Request, Version, header};
use http_body::Body as _;
use http_body_util::{BodyDataStream, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::claims::problem;
use super::super::request::{fields, uri};
use super::ReverseWorker;
use super::posted::Posted;
use super::pump::{self, Stopped};
use crate::bounds::{EXCHANGE_IDLE, EXCHANGE_SETTLE, UPSTREAM_BUFFER, UPSTREAM_FIELDS};
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::exchange::body::BodyReader;
use crate::exchange::core::Lost;
use crate::exchange::job::Job;
use crate::exchange::workers::{Went, Worker};
use crate::exchange::{Exchange, Given};
use crate::http::request_body::RequestBody;
use crate::telemetry;

/// What drives a connection, until it ends or this is dropped.
struct Driven {
    ended: CancellationToken,
    cut: tokio_util::sync::DropGuard,
    /// What it broke with.
    broke: Arc<OnceLock<hyper::Error>>,
}

impl Driven {
    fn spawn(connection: impl Future<Output = hyper::Result<()>> + Send + 'static, tasks: &TaskTracker) -> Self {
        let (ended, cut) = (CancellationToken::new(), CancellationToken::new());
        let broke = Arc::new(OnceLock::new());
        let (tells, ends, breaks) = (ended.clone().drop_guard(), cut.clone(), Arc::clone(&broke));
        tasks.spawn(async move {
            let _tells = tells;
            if let Some(Err(error)) = ends.run_until_cancelled(connection).await {
                tracing::debug!(%error, "a worker's connection, or a message that it has posted, broke off");
                // There is one end.
                let _ = breaks.set(error);
            }
        });
        Self { ended, cut: cut.drop_guard(), broke }
    }

    /// Why it has ended.
    fn went(&self) -> Went {
        match self.broke.get() {
            Some(error) => Went::because(format!("its connection broke: {}", telemetry::chain(error))),
            // The worker of a connection that is used once dials in again at once.
            None => Went::briefly("it closed its connection"),
        }
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(UPSTREAM_BUFFER).max_headers(UPSTREAM_FIELDS).preserve_header_case(true);
    builder
}

/// Asks a worker until its connection ends.
pub(in crate::http::exchange) async fn serve<S>(io: S, worker: ReverseWorker, tasks: &TaskTracker)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = match builder().handshake::<_, BodyReader>(TokioIo::new(io)).await {
        Ok(made) => made,
        Err(error) => return tracing::debug!(%error, "a worker's connection cannot be used"),
    };
    let dialled = worker.exchange.dialled(&worker.details);
    let driven = Driven::spawn(connection, tasks);
    let went = ask_all(&mut sender, &worker, (&driven, dialled.worker())).await;
    dialled.ends(went);
}

/// Asks for one item after the other, until the connection ends: why.
async fn ask_all(
    sender: &mut SendRequest<BodyReader>,
    worker: &ReverseWorker,
    (driven, known): (&Driven, Option<Arc<Worker>>),
) -> Went {
    let mut leaves = std::pin::pin!(worker.leaves());
    loop {
        let mut slot = worker.exchange.offer(worker.key.clone(), known.clone());
        let given = tokio::select! {
            biased;
            () = driven.ended.cancelled() => return driven.went(),
            why = &mut leaves => return Went::because(why),
            given = slot.given() => given,
            () = sleep(EXCHANGE_IDLE) => return Went::briefly("it was idle for long"),
        };
        let Given::Job(job) = given else { return Went::because("it was superseded") };
        if worker.caller.lost().is_some() {
            // Dropped, the job goes to another worker.
            return Went::because("its credential is not good any more");
        }
        match ask(sender, job, worker.exchange.config().deadline.as_secs()).await {
            Ok(()) => {}
            Err(Stopped::Useless) => return Went::briefly("its work was of no use any more"),
            Err(Stopped::Broke) => return Went::because("it broke off a request"),
            Err(Stopped::Malformed) => return Went::because("what it answered is not HTTP"),
        }
        // The rest of a request that was answered early may still be on its way.
        match timeout(EXCHANGE_SETTLE, sender.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return driven.went(),
            Err(_) => return Went::because("it did not take the rest of a request"),
        }
    }
}

/// Asks for one item. An error: the connection is of no use any more.
async fn ask(sender: &mut SendRequest<BodyReader>, mut job: Job, time_left: u64) -> Result<(), Stopped> {
    let request = request(&job, time_left);
    let cancelled = job.cancelled().clone();
    // Unless hyper gives it back, below.
    job.written();
    let answer = async {
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => Err((error.take_message().is_some(), error.into_error())),
        }
    };
    let answer = tokio::select! {
        biased;
        () = cancelled.cancelled() => return Err(Stopped::Useless),
        answer = answer => answer,
    };
    match answer {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            pump::pass(job, parts, body).await
        }
        Err((is_unsent, error)) => {
            tracing::debug!(%error, is_unsent, "a worker did not answer");
            let how = match is_unsent {
                true => Lost::Unwritten,
                false if error.is_parse() => Lost::Malformed,
                false => Lost::Written,
            };
            job.lost(how);
            Err(Stopped::Broke)
        }
    }
}

fn request(job: &Job, time_left: u64) -> Request<BodyReader> {
    let (entry, body) = (job.entry(), job.body());
    let mut request = Request::new(body);
    *request.method_mut() = entry.request.method.clone();
    *request.uri_mut() = uri(&entry.request);
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = fields(job, time_left);
    let is_chunked = !request.body().is_end_stream() && request.body().size_hint().exact().is_none();
    if is_chunked {
        // Said here, since hyper sends a GET of unknown length without its body.
        request.headers_mut().insert(header::TRANSFER_ENCODING, header::HeaderValue::from_static("chunked"));
    }
    request.headers_mut().entry(header::HOST).or_insert(header::HeaderValue::from_static("localhost"));
    request
}

/// A claim whose answer is being posted, and has no head yet. Where the request that carries it breaks off, the worker keeps
/// the claim, and may post again.
struct Kept<'a> {
    exchange: &'a Arc<Exchange>,
    job: Option<Job>,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.exchange.hold_job(job);
        }
    }
}

/// Whether the request that carries a message broke off.
fn is_cut(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_incomplete_message()
}

/// Takes an answer that a worker posts as one message of HTTP/1.1: the same as if it came on a connection of its own.
pub(in crate::http::exchange) async fn message(
    exchange: &Arc<Exchange>,
    job: Job,
    body: RequestBody,
    tasks: &TaskTracker,
) -> Result<(), Problem> {
    let bytes = BodyDataStream::new(body).map_err(std::io::Error::other);
    let io = Posted::new(StreamReader::new(Box::pin(bytes)));
    let malformed = |why: &str| {
        Problem::new(
            Kind::MalformedRequest,
            format!("this is no answer of HTTP/1.1 ({why}): begin it with a status line"),
        )
    };
    let (mut sender, connection) = match builder().handshake(TokioIo::new(io)).await {
        Ok(made) => made,
        Err(error) => return Err(malformed(&error.to_string())),
    };
    let driven = Driven::spawn(connection, tasks);
    // What hyper has to know of the request to read the answer.
    let mut request = Request::new(Empty::<bytes::Bytes>::new());
    *request.method_mut() = job.entry().request.method.clone();
    let (claim, cancelled) = (job.claim(), job.cancelled().clone());
    let over = || problem(exchange.over(claim));
    let mut kept = Kept { exchange, job: Some(job) };
    let answer = tokio::select! {
        biased;
        () = cancelled.cancelled() => return Err(over()),
        answer = sender.send_request(request) => answer,
    };
    let Some(job) = kept.job.take_if(|_| !matches!(&answer, Err(error) if is_cut(error))) else {
        return Err(malformed("it broke off"));
    };
    let passed = match answer {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            pump::pass(job, parts, body).await
        }
        Err(error) => {
            job.lost(Lost::Malformed);
            return Err(malformed(&error.to_string()));
        }
    };
    drop(driven.cut);
    passed.map_err(|stopped| match stopped {
        Stopped::Useless => over(),
        Stopped::Broke => malformed("it broke off"),
        Stopped::Malformed => malformed("its status is none from 200 to 599, or its coding is not chunked"),
    })
}
