//! Requests of HTTP/1.1 that are no plain polls, and those that follow them: hyper serves them on a task of their own, until
//! the connection ends or goes back to its event loop.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Answering, ConnectionState};
use super::front::Place;
use super::head::Passed;
use super::request_body::RequestBody;
use super::response::Body;
use super::stream::{Back, ClientStream};
use super::{Begun, Router};
use crate::bounds::{CLOSING_IDLE, HEAD_BYTES, HEAD_FIELDS};
use crate::lifecycle::stop;

/// A connection that hyper is to serve.
#[derive(Debug)]
pub struct Lent<S> {
    /// Its stream.
    pub stream: S,
    /// Bytes that were read: a head that has passed, and what follows.
    pub held: Vec<u8>,
    /// The head.
    pub passed: Passed,
    /// Whether the client has closed its sending side.
    pub half_closed: bool,
    /// Its place, which comes back with it.
    pub place: Place,
    /// What was done for its first request.
    pub(super) begun: Option<Begun>,
}

/// Serves a connection until it ends, or (some) goes back.
pub async fn serve<S>(
    lent: Lent<S>,
    router: Arc<Router>,
    mut stop: stop::Watch,
) -> hyper::Result<Option<(Back<S>, Place)>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut place = lent.place;
    let connection = Arc::new(ConnectionState::new(place.connection()).with_place(place));
    let read = (lent.held, lent.passed);
    let (stream, back) =
        ClientStream::http1(lent.stream, read, lent.half_closed, Arc::clone(&router), Arc::clone(&connection));
    let served = Arc::clone(&connection);
    let begun = Mutex::new(lent.begun);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, connection) = (Arc::clone(&router), Arc::clone(&served));
        // Here and not in the future: the stream must know before it is read further.
        let answering = connection.begin();
        let begun = begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            let response = router.handle_begun(request.map(RequestBody::Http1), &connection, begun).await;
            Ok::<_, std::convert::Infallible>(timed(response, answering))
        }
    });
    let served = builder().serve_connection(TokioIo::new(stream), service).with_upgrades();
    let over = async {
        stop.closing().await;
        connection.may_close(CLOSING_IDLE).await;
    };
    finish(served, over, http1::UpgradeableConnection::graceful_shutdown).await?;
    let back = back.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(back.zip(connection.take_place()))
}

pub(super) fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // How long a head may take is for `ClientStream` and the event loop to say.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        // The app and its clients see the spelling that the other chose.
        .preserve_header_case(true)
        .max_headers(HEAD_FIELDS);
    builder
}

/// Drives a connection to its end, which `wind_down` brings on once it is `over`.
async fn finish<C>(
    connection: C,
    over: impl Future<Output = ()>,
    wind_down: impl FnOnce(Pin<&mut C>),
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        // What has come is read before the end is looked at.
        biased;
        ended = connection.as_mut() => return ended,
        () = over => wind_down(connection.as_mut()),
    }
    connection.await
}

/// A body whose request is being answered until it is written.
struct Timed {
    body: Body,
    _answering: Answering,
}

fn timed(response: Response<Body>, mut answering: Answering) -> Response<Timed> {
    answering.answered();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        answering.becomes_tunnel();
    }
    response.map(|body| Timed { body, _answering: answering })
}

impl http_body::Body for Timed {
    type Data = <Body as http_body::Body>::Data;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
