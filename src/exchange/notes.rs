//! What operators are told of a step, once the lock is free.

use std::sync::Arc;

use super::core::{Failed, Failure, reason};
use super::id::ItemId;
use super::workers::Worker;
use super::{Exchange, Given, State};

/// What is left to do when the lock is free.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Claims that nobody took, or that are over.
    pub(super) dropped: Vec<Given>,
    /// The item that has failed after all attempts, and ends next.
    pub(super) dead: Option<ItemId>,
    failed: Vec<Note>,
    pub(super) queue: Option<Queue>,
}

/// An item that has failed.
#[derive(Debug)]
struct Note {
    failed: Failed,
    is_dead: bool,
    worker: Option<Arc<Worker>>,
}

/// What has become of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// Nothing more has room.
    Full(usize),
    /// Something has again.
    Open(usize),
}

impl Notes {
    /// An item has failed. What its consumer has ended is nothing to tell.
    pub(super) fn failed(&mut self, failed: Failed, state: &State) {
        if matches!(failed.failure, Failure::Deleted | Failure::Abandoned | Failure::BodyBroke) {
            return;
        }
        let of_claim = |claim| {
            let over = state.over.iter().find(|(over, _)| *over == claim).map(|(_, live)| live);
            over.or_else(|| state.live.get(&claim))?.worker.clone()
        };
        let worker = failed.claim.and_then(of_claim);
        self.failed.push(Note { failed, is_dead: self.dead.take() == Some(failed.item), worker });
    }
}

impl State {
    /// Whether the queue has become full, or is so no more: when a tenth of it is free, so that it is not told of each place.
    pub(super) fn fills(&mut self, queued: usize, length: usize) -> Option<Queue> {
        let is_full = if self.is_full { queued > length - length.div_ceil(10) } else { queued >= length };
        let changed = std::mem::replace(&mut self.is_full, is_full) != is_full;
        changed.then_some(if is_full { Queue::Full(queued) } else { Queue::Open(queued) })
    }
}

impl Exchange {
    pub(super) fn tell_of(&self, notes: Notes) {
        let exchange = self.name();
        for Note { failed, is_dead, worker } in notes.failed {
            let Some(before) = self.failures.next() else { continue };
            tracing::warn!(
                exchange,
                item = %failed.item,
                reason = reason(failed.failure, failed.lost),
                attempts = failed.attempts,
                transport = worker.as_ref().map(|worker| worker.transport.as_str()),
                agent = worker.as_ref().and_then(|worker| worker.agent.as_deref()),
                identity = worker.as_ref().and_then(|worker| worker.identity.as_deref()),
                peer = worker.as_ref().map(|worker| tracing::field::display(worker.peer)),
                before,
                "{}",
                if is_dead { "a request has failed after all attempts" } else { "a request has failed" }
            );
        }
        match notes.queue {
            Some(Queue::Full(queued)) => {
                tracing::warn!(exchange, queued, "the queue is full: further requests are refused (queue.length)");
            }
            Some(Queue::Open(queued)) => tracing::warn!(exchange, queued, "the queue is not full any more"),
            None => {}
        }
    }
}
