//! Media types of requests and answers.

/// A model (RFC 8259, section 11).
pub const JSON: &str = "application/json";
/// A delta (RFC 6902, section 6).
pub const JSON_PATCH: &str = "application/json-patch+json";
/// A stream of events (WHATWG HTML, section 9.2).
pub const EVENT_STREAM: &str = "text/event-stream";
/// A stream of JSON objects, one a line.
pub const NDJSON: &str = "application/x-ndjson";
/// A problem (RFC 9457, section 3).
pub const PROBLEM: &str = "application/problem+json";
/// What a relay reports of the agents below it.
pub const REPORT: &str = "application/vnd.tidewait.report+json";
