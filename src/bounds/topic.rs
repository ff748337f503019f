//! Bounds of topics, as far as they are no settings.

use std::time::Duration;

/// Topics of one process: of its configuration, and of custom resources beside them.
pub const TOPICS: usize = 64;
/// Time after a topic could not begin, before the next attempt.
pub const TOPIC_BEGIN_PAUSE: Duration = Duration::from_secs(1);
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
/// Messages of one topic that wait to be stored, and bytes of them.
pub const TOPIC_PENDING: (usize, usize) = (4096, 16 * 1024 * 1024);
/// How long a publisher waits until its message is stored.
pub const TOPIC_STORED: Duration = Duration::from_secs(10);
/// How long nothing is written to the files of a topic after a write that failed.
pub const TOPIC_WRITE_PAUSE: Duration = Duration::from_secs(1);
/// Bytes after which a file of messages is followed by another one.
pub const TOPIC_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Files of messages that are left for the keys in them alone.
pub const TOPIC_KEY_SEGMENTS: usize = 16;
/// How long NATS may take to store a message of a topic, or to say of its stream what it is asked.
pub const TOPIC_NATS: Duration = Duration::from_secs(5);
/// How often a replica looks whether the stream of a topic is still the same one.
pub const TOPIC_NATS_LOOK: Duration = Duration::from_secs(2);
/// How long a reader waits until this replica has what the reader has read elsewhere.
pub const TOPIC_CATCH_UP: Duration = Duration::from_secs(3);
/// Messages of one topic at once that NATS stores for a replica.
pub const TOPIC_NATS_PUBLISHES: usize = 1024;
/// Messages of one topic that a replica reads from NATS and shows to readers at once.
pub const TOPIC_NATS_BATCH: usize = 128;
/// Bytes that are reckoned for each message at NATS beside its data: its head and its subject.
pub const TOPIC_NATS_AROUND: usize = 512;
/// Lines of the log about one topic in such a time that NATS does not store.
pub const TOPIC_NATS_LOG: (u32, Duration) = (2, Duration::from_secs(60));
/// How long a client counts among those that read after its last poll was answered.
pub const TOPIC_AWAY: Duration = Duration::from_secs(10);
/// How often it is looked who reads a topic: readers are told of it that often at most.
pub const TOPIC_PRESENCE_LOOK: Duration = Duration::from_secs(1);
/// Names of readers of one topic that are known and told.
pub const TOPIC_PRESENCE_NAMES: usize = 200;
/// Other replicas of which it is known who reads there.
pub const TOPIC_PRESENCE_REPLICAS: usize = 256;
/// How often a replica says to others who reads there, if nothing changes.
pub const TOPIC_PRESENCE_SAID: Duration = Duration::from_secs(10);
/// How long what a replica has said of its readers counts.
pub const TOPIC_PRESENCE_HEARD: Duration = Duration::from_secs(30);
