//! PURE. What pages may do at either port: a browser sends any page's requests, and the cookies of the server's origin along, and lets
//! a page of another origin read an answer only if that says so (Fetch, section 3.3: CORS).

use std::num::NonZeroU16;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::bounds::PREFLIGHT_AGE;
use crate::describe::problem::Kind;
use crate::describe::{Answer, Problem};
use crate::protocol::fields::IDEMPOTENCY_KEY;

/// The fields that a page may read of an answer, beside those that browsers show it anyway.
const EXPOSED: &str = "Delta-Base, ETag, Idempotency-Replayed, Link, Location, Preference-Applied, Reconnect-Within, Retry-After, \
                       State-Age, State-Digest, State-Id, Topic-First, Topic-Last, WWW-Authenticate";

/// Pages of which origins may do more than read: those of the server's own, and these, which may read what is answered to them.
#[derive(Debug, Clone, Default)]
pub struct Origins(Arc<[Origin]>);

#[derive(Debug)]
struct Origin {
    text: String,
    /// What an answer to a page of it has.
    fields: [(HeaderName, HeaderValue); 4],
}

/// An origin that is listed, by its place in the list, from one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed(NonZeroU16);

impl Origins {
    /// Those that are listed, each a scheme, a host and perhaps a port.
    #[must_use]
    pub fn new(listed: &[String]) -> Self {
        Self(listed.iter().filter_map(|origin| Origin::new(origin.to_ascii_lowercase())).collect())
    }

    /// The listed origin of the page that has sent a request; none: no page has, or one of another origin.
    #[must_use]
    pub fn listed(&self, fields: &HeaderMap) -> Option<Listed> {
        let origin = fields.get(header::ORIGIN).filter(|_| !self.0.is_empty())?;
        self.find(&origin.to_str().ok()?.to_ascii_lowercase())
    }

    fn find(&self, origin: &str) -> Option<Listed> {
        let at = self.0.iter().position(|listed| listed.text == origin)?;
        u16::try_from(at + 1).ok().and_then(NonZeroU16::new).map(Listed)
    }

    /// The fields that let a page of this origin read an answer.
    #[must_use]
    pub fn fields(&self, listed: Option<Listed>) -> &[(HeaderName, HeaderValue)] {
        let at = listed.map(|Listed(at)| usize::from(at.get()) - 1);
        at.and_then(|at| self.0.get(at)).map_or(&[], |origin| &origin.fields)
    }

    /// The answer to a browser that asks, before it sends it, whether a page of a listed origin may send a request with one of these
    /// methods (Fetch, section 3.3.2); none: that is not asked. It comes without credentials, so it is answered to anybody.
    #[must_use]
    pub fn preflight(&self, parts: &Parts, methods: &'static str) -> Option<Answer> {
        let asks = parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        self.listed(&parts.headers).filter(|_| asks)?;
        // Beside those that every answer to such a page has.
        let mut fields = vec![
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods)),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_AGE.as_secs())),
        ];
        // Whatever it is: who is listed may send what any other client may.
        let asked = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        fields.extend(asked.map(|asked| (header::ACCESS_CONTROL_ALLOW_HEADERS, asked)));
        Some(Answer::other(StatusCode::NO_CONTENT, fields, None))
    }

    /// Refuses what a page of another origin has sent.
    ///
    /// The scheme of the server's own is not compared: what ends TLS before the server is not known here.
    pub fn check(&self, parts: &Parts) -> Result<(), Problem> {
        let Some(origin) = parts.headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
        if self.find(&origin.to_ascii_lowercase()).is_some() {
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
    pub fn check_publication(&self, parts: &Parts) -> Result<(), Problem> {
        self.check(parts)?;
        if parts.headers.contains_key(header::COOKIE) && !parts.headers.contains_key(IDEMPOTENCY_KEY) {
            let detail = "a request with cookies needs an Idempotency-Key, which no form can send: send one";
            return Err(Problem::new(Kind::ForeignOrigin, detail));
        }
        Ok(())
    }
}

impl Origin {
    fn new(text: String) -> Option<Self> {
        let fields = [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_str(&text).ok()?),
            (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)),
            // Answers are not stored, but what is in between may not know that of each.
            (header::VARY, HeaderValue::from_static("Origin")),
        ];
        Some(Self { text, fields })
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
