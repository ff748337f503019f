//! What other tasks tell an event loop. There are no more messages than connections: each is about one, or about an answer
//! that connections wait for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

use super::place::Place;
use super::poller::Poller;
use crate::describe::Problem;
use crate::http::access::Admitted;
use crate::http::polls::{ClientRef, Found};
use crate::http::stream::Back;

/// The messages that an event loop has not taken yet.
#[derive(Debug)]
pub struct Inbox<P: Poller> {
    messages: Mutex<Vec<Message<P>>>,
    waker: AtomicWaker,
}

/// A message.
#[derive(Debug)]
pub enum Message<P: Poller> {
    /// A new connection.
    Accepted(P::Socket, Place),
    /// No more of those come.
    Closed,
    /// A connection that was lent has gone back, or (none) has ended.
    Returned(Option<Box<(Back<P::Socket>, Place)>>),
    /// A task has found something out for polls.
    Found(Found),
    /// There may be something to do for the request of this client, which is parked.
    Changed(ClientRef),
    /// It is known who wants to read a topic, and whether that one may.
    Judged(ClientRef, Box<Result<Admitted, Problem>>),
}

impl<P: Poller> Default for Inbox<P> {
    fn default() -> Self {
        Self { messages: Mutex::default(), waker: AtomicWaker::new() }
    }
}

impl<P: Poller> Inbox<P> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Leaves a message.
    pub fn send(&self, message: Message<P>) {
        self.messages().push(message);
        self.waker.wake();
    }

    /// Takes all messages; pending while there are none.
    pub(super) fn poll_take(&self, cx: &Context<'_>, messages: &mut Vec<Message<P>>) -> Poll<()> {
        // Registered before the look, so that no message falls in between.
        self.waker.register(cx.waker());
        let mut left = self.messages();
        if left.is_empty() {
            return Poll::Pending;
        }
        messages.append(&mut left);
        Poll::Ready(())
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Message<P>>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
