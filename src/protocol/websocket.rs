//! PURE. Streams over WebSocket (RFC 6455), as far as both sides must agree: the subprotocol, and why a connection is closed.

use std::fmt;

use super::problem::Kind;

/// The subprotocol: one JSON object in each text message.
pub const SUBPROTOCOL: &str = "tidewait.v1";
/// Before a bearer token in base64url, which a page offers as a further subprotocol since it cannot send `Authorization`. It is
/// never the one that is chosen.
pub const BEARER: &str = "bearer.";

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The client has asked for it.
    Normal = 1000,
    /// The stream's life is over: come back.
    LifeOver = 1001,
    /// What came breaks RFC 6455.
    Protocol = 1002,
    /// What came is no text.
    NotText = 1003,
    /// A text is not UTF-8.
    NotUtf8 = 1007,
    /// A limit, or a message that means nothing here.
    Limits = 1008,
    /// A message is too long.
    TooLong = 1009,
    /// A defect of the server.
    Error = 1011,
    /// The server stops: come back.
    Moved = 1012,
    /// Refused for the moment: come back.
    Overloaded = 1013,
    /// Another credential is needed.
    Unauthorized = 4401,
    /// The client may not.
    Forbidden = 4403,
    /// There is nothing at the path.
    NotFound = 4404,
    /// The same agent has come by another connection.
    Replaced = 4409,
    /// The client has missed messages, and asked to be told so.
    TooFarBehind = 4410,
}

impl CloseCode {
    /// As it is sent.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// That of a connection that is refused with this kind of problem.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind.status().as_u16() {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            410 => Self::TooFarBehind,
            413 => Self::TooLong,
            429 | 503 => Self::Overloaded,
            500 => Self::Error,
            _ => Self::Limits,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code().fmt(f)
    }
}
