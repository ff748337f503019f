//! A request as the app gets it.

use http::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Version};
use hyper::body::Body as _;

use crate::config::Protocol;
use crate::http::forwarded::{self, Peer};
use crate::http::request_body::RequestBody;

/// A request on its way: what is needed to send it, perhaps again.
pub(super) struct Outbound {
    pub(super) parts: Parts,
    pub(super) body: Option<RequestBody>,
    /// Whether the app may take another protocol, with which nothing is repeated.
    pub(super) upgrade: bool,
}

impl Outbound {
    /// The request that `peer` has sent, for `app`, which speaks `protocol`; with the wish for another one in `upgrade`.
    pub(super) fn new(
        request: Request<RequestBody>,
        peer: &Peer,
        upgrade: Option<HeaderValue>,
        app: &Authority,
        protocol: Protocol,
    ) -> Self {
        let (mut parts, body) = request.into_parts();
        let http2 = parts.version == Version::HTTP_2;
        if http2 {
            let authority = parts.uri.authority().and_then(|found| HeaderValue::from_str(found.as_str()).ok());
            forwarded::from_http2(&mut parts.headers, authority);
        }
        let body = (!body.is_end_stream()).then_some(body);
        let upgrades = upgrade.is_some();
        match protocol {
            Protocol::Http1 => {
                forwarded::to_app(&mut parts.headers, peer, upgrade);
                // HTTP/1.0 may come without.
                parts.headers.entry(HOST).or_insert_with(|| host(app));
                parts.uri = Uri::from(path(&parts.uri));
                parts.version = Version::HTTP_11;
                if body.as_ref().is_some_and(|body| body.size_hint().exact().is_none()) {
                    // Said here, since hyper sends a GET of unknown length without its body.
                    parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                }
            }
            Protocol::Http2 => {
                let host = forwarded::to_http2_app(&mut parts.headers, peer);
                // The gate has seen that it is one; HTTP/1.0 may come without.
                let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
                parts.uri = target(host.unwrap_or_else(|| app.clone()), &parts.uri);
                parts.version = Version::HTTP_2;
            }
        }
        Self { parts, body, upgrade: upgrades }
    }
}

/// Path and query, byte for byte.
fn path(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// The same path and query at `authority`.
fn target(authority: Authority, uri: &Uri) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path(uri));
    Uri::from_parts(parts).expect("scheme, authority and path make a URI")
}

/// The app's `Host`, without the port where that is the usual one.
fn host(app: &Authority) -> HeaderValue {
    let text = if app.port_u16() == Some(80) { app.host() } else { app.as_str() };
    HeaderValue::from_str(text).expect("an authority is of visible ASCII")
}
