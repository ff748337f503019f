//! PURE. Which header fields a hop takes off, keeps and adds on the way to the app and back.
//!
//! Off: everything that concerns one connection only (RFC 9110, section 7.6.1). Added: who asked
//! (`X-Forwarded-For`, `-Proto`, `-Host` and RFC 7239's `Forwarded`). All else stays as it came,
//! in its order, repeated fields included.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, Entry, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use ipnet::IpNet;

use crate::access::{Caller, IdentityFields};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Removed whether or not `Connection` names them. RFC 9110 has the list in section 7.6.1 and
/// makes the `Proxy-` fields the business of one hop in section 11.7: credentials for a proxy are
/// not the app's to see. `HTTP2-Settings` belongs to `Upgrade: h2c`, which is never passed.
const ONE_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that stay even if `Connection` names them. RFC 9110, section 7.6.1, forbids to name
/// what is meant for all recipients, so no conforming sender notices; a client that does it wants
/// the hop to take away what frames, routes or authenticates a request, or names its sender.
/// Other fields are removed when named, as the same section demands.
const ALL_HOPS: [HeaderName; 20] = [
    HOST,
    CONTENT_LENGTH,
    AUTHORIZATION,
    COOKIE,
    FORWARDED,
    http::header::CACHE_CONTROL,
    http::header::CONTENT_ENCODING,
    http::header::CONTENT_RANGE,
    http::header::CONTENT_TYPE,
    http::header::DATE,
    http::header::ETAG,
    http::header::EXPECT,
    http::header::LOCATION,
    http::header::ORIGIN,
    http::header::RANGE,
    http::header::SET_COOKIE,
    http::header::TRAILER,
    http::header::VARY,
    http::header::VIA,
    http::header::WWW_AUTHENTICATE,
];

/// What proxies other than ours write about the client, beside all of `X-Forwarded-*`.
const ABOUT_THE_CLIENT: [&str; 9] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// How many fields a hop adds at most: the four about the client and the two of its identity, `TE`, `Connection` and `Upgrade`.
const HOP_FIELDS: usize = 9;
/// Bytes of a forwarded-element without the host: an address of IPv6, and `https`.
const ELEMENT: usize = 80;

/// Who sent a request, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    address: IpAddr,
    trusted: bool,
    scheme: &'static str,
    identity: CallerFields,
}

/// What the app is told of who sent a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallerFields {
    /// Their names.
    pub names: Arc<IdentityFields>,
    /// Who.
    pub caller: Caller,
}

impl Peer {
    /// The peer at `address`, which spoke `scheme` (`http` or `https`). Its forwarding fields count
    /// when it is within `trusted`. IPv4-mapped IPv6 is IPv4.
    #[must_use]
    pub fn new(address: IpAddr, scheme: &'static str, trusted: &[IpNet], identity: CallerFields) -> Self {
        let canonical = address.to_canonical();
        let trusted = trusted.iter().any(|net| net.contains(&canonical) || net.contains(&address));
        Self { address: canonical, trusted, scheme, identity }
    }
}

/// The protocols that an HTTP/1.1 request asks to switch to, without `h2c`; none unless
/// `Connection` says `upgrade` (RFC 9110, section 7.8).
///
/// `h2c` is dropped since a tunnel would let a client send the app requests that nobody checked.
#[must_use]
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    if !tokens(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade")) {
        return None;
    }
    let wanted: Vec<&[u8]> = tokens(headers, &UPGRADE).filter(|name| !name.eq_ignore_ascii_case(b"h2c")).collect();
    if wanted.is_empty() { None } else { HeaderValue::from_bytes(&wanted.join(&b", "[..])).ok() }
}

/// Makes the fields of a client's request those of the request to an app that speaks HTTP/1.1.
/// `upgrade` is the result of [`upgrade`], where the upgrade is passed on.
pub fn to_app(headers: &mut HeaderMap, peer: &Peer, upgrade: Option<HeaderValue>) {
    let trailers = takes_trailers(headers);
    strip(headers, HOP_FIELDS, |name| !peer.may_say(name));
    // RFC 9110, section 10.1.4: a sender of TE also names it in Connection.
    let options = match (trailers, upgrade.is_some()) {
        (true, true) => Some("te, upgrade"),
        (true, false) => Some("te"),
        (false, true) => Some("upgrade"),
        (false, false) => None,
    };
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocols) = upgrade {
        headers.insert(UPGRADE, protocols);
    }
    if let Some(options) = options {
        headers.insert(CONNECTION, HeaderValue::from_static(options));
    }
    peer.introduce(headers);
}

/// Makes the fields of a client's request those of the request to an app that speaks HTTP/2, which
/// has no `Connection`, and names the host in `:authority`: the value of `Host` is returned.
pub fn to_http2_app(headers: &mut HeaderMap, peer: &Peer) -> Option<HeaderValue> {
    let trailers = takes_trailers(headers);
    strip(headers, HOP_FIELDS, |name| !peer.may_say(name));
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    peer.introduce(headers);
    let host = headers.get(HOST).cloned();
    let fields = std::mem::take(headers);
    append(headers, fields, 0, |name| *name != HOST);
    host
}

/// Makes the fields of the app's answer those of the answer to the client. `Upgrade` stays, with
/// `Connection: upgrade`, only where `upgrade` says that it means something: 101, and 426
/// (RFC 9110, section 15.5.22), on HTTP/1.1.
pub fn to_client(headers: &mut HeaderMap, upgrade: bool) {
    let protocols: Vec<HeaderValue> =
        if upgrade { headers.get_all(UPGRADE).iter().cloned().collect() } else { Vec::new() };
    // RFC 9112, section 6.3: of the two, the length is wrong, and must not be forwarded.
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    strip(headers, 0, |name| chunked && *name == CONTENT_LENGTH);
    if !protocols.is_empty() {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        for protocol in protocols {
            headers.append(UPGRADE, protocol);
        }
    }
}

/// The codings of an answer's body beside chunked, which hyper takes away alone.
#[must_use]
pub fn codings(headers: &HeaderMap) -> Option<String> {
    let codings: Vec<&[u8]> = tokens(headers, &TRANSFER_ENCODING).collect();
    match &codings[..] {
        [] => None,
        // Of old servers, which mean none by it (RFC 2616, section 3.6).
        [one] if one.eq_ignore_ascii_case(b"chunked") || one.eq_ignore_ascii_case(b"identity") => None,
        all => Some(String::from_utf8_lossy(&all.join(&b", "[..])).into_owned()),
    }
}

/// Removes from a request's trailers the fields that no trailer may have (RFC 9110, section 6.5.1): apps that
/// join them to the fields of the head would take it for the word of this hop.
pub fn trailers_to_app(trailers: &mut HeaderMap, identity: &IdentityFields) {
    strip(trailers, 0, |name| ALL_HOPS.contains(name) || is_about_the_client(name) || identity.has(name));
}

/// Takes out of an answer's trailers what is of one hop.
pub fn trailers_to_client(trailers: &mut HeaderMap) {
    strip(trailers, 0, |_| false);
}

/// Makes fields that came over HTTP/2 those of HTTP/1.1: `Host` from `:authority` (RFC 9113,
/// section 8.3.1), first; the crumbs of `Cookie` joined again (section 8.2.3).
pub fn from_http2(headers: &mut HeaderMap, authority: Option<HeaderValue>) {
    if let Some(authority) = authority.filter(|_| !headers.contains_key(HOST)) {
        let fields = std::mem::take(headers);
        headers.insert(HOST, authority);
        append(headers, fields, HOP_FIELDS, |_| true);
    }
    if let Entry::Occupied(mut cookie) = headers.entry(COOKIE) {
        let crumbs: Vec<&[u8]> = cookie.iter().map(HeaderValue::as_bytes).collect();
        if crumbs.len() > 1 {
            let joined = join(&crumbs, b"; ");
            cookie.insert(joined);
        }
    }
}

impl Peer {
    /// Whether what the client says in field `name` may reach the app. With `_` for `-` it may
    /// not, from no one: CGI and WSGI read both spellings as one, and a trusted proxy writes
    /// only the other.
    fn may_say(&self, name: &HeaderName) -> bool {
        let is_passed = !is_about_the_client(name) || (self.trusted && !name.as_str().contains('_'));
        is_passed && !self.identity.names.has(name)
    }

    /// Adds this hop. What is there already came from a trusted peer.
    fn introduce(&self, headers: &mut HeaderMap) {
        headers.reserve(HOP_FIELDS);
        let host = headers.get(HOST).cloned();
        let (address, element) = self.element(host.as_ref());
        extend(headers, X_FORWARDED_FOR, address);
        if let Entry::Vacant(entry) = headers.entry(X_FORWARDED_PROTO) {
            entry.insert(HeaderValue::from_static(self.scheme));
        }
        if let (Entry::Vacant(entry), Some(host)) = (headers.entry(X_FORWARDED_HOST), host) {
            entry.insert(host);
        }
        extend(headers, FORWARDED, element);
        self.identity.names.write(&self.identity.caller, headers);
    }

    /// The peer's address, and one `forwarded-element` (RFC 7239, section 4), in one allocation. IPv6 is bracketed and
    /// quoted there (section 6).
    fn element(&self, host: Option<&HeaderValue>) -> (HeaderValue, HeaderValue) {
        let (open, close) = if self.address.is_ipv6() { ("for=\"[", "]\"") } else { ("for=", "") };
        let host = host.and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty());
        let mut element = String::with_capacity(ELEMENT + host.map_or(0, str::len));
        element.push_str(open);
        // Writing to a string does not fail.
        let _ = write!(element, "{}", self.address);
        let address = open.len()..element.len();
        element.push_str(close);
        if let Some(host) = host {
            element.push_str(";host=");
            if host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
                element.push_str(host);
            } else {
                element.push('"');
                for char in host.chars() {
                    if matches!(char, '\\' | '"') {
                        element.push('\\');
                    }
                    element.push(char);
                }
                element.push('"');
            }
        }
        element.push_str(";proto=");
        element.push_str(self.scheme);
        let element = Bytes::from(element);
        let value = |bytes| HeaderValue::from_maybe_shared(bytes).expect("of visible ASCII");
        (value(element.slice(address)), value(element))
    }
}

/// Whether a field, also if it is spelt with `_` for `-`, names the sender.
fn is_about_the_client(name: &HeaderName) -> bool {
    let name = name.as_str();
    let dashed = if name.contains('_') { Cow::from(name.replace('_', "-")) } else { Cow::from(name) };
    dashed.starts_with("x-forwarded-") || ABOUT_THE_CLIENT.contains(&&*dashed)
}

/// Removes the fields of one hop, those that `Connection` names, and those that `also` says. `room` is for those that
/// are added next.
fn strip(headers: &mut HeaderMap, room: usize, also: impl Fn(&HeaderName) -> bool) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        // Options, and as names of fields nothing is lost with them.
        .filter(|option| !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close"))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !ALL_HOPS.contains(name) && !name.as_str().starts_with("x-forwarded-"))
        .collect();
    let stays = |name: &HeaderName| !ONE_HOP.contains(name) && !named.contains(name) && !also(name);
    if !headers.keys().all(stays) {
        let fields = std::mem::take(headers);
        append(headers, fields, room, stays);
    }
}

/// Appends the fields that `keep` keeps, in their order ([`HeaderMap::remove`] would reorder them), with room for more.
fn append(headers: &mut HeaderMap, fields: HeaderMap, room: usize, keep: impl Fn(&HeaderName) -> bool) {
    headers.reserve(fields.len() + room);
    let mut current = None;
    for (name, value) in fields {
        if let Some(name) = name {
            current = keep(&name).then_some(name);
        }
        if let Some(name) = &current {
            headers.append(name, value);
        }
    }
}

/// Adds an element to a list: in one line, since apps that read only one line exist.
fn extend(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, element);
        return;
    }
    let mut elements: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    elements.retain(|element| !element.is_empty());
    elements.push(element.as_bytes());
    let list = join(&elements, b", ");
    headers.insert(name, list);
}

fn join(values: &[&[u8]], separator: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(&values.join(separator)).expect("values stay values when joined")
}

/// The elements of a list field (RFC 9110, section 5.6.1), of all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Whether the sender understands trailers.
fn takes_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &TE).any(|coding| is_coding(coding, b"trailers"))
}

/// Whether an element of `TE` is this coding, with whatever weight.
fn is_coding(element: &[u8], coding: &[u8]) -> bool {
    let name = element.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(coding)
}

#[cfg(test)]
mod tests;
