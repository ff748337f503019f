//! Bounds of topics, as far as they are no settings.

use std::time::Duration;

/// Topics of one process.
pub const TOPICS: usize = 64;
/// Readers of one topic at once, those of polls that are parked and those of streams.
pub const TOPIC_READERS: usize = 20_000;
/// Clients of one topic whose rate of publishing is known.
pub const TOPIC_CLIENTS: usize = 65_536;
/// `Idempotency-Key`s of one topic that are known.
pub const TOPIC_KEYS: usize = 65_536;
/// Bytes of an `Idempotency-Key`.
pub const TOPIC_KEY_BYTES: usize = 255;
/// How long the body of a message may take to arrive.
pub const TOPIC_BODY: Duration = Duration::from_secs(30);
/// Messages that a poll is given: without `limit`, and at most.
pub const TOPIC_LIMIT: (usize, usize) = (100, 1000);
/// Bytes of messages that a poll is given: at least, without `max-bytes`, and at most. One message is always given.
pub const TOPIC_PAGE_BYTES: (usize, usize, usize) = (1024, 1024 * 1024, 4 * 1024 * 1024);
/// Messages that a reader is given that does not say where it begins, and at most if it asks for others.
pub const TOPIC_TAIL: (usize, usize) = (50, 1000);
/// How long a poll is parked that does not say, and at most.
pub const TOPIC_WAIT: (Duration, Duration) = (Duration::from_secs(25), Duration::from_secs(55));
/// Parked polls are answered with what has come at most this often.
pub const TOPIC_INTERVAL: Duration = Duration::from_millis(50);
/// Bytes of messages after which a part of a stream ends; the next part follows once it is sent.
pub const TOPIC_PART: usize = 64 * 1024;
/// Parts and answers that an event loop keeps, for readers who have read as far.
pub const TOPIC_KEPT: usize = 16;
/// How long it keeps each.
pub const TOPIC_KEPT_FOR: Duration = Duration::from_secs(1);
