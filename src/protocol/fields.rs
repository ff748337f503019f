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
/// In requests: the id of the last event that an `EventSource` has seen (WHATWG HTML, section 9.2.4).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// In answers: `no` where nginx is to pass on each part at once.
pub const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// In answers: each part is of use by itself (draft-ietf-httpbis-incremental).
pub const INCREMENTAL: HeaderName = HeaderName::from_static("incremental");
/// In requests: the instance of the relay that polls.
pub const RELAY: HeaderName = HeaderName::from_static("relay");
/// In answers to relays: the instances that the state has come through.
pub const STATE_PATH: HeaderName = HeaderName::from_static("state-path");
/// In answers to relays: who may be served below.
pub const RELAY_POLICY: HeaderName = HeaderName::from_static("relay-policy");
/// To workers that poll: the claim.
pub const EXCHANGE_CLAIM: HeaderName = HeaderName::from_static("exchange-claim");
/// The item that a consumer's request is.
pub const EXCHANGE_ITEM: HeaderName = HeaderName::from_static("exchange-item");
/// To workers that poll: the method of the request.
pub const EXCHANGE_METHOD: HeaderName = HeaderName::from_static("exchange-method");
/// To workers that poll: the path and query of the request.
pub const EXCHANGE_TARGET: HeaderName = HeaderName::from_static("exchange-target");
/// To workers: which attempt it is, from 1.
pub const EXCHANGE_ATTEMPT: HeaderName = HeaderName::from_static("exchange-attempt");
/// To workers that poll: whole seconds within which the claim is to be touched, and touched again.
pub const EXCHANGE_LEASE: HeaderName = HeaderName::from_static("exchange-lease");
/// To workers: whole seconds until the head of the answer must be there.
pub const EXCHANGE_TIME_LEFT: HeaderName = HeaderName::from_static("exchange-time-left");
/// From workers that poll: the status of the answer.
pub const EXCHANGE_STATUS: HeaderName = HeaderName::from_static("exchange-status");
/// From workers that dial in: how many requests they take at once.
pub const EXCHANGE_SLOTS: HeaderName = HeaderName::from_static("exchange-slots");
/// To workers: `no` where the answer must not be a redirect to a place that can be read once alone.
pub const EXCHANGE_REDIRECT: HeaderName = HeaderName::from_static("exchange-redirect");
/// To who pushes: how many consumers got it.
pub const EXCHANGE_COMPLETED: HeaderName = HeaderName::from_static("exchange-completed");
/// From consumers: names a request, so that a repeated one is the same.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// To publishers: `true` where the message was published before, by the same key.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// To readers of a topic: the first message that is kept.
pub const TOPIC_FIRST: HeaderName = HeaderName::from_static("topic-first");
/// To readers of a topic: the last message.
pub const TOPIC_LAST: HeaderName = HeaderName::from_static("topic-last");
/// From consumers: the urgency (RFC 9218).
pub const PRIORITY: HeaderName = HeaderName::from_static("priority");
/// To consumers: where the state of the work is.
pub const OPERATION_LOCATION: HeaderName = HeaderName::from_static("operation-location");
/// Names a request in logs.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The protocol that is spoken after an upgrade to `ptth`.
pub const ALPN: HeaderName = HeaderName::from_static("alpn");
