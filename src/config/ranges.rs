//! What numbers, durations and texts may be. The schema of the custom resources is made of the same constants, so
//! that the API server refuses what the program would.

use std::ops::RangeInclusive;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// How long a request is held that does not say.
pub(crate) const DEFAULT_WAIT: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// How long a request is held at most.
pub(crate) const MAX_WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=HOUR;
/// Least time between two publications.
pub(crate) const MIN_INTERVAL: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(1);
/// Over how long a release is spread.
pub(crate) const WAKE_SPREAD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(1);
/// Time between two requests for the model to the app.
pub(crate) const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// Time of a stop.
pub(crate) const GRACE: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// Waits for the app.
pub(crate) const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=HOUR;
/// Silence within a body of the app's.
pub(crate) const BODY_IDLE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);
/// Time of one watch.
pub(crate) const WATCH: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(200);

/// Connections, parked requests, selections.
pub(crate) const COUNT: RangeInclusive<usize> = 1..=1_000_000;
/// Pointers in one request.
pub(crate) const POINTERS: RangeInclusive<usize> = 1..=1024;
/// Former states that are kept.
pub(crate) const HISTORY_ENTRIES: RangeInclusive<usize> = 0..=4096;
/// Bytes of them.
pub(crate) const HISTORY_BYTES: RangeInclusive<usize> = 0..=1024 * 1024 * 1024;
/// Bytes of bodies and answers of an exchange.
pub(crate) const EXCHANGE_BYTES: RangeInclusive<usize> = 0..=1024 * 1024 * 1024;
/// A part of the model.
pub(crate) const PERCENT: RangeInclusive<usize> = 0..=100;

/// Bytes of the path of an operation, and of a request to the app.
pub(crate) const PATH_BYTES: usize = 1024;
/// Bytes of a path of the file system.
pub(crate) const FILE_PATH_BYTES: usize = 4096;
/// Bytes of a JSON Pointer.
pub(crate) const POINTER_BYTES: usize = 1024;
/// Bytes of a format.
pub(crate) const FORMAT_BYTES: usize = 128;
/// Times of an exchange.
pub(crate) const EXCHANGE_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// How long a touch keeps a claim: longer than the time before its end at which a held beat is answered.
pub(crate) const EXCHANGE_LEASE: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_hours(1);
/// How often a request is given to a worker.
pub(crate) const EXCHANGE_ATTEMPTS: RangeInclusive<usize> = 1..=100;
/// Redirects of a consumer that comes back.
pub(crate) const EXCHANGE_HOPS: RangeInclusive<usize> = 0..=100;
/// Messages that a topic keeps.
pub(crate) const TOPIC_MESSAGES: RangeInclusive<usize> = 1..=1_000_000;
/// Bytes of them.
pub(crate) const TOPIC_BYTES: RangeInclusive<usize> = 1024..=1024 * 1024 * 1024;
/// Bytes of one.
pub(crate) const TOPIC_MESSAGE_BYTES: RangeInclusive<usize> = 1..=256 * 1024;
/// How long messages are kept, and keys are known.
pub(crate) const TOPIC_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(720);
/// Messages that one client may publish in a second, or at once.
pub(crate) const TOPIC_RATE: RangeInclusive<usize> = 1..=100_000;
/// NATS servers that each request and each message is kept on: what JetStream takes.
pub(crate) const NATS_REPLICAS: RangeInclusive<usize> = 1..=5;
