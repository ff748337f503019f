//! The way to an app that speaks HTTP/2 in the clear and with prior knowledge (`h2c`), such as a
//! gRPC server. h2 and not hyper's client, since that takes a stream that was reset with `NO_ERROR`
//! for one that has ended well, and cannot reset the rest of an upload that the app does not read.
//!
//! - Streams share connections; as many as the app allows, at most
//!   [`UPSTREAM_STREAMS`](crate::bounds::UPSTREAM_STREAMS) each. See [`pool`].
//! - A connection's window is that of all its streams: a client that does not read holds up no other.
//! - No PINGs but one at the start: gRPC servers close connections on more than one in five
//!   minutes. Dead hosts are noticed by TCP; a connection on which an answer did not begin in
//!   time gets no further requests.
//! - What the app resets is passed on with its code, where the client speaks HTTP/2 too.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::Reason;
use h2::client::ResponseFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Body as _;
use tokio::sync::oneshot;

pub(super) use self::download::Download;
use self::pool::StreamPermit;
pub(super) use self::pool::{NoConnection, Pool};
use super::body::BodyError;
use super::connect::Cut;
use super::tasks::Tasks;
use super::upload::{Progress, Upload};

mod download;
mod pool;
mod pump;

/// A request on its way to the app, on a stream of its own. Dropping it resets the stream.
pub(super) struct Exchange {
    response: ResponseFuture,
    place: Arc<StreamPermit>,
    stream: Cut,
    /// Why the client's body broke off, if it did.
    broken: oneshot::Receiver<BodyError>,
    progress: Option<Arc<Progress>>,
    kept: bool,
}

/// Why there is no head of an answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The stream or its connection ended.
    Stream(h2::Error),
    /// The client's body broke off.
    Upload(BodyError),
}

/// Opens a stream for `request` at `place`. What could not be sent is returned with the reason,
/// which mostly is that the connection is closing.
pub(super) fn open(
    place: StreamPermit,
    request: Request<()>,
    body: Upload,
    progress: Option<Arc<Progress>>,
    tasks: &Tasks,
) -> Result<Exchange, Box<(Upload, h2::Error)>> {
    let (response, send) = match place.sender().send_request(request, body.is_end_stream()) {
        Ok(stream) => stream,
        Err(error) => {
            place.retire();
            return Err(Box::new((body, error)));
        }
    };
    let (place, stream) = (Arc::new(place), Cut::default());
    let (report, broken) = oneshot::channel();
    if !body.is_end_stream() {
        tasks.spawn(pump::run(send, body, stream.clone(), Arc::clone(&place), report));
    }
    Ok(Exchange { response, place, stream, broken, progress, kept: false })
}

impl Exchange {
    /// Waits for the head of the answer.
    pub(super) async fn head(&mut self) -> Result<Response<Download>, Failed> {
        let Self { response, broken, progress, place, .. } = self;
        let head = poll_fn(|cx| {
            while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
                if let Some(progress) = progress.as_ref().filter(|_| interim.status() == StatusCode::CONTINUE) {
                    progress.go_on();
                }
            }
            Pin::new(&mut *response).poll(cx)
        });
        let result = tokio::select! {
            biased;
            Ok(error) = broken => return Err(Failed::Upload(error)),
            result = head => result,
        };
        let response = result.map_err(Failed::Stream)?;
        place.answered();
        Ok(response.map(|body| Download::new(body, Arc::clone(place))))
    }

    /// Whether the app had answered on this connection before.
    pub(super) fn was_used(&self) -> bool {
        self.place.was_used()
    }

    /// Nothing came in time: the connection may be dead, and gets no further requests.
    pub(super) fn timed_out(&self) {
        self.place.retire();
    }

    /// An answer came: what ends the stream if it must end early.
    pub(super) fn answered(mut self) -> Cut {
        self.kept = true;
        self.stream.clone()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.kept {
            self.stream.cut();
        }
    }
}

/// Whether the app reports that it has not processed a request (RFC 9113, section 8.7).
pub(super) fn was_refused(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

/// The reset code for a client of HTTP/2 when the app has reset its stream: the same. That a connection
/// closes before it saw a request is `REFUSED_STREAM` for the request: it may be sent again.
pub(super) fn reset(error: &h2::Error) -> Option<Reason> {
    if was_refused(error) {
        return Some(Reason::REFUSED_STREAM);
    }
    error.reason().filter(|_| error.is_remote() && error.is_reset())
}

/// What goes over the wire of an upload.
type Sender = h2::SendStream<Bytes>;
