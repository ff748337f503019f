//! The way to an app that speaks HTTP/1.1: connections of hyper, in a pool of our own.
//!
//! A connection has no task of its own while somebody waits for what comes on it: who waits drives
//! it. So a request wakes no second task, which might run on another core.
//!
//! | while | its connection is driven by |
//! |---|---|
//! | the head of the answer is awaited | the request ([`Pool::send`]) |
//! | the body comes | the body ([`Download`]) |
//! | the request's body is still on its way, or a tunnel begins | a task: it goes on also where the client reads no answer |
//! | it is idle | nobody; the watcher looks after all that are idle ([`idle`]) |

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use self::connection::{Connection, Unsent};
use self::idle::Idle;
use super::connect::{AppStream, Connector, Cut};
use super::tasks::Tasks;
use super::upload::{Progress, Upload};

mod connection;
mod idle;

/// The connections to one app.
#[derive(Debug)]
pub(super) struct Pool {
    app: Authority,
    connector: Connector,
    tasks: Tasks,
    idle: Arc<Idle>,
}

/// Why there is no head of an answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// No connection could be made: nothing was sent.
    Unreachable(io::Error),
    /// The connection ended, or what came is no answer.
    Broken {
        source: hyper::Error,
        /// Whether the app had answered on this connection before.
        was_used: bool,
        /// Whether the app spoke HTTP/2.
        speaks_http2: bool,
    },
}

/// The head of an answer, and the connection that it came on.
pub(super) struct Answer {
    response: Response<Incoming>,
    connection: Connection,
}

/// The body of an answer. Dropped before its end it ends its connection.
pub(super) struct Download {
    body: Incoming,
    /// Until all of the body has come.
    connection: Option<Connection>,
    idle: Arc<Idle>,
}

impl Pool {
    pub(super) fn new(app: Authority, connector: Connector, tasks: Tasks) -> Self {
        Self { app, connector, idle: Arc::new(Idle::new(tasks.clone())), tasks }
    }

    /// Sends a request and waits for the head of its answer. Dropping the future ends the connection.
    pub(super) async fn send(&self, mut request: Request<Upload>) -> Result<Answer, Failed> {
        loop {
            let mut connection = self.connection().await.map_err(Failed::Unreachable)?;
            let was_used = connection.was_used();
            match connection.exchange(request).await {
                Ok(response) => return Ok(Answer { response, connection }),
                // The app has closed the connection, and hyper has begun nothing. Each takes a connection out of
                // the pool, so this ends.
                Err(Unsent { request: Some(unsent), .. }) if was_used => request = *unsent,
                Err(Unsent { source, .. }) => {
                    let speaks_http2 = connection.speaks_http2();
                    return Err(Failed::Broken { source, was_used, speaks_http2 });
                }
            }
        }
    }

    /// A connection that is idle, or else the one that is there first: a new one, or one that comes back.
    async fn connection(&self) -> io::Result<Connection> {
        if let Some(connection) = self.idle.take() {
            return Ok(connection);
        }
        let mut connecting = self.connector.connect(&self.app);
        tokio::select! {
            biased;
            connection = self.idle.returned() => {
                // The other is of use to the next request.
                let idle = Arc::clone(&self.idle);
                self.tasks.spawn(async move {
                    match open(connecting.await).await {
                        Ok(connection) => idle.put(connection),
                        Err(error) => tracing::debug!(%error, "a connection that nobody waits for any more"),
                    }
                });
                Ok(connection)
            }
            tcp = &mut connecting => open(tcp).await,
        }
    }

    /// Gives what is to be read of an answer; and what ends its connection, if that goes on beside it.
    pub(super) fn answered(&self, answer: Answer, upload: Option<&Progress>) -> (Response<Download>, Option<Cut>) {
        let Answer { response, mut connection } = answer;
        connection.answered();
        let beside = upload.is_some_and(|upload| !upload.is_done());
        let beside = beside || response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let (mut kept, mut cut) = (None, None);
        if beside {
            let ends = Cut::default();
            self.tasks.spawn(apart(connection, ends.clone(), Arc::clone(&self.idle)));
            cut = Some(ends);
        } else {
            kept = self.idle.put_if_free(connection);
        }
        let idle = Arc::clone(&self.idle);
        (response.map(|body| Download { body, connection: kept, idle }), cut)
    }
}

async fn open(tcp: io::Result<AppStream>) -> io::Result<Connection> {
    Connection::open(tcp?).await.map_err(io::Error::other)
}

/// Drives a connection until it is idle, ends or is cut.
async fn apart(mut connection: Connection, cut: Cut, idle: Arc<Idle>) {
    let settled = poll_fn(|cx| {
        connection.drive(cx);
        if connection.is_free() || !connection.is_open() { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::select! {
        biased;
        () = cut.is_cut() => return,
        () = pin!(settled) => {}
    }
    idle.put(connection);
}

impl Answer {
    /// The fields of its head.
    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        if let Some(mut connection) = this.connection.take() {
            connection.drive(cx);
            this.connection = this.idle.put_if_free(connection);
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("body", &self.body).finish_non_exhaustive()
    }
}
