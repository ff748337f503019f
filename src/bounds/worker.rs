//! Bounds of `tidewait worker`.

use std::time::Duration;

/// Requests at a time that a worker can be given (`--slots`).
pub const WORKER_SLOTS: usize = 256;
/// The same where gates decide, and nothing else is said.
pub const WORKER_GATED_SLOTS: usize = 64;
/// Addresses of exchanges that a worker dials; further ones are left out.
pub const WORKER_ADDRESSES: usize = 64;
/// Time between two look-ups of the names of exchanges.
pub const WORKER_RESOLVED: Duration = Duration::from_secs(5);
/// First and longest ceiling of the pauses before an exchange is dialled again.
pub const WORKER_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// The longest `Retry-After` of an exchange that a worker obeys.
pub const WORKER_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How long a worker waits for the answer to its `Upgrade`, and for what begins the protocol after it.
pub const WORKER_UPGRADE: Duration = Duration::from_secs(10);
/// How often a worker asks an exchange for a sign of life (PING), and how long it waits for it.
pub const WORKER_PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// How long a connection of HTTP/1.1 waits for a request before the worker replaces it.
pub const WORKER_IDLE: Duration = Duration::from_secs(60);
/// Bytes of a request's body that an exchange may send before they are passed on, for each slot.
pub const WORKER_WINDOW: u32 = 256 * 1024;
/// Bytes of the head of a request from an exchange.
pub const WORKER_HEAD_BYTES: usize = 64 * 1024;
/// Interim answers (1xx) of the server that wait to be passed on.
pub const WORKER_INTERIM: usize = 4;
/// How long a worker waits for a connection to its server.
pub const WORKER_CONNECT: Duration = Duration::from_secs(5);
/// How long a connection to the server is kept for the next request: less than what servers keep one.
pub const WORKER_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// First and longest ceiling of the pauses before a server is tried again that could not be reached.
pub const WORKER_SERVER: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How often gates are looked at.
pub const WORKER_GATE: Duration = Duration::from_secs(1);
/// Least time between two looks, however often a request begins.
pub const WORKER_GATE_LEAST: Duration = Duration::from_millis(200);
/// How long a gate's command may run, and its URL take to answer.
pub const WORKER_GATE_LIMIT: Duration = Duration::from_secs(5);
/// How long the CPU and memory of a gate stay reserved for a request that has begun, less and less.
pub const WORKER_GATE_RESERVED: Duration = Duration::from_secs(10);
/// Bytes of a file of the kernel that a gate reads.
pub const WORKER_GATE_BYTES: u64 = 64 * 1024;
/// How long an answer that is kept waits to be fetched (`--redirect-response`).
pub const WORKER_KEPT: Duration = Duration::from_secs(20);
/// Connections to the port where answers are fetched.
pub const WORKER_FETCHES: usize = 512;
/// How long a consumer may take no byte of the answer that it fetches.
pub const WORKER_STALLED: Duration = Duration::from_secs(20);
