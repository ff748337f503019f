//! PURE. The request of a step: which fields go where.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

use super::Fetch;
use super::chain::Step;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What is known to be no credential. Each other field that the user gives may be one, whatever its name, and stays at home.
const HARMLESS: [&str; 14] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "prefer",
    "priority",
    "range",
    "traceparent",
    "tracestate",
    "user-agent",
];

/// Made for each request, with which a server finds its end.
pub(super) fn is_made(name: &HeaderName) -> bool {
    let made = [header::CONNECTION, header::CONTENT_LENGTH, header::EXPECT, header::TE, header::TRAILER];
    made.contains(name) || [header::TRANSFER_ENCODING, header::UPGRADE].contains(name)
}

/// Surely a credential.
pub(super) fn is_credential(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION].contains(name)
}

/// Of a body, so of no use without it (RFC 9110, 15.4).
fn is_of_body(name: &HeaderName) -> bool {
    name.as_str().starts_with("content-") || matches!(name.as_str(), "digest" | "last-modified" | "repr-digest")
}

/// A server does what is asked for once, however often it gets it.
pub(super) fn has_key(fetch: &Fetch) -> bool {
    fetch.idempotency_key.is_some() || fetch.fields.contains_key(&IDEMPOTENCY_KEY)
}

/// The request of a step; the authorization is that of the token file, at home.
pub(super) fn request(fetch: &Fetch, step: &Step, authorization: Option<HeaderValue>) -> Request<Full<Bytes>> {
    let body = if step.is_original { fetch.body.clone() } else { Bytes::new() };
    let is_empty = body.is_empty();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = step.method.clone();
    // It was one when the target was read.
    *request.uri_mut() = Uri::try_from(step.target.endpoint.path.as_str()).unwrap_or_default();
    *request.headers_mut() = fields(fetch, step, authorization);
    // Without it some servers refuse an empty body (RFC 9110, 8.6).
    if matches!(step.method, Method::POST | Method::PUT | Method::PATCH) && is_empty {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    request
}

fn fields(fetch: &Fetch, step: &Step, authorization: Option<HeaderValue>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_str(step.target.endpoint.authority.as_str()) {
        fields.insert(header::HOST, host);
    }
    fields.insert(header::USER_AGENT, HeaderValue::from_static(concat!("tidewait/", env!("CARGO_PKG_VERSION"))));
    fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    for name in fetch.fields.keys() {
        let is_of_original = is_of_body(name) || name == IDEMPOTENCY_KEY;
        let may_leave = is_of_original || HARMLESS.contains(&name.as_str());
        if (is_of_original && !step.is_original) || (!may_leave && !step.is_home) {
            continue;
        }
        fields.remove(name);
        for value in fetch.fields.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    if fetch.respond_async {
        fields.append(PREFER, HeaderValue::from_static("respond-async"));
    }
    if let Some(Ok(wait)) = fetch.wait.map(|wait| HeaderValue::try_from(format!("wait={wait}"))) {
        fields.append(PREFER, wait);
    }
    if let Some(key) = fetch.idempotency_key.as_ref().filter(|_| step.is_original) {
        fields.insert(IDEMPOTENCY_KEY, key.clone());
    }
    if let Some(upgrade) = fetch.upgrade.as_ref().filter(|_| step.is_home) {
        fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(header::UPGRADE, upgrade.clone());
    }
    if let Some(authorization) = authorization.filter(|_| step.is_home) {
        fields.insert(header::AUTHORIZATION, authorization);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::super::target::Target;
    use super::*;

    fn fetch() -> Fetch {
        let mut fetch = Fetch::new("https://a/");
        for (name, value) in [
            ("authorization", "Basic x"),
            ("cookie", "x"),
            ("x-api-key", "x"),
            ("host", "x"),
            ("content-type", "text/plain"),
            ("content-language", "en"),
            ("accept", "text/plain"),
            ("traceparent", "x"),
            ("idempotency-key", "j"),
        ] {
            fetch.fields.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        fetch.idempotency_key = Some(HeaderValue::from_static("k"));
        (fetch.respond_async, fetch.wait) = (true, Some(9));
        fetch.body = Bytes::from_static(b"body");
        fetch
    }

    #[test]
    fn what_may_be_a_credential_stays_at_home_and_what_is_of_the_body_goes_with_it() {
        let at_home = ["authorization", "cookie", "x-api-key"];
        let always = ["accept", "host", "prefer", "traceparent", "user-agent"];
        let of_body = ["content-language", "content-type", "idempotency-key"];
        for (is_original, is_home) in [(true, true), (true, false), (false, true), (false, false)] {
            let target = Target::parse("https://b:8/x?y").expect("a URL");
            let method = if is_original { Method::PUT } else { Method::GET };
            let step = Step { target, method: method.clone(), is_original, is_home };
            let request = request(&fetch(), &step, Some(HeaderValue::from_static("Bearer token")));
            let mut found: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
            found.sort_unstable();
            let mut expected = always.to_vec();
            expected.extend(at_home.into_iter().filter(|_| is_home));
            expected.extend(of_body.into_iter().filter(|_| is_original));
            expected.sort_unstable();
            assert_eq!(found, expected, "original: {is_original}, home: {is_home}");
            assert_eq!(request.headers()["host"], if is_home { "x" } else { "b:8" });
            assert_eq!(request.headers()["accept"], "text/plain");
            assert_eq!(request.headers().get("idempotency-key").is_some_and(|key| key == "k"), is_original);
            let prefer: Vec<_> = request.headers().get_all("prefer").iter().collect();
            assert_eq!(prefer, ["respond-async", "wait=9"]);
            if is_home {
                assert_eq!(request.headers()["authorization"], "Bearer token", "the file is what was asked for");
            }
            assert_eq!((request.uri().to_string().as_str(), request.method()), ("/x?y", &method));
        }
    }

    #[test]
    fn a_key_is_one_wherever_it_is_given() {
        let mut fetch = Fetch::new("https://a/");
        assert!(!has_key(&fetch));
        fetch.fields.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("k"));
        assert!(has_key(&fetch));
    }

    #[test]
    fn an_empty_body_is_said_to_be_empty_where_one_is_expected() {
        for (method, length) in
            [(Method::GET, None), (Method::HEAD, None), (Method::DELETE, None), (Method::POST, Some("0"))]
        {
            let target = Target::parse("https://a/").expect("a URL");
            let step = Step { target, method: method.clone(), is_original: true, is_home: true };
            let request = request(&Fetch::new("https://a/"), &step, None);
            let found = request.headers().get("content-length").map(|value| value.to_str().expect("ASCII"));
            assert_eq!(found, length, "{method}");
        }
    }
}
