//! PURE. Whether a page may publish, or open a connection of WebSocket: a browser sends any page's requests, and the cookies of the
//! origin along.

use http::request::Parts;
use http::{HeaderValue, header};

use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::protocol::fields::IDEMPOTENCY_KEY;

/// Pages of which origins may do more than read: those of the server's own, and these.
#[derive(Debug, Clone, Default)]
pub struct Origins(Box<[String]>);

impl Origins {
    /// Those that are listed, each a scheme, a host and perhaps a port.
    #[must_use]
    pub fn new(listed: &[String]) -> Self {
        Self(listed.iter().map(|origin| origin.to_ascii_lowercase()).collect())
    }

    /// Refuses what a page of another origin has sent.
    ///
    /// The scheme of the server's own is not compared: what ends TLS before the server is not known here.
    pub(super) fn check(&self, parts: &Parts) -> Result<(), Problem> {
        let Some(origin) = parts.headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
        if self.0.contains(&origin.to_ascii_lowercase()) {
            return Ok(());
        }
        let host = parts.headers.get(header::HOST).and_then(|host| HeaderValue::to_str(host).ok());
        let host = parts.uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
        let of_page = origin.split_once("://").map_or(&*origin, |(_, authority)| authority);
        let scheme = origin.split_once("://").map_or("", |(scheme, _)| scheme);
        if is_same(of_page, host, scheme) {
            return Ok(());
        }
        let detail = format!(
            "a page of {origin:?} may not do this where Host is {host:?}: let a page of that do it, let the proxy in front pass Host on \
             as it came, or list the page in access.origins"
        );
        Err(Problem::new(Kind::ForeignOrigin, detail))
    }

    /// Refuses a publication that a page of another origin has sent, or could have sent.
    ///
    /// A form or a simple `fetch` cannot send a field of its own, so beside cookies one is needed, and the key is of use anyway.
    pub(super) fn check_publication(&self, parts: &Parts) -> Result<(), Problem> {
        self.check(parts)?;
        if parts.headers.contains_key(header::COOKIE) && !parts.headers.contains_key(IDEMPOTENCY_KEY) {
            let detail = "a request with cookies needs an Idempotency-Key, which no form can send: send one";
            return Err(Problem::new(Kind::ForeignOrigin, detail));
        }
        Ok(())
    }
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
        let origins = Origins::new(&["https://Pages.example".to_owned()]);
        for (fields, good) in [
            (&[("host", "a:1")][..], true),
            (&[("host", "a:1"), ("origin", "http://a:1")], true),
            (&[("host", "A:1"), ("origin", "https://a:1")], true),
            (&[("host", "a"), ("origin", "https://a:443")], true),
            (&[("host", "a:80"), ("origin", "http://a")], true),
            (&[("host", "a"), ("origin", "http://b")], false),
            (&[("host", "a:1"), ("origin", "http://a:2")], false),
            (&[("host", "a"), ("origin", "null")], false),
            (&[("host", "a"), ("origin", "https://pages.example")], true),
            (&[("host", "a"), ("origin", "http://pages.example")], false),
            (&[("host", "a"), ("cookie", "c=1")], false),
            (&[("host", "a"), ("cookie", "c=1"), ("idempotency-key", "k")], true),
        ] {
            let request =
                fields.iter().fold(Request::post("/chat"), |request, (name, value)| request.header(*name, *value));
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(origins.check_publication(&parts).is_ok(), good, "{fields:?}");
        }
        let (parts, ()) =
            Request::post("http://a:1/chat").header("origin", "http://a:1").body(()).expect("one").into_parts();
        assert_eq!(origins.check_publication(&parts), Ok(()), "HTTP/2 has no Host");
    }
}
