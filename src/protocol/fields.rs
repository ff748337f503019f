//! Names of the header fields that are not in the registry of HTTP, or that the `http` crate has no constant for.

use http::HeaderName;

/// In answers: names the state.
pub const STATE_ID: HeaderName = HeaderName::from_static("state-id");
/// In answers: whole seconds since the source last confirmed the state.
pub const STATE_AGE: HeaderName = HeaderName::from_static("state-age");
/// In answers: SHA-256 of the bytes of the state without a coding, as [`state_digest`](super::state_digest) gives it.
pub const STATE_DIGEST: HeaderName = HeaderName::from_static("state-digest");
/// In answers: the state that a delta begins at.
pub const DELTA_BASE: HeaderName = HeaderName::from_static("delta-base");
/// In answers: whole seconds; who loses the connection waits a random part of them before the first attempt.
pub const RECONNECT_WITHIN: HeaderName = HeaderName::from_static("reconnect-within");
/// In answers: the preference that was followed (RFC 7240, section 3).
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// In requests: `wait`, where the query has none (RFC 7240).
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// In requests: names the agent that polls.
pub const AGENT_ID: HeaderName = HeaderName::from_static("agent-id");
/// In requests: says why a state was rejected.
pub const REJECTED_REASON: HeaderName = HeaderName::from_static("rejected-reason");
/// In requests, set by Envoy: the milliseconds after which it gives up.
pub const ENVOY_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
/// In requests: the instance of the relay that polls.
pub const RELAY: HeaderName = HeaderName::from_static("relay");
/// In answers to relays: the instances that the state has come through.
pub const STATE_PATH: HeaderName = HeaderName::from_static("state-path");
/// In answers to relays: who may be served below.
pub const RELAY_POLICY: HeaderName = HeaderName::from_static("relay-policy");
