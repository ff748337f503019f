//! The answer to a request that cannot be served: `application/problem+json` (RFC 9457) with
//! a stable `type`, naming the parameter, the value and the remedy.

use http::StatusCode;

use crate::escape::escape;
pub use crate::protocol::media_type::PROBLEM as MEDIA_TYPE;
pub use crate::protocol::problem::{Kind, TYPE_PREFIX};
use crate::protocol::query::InvalidParameter;

/// Why a request cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind: status, `type` and title.
    pub kind: Kind,
    /// The parameter, the value and the remedy.
    pub detail: String,
    /// Whole seconds after which to try again; jitter is added when it is written.
    pub retry_after: Option<u32>,
    /// `WWW-Authenticate`: the credential that is asked for (RFC 9110, section 11.6.1).
    pub challenge: Option<&'static str>,
}

impl Problem {
    /// A problem that a retry does not solve.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None, challenge: None }
    }

    /// A problem that may be over after `seconds`.
    #[must_use]
    pub fn retry(kind: Kind, seconds: u32, detail: impl Into<String>) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(kind, detail) }
    }

    /// A problem that a credential solves, of which `challenge` says the form.
    #[must_use]
    pub fn challenge(kind: Kind, challenge: &'static str, detail: impl Into<String>) -> Self {
        Self { challenge: Some(challenge), ..Self::new(kind, detail) }
    }

    /// A parameter of a wrong form: its name, its value (shortened), and what is allowed.
    #[must_use]
    pub fn parameter(name: &str, value: &str, allowed: &str) -> Self {
        let shown: String = value.chars().take(64).flat_map(char::escape_default).collect();
        let dots = if value.chars().nth(64).is_some() { "..." } else { "" };
        Self::new(Kind::BadParameter, format!("{name} is \"{shown}{dots}\": {allowed}"))
    }

    /// The body of the answer.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json(self.kind.slug(), self.kind.title(), self.kind.status(), &self.detail)
    }
}

/// The whole answer to HTTP in the clear on a port that speaks TLS: there is no HTTP that would write it.
#[must_use]
pub fn in_the_clear() -> Vec<u8> {
    let problem = Problem::new(Kind::HttpsOnly, "this request came in the clear: begin its URL with https");
    let (status, json) = (problem.kind.status(), problem.to_json());
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        json.len(),
    );
    [head.into_bytes(), json].concat()
}

impl From<InvalidParameter> for Problem {
    fn from(invalid: InvalidParameter) -> Self {
        Self::parameter(invalid.name, &invalid.value, &invalid.remedy)
    }
}

/// The body of a problem (RFC 9457, section 3.1).
#[must_use]
pub fn json(slug: &str, title: &str, status: StatusCode, detail: &str) -> Vec<u8> {
    let body = serde_json::json!({
        "type": format!("{TYPE_PREFIX}{slug}"),
        "title": title,
        "status": status.as_u16(),
        "detail": escape(detail),
    });
    let mut bytes = body.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_parameter_value_and_remedy_and_escapes_what_it_shows() {
        let problem = Problem::parameter("wait", "\u{7}\"25s", "give seconds, as wait=25");
        let body: serde_json::Value = serde_json::from_slice(&problem.to_json()).expect("JSON");
        assert_eq!(body["type"], "https://tidewait.dev/problems/bad-parameter");
        assert_eq!(body["status"], 400);
        assert_eq!(body["detail"], r#"wait is "\u{7}\"25s": give seconds, as wait=25"#);
        let long = Problem::parameter("since", &"x".repeat(1_000_000), "too long").detail;
        assert!(long.len() < 200, "{long}");
    }
}
