//! What polls wait for, and what is found out for them.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use crate::describe::request::Report;
use crate::describe::{Consistency, Decision, Problem};
use crate::http::access::Admitted;
use crate::http::describe::Asking;
use crate::hub::{FanOutGuard, Payload, Served, Subscription, Wanted};
use crate::operation::Operation;
use crate::registry::LivePoll;

/// Names a client, and no other of its owner that gets its key after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientRef {
    pub(in crate::http) key: u32,
    pub(in crate::http) serial: u64,
}

/// Names a body that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyKey {
    /// Where the state is in memory: it is kept there by those who wait.
    pub(in crate::http) served: usize,
    pub(in crate::http) wanted: Wanted,
}

/// What a poll waits for.
#[derive(Debug)]
pub(in crate::http) enum Waits {
    /// Until it is known who sends it, and whether that one may.
    Judging(Box<Unjudged>),
    /// Until it is known whether its client is ahead.
    Confirming(Box<Confirming>),
    /// A change, or its time: it is parked under this key.
    Parked(u32),
    /// The body of its answer is being made.
    Making(Box<Answering>),
}

/// A request whose caller is not known yet.
#[derive(Debug)]
pub(in crate::http) struct Unjudged {
    pub(in crate::http) parts: Parts,
    pub(in crate::http) operation: Arc<Operation>,
}

/// A poll whose client may be ahead.
#[derive(Debug)]
pub(in crate::http) struct Confirming {
    pub(in crate::http) asking: Asking,
    pub(in crate::http) report: Report,
}

/// A poll that is answered.
#[derive(Debug)]
pub(in crate::http) struct Answering {
    pub(in crate::http) asking: Asking,
    pub(in crate::http) served: Arc<Served>,
    pub(in crate::http) decision: Decision,
    pub(in crate::http) live: Option<LivePoll>,
    pub(in crate::http) held: Duration,
    pub(in crate::http) fan_out: Option<FanOutGuard>,
}

/// What a task has found out or made for polls.
#[derive(Debug)]
pub enum Found {
    /// Who sends the request of a client, if that one may.
    Judged(ClientRef, Box<Result<Admitted, Problem>>),
    /// What is known of the current state by now, for the poll of a client.
    Confirmed(ClientRef, Consistency),
    /// A body has been made.
    Made(BodyKey, Box<Payload>),
}

/// How an answer goes out.
#[derive(Debug)]
pub(in crate::http) struct Sending {
    /// How long the poll was held.
    pub(in crate::http) held: Duration,
    /// Whether the connection ends with it.
    pub(in crate::http) ends: bool,
    /// Kept until it is sent; absent: [`super::Polls::fan_out`] has one, if the poll was released at this moment.
    pub(in crate::http) fan_out: Option<FanOutGuard>,
}

/// Makes a body.
pub(super) async fn made(body: BodyKey, wanted: Wanted, subscription: Arc<Subscription>, served: Arc<Served>) -> Found {
    Found::Made(body, Box::new(subscription.payload(&served, wanted).await))
}
