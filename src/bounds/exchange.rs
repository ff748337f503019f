//! Bounds of exchanges, as far as they are no settings.

use std::time::Duration;

/// Exchanges of one process: of its configuration file, and of custom resources beside them.
pub const EXCHANGES: usize = 64;
/// Methods of the requests of one exchange, where they are listed.
pub const EXCHANGE_METHODS: usize = 64;
/// Endpoints that exchanges of one process had before, where those who were told of them may still come.
pub const EXCHANGE_FORMER: usize = 64;
/// Least time between two writes of numbers of an exchange into a report or a status.
pub const EXCHANGE_STATUS: Duration = Duration::from_secs(10);
/// Requests of an exchange that failed after all attempts, in a report or a status.
pub const STATUS_DEAD: usize = 10;
/// Items of one exchange that failed after all attempts and are shown to operators.
pub const EXCHANGE_DEAD: usize = 100;
/// Ended items of one exchange that are still known.
pub const EXCHANGE_ENDED: usize = 10_000;
/// Claims of workers that poll whose answer has come, of which one exchange still knows that.
pub const EXCHANGE_COMPLETED: usize = 1024;
/// Claims of workers that poll to which no answer is of use, of which one exchange still knows why.
pub const EXCHANGE_GONE: usize = 1024;
/// Workers, requests that they have, and queued requests of one exchange that are shown to operators: so many of each, and so many
/// requests of each worker.
pub const EXCHANGE_SHOWN: usize = 100;
/// Workers of one exchange that are known for operators, by their addresses and names.
pub const EXCHANGE_WORKERS: usize = 4096;
/// A worker whose connections come and go with its requests is gone when nothing of it was there for so long.
pub const EXCHANGE_WORKER_GONE: Duration = Duration::from_secs(60);
/// Lines of the log about failed requests of one exchange, as many about workers that come and go, and as many about its queue, in
/// such a time; further ones are counted in the next line.
pub const EXCHANGE_LOG: (u32, Duration) = (10, Duration::from_secs(10));
/// How long before the end of the grace period of the process the requests fail that workers have not answered, so that consumers
/// are told; at most half of that period.
pub const EXCHANGE_GIVE_UP: Duration = Duration::from_secs(1);
/// So many times a claim may be untouched before that counts as an attempt.
pub const EXCHANGE_UNTOUCHED: u32 = 3;
/// How much longer than its `Retry-After` an item is kept for a consumer that was told to come back.
pub const EXCHANGE_GRACE: Duration = Duration::from_secs(30);
/// Bytes of the key in a path.
pub const EXCHANGE_KEY_BYTES: usize = 253;
/// How long an answer of a worker waits for a consumer that does not read it; then the consumer is cut off, and the worker's
/// work is cancelled where none is left.
pub const EXCHANGE_STALLED: Duration = Duration::from_secs(20);
/// Bytes of answers that one exchange keeps beyond what consumers are about to read; with more, an answer is not kept.
pub const EXCHANGE_KEPT_BYTES: usize = 256 * 1024 * 1024;
/// The part of `Retry-After` that is added to it at random at most.
pub const EXCHANGE_JITTER: f64 = 0.2;
/// How long a consumer may send nothing of a body that a worker waits for; then its request fails, and the worker's work is
/// cancelled.
pub const EXCHANGE_SILENT: Duration = Duration::from_secs(20);
/// How long a body may take that is stored before a worker has the request.
pub const EXCHANGE_BODY: Duration = Duration::from_secs(30);
/// The longest hold of a worker's poll.
pub const EXCHANGE_POLL: Duration = Duration::from_secs(55);
/// How long before the end of its lease a held beat is answered.
pub const EXCHANGE_BEAT: Duration = Duration::from_secs(10);
/// Slots of one connection of a worker.
pub const EXCHANGE_SLOTS: usize = 256;
/// A connection of a worker that is asked by HTTP/1.1 is closed when it was idle for so long.
pub const EXCHANGE_IDLE: Duration = Duration::from_secs(45);
/// How long a connection of HTTP/1.1 may take to be free again after an answer.
pub const EXCHANGE_SETTLE: Duration = Duration::from_secs(10);
/// How often a worker that is asked by HTTP/2 gets a PING, and how long its answer may take.
pub const EXCHANGE_PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// Bytes of an answer that a worker may send on a stream of HTTP/2 before they are read; on a connection, that for each slot.
pub const EXCHANGE_WINDOW: u32 = 256 * 1024;
/// Connections of workers at one raw port; further ones wait.
pub const EXCHANGE_RAW_CONNECTIONS: usize = 1024;
/// At a raw port: how long a connection is idle before the kernel asks whether its other end lives, how often it asks then, how
/// many times, and how long what was sent may stay unacknowledged.
pub const EXCHANGE_RAW_KEEPALIVE: (Duration, Duration, u32, Duration) =
    (Duration::from_secs(1), Duration::from_secs(2), 3, Duration::from_secs(10));
/// How long a slot of a worker over HTTP/2 that has refused a request gets no other.
pub const EXCHANGE_REFUSED: Duration = Duration::from_secs(1);
/// How long an answer of NATS may take; then the request to it is made again.
pub const EXCHANGE_NATS: Duration = Duration::from_secs(5);
/// How long it is waited for what was written to be seen here.
pub const EXCHANGE_CATCH_UP: Duration = Duration::from_secs(1);
/// Bytes of a body in the record of an item at NATS; a longer one is in the object store.
pub const EXCHANGE_INLINE: usize = 16 * 1024;
/// How long the record of an item that has ended, and that nobody comes for, is at NATS.
pub const EXCHANGE_ENDED_RECORD: Duration = Duration::from_secs(10);
/// How often a replica that shares an exchange says that it lives.
pub const EXCHANGE_REPLICA_BEAT: Duration = Duration::from_secs(2);
/// A replica is gone when it said nothing for so long.
pub const EXCHANGE_REPLICA_GONE: Duration = Duration::from_secs(10);
/// Other replicas of one exchange that are known.
pub const EXCHANGE_REPLICAS: usize = 1024;
/// Bytes of a body that one replica sends another at once.
pub const EXCHANGE_PIECE: usize = 256 * 1024;
/// Bytes of a piece of a stored body.
pub const EXCHANGE_CHUNK: usize = 128 * 1024;
/// Items that have ended, which a replica remembers in case that NATS shows an earlier state of them.
pub const EXCHANGE_REMEMBERED: usize = 100_000;
/// Bytes that a message of NATS has to be able to have (`max_payload`).
pub const EXCHANGE_PAYLOAD: usize = 64 * 1024;
/// Lines of the log in such a time that NATS does not answer.
pub const EXCHANGE_NATS_LOG: (u32, Duration) = (2, Duration::from_secs(60));
/// How long another replica is waited for until a piece is there; then it asks again.
pub const EXCHANGE_PIECE_WAIT: Duration = Duration::from_secs(5);
/// Bodies that other replicas read here at once, of one exchange.
pub const EXCHANGE_READERS: usize = 100_000;
