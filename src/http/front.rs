//! The front: event loops, one for each core, that own the connections of clients.
//!
//! ```text
//!  accepted                      bytes of a client
//!     |                                |  head::Reader judges each head on its own bytes
//!     v                                v
//!  Inbox --> EventLoop -- a plain poll (GET or HEAD of an operation's path, no body) --> polls --> answered, or Parked
//!              ^    |  -- a request to an exchange that waits --------------------> exchange: parked until there is an answer
//!              ^    |  -- a head that is refused ------------------------------------> refusal, then the connection ends
//!              |    |  -- the preface of HTTP/2 -------------------------------------> http2, for good
//!              |    +---- any other request, with all bytes behind it ---------------> http1: hyper, on a task of its own
//!              |                                                                          |
//!              +---------- back with all bytes behind it: the next head is for the front, or the connection is idle
//!
//!  hub: a change --> Mailbox of each loop --> Parked: the lists of the views that it touches --> one write for each poll
//! ```
//!
//! A loop is driven by one thread, so nothing of what it owns is locked or shared. It looks at events, messages, changes and
//! time in turn, and a long fan-out gives way to them every [`SLICE`](crate::bounds::SLICE) answers. What takes time (a consistent
//! read, an encoding that nobody has asked for yet) is done by a task that leaves a message.
//!
//! Over TLS the same bytes pass through a [`Session`](crate::tls::Session), which a connection takes along when it is lent:
//!
//! ```text
//!  kernel --> records --> a buffer of the thread --> decrypted --> buffer of the loop --> heads      (what is no whole record
//!  kernel <-- records <-- a buffer of the thread <-- encrypted <-- bytes of an answer                 stays in the Session)
//! ```
//!
//! Memory of a connection: a [`Client`](client::Client) in the loop's slab, an entry in [`Parked`](super::polls::parked::Parked) while it
//! is parked, and what was sent behind a request that is being answered. Bytes are read into one buffer of the loop.

pub mod client;
pub mod epoll;
pub mod event_loop;
mod exchange;
pub mod inbox;
mod known;
mod lend;
mod output;
pub mod place;
pub mod poller;
mod polls;
mod read;
pub mod socket;
#[cfg(test)]
mod tests;
pub mod threads;
mod topics;
pub mod written;

pub use event_loop::EventLoop;
pub use inbox::Inbox;
pub use place::{Place, Places};
pub use poller::{Poller, Ready};
