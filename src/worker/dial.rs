//! The way in: an `Upgrade` to `ptth` at an exchange, after which the worker is the server (draft-kazuho-ptth).

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, RETRY_AFTER, UPGRADE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::context::Context;
use crate::bounds::{CLIENT_HEAD_BYTES, CLIENT_PROBLEM_BYTES, WORKER_RETRY_AFTER, WORKER_UPGRADE};
use crate::client::Dialer;
use crate::config::Protocol;
use crate::escape::escape;
use crate::protocol::fields::AGENT_ID;
use crate::telemetry::chain;

const ALPN: HeaderName = HeaderName::from_static("alpn");
const EXCHANGE_SLOTS: HeaderName = HeaderName::from_static("exchange-slots");
const PTTH: HeaderValue = HeaderValue::from_static("ptth");

/// Why an exchange was not reached, with the remedy, and how long it asks to be left alone.
#[derive(Debug)]
pub(super) struct Unreached {
    pub(super) why: String,
    pub(super) retry_after: Option<Duration>,
}

impl Unreached {
    fn new(why: &str) -> Self {
        // The client speaks of its settings; whoever runs a worker knows them by its options.
        Self { why: why.replace("(ca)", "(--ca)"), retry_after: None }
    }
}

/// A connection to an address of an exchange that is offered with so many slots.
pub(super) async fn dial(
    context: &Context,
    dialer: &Dialer,
    address: SocketAddr,
    slots: usize,
) -> Result<Upgraded, Unreached> {
    let request = request(context, dialer, slots).await?;
    let stream = dialer.connect(address).await.map_err(|failure| Unreached::new(&failure.text))?;
    let upgrade = async {
        let lost = |error: hyper::Error| {
            Unreached::new(&format!(
                "there is no answer to the upgrade ({}): name the port of an exchange",
                chain(&error)
            ))
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(CLIENT_HEAD_BYTES);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let mut io = JoinSet::new();
        io.spawn(connection.with_upgrades());
        let response = sender.send_request(request).await.map_err(lost)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response).await);
        }
        is_agreed(response.headers(), context.protocol)?;
        hyper::upgrade::on(response).await.map_err(lost)
    };
    let Ok(upgraded) = timeout(WORKER_UPGRADE, upgrade).await else {
        let text = format!("there is no answer to the upgrade within {WORKER_UPGRADE:?}: see what stands in between");
        return Err(Unreached::new(&text));
    };
    upgraded
}

fn alpn(protocol: Protocol) -> HeaderValue {
    HeaderValue::from_static(match protocol {
        Protocol::Http1 => "http%2F1.1",
        Protocol::Http2 => "h2",
    })
}

async fn request(context: &Context, dialer: &Dialer, slots: usize) -> Result<Request<Empty<Bytes>>, Unreached> {
    let key = context.key.as_ref().map(|key| format!("?key={}", utf8_percent_encode(key, NON_ALPHANUMERIC)));
    let target = format!("{}{}", dialer.path(), key.unwrap_or_default());
    let mut request = Request::new(Empty::new());
    let unusable = |what: &str| Unreached::new(&format!("{what} cannot be sent: write it in ASCII"));
    *request.uri_mut() = target.parse().map_err(|_| unusable("the path of --exchange"))?;
    let fields = request.headers_mut();
    fields.insert(HOST, HeaderValue::from_str(dialer.host()).map_err(|_| unusable("the host of --exchange"))?);
    fields.insert(USER_AGENT, HeaderValue::from_static(concat!("tidewait/", env!("CARGO_PKG_VERSION"))));
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, PTTH);
    fields.insert(ALPN, alpn(context.protocol));
    fields.insert(EXCHANGE_SLOTS, HeaderValue::from(slots));
    if let Some(id) = &context.agent_id {
        fields.insert(AGENT_ID, HeaderValue::from_str(id).map_err(|_| unusable("--agent-id"))?);
    }
    let authorization = dialer.authorization().await.map_err(|failure| Unreached::new(&failure.text))?;
    fields.extend(authorization.map(|value| (AUTHORIZATION, value)));
    Ok(request)
}

/// Whether the exchange speaks what was asked for. Without `ALPN` that is HTTP/1.1.
fn is_agreed(fields: &HeaderMap, protocol: Protocol) -> Result<(), Unreached> {
    let is_ptth = fields.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(PTTH.as_bytes()));
    let asked = alpn(protocol);
    let said = fields.get(ALPN);
    let is_it = said.map_or(protocol == Protocol::Http1, |said| said.as_bytes().eq_ignore_ascii_case(asked.as_bytes()));
    if is_ptth && is_it {
        return Ok(());
    }
    let said = said.map_or("nothing".into(), |said| String::from_utf8_lossy(said.as_bytes()));
    let text = format!(
        "it was asked for ptth over {} and answers with {}: give another --protocol, or see what stands in between",
        String::from_utf8_lossy(asked.as_bytes()),
        escape(&said)
    );
    Err(Unreached::new(&text))
}

async fn refused<B: Body>(response: Response<B>) -> Unreached
where
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = response.into_parts();
    // A body that does not come says nothing.
    let said = Limited::new(body, CLIENT_PROBLEM_BYTES).collect().await.ok().map(http_body_util::Collected::to_bytes);
    let problem = said.and_then(|said| serde_json::from_slice::<serde_json::Value>(&said).ok());
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str()).unwrap_or_default();
    let remedy = match head.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "give a credential that may work there (--token-file)",
        StatusCode::NOT_FOUND | StatusCode::GONE => "give the URL of the exchange's endpoint (--exchange)",
        // An exchange says which parameter or field it does not take; a proxy knows none of them.
        StatusCode::BAD_REQUEST if !detail.is_empty() => "see --key and --protocol",
        StatusCode::UPGRADE_REQUIRED | StatusCode::BAD_REQUEST => "see that proxies in between pass Upgrade on",
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "tried again",
        _ => "give the URL of an exchange's endpoint (--exchange)",
    };
    let detail = if detail.is_empty() { String::new() } else { format!(" ({})", escape(detail)) };
    let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(WORKER_RETRY_AFTER));
    Unreached { why: format!("it answered {}{detail}: {remedy}", head.status), retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchange_says_which_protocol_begins() {
        let fields = |upgrade: &'static str, alpn: Option<&'static str>| {
            let mut fields = HeaderMap::new();
            fields.insert(UPGRADE, HeaderValue::from_static(upgrade));
            fields.extend(alpn.map(|alpn| (ALPN, HeaderValue::from_static(alpn))));
            fields
        };
        for (upgrade, alpn, protocol, expected) in [
            ("ptth", Some("h2"), Protocol::Http2, true),
            ("PTTH", Some("http%2f1.1"), Protocol::Http1, true),
            ("ptth", None, Protocol::Http1, true),
            ("ptth", None, Protocol::Http2, false),
            ("ptth", Some("http%2F1.1"), Protocol::Http2, false),
            ("websocket", Some("h2"), Protocol::Http2, false),
        ] {
            assert_eq!(is_agreed(&fields(upgrade, alpn), protocol).is_ok(), expected, "{upgrade} {alpn:?}");
        }
    }

    #[tokio::test]
    async fn who_gave_a_key_that_is_not_taken_is_not_sent_to_the_proxies() {
        for (status, body, expected) in [
            (
                400,
                r#"{"detail":"key: the path of this exchange has no {key}: leave it out"}"#,
                "it answered 400 Bad Request (key: the path of this exchange has no {key}: leave it out): see --key and --protocol",
            ),
            (400, "<html>", "it answered 400 Bad Request: see that proxies in between pass Upgrade on"),
            (
                426,
                r#"{"detail":"a"}"#,
                "it answered 426 Upgrade Required (a): see that proxies in between pass Upgrade on",
            ),
        ] {
            let response = Response::builder().status(status).body(body.to_owned()).expect("a response");
            assert_eq!(refused(response).await.why, expected);
        }
    }
}
