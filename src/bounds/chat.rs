//! Bounds of the commands that read and publish messages.

use std::time::Duration;

/// Bytes of an event that a client reads.
pub const EVENT_BYTES: usize = 4 * 1024 * 1024;
/// How long a stream may be silent before its reader takes the connection for dead.
pub const STREAM_LOST: Duration = Duration::from_secs(40);
/// Bytes of an answer to a poll that `tidewait tail` reads.
pub const TAIL_PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a line of standard input that is published.
pub const PUBLISH_LINE_BYTES: usize = 256 * 1024;
/// First and longest pause before a command connects again.
pub const CHAT_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How long a server may be away before such a command gives up, unless set; the least and the most.
pub const CHAT_GIVE_UP: (Duration, Duration, Duration) =
    (Duration::from_mins(1), Duration::from_secs(1), Duration::from_hours(24));
/// Messages that `tidewait chat` has published and not read yet.
pub const CHAT_OWN: usize = 1000;
