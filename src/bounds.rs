//! Every bound that is not a setting, in one place. docs/bounds.md lists these and the settings
//! with what happens at the bound; a test keeps that table and this file the same.

use std::time::Duration;

mod admin;
mod chat;
mod edge;
mod exchange;
mod topic;
mod websocket;
mod worker;

pub use admin::*;
pub use chat::*;
pub use edge::*;
pub use exchange::*;
pub use topic::*;
pub use websocket::*;
pub use worker::*;

/// Levels of nesting in a model; a deeper one is refused at its source.
pub const DOCUMENT_DEPTH: usize = 128;
/// Bytes of a model, whatever its source; a larger one is refused at its source.
pub const DOCUMENT_BYTES: usize = 64 * 1024 * 1024;
/// Values of a model, those in values counted too; one of more is refused at its source, before memory is taken for
/// them. One for each eight bytes of text: ordinary JSON has fewer. Each takes 25 to 90 bytes of memory.
pub const DOCUMENT_NODES: usize = DOCUMENT_BYTES / 8;
/// Items that are added to and removed from a stretch of an array by shortest script; beyond, items that stand once are
/// looked for.
pub const PATCH_ARRAY_EDITS: usize = 256;
/// Steps that the search for shortest scripts may take for each item that two arrays do not share, beside the square of
/// the edits.
pub const PATCH_ARRAY_PASSES: usize = 16;
/// Items of two arrays among which those that stand once are looked for; of more, what stands at the same place counts.
pub const PATCH_ARRAY_ANCHORS: usize = 262_144;
/// Values that the moves, copies and tests of one patch may take, each counted as often as it is taken; a patch that takes
/// more is refused. Without it a few copies of a document into itself would outgrow any memory.
pub const PATCH_TAKEN: usize = 2 * DOCUMENT_NODES;
/// Bytes of memory that past states may hold beside the current one, where its text is shorter and no bound is set.
pub const HISTORY_BYTES: usize = 1024 * 1024;
/// Deltas to one state that are kept; further ones are made for each request.
pub const DELTAS: usize = 256;
/// Bytes of the deltas to one state that are kept, where the state itself is smaller.
pub const DELTA_BYTES: usize = 1024 * 1024;
/// Bytes of a configuration file; a larger one is refused. The size that a `ConfigMap` can have.
pub const CONFIG_BYTES: u64 = 1024 * 1024;
/// Bytes of `since`, `rejected` and `applying` after decoding; more is 400.
pub const SINCE_BYTES: usize = 256;
/// Bytes of a `State-Id`; a client refuses an answer with a longer one.
pub const ID_BYTES: usize = 128;
/// Bytes of an `Agent-Id`; a longer or otherwise wrong one is 400.
pub const AGENT_ID_BYTES: usize = 253;
/// Characters of a `Rejected-Reason`; what is longer is cut.
pub const REJECTED_REASON_CHARACTERS: usize = 256;
/// Changes that wait for an event loop, or a connection of HTTP/2, to take them; of more they are not told apart, and each
/// parked request is compared.
pub const CHANGES: usize = 64;
/// Agents that an operation knows at once; beyond, a sixteenth of them is forgotten: those without a poll, and of those
/// the ones not seen for longest.
pub const AGENTS: usize = 65_536;
/// An agent whose connection has ended is forgotten after this: what it may take to come back.
pub const AGENT_SKEW: Duration = Duration::from_secs(10);
/// Agents named as the worst ones of an operation.
pub const WORST_AGENTS: usize = 10;
/// Agents on one page of `/agents`; a larger `limit` is 400.
pub const AGENTS_PAGE: usize = 1000;
/// How often an agent may be given the same state in a row before it is held.
pub const PACE_REPEATS: u8 = 3;
/// How long an agent that repeats itself is held.
pub const PACE_HOLD: Duration = Duration::from_secs(1);
/// Time that a poll is held after the slots of a drain.
pub const DRAINED_HOLD: Duration = Duration::from_secs(1);
/// Bytes of a request's head, empty lines before it included; more is 431.
pub const HEAD_BYTES: usize = 16 * 1024;
/// Header fields of a request; more is 431.
pub const HEAD_FIELDS: usize = 100;
/// Connections that the kernel completes ahead of the process (`net.core.somaxconn` caps it). With the usual 128,
/// clients that come back all at once after a restart are reset, or wait for seconds.
pub const BACKLOG: u32 = 4096;
/// From the first byte of a head to its last, and from the connection to its first head; then the connection is closed.
pub const HEAD_READ: Duration = Duration::from_secs(10);
/// A connection without a request is closed after this, one of HTTP/2 by GOAWAY. Above the 600 s for which load
/// balancers keep theirs.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(620);
/// Answers that an event loop gives before it looks at other work.
pub const SLICE: usize = 256;
/// Answers whose bytes an event loop keeps while a change is under way; others are written anew for each client.
pub const KEPT_ANSWERS: usize = 16;
/// Heads of polls that an event loop keeps, since the next client may send the same bytes; others are read anew.
pub const KNOWN_HEADS: usize = 16;
/// Static tokens in a file; a file with more is refused as a whole.
pub const ACCESS_TOKENS: usize = 100_000;
/// Bytes of the name of a token's owner, or of a group.
pub const ACCESS_NAME_BYTES: usize = 253;
/// Bytes of a part of a model that a rule names.
pub const ACCESS_POINTER_BYTES: usize = 1024;
/// Rules of the process (`access.rules`).
pub const ACCESS_RULES: usize = 1024;
/// Rules of one operation (`spec.access.rules`, and the same of an operation in a file).
pub const ACCESS_OWN_RULES: usize = 32;
/// Items of each list of a rule, such as its subjects.
pub const ACCESS_RULE_ITEMS: usize = 64;
/// Good verdicts that are kept on credentials that take time to judge, and on what their owners may, each.
pub const ACCESS_VERDICTS: usize = 20_000;
/// Bad verdicts that are kept, each; the oldest makes room for one more.
pub const ACCESS_REFUSED: usize = 4_096;
/// A bad verdict is kept for this long.
pub const ACCESS_REFUSED_FOR: Duration = Duration::from_secs(30);
/// A good verdict of the API server is asked for again after this at the latest.
pub const ACCESS_ALLOWED_FOR: Duration = Duration::from_secs(120);
/// How much longer than it says a credential is good, since clocks differ.
pub const CREDENTIAL_LEEWAY: Duration = Duration::from_secs(30);
/// Groups of one identity; with more its credential is refused.
pub const IDENTITY_GROUPS: usize = 256;
/// Credentials of one peer that may turn out bad at once; then none of its credentials is found out that is not known already.
/// Also the questions of one caller that an API server may answer with no.
pub const BAD_CREDENTIALS: u32 = 10;
/// How long it takes until one more may.
pub const BAD_CREDENTIALS_PACE: Duration = Duration::from_secs(1);
/// How long a peer has to wait at most, whatever it has sent.
pub const BAD_CREDENTIALS_WAIT: Duration = Duration::from_secs(60);
/// Credentials of one peer that are found out at once; a further one is not, and its client is told to come back.
pub const PEER_CREDENTIALS_PENDING: usize = 64;
/// Questions about what one caller may that an API server is asked at once; for a further one the caller is told to come back.
pub const CALLER_QUESTIONS_PENDING: usize = 64;
/// Peers (IPv4 addresses, and networks of 64 bits of IPv6) whose bad credentials are remembered; beyond, the one is forgotten whose
/// budget would be whole again first.
pub const BAD_CREDENTIALS_PEERS: usize = 16_384;
/// Mistakes of one file of credentials that `tidewait check` tells.
pub const CHECK_MISTAKES: usize = 100;
/// Users in an htpasswd file; a file with more is refused as a whole.
pub const ACCESS_USERS: usize = 100_000;
/// Bytes of a password that a client sends; a longer one is refused.
pub const PASSWORD_BYTES: usize = 1024;
/// Cost of a bcrypt hash in an htpasswd file: 2 to the power of this; a higher one is refused.
pub const PASSWORD_BCRYPT_COST: u32 = 14;
/// Memory that an argon2 hash in an htpasswd file may take, in KiB; more is refused.
pub const PASSWORD_ARGON2_KIBIBYTES: u32 = 64 * 1024;
/// Passes over that memory; more are refused.
pub const PASSWORD_ARGON2_PASSES: u32 = 10;
/// Passwords that are hashed at once, on threads that serve nobody.
pub const PASSWORD_CHECKS: usize = 2;
/// Passwords that wait to be hashed; further ones are not, and their clients are told to come back.
pub const PASSWORD_WAITING: usize = 256;
/// Bytes of a token of an issuer; a longer one is refused.
pub const ISSUER_TOKEN_BYTES: usize = 16 * 1024;
/// Keys that an issuer publishes; more are refused as a whole.
pub const ISSUER_KEYS: usize = 64;
/// How long a fetch of an issuer's keys may take, the question where they are included.
pub const ISSUER_FETCH: Duration = Duration::from_secs(10);
/// Bytes of each answer of an issuer; a longer one is refused.
pub const ISSUER_BODY_BYTES: usize = 256 * 1024;
/// Bytes of the head of each answer of an issuer; a longer one is refused.
pub const ISSUER_HEAD_BYTES: usize = 64 * 1024;
/// How often an issuer's keys are fetched, a tenth earlier or later.
pub const ISSUER_REFRESH: Duration = Duration::from_secs(300);
/// From the start of one fetch to that of the next, however many tokens name a key that is not known.
pub const ISSUER_FETCH_PAUSE: Duration = Duration::from_secs(10);
/// How long a token with an unknown key waits for a fetch: until the next may begin, and for its end.
pub const ISSUER_KEY_WAIT: Duration = Duration::from_secs(12);
/// Such tokens that wait; for one more it is not found out whose it is.
pub const ISSUER_WAITING: usize = 1024;
/// Bytes of a file with a certificate, a key or authorities; a larger one is refused.
pub const TLS_FILE_BYTES: usize = 1024 * 1024;
/// TLS handshakes under way on a port, from the first byte of a client; further ones wait, and their time passes.
pub const TLS_HANDSHAKES: usize = 512;
/// From a connection to the end of its TLS handshake; then it is closed.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// The same from when its turn comes, while others wait for theirs.
pub const TLS_HANDSHAKE_CROWDED: Duration = Duration::from_secs(3);
/// Bytes of the longest TLS record (RFC 5246, section 6.2.3).
pub const TLS_RECORD_BYTES: usize = 5 + 16 * 1024 + 2048;
/// Bytes into which a thread reads its TLS connections, and a message of a handshake may have less a record; a longer one
/// ends the connection.
pub const TLS_INPUT_BYTES: usize = 3 * TLS_RECORD_BYTES;
/// Bytes into which a thread encrypts: two records.
pub const TLS_OUTPUT_BYTES: usize = 2 * TLS_RECORD_BYTES;
/// Bytes of TLS records in a row that say nothing; with more the connection ends.
pub const TLS_IDLE_BYTES: usize = 64 * 1024;
/// A certificate and a key that do not belong together may be two halves of a change for this long, before that is told.
pub const TLS_PAIR_SETTLES: Duration = Duration::from_secs(3);
/// A client that takes no byte of the answer to a poll for this long is cut; on HTTP/2 its stream is reset.
pub const SLOW_READER: Duration = Duration::from_secs(60);
/// A client that takes no byte of a stream for this long, while some wait for it, is cut; on HTTP/2 its stream is reset.
pub const STREAM_STALLED: Duration = Duration::from_secs(30);
/// Silence of a stream, shortened by up to a tenth, after which it says that it lives.
pub const STREAM_SILENCE: Duration = Duration::from_secs(15);
/// From one event that only names another version of the state to the next.
pub const STREAM_SAME: Duration = Duration::from_secs(30);
/// From one event with the age of a stale state to the next.
pub const STREAM_AGE: Duration = Duration::from_secs(60);
/// The life of a stream whose client asks for none.
pub const STREAM_LIFE: Duration = Duration::from_secs(600);
/// How long a browser remembers what a page may send (Fetch, section 3.3.3).
pub const PREFLIGHT_AGE: Duration = Duration::from_secs(600);
/// The longest life of a stream.
pub const STREAM_LIFE_MAX: Duration = Duration::from_secs(3600);
/// Bytes of a request body that has no use, which are read and dropped so that the connection can go on; with more of them
/// it ends.
pub const UNWANTED_BODY_BYTES: usize = 64 * 1024;
/// Time for such a body to arrive.
pub const UNWANTED_BODY: Duration = Duration::from_secs(1);
/// A connection of HTTP/1.1 on which hyper has served a request, and that has been idle for this long, goes back to its event
/// loop, where it takes a hundredth of the memory.
pub const HYPER_IDLE: Duration = Duration::from_secs(1);
/// Time for handshakes that are under way when the process closes the port.
pub const CLOSING_HANDSHAKES: Duration = Duration::from_millis(100);
/// Once the process closes its connections, one without a request is closed after this: who has just been answered, or
/// has just connected, may have sent the next request.
pub const CLOSING_IDLE: Duration = Duration::from_millis(500);
/// After the last answer and a FIN, what a client still sends is read and dropped for this long, or until its own FIN: to
/// close before would be a reset, which can take the answer from it.
pub const LINGER: Duration = Duration::from_secs(2);
/// Connections over the cap that are answered and closed in order at once; further ones are answered and cut.
pub const REFUSED_CONNECTIONS: usize = 64;
/// A peer that acknowledges nothing for this long is dead: TCP keep-alive, `TCP_USER_TIMEOUT` and HTTP/2 pings.
pub const DEAD_PEER: Duration = Duration::from_secs(60);
/// Concurrent streams of one HTTP/2 connection; more are refused.
pub const HTTP2_STREAMS: u32 = 256;
/// Requests over HTTP/2 that a client has given up already when they are looked at, of those that have come together; with
/// more the connection ends (`ENHANCE_YOUR_CALM`).
pub const HTTP2_GIVEN_UP: usize = 20;
/// Bytes that a client of HTTP/2 may send ahead of those that were read, on one stream, and on all of its connection.
pub const HTTP2_WINDOW: u32 = 1024 * 1024;
/// Bytes of answers over HTTP/2 that are collected for one write.
pub const HTTP2_HELD: usize = 32 * 1024;
/// Bytes of log lines that wait to be written; further lines are dropped, and counted.
pub const LOG_BYTES: usize = 1024 * 1024;
/// Time for the last log lines to be written when the process ends; what is left is lost.
pub const LOG_END: Duration = Duration::from_secs(1);
/// Threads beside those of the runtime that must be to be had at the start: for the log, notices about files, files
/// that are read, and spans.
pub const SPARE_THREADS: usize = 4;
/// Idle connections kept to the app.
pub const UPSTREAM_IDLE_CONNECTIONS: usize = 64;
/// An idle connection to the app is closed after this.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(60);
/// Bytes of an answer's head, and of a body on its way to or from the app, that are held per connection (per stream of HTTP/2); a longer head is 502.
pub const UPSTREAM_BUFFER: usize = 64 * 1024;
/// Fields of an answer of the app; more are 502.
pub const UPSTREAM_FIELDS: usize = 256;
/// Streams of one HTTP/2 connection to the app, where it allows as many; the next one goes to another connection.
pub const UPSTREAM_STREAMS: u32 = 128;
/// Bytes of memory beside their data that small DATA frames of the app may take per connection; beyond, it is closed.
pub const UPSTREAM_FRAMING: usize = 32 * 1024 * 1024;
/// After the app has answered, an upload that does not move for this long is cut; what nobody wants of one is read and dropped for as long.
pub const UPLOAD_LINGER: Duration = Duration::from_secs(2);
/// A client that expects 100 is sent it after this, whether or not the app has sent one.
pub const CONTINUE_WAIT: Duration = Duration::from_secs(1);
/// Until then a source that has nothing keeps the process from being ready.
pub const READY_WITHOUT_SNAPSHOT: Duration = Duration::from_secs(30);
/// An issuer without keys keeps the process from being ready for this long.
pub const READY_WITHOUT_KEYS: Duration = Duration::from_secs(5);
/// How long a page of a list or the head of a watch may take at the API server.
pub const KUBERNETES_REQUEST: Duration = Duration::from_secs(30);
/// A watch without an event or a bookmark for this long is given up; bookmarks come once a minute.
pub const KUBERNETES_SILENCE: Duration = Duration::from_secs(90);
/// How long a consistent read by name may take; one that lasts longer holds up those that come after it.
pub const KUBERNETES_READ: Duration = Duration::from_secs(10);
/// From the start of one consistent read to that of the next, however many requests ask for one.
pub const KUBERNETES_READ_PAUSE: Duration = Duration::from_millis(500);
/// What a consistent read that a request asked for costs at least: of such reads no more go on for long than one in this time.
pub const KUBERNETES_READ_COST: Duration = Duration::from_secs(2);
/// And no more bytes a second.
pub const KUBERNETES_READ_RATE: u32 = 1024 * 1024;
/// Of that, so much may be spent before its time.
pub const KUBERNETES_READ_CREDIT: Duration = Duration::from_secs(30);
/// A source reads consistently on its own this often, a tenth earlier or later.
pub const KUBERNETES_CONFIRM: Duration = Duration::from_secs(60);
/// A file that holds a token is read anew this often.
pub const KUBERNETES_TOKEN: Duration = Duration::from_secs(60);
/// Objects on one page of a list.
pub const KUBERNETES_PAGE: u32 = 100;
/// Bytes of all pages of a list, or of what a watch shows of the whole set; more is refused.
pub const KUBERNETES_LIST_BYTES: usize = 128 * 1024 * 1024;
/// Bytes of an object or event of the API server, whose own limit is about 1.5 MiB; more is refused.
pub const KUBERNETES_EVENT_BYTES: usize = 8 * 1024 * 1024;
/// How long a review may take at the API server (`TokenReview`, `SubjectAccessReview`), once it is sent.
pub const KUBERNETES_REVIEW: Duration = Duration::from_secs(5);
/// How long a review waits for its turn before it is sent.
pub const KUBERNETES_REVIEW_TURN: Duration = Duration::from_secs(2);
/// Reviews of one kind that are under way at the API server at once.
pub const KUBERNETES_REVIEWS: usize = 32;
/// Reviews of one kind that are under way or wait for their turn; one more has no verdict.
pub const KUBERNETES_REVIEWS_PENDING: usize = 1024;
/// Bytes of the API server's answer to a review; more is refused.
pub const KUBERNETES_REVIEW_BYTES: usize = 1024 * 1024;
/// How long no review of a kind is sent after the API server has asked for a longer pause.
pub const KUBERNETES_REVIEW_PAUSE: Duration = Duration::from_secs(30);
/// From one line of the log about reviews of a kind without a verdict to the next.
pub const KUBERNETES_REVIEW_LOG: Duration = Duration::from_secs(10);
/// First and longest pause between attempts at a source, before jitter.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(30));
/// How often a file is looked at, beside the notices of the kernel.
pub const FILE_POLL: Duration = Duration::from_millis(500);
/// A file that is being written in place is read once it is unchanged for this long.
pub const FILE_QUIET: Duration = Duration::from_millis(200);
/// Notices of the kernel about files that wait to be handled; beyond, the next look finds the change.
pub const FILE_NOTICES: usize = 64;
/// A look or a read that the file system has not answered for this long is reported as lost, and waited for.
pub const FILE_ANSWER: Duration = Duration::from_secs(10);
/// How long connecting to the app may take when its model is fetched, its name included.
pub const FETCH_CONNECT: Duration = Duration::from_secs(2);
/// From there to the last byte of the model.
pub const FETCH: Duration = Duration::from_secs(30);
/// First and longest pause after a fetch of the app's model that failed; neither is longer than its interval.
pub const FETCH_BACKOFF: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(5));
/// Least time between two fetches of the app's model, however often a trigger announces a new one.
pub const FETCH_PAUSE: Duration = Duration::from_millis(100);
/// How often the app's model is fetched where a trigger says when: a trigger may be missed.
pub const TRIGGER_CONFIRM: Duration = Duration::from_secs(60);
/// Pauses after which the app's model is fetched again while a trigger has shown no change: the
/// app may learn of it later than we do.
pub const TRIGGER_ECHOES: [Duration; 3] = [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];
/// Bytes of the app's `Content-Type` for its model.
pub const MEDIA_TYPE_BYTES: usize = 255;
/// How long a client that is, or may be, ahead of what is published is held until that is known.
pub const CATCH_UP: Duration = Duration::from_secs(3);
/// Of that, how long the watch is waited for before a consistent read is asked for.
pub const CATCH_UP_WATCH: Duration = Duration::from_millis(250);
/// Epochs of an operation that are remembered to have ended; beyond, the first is forgotten, and costs a read.
pub const ENDED_EPOCHS: usize = 64;
/// How long the state directory may take to keep a state, or to give what is kept; then service goes on without it.
pub const STATE_ANSWER: Duration = Duration::from_secs(5);
/// How often the state on disk is marked as still confirmed.
pub const STATE_CONFIRM: Duration = Duration::from_secs(10);
/// Operations in the status of one replica; further ones are left out, or the object would outgrow what the API server stores.
pub const REPLICA_OPERATIONS: usize = 128;
/// Characters of an agent's name, and of its reason, in a status; a longer one is cut. With the two above a status
/// stays below the size that the API server stores.
pub const STATUS_AGENT: usize = 256;
/// Characters of a message or detail in a status; a longer one is cut.
pub const STATUS_TEXT: usize = 1024;
/// Reports of a source that wait to be taken.
pub const REPORTS: usize = 1;
/// Deletions under one selector count once no other has followed for this long.
pub const DELETION_SETTLES: Duration = Duration::from_secs(1);
/// And at the latest after this.
pub const DELETION_SETTLES_AT_MOST: Duration = Duration::from_secs(5);
/// Since when there must seem to be no object under a selector before a list that shows none counts.
pub const EMPTIED_HOLD: Duration = Duration::from_secs(10);
/// How long a Lease holds without being renewed.
pub const LEASE: Duration = Duration::from_secs(15);
/// How often its holder renews it.
pub const LEASE_RENEW: Duration = Duration::from_secs(5);
/// How long after a renewal was sent its holder acts on it. Before [`LEASE`] by more than clocks drift apart meanwhile,
/// and by what a write that was sent just before may take.
pub const LEASE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a write of the Lease may take: short enough for a second one before [`LEASE_DEADLINE`].
pub const LEASE_WRITE: Duration = Duration::from_secs(4);
/// From the start of a write of the Lease that failed to that of the next.
pub const LEASE_RETRY: Duration = Duration::from_secs(2);
/// Time that a replica which ends has to take its report and the Lease back; after it they run out.
pub const LEAVE: Duration = Duration::from_secs(2);
/// How often a replica's own report, and a status, is written at most.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// How long after a write of a report or status that failed the next is tried.
pub const STATUS_RETRY: Duration = Duration::from_secs(5);
/// How long one look at the reports is written from; what is left then is computed anew.
pub const STATUS_TURN: Duration = Duration::from_secs(10);
/// How often a replica writes its report without anything new to say.
pub const REPORT_RENEW: Duration = Duration::from_secs(30);
/// A report that was not renewed for this long keeps Converged from being True: three renewals, and time for a write that
/// is slow. Counted by the clock of who reads it, from when it saw the report last change.
pub const REPORT_SILENT: Duration = Duration::from_secs(100);
/// One that was not renewed for this long, of a replica that no Pod owns, is removed: as long as Kubernetes waits for
/// pods of a node that it does not hear of.
pub const REPORT_LOST: Duration = Duration::from_secs(300);
