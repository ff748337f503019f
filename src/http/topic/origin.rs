//! PURE. Whether a page may publish: a browser sends any page's requests, and the cookies of the origin along.

use http::request::Parts;
use http::{HeaderValue, header};

use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::protocol::fields::IDEMPOTENCY_KEY;

/// Refuses a publication that a page of another origin has sent, or could have sent.
///
/// The scheme is not compared: what ends TLS before the server is not known here. A form or a simple `fetch` cannot send a field of
/// its own, so beside cookies one is needed, and the key is of use anyway.
pub(super) fn check(parts: &Parts) -> Result<(), Problem> {
    let foreign = |detail: String| Problem::new(Kind::ForeignOrigin, detail);
    if let Some(origin) = parts.headers.get(header::ORIGIN) {
        let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
        let host = parts.headers.get(header::HOST).and_then(|host| HeaderValue::to_str(host).ok());
        let host = parts.uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
        let of_page = origin.split_once("://").map_or(&*origin, |(_, authority)| authority);
        let scheme = origin.split_once("://").map_or("", |(scheme, _)| scheme);
        if !is_same(of_page, host, scheme) {
            return Err(foreign(format!(
                "a page of {origin:?} may not publish where Host is {host:?}: publish from a page of that, or let the proxy in front pass \
                 Host on as it came"
            )));
        }
    }
    if parts.headers.contains_key(header::COOKIE) && !parts.headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(foreign(
            "a request with cookies needs an Idempotency-Key, which no form can send: send one".to_owned(),
        ));
    }
    Ok(())
}

/// Whether two authorities are the same, where the port of a scheme may be left out.
fn is_same(page: &str, host: &str, scheme: &str) -> bool {
    let port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let plain = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    plain(page) == plain(host)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn pages_publish_at_their_own_origin_alone() {
        for (fields, good) in [
            (&[("host", "a:1")][..], true),
            (&[("host", "a:1"), ("origin", "http://a:1")], true),
            (&[("host", "A:1"), ("origin", "https://a:1")], true),
            (&[("host", "a"), ("origin", "https://a:443")], true),
            (&[("host", "a:80"), ("origin", "http://a")], true),
            (&[("host", "a"), ("origin", "http://b")], false),
            (&[("host", "a:1"), ("origin", "http://a:2")], false),
            (&[("host", "a"), ("origin", "null")], false),
            (&[("host", "a"), ("cookie", "c=1")], false),
            (&[("host", "a"), ("cookie", "c=1"), ("idempotency-key", "k")], true),
        ] {
            let request =
                fields.iter().fold(Request::post("/chat"), |request, (name, value)| request.header(*name, *value));
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(check(&parts).is_ok(), good, "{fields:?}");
        }
        let (parts, ()) =
            Request::post("http://a:1/chat").header("origin", "http://a:1").body(()).expect("one").into_parts();
        assert_eq!(check(&parts), Ok(()), "HTTP/2 has no Host");
    }
}
