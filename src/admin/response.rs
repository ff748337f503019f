//! Answers of an admin port.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use crate::describe::Problem;
use crate::describe::problem::{self, Kind};
use crate::escape;

/// Every path, with the methods it has.
pub type Paths = [(&'static str, &'static str)];

/// Metrics as Prometheus reads them.
#[must_use]
pub fn metrics(families: &[MetricFamily]) -> Response<Full<Bytes>> {
    match TextEncoder::new().encode_to_string(families) {
        Ok(metrics) => typed(StatusCode::OK, metrics, prometheus::TEXT_FORMAT),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// No such method at this path (RFC 9110, section 15.5.6, wants `Allow`), or no such path.
#[must_use]
pub fn neither(paths: &Paths, method: &str, path: &str) -> Response<Full<Bytes>> {
    if let Some((_, methods)) = paths.iter().find(|(known, _)| *known == path) {
        let detail = format!("{method} is not for {path}: send {methods}");
        let mut response = refusal(&Problem::new(Kind::MethodNotAllowed, detail));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
        return response;
    }
    let paths = paths.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(" ");
    refusal(&Problem::new(Kind::NotFound, format!("{path} is not here: try {paths}")))
}

/// Text for people.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    typed(status, body, "text/plain; charset=utf-8")
}

/// JSON, whose texts others may have written: shown on terminals.
pub fn json(body: impl Into<Cow<'static, str>>) -> Response<Full<Bytes>> {
    let body = body.into();
    typed(StatusCode::OK, escape::json(&body).into_owned(), "application/json")
}

/// A problem (RFC 9457).
#[must_use]
pub fn refusal(refused: &Problem) -> Response<Full<Bytes>> {
    let mut response = typed(refused.kind.status(), refused.to_json(), problem::MEDIA_TYPE);
    let challenge = refused.challenge.map(HeaderValue::from_static);
    response.headers_mut().extend(challenge.map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
    let retry_after = refused.retry_after.map(HeaderValue::from);
    response.headers_mut().extend(retry_after.map(|seconds| (header::RETRY_AFTER, seconds)));
    response
}

pub(super) fn typed(status: StatusCode, body: impl Into<Bytes>, media_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What others wrote is never taken for a page.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
