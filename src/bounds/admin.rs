//! Bounds of the admin port.

use std::time::Duration;

/// Bytes of a request body to the admin port; more is 413.
pub const ADMIN_BODY_BYTES: usize = 4 * 1024;
/// Connections to the admin port; for one more the one is closed whose time ends first.
pub const ADMIN_CONNECTIONS: usize = 64;
/// From the connection to the admin port to the last byte of the answer; a drain comes on top.
pub const ADMIN_EXCHANGE: Duration = Duration::from_secs(15);
/// Streams of `/events` at the same time; a further one is told that it is busy.
pub const ADMIN_EVENT_STREAMS: usize = 16;
/// From one look at what has changed to the next, while somebody reads `/events`.
pub const ADMIN_EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest life of a stream of `/events`; then its browser comes back.
pub const ADMIN_EVENT_LIFE: Duration = Duration::from_secs(600);
/// A stream of `/events` on which nothing has changed for this long says that it is there still.
pub const ADMIN_EVENT_SILENCE: Duration = Duration::from_secs(5);
/// From one look at whether who reads `/events` still may to the next.
pub const ADMIN_EVENT_JUDGED: Duration = Duration::from_secs(5);
/// Agents of all operations together that `/events` shows; of those of further operations it says that there are more.
pub const ADMIN_EVENT_AGENTS: usize = 1000;
