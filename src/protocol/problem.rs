//! The kinds of problem that an answer can tell of (RFC 9457), each with a stable `type`.
//!
//! | type (after [`TYPE_PREFIX`]) | status | who reads it, and does what |
//! |---|---|---|
//! | bad-parameter | 400 | the author of the client: the parameter, its value and what is allowed |
//! | selection-not-offered | 400 | the author of the client: this model has no parts, ask for the whole |
//! | malformed-request | 400 | the author of the client: the request breaks HTTP |
//! | https-only | 400 | the author of the client: this port speaks HTTP over TLS alone |
//! | unauthorized | 401 | the client: sends a credential, `WWW-Authenticate` says which |
//! | forbidden | 403 | the operator: a rule that names the caller and the operation |
//! | not-found | 404 | the author of the client: the paths that exist |
//! | method-not-allowed | 405 | the author of the client: `Allow` |
//! | body-too-large | 413 | the author of the relay: a shorter report; the operator, on the admin port |
//! | unsupported-media-type | 415 | the author of the relay: the media type of reports, no encoding |
//! | not-held | 421 | the client: asks another endpoint; the operator: a relay that holds a part alone |
//! | expectation-failed | 417 | the author of the client: only 100-continue |
//! | head-too-large | 431 | the author of the client: a shorter target, fewer or shorter fields |
//! | too-many-bad-credentials | 429 | the client: sends a good one, later; the operator: who sends bad ones from there |
//! | too-many-reports | 429 | the relay: sends the newest report later |
//! | too-many-parked | 429 | the client: waits for one of its requests to end |
//! | transfer-coding-not-offered | 501 | the author of the client: only chunked |
//! | no-state | 503 | the client: tries again after `Retry-After`; the operator: the source |
//! | access-unknown | 503 | the client: tries again; the operator: who judges credentials does not answer |
//! | not-confirmed | 503 | the client: tries again; its state is newer than what could be confirmed |
//! | too-many-selections | 503 | the client: tries again, elsewhere if it can; the operator: the limit named |
//! | too-many-connections | 503 | the client: tries again, elsewhere if it can; the operator: the limit named |
//! | relay-policy | 503 | the operator: rules of access at a relay and at its server, or a policy that lets no relay serve |
//! | overloaded | 503 | the client: tries again, elsewhere if it can; the operator: the limit named |
//! | exchange-full | 503 | the consumer: tries again after `Retry-After`; the operator: more workers, or the limit named |
//! | too-many-queued | 429 | the consumer: waits for one of its requests to end |
//! | no-worker | 503 | the consumer: tries again; the operator: why no worker dials in |
//! | not-stored | 503 | the consumer: sends the request again, with an Idempotency-Key; the worker: goes on, and sends it again; the operator: NATS, or the state directory |
//! | not-claimed | 503 | the consumer: may repeat the request, nothing was done; the operator: more workers |
//! | worker-too-slow | 504 | the consumer: the work may have been done; the operator: the worker, or the limit named |
//! | worker-broke | 502 | the consumer: the work may have been done; the operator: the log of the worker |
//! | worker-malformed | 502 | the author of the worker: its answer breaks HTTP |
//! | key-under-way | 409 | the publisher: sends it again after `Retry-After`, and gets the answer to the first one |
//! | key-reused | 422 | the author of the consumer: another key for another request |
//! | result-gone | 410 | the consumer: asks anew; the answer was read, was too old, or the request was deleted |
//! | claim-gone | 410 | the worker: stops its work, and polls again |
//! | already-completed | 409 | the author of the worker: one answer for a claim |
//! | superseded | 409 | the author of the worker: one poll for a slot |
//! | upgrade-required | 426 | the author of the worker: `Upgrade: ptth` over HTTP/1.1 |
//! | publish-rate | 429 | the publisher: sends it again after `Retry-After`; the operator: the rate named |
//! | history-gone | 410 | the reader: begins anew; it has missed messages, and asked to be told so |
//! | foreign-origin | 403 | the author of the page: asks from the origin of the server; an `Idempotency-Key` beside cookies |
//! | loop | 508 | the operator: relays that ask each other |
//! | loopback-only | 403 | the operator, on the admin port: asks from the same host |

use http::StatusCode;

/// What every `type` begins with.
pub const TYPE_PREFIX: &str = "https://tidewait.dev/problems/";

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident $slug:literal $title:literal;)*) => {
        /// The kinds of problem.
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

            /// The kind of a problem whose `type` this is; none: a kind that this version does not know.
            #[must_use]
            pub fn of_type(uri: &str) -> Option<Self> {
                let slug = uri.strip_prefix(TYPE_PREFIX)?;
                Self::ALL.iter().copied().find(|kind| kind.slug() == slug)
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
    /// HTTP in the clear, on a port that speaks TLS.
    HttpsOnly = BAD_REQUEST "https-only" "This port speaks https";
    /// No credential, or one that is not good.
    Unauthorized = UNAUTHORIZED "unauthorized" "A good credential is needed";
    /// No rule allows it.
    Forbidden = FORBIDDEN "forbidden" "You may not do this";
    /// The admin port refuses changes from other hosts.
    LoopbackOnly = FORBIDDEN "loopback-only" "Only the same host may do this";
    /// No operation and no app for this path.
    NotFound = NOT_FOUND "not-found" "Nothing is here";
    /// The method is not one of `Allow`.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method-not-allowed" "The method is not allowed here";
    /// The body is over its bound.
    BodyTooLarge = PAYLOAD_TOO_LARGE "body-too-large" "The body is too large";
    /// Something of ours that is no report, or an encoded one.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The media type is not supported";
    /// A relay was asked for a part that it does not hold (RFC 9110, section 15.5.20).
    NotHeld = MISDIRECTED_REQUEST "not-held" "This relay does not hold what is asked for";
    /// An `Expect` other than 100-continue.
    ExpectationFailed = EXPECTATION_FAILED "expectation-failed" "The expectation cannot be met";
    /// The head is over its bounds.
    HeadTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE "head-too-large" "The head of the request is too large";
    /// The client has too many requests parked.
    TooManyParked = TOO_MANY_REQUESTS "too-many-parked" "Too many requests of this agent are parked";
    /// An instance of a relay reports more often than it may.
    TooManyReports = TOO_MANY_REQUESTS "too-many-reports" "Too many reports were sent";
    /// Too many bad credentials have come from the same address.
    TooManyBadCredentials = TOO_MANY_REQUESTS "too-many-bad-credentials" "Too many bad credentials were sent";
    /// A transfer coding other than chunked.
    TransferCodingNotOffered = NOT_IMPLEMENTED "transfer-coding-not-offered" "The transfer coding is not offered";
    /// No snapshot yet.
    NoState = SERVICE_UNAVAILABLE "no-state" "There is no state yet";
    /// It cannot be found out who sends the request, or what it may.
    AccessUnknown = SERVICE_UNAVAILABLE "access-unknown" "It cannot be found out whether you may do this";
    /// The client's state is newer than ours, and ours could not be confirmed.
    NotConfirmed = SERVICE_UNAVAILABLE "not-confirmed" "The state could not be confirmed";
    /// As many different selections are in use as are allowed.
    TooManySelections = SERVICE_UNAVAILABLE "too-many-selections" "Too many different selections are in use";
    /// As many connections are open as are allowed.
    TooManyConnections = SERVICE_UNAVAILABLE "too-many-connections" "Too many connections are open";
    /// The server of a relay does not let it serve the operation.
    RelayPolicy = SERVICE_UNAVAILABLE "relay-policy" "This relay may not serve the operation";
    /// A relay asks for states that come through it (RFC 5842, section 7.2).
    Loop = LOOP_DETECTED "loop" "The states come through the relay that asks";
    /// As many requests are queued as are allowed.
    ExchangeFull = SERVICE_UNAVAILABLE "exchange-full" "Too many requests wait for workers";
    /// As many requests of this client are queued as are allowed.
    TooManyQueued = TOO_MANY_REQUESTS "too-many-queued" "Too many requests of this client wait for workers";
    /// No worker was there for long.
    NoWorker = SERVICE_UNAVAILABLE "no-worker" "There is no worker";
    /// No worker took the request in time.
    NotClaimed = SERVICE_UNAVAILABLE "not-claimed" "No worker took the request in time";
    /// The replicas of an exchange could not be told of the request in time, or a message of a topic could not be stored.
    NotStored = SERVICE_UNAVAILABLE "not-stored" "It could not be stored in time";
    /// The client has published as fast as it may.
    PublishRate = TOO_MANY_REQUESTS "publish-rate" "Too many messages of this client were published";
    /// Messages after the one that the reader has read are not kept any more.
    HistoryGone = GONE "history-gone" "Messages were missed";
    /// A page of another origin has sent the request, or one of this origin could have been made to.
    ForeignOrigin = FORBIDDEN "foreign-origin" "Pages of other origins may not do this";
    /// A worker took the request, and its answer did not come in time.
    WorkerTooSlow = GATEWAY_TIMEOUT "worker-too-slow" "The worker did not answer in time";
    /// The worker is gone, which may have begun.
    WorkerBroke = BAD_GATEWAY "worker-broke" "The worker broke off";
    /// What the worker answered is not HTTP.
    WorkerMalformed = BAD_GATEWAY "worker-malformed" "The worker's answer cannot be read";
    /// The `Idempotency-Key` stands for another request.
    KeyReused = UNPROCESSABLE_ENTITY "key-reused" "The Idempotency-Key stands for another request";
    /// The message that the `Idempotency-Key` stands for is being stored.
    KeyUnderWay = CONFLICT "key-under-way" "The first message with this Idempotency-Key is being stored";
    /// The answer is not there any more.
    ResultGone = GONE "result-gone" "The answer is not here any more";
    /// The claim is over.
    ClaimGone = GONE "claim-gone" "The claim is over";
    /// The answer of the claim has come already.
    AlreadyCompleted = CONFLICT "already-completed" "The claim has its answer already";
    /// A newer poll has come from the same slot.
    Superseded = CONFLICT "superseded" "A newer poll of the same slot has come";
    /// Only by another protocol.
    UpgradeRequired = UPGRADE_REQUIRED "upgrade-required" "Another protocol is needed here";
    /// Refused for load, before parking.
    Overloaded = SERVICE_UNAVAILABLE "overloaded" "Too many requests are parked";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_names_one_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_type(&format!("{TYPE_PREFIX}{}", kind.slug())), Some(*kind));
            assert_eq!(Kind::of_type(kind.slug()), None);
        }
    }
}
