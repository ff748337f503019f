//! TLS for the ports of the process: certificates and keys, handshakes, and the connections that come of them.
//!
//! ```text
//!  files --> pair: a chain and its key, or why they are none --> acceptor: what new handshakes use
//!                                                                     |
//!  accepted connection --> Acceptor::accept, a task for each ---------+--> Stream: AsyncRead, AsyncWrite
//!                          (bounded in number and time)                       |  the same Session, taken apart and put
//!                                                                             v  together again
//!                                              an event loop: a socket of the kernel and a boxed Session
//! ```
//!
//! [`session::Session`] is rustls' unbuffered API: bytes are decrypted and encrypted in buffers that a thread has for all of
//! its connections ([`buffers`]), so a connection that waits keeps no more than rustls' own state.

pub mod acceptor;
mod buffers;
pub mod fault;
pub mod metrics;
pub mod pair;
pub mod pinned;
pub mod session;
pub mod settings;
mod signatures;
pub mod stream;
#[cfg(test)]
mod tests;

pub use acceptor::{Accepted, Acceptor, Failure};
pub use metrics::Metrics;
pub use session::Session;
pub use stream::Stream;
