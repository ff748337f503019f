//! What a measurement asks of its clients, whether they speak HTTP/1.1 ([`crate::crowd`]) or HTTP/2 ([`crate::streams`]).

use std::time::{Duration, Instant};

pub(crate) use self::expected::Expected;
pub(crate) use self::request::{Request, token};
use crate::outcome::Outcome;

mod expected;
mod request;

/// The longest that anything takes which a measurement waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// When a client that was told polls again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// At once.
    AtOnce,
    /// When it is asked to: see [`Clients::poll_again`].
    WhenAsked,
}

/// Clients that poll, and count what they are told.
pub(crate) trait Clients {
    /// How many there are.
    fn len(&self) -> usize;

    /// From now on answers must be this, and are counted from zero.
    fn expect(&mut self, expected: Expected, again: Again);

    /// Adds clients until there are this many, some at a time. Each is told the current state, and polls again.
    fn grow(&mut self, clients: usize) -> Outcome<()>;

    /// Waits until this many were told what is expected; when the last of them was.
    fn until_told(&mut self, clients: usize) -> Outcome<Instant>;

    /// All that were told poll again.
    fn poll_again(&mut self) -> Outcome<()>;

    /// Reads what comes for a while; nobody may be told anything that is not expected.
    fn rest(&mut self, time: Duration) -> Outcome<()>;

    /// Fails unless exactly so many were told, and nothing else was said to anybody.
    fn verdict(&self, told: usize) -> Outcome<()>;
}
