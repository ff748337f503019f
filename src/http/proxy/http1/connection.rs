//! One connection to the app.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;

use super::super::connect::{AppStream, First};
use super::super::upload::Upload;
use crate::bounds::{UPSTREAM_BUFFER, UPSTREAM_FIELDS};

/// A connection to the app: nothing happens on it but while it is driven. Dropping it closes it.
pub(super) struct Connection {
    sender: SendRequest<Upload>,
    /// hyper's side of it; none once that has ended.
    driver: Option<Driver>,
    first: First,
    used: bool,
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A request without an answer.
pub(super) struct Unsent {
    pub(super) source: hyper::Error,
    /// The request, where nothing of it was sent.
    pub(super) request: Option<Box<Request<Upload>>>,
}

impl Connection {
    pub(super) async fn open(tcp: AppStream) -> hyper::Result<Self> {
        let first = tcp.first();
        let (sender, driver) = builder().handshake(TokioIo::new(tcp)).await?;
        Ok(Self { sender, driver: Some(Box::pin(driver.with_upgrades())), first, used: false })
    }

    /// Does what there is to do on the connection.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(driver) = &mut self.driver else { return };
        if let Poll::Ready(result) = driver.as_mut().poll(cx) {
            // Dropped, since only then is a request that it has not begun given back.
            self.driver = None;
            if let Err(error) = result {
                tracing::debug!(%error, "a connection to the app ended");
            }
        }
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn exchange(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, Unsent> {
        let mut response = pin!(self.sender.try_send_request(request));
        let result = poll_fn(|cx| {
            self.drive(cx);
            response.as_mut().poll(cx)
        });
        result.await.map_err(|mut error| {
            let request = error.take_message().map(Box::new);
            Unsent { source: error.into_error(), request }
        })
    }

    /// Whether it has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.driver.is_some()
    }

    /// Whether it can take a request.
    pub(super) fn is_free(&self) -> bool {
        self.is_open() && self.sender.is_ready()
    }

    /// The app has answered on it.
    pub(super) fn answered(&mut self) {
        self.used = true;
    }

    /// Whether it had before.
    pub(super) fn was_used(&self) -> bool {
        self.used
    }

    /// Whether the app spoke HTTP/2 on it.
    pub(super) fn speaks_http2(&self) -> bool {
        self.first.speaks_http2()
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_buf_size(UPSTREAM_BUFFER)
        // Names keep their case where the listener keeps it too.
        .preserve_header_case(true)
        .max_headers(UPSTREAM_FIELDS)
        // RFC 9112, section 5.1: a proxy takes white space before the colon away; section 5.2: it
        // may replace a line break within a value by spaces.
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    builder
}
