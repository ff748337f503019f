//! Bounds of streams over WebSocket.

use std::time::Duration;

/// Bytes of a fragment of a message that is sent: control frames pass between two.
pub const WEBSOCKET_FRAGMENT: usize = 64 * 1024;
/// Bytes that a control frame carries (RFC 6455, section 5.5).
pub const WEBSOCKET_CONTROL: usize = 125;
/// Bytes of a message from a client; beyond, 1009. One that is published has its own bound, `messageBytes` of the topic, and ...
pub const WEBSOCKET_MESSAGE: usize = 16 * 1024;
/// ... so many bytes for what stands around it.
pub const WEBSOCKET_AROUND: usize = 4 * 1024;
/// Messages of a client in a second that publish nothing; beyond, 1008.
pub const WEBSOCKET_RATE: u32 = 10;
/// Bytes that a connection has room for before a message is there.
pub const WEBSOCKET_READ: usize = 256;
/// Bytes of pongs, and bytes of replies to messages, that wait for room; beyond, nothing more is read from their client.
pub const WEBSOCKET_REPLIES: usize = 4 * 1024;
/// A client is sent a ping after this, shortened at random by a tenth at most.
pub const WEBSOCKET_PING: Duration = Duration::from_secs(25);
/// A connection from which no byte came for this long is dead, and ends.
pub const WEBSOCKET_DEAD: Duration = Duration::from_secs(60);
/// How long a client may take to answer that its connection is closed.
pub const WEBSOCKET_CLOSING: Duration = Duration::from_secs(5);
