//! The answer to a request that cannot be served: `application/problem+json` (RFC 9457) with
//! a stable `type`, naming the parameter, the value and the remedy.
//!
//! | type (after [`TYPE_PREFIX`]) | status | who reads it, and does what |
//! |---|---|---|
//! | bad-parameter | 400 | the author of the client: the parameter, its value and what is allowed |
//! | selection-not-offered | 400 | the author of the client: this model has no parts, ask for the whole |
//! | malformed-request | 400 | the author of the client: the request breaks HTTP |
//! | not-found | 404 | the author of the client: the paths that exist |
//! | method-not-allowed | 405 | the author of the client: `Allow` |
//! | body-too-large | 413 | the operator, on the admin port |
//! | expectation-failed | 417 | the author of the client: only 100-continue |
//! | head-too-large | 431 | the author of the client: a shorter target, fewer or shorter fields |
//! | too-many-parked | 429 | the client: waits for one of its requests to end |
//! | transfer-coding-not-offered | 501 | the author of the client: only chunked |
//! | no-state | 503 | the client: tries again after `Retry-After`; the operator: the source |
//! | not-confirmed | 503 | the client: tries again; its state is newer than what could be confirmed |
//! | too-many-selections | 503 | the client: tries again, elsewhere if it can; the operator: the limit named |
//! | too-many-connections | 503 | the client: tries again, elsewhere if it can; the operator: the limit named |
//! | overloaded | 503 | the client: tries again, elsewhere if it can; the operator: the limit named |
//! | loopback-only | 403 | the operator, on the admin port: asks from the same host |

use http::StatusCode;

use crate::escape::escape;

/// What every `type` begins with.
pub const TYPE_PREFIX: &str = "https://tidewait.dev/problems/";

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind: status, `type` and title.
    pub kind: Kind,
    /// The parameter, the value and the remedy.
    pub detail: String,
    /// Whole seconds after which to try again; jitter is added when it is written.
    pub retry_after: Option<u32>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident $slug:literal $title:literal;)*) => {
        /// The kinds of [`Problem`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The status code.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What stands after [`TYPE_PREFIX`] in `type`.
            #[must_use]
            pub fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// The same for all problems of the kind.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

kinds! {
    /// A parameter or header field of describe has a wrong form.
    BadParameter = BAD_REQUEST "bad-parameter" "A parameter has a wrong form";
    /// `select` was given, and the model is opaque.
    SelectionNotOffered = BAD_REQUEST "selection-not-offered" "Selections are not offered of this model";
    /// The request breaks HTTP in a way that could be used to smuggle another one.
    MalformedRequest = BAD_REQUEST "malformed-request" "The request is malformed";
    /// The admin port refuses changes from other hosts.
    LoopbackOnly = FORBIDDEN "loopback-only" "Only the same host may do this";
    /// No operation and no app for this path.
    NotFound = NOT_FOUND "not-found" "Nothing is here";
    /// The method is not one of `Allow`.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method-not-allowed" "The method is not allowed here";
    /// The body is over its bound.
    BodyTooLarge = PAYLOAD_TOO_LARGE "body-too-large" "The body is too large";
    /// An `Expect` other than 100-continue.
    ExpectationFailed = EXPECTATION_FAILED "expectation-failed" "The expectation cannot be met";
    /// The head is over its bounds.
    HeadTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE "head-too-large" "The head of the request is too large";
    /// The client has too many requests parked.
    TooManyParked = TOO_MANY_REQUESTS "too-many-parked" "Too many requests of this agent are parked";
    /// A transfer coding other than chunked.
    TransferCodingNotOffered = NOT_IMPLEMENTED "transfer-coding-not-offered" "The transfer coding is not offered";
    /// No snapshot yet.
    NoState = SERVICE_UNAVAILABLE "no-state" "There is no state yet";
    /// The client's state is newer than ours, and ours could not be confirmed.
    NotConfirmed = SERVICE_UNAVAILABLE "not-confirmed" "The state could not be confirmed";
    /// As many different selections are in use as are allowed.
    TooManySelections = SERVICE_UNAVAILABLE "too-many-selections" "Too many different selections are in use";
    /// As many connections are open as are allowed.
    TooManyConnections = SERVICE_UNAVAILABLE "too-many-connections" "Too many connections are open";
    /// Refused for load, before parking.
    Overloaded = SERVICE_UNAVAILABLE "overloaded" "Too many requests are parked";
}

impl Problem {
    /// A problem that a retry does not solve.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None }
    }

    /// A problem that may be over after `seconds`.
    #[must_use]
    pub fn retry(kind: Kind, seconds: u32, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: Some(seconds) }
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

    #[test]
    fn slugs_are_distinct() {
        let slugs: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
    }
}
