//! One request to the app, on a connection of its own: requests are rare, and a connection that
//! was kept may be gone when it is needed. Dropping the future ends the connection.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::{self, Head, Validator, Without};
use super::reading::Reading;
use crate::bounds::{DOCUMENT_BYTES, FETCH, FETCH_CONNECT, UPSTREAM_BUFFER};
use crate::sources::{Unusable, UnusableKind, format};
use crate::telemetry::chain;

/// We take JSON where there is a choice.
const ACCEPT: &str = "application/json, application/yaml;q=0.9, */*;q=0.1";

/// A body, as the app gave it.
#[derive(Debug)]
pub(super) struct Model {
    /// What came before it.
    pub(super) head: Head,
    /// Its bytes.
    pub(super) bytes: Bytes,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the app gave none")]
    Without(Without),
    #[error("the app cannot be reached")]
    Connect(#[source] std::io::Error),
    #[error("the app cannot be reached within {FETCH_CONNECT:?}")]
    ConnectTimeout,
    #[error("the app broke off")]
    Exchange(#[source] hyper::Error),
    #[error("the app has not answered in full within {FETCH:?}")]
    Timeout,
}

/// Asks for `path`; for the model unless its validator is still `known`. `what` names this in messages.
pub(super) async fn fetch(
    authority: &Authority,
    path: &PathAndQuery,
    known: Option<&Validator>,
    reading: &Reading,
    what: &str,
) -> Result<Model, Without> {
    try_fetch(authority, path, known, reading, what).await.map_err(|failed| match failed {
        Failed::Without(without) => without,
        Failed::Connect(_) | Failed::ConnectTimeout | Failed::Exchange(_) | Failed::Timeout => {
            Without::Lost { reason: format!("{what}: {}", chain(&failed)), retry_after: None }
        }
    })
}

async fn try_fetch(
    authority: &Authority,
    path: &PathAndQuery,
    known: Option<&Validator>,
    reading: &Reading,
    what: &str,
) -> Result<Model, Failed> {
    let port = authority.port_u16().unwrap_or(80);
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let connecting = timeout(FETCH_CONNECT, TcpStream::connect((host, port))).await;
    let stream = connecting.map_err(|_| Failed::ConnectTimeout)?.map_err(Failed::Connect)?;
    let exchange = async {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(UPSTREAM_BUFFER);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Failed::Exchange)?;
        let mut answer = std::pin::pin!(async move {
            let response = sender.send_request(request(authority, path, known)).await.map_err(Failed::Exchange)?;
            let head = answer::read(response.status(), response.headers(), known.is_some(), reading, what);
            let head = head.map_err(Failed::Without)?;
            let bytes = whole(response.into_body(), what).await?;
            Ok(Model { head, bytes })
        });
        tokio::select! {
            biased;
            model = &mut answer => return model,
            // Whoever reads the answer also sees how it ended, after what came before.
            _ = connection => {}
        }
        answer.await
    };
    timeout(FETCH, exchange).await.unwrap_or(Err(Failed::Timeout))
}

/// Tells who asks, and carries nothing of any client.
fn request(authority: &Authority, path: &PathAndQuery, known: Option<&Validator>) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = path.clone().into();
    let fields = request.headers_mut();
    let host = HeaderValue::from_str(authority.as_str()).expect("an authority is a field value");
    fields.insert(header::HOST, host);
    fields.insert(header::USER_AGENT, HeaderValue::from_static(concat!("tidewait/", env!("CARGO_PKG_VERSION"))));
    fields.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
    fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    match known {
        Some(Validator::Tag(tag)) => {
            fields.insert(header::IF_NONE_MATCH, tag.clone());
        }
        Some(Validator::Time(time)) => {
            fields.insert(header::IF_MODIFIED_SINCE, time.clone());
        }
        None => {}
    }
    request
}

/// Reads the body, and no more of it than a model may have.
async fn whole(mut body: Incoming, what: &str) -> Result<Bytes, Failed> {
    if let Some(length) = body.size_hint().exact().filter(|length| *length > DOCUMENT_BYTES as u64) {
        return Err(Failed::Without(Without::Unusable(format::too_large(length, what))));
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Failed::Exchange)?.into_data() else { continue };
        if bytes.len() + data.len() > DOCUMENT_BYTES {
            let detail = format!("{what}: it is over the limit of {DOCUMENT_BYTES} bytes: make it smaller or split it");
            let unusable = Unusable { kind: UnusableKind::Invalid, detail };
            return Err(Failed::Without(Without::Unusable(unusable)));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}
