//! The page for people: three files without a framework, which load nothing from elsewhere and read [`events`](super::events).
//! Texts that others wrote are text in it, never markup, and its policy runs no script but its own.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::response::typed;

/// The demonstration reads servers of any host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self' http: https: ws: wss:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'";

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Html,
    Css,
    Js,
}

impl File {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Html => "/",
            Self::Css => "/page.css",
            Self::Js => "/page.js",
        }
    }

    pub(super) fn answer(self) -> Response<Full<Bytes>> {
        let (text, media_type) = match self {
            Self::Html => (include_str!("page/index.html"), "text/html; charset=utf-8"),
            Self::Css => (include_str!("page/page.css"), "text/css; charset=utf-8"),
            Self::Js => (include_str!("page/page.js"), "text/javascript; charset=utf-8"),
        };
        let mut response = typed(StatusCode::OK, text, media_type);
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
