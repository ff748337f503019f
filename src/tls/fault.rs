//! What ends a connection over TLS.

use std::io;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The connection itself; also [`io::ErrorKind::WouldBlock`], after which it does go on.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer breaks the protocol, or is not let in. An alert says so to it.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// The first bytes are those of a request in the clear.
    #[error("the client speaks HTTP in the clear")]
    Clear,
    /// It sends many records that say nothing, or a message that has no end.
    #[error("the client sends records without end that say nothing")]
    Idle,
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io(error) => error,
            other @ (Fault::Tls(_) | Fault::Clear | Fault::Idle) => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
