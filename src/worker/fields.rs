//! PURE. What of a message belongs to one connection alone (RFC 9110, section 7.6.1), and does not go on to the next.

use http::header::{CONNECTION, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Beside those that `Connection` names.
const HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Makes the fields of a request those for the server. `authority` is that of a request of HTTP/2, and `Host` where it has none of
/// its own. What the exchange says of the consumer (`Forwarded`, `X-Request-Id`, `Exchange-*`) passes.
pub(super) fn to_server(headers: &mut HeaderMap, authority: Option<&Authority>) {
    let takes_trailers = elements(headers, &TE).any(|element| element.eq_ignore_ascii_case("trailers"));
    strip(headers);
    // Whoever waits for a 100 has it from the exchange.
    headers.remove(EXPECT);
    if let Some(Ok(host)) = authority.map(|authority| HeaderValue::from_str(authority.as_str())) {
        headers.insert(HOST, host);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Makes the fields of an answer those for the exchange. False: it is coded in a way that cannot be undone here.
pub(super) fn to_exchange(headers: &mut HeaderMap) -> bool {
    let is_plain = elements(headers, &TRANSFER_ENCODING).all(|coding| coding.eq_ignore_ascii_case("chunked"));
    strip(headers);
    is_plain
}

/// Fields of interim answers and trailers.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named: Vec<_> = elements(headers, &CONNECTION).filter_map(|name| name.parse::<HeaderName>().ok()).collect();
    for name in HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Whether a request may be made again by whoever does not know whether it was begun: the method says so, or its key does.
pub(super) fn is_repeatable(method: &Method, headers: &HeaderMap) -> bool {
    method.is_idempotent() || headers.contains_key("idempotency-key")
}

fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> HeaderMap {
        let pairs = text.split('|').filter_map(|pair| pair.split_once(": "));
        pairs.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn what_belongs_to_a_connection_stays_on_it() {
        let mut request = fields(
            "connection: close, x-hop|x-hop: 1|keep-alive: 5|te: trailers|upgrade: h2c|expect: 100-continue|host: a|\
             forwarded: for=1|exchange-attempt: 1|x-request-id: 7",
        );
        to_server(&mut request, None);
        let expected = "host: a|forwarded: for=1|exchange-attempt: 1|x-request-id: 7|te: trailers|connection: te";
        assert_eq!(request, fields(expected));
        to_server(&mut request, Some(&Authority::from_static("b:1")));
        assert_eq!(request.get(HOST).expect("one"), "b:1");
        for (answer, is_plain, expected) in [
            ("transfer-encoding: chunked|a: b", true, "a: b"),
            ("transfer-encoding: gzip, chunked", false, ""),
            ("connection: A|a: b|proxy-connection: x|content-length: 1", true, "content-length: 1"),
        ] {
            let mut answer = fields(answer);
            assert_eq!((to_exchange(&mut answer), answer), (is_plain, fields(expected)));
        }
    }

    #[test]
    fn a_post_is_repeatable_only_with_its_key() {
        assert!(is_repeatable(&Method::PUT, &HeaderMap::new()));
        assert!(!is_repeatable(&Method::POST, &HeaderMap::new()));
        assert!(is_repeatable(&Method::POST, &fields("idempotency-key: a")));
    }
}
