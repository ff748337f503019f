//! What operators are told of a step, once the lock is free.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::{Failed, Failure, reason};
use super::id::ItemId;
use super::workers::Worker;
use super::{Exchange, Given, State};
use crate::bounds::EXCHANGE_LOG;

/// What is left to do when the lock is free.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Claims that nobody took, or that are over.
    pub(super) dropped: Vec<Given>,
    failed: Vec<Note>,
    pub(super) queue: Option<Queue>,
}

/// An item that has failed.
#[derive(Debug)]
struct Note {
    failed: Failed,
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
    /// An item has failed. What its consumer has ended is nothing to tell, and of the end of the grace period all are told at once.
    pub(super) fn failed(&mut self, failed: Failed, state: &State) {
        if matches!(failed.failure, Failure::Deleted | Failure::Abandoned | Failure::BodyBroke | Failure::GraceOver) {
            return;
        }
        let of_claim = |claim| {
            let over = state.over.iter().find(|(over, _)| *over == claim).map(|(_, live)| live);
            over.or_else(|| state.live.get(&claim))?.worker.clone()
        };
        let worker = failed.claim.and_then(of_claim);
        self.failed.push(Note { failed, worker });
    }
}

impl State {
    /// Whether the queue has become full, or is so no more: when a tenth of it is free, so that it is not told of each place.
    pub(super) fn fills(&mut self, queued: usize) -> Option<Queue> {
        let length = self.core.queue_length();
        let is_full = if self.is_full { queued > length - length.div_ceil(10) } else { queued >= length };
        let changed = std::mem::replace(&mut self.is_full, is_full) != is_full;
        changed.then_some(if is_full { Queue::Full(queued) } else { Queue::Open(queued) })
    }
}

impl Exchange {
    pub(super) fn tell_of(&self, notes: Notes) {
        let exchange = self.name();
        for Note { failed, worker } in notes.failed {
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
                if failed.is_dead { "a request has failed after all attempts" } else { "a request has failed" }
            );
        }
        if let Some(queue) = notes.queue
            && let Some(before) = self.queue_lines.next()
        {
            match queue {
                Queue::Full(queued) => {
                    tracing::warn!(
                        exchange,
                        queued,
                        before,
                        "the queue is full: further requests are refused (queue.length)"
                    );
                }
                Queue::Open(queued) => tracing::warn!(exchange, queued, before, "the queue is not full any more"),
            }
        }
    }

    /// What workers have is given up.
    pub(super) fn tell_of_given_up(&self, items: &[ItemId]) {
        if items.is_empty() {
            return;
        }
        let named: Vec<_> = items.iter().take(EXCHANGE_LOG.0 as usize).map(ItemId::to_string).collect();
        tracing::warn!(
            exchange = self.name(),
            in_flight = items.len(),
            items = named.join(" "),
            "the grace period is over: what workers have not answered has failed"
        );
    }

    /// A consumer is refused, since the process stops.
    pub fn refused_by_stop(&self) {
        self.stopped.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells how many were refused, since the process has stopped, and how many requests are lost of which nobody waits for the
    /// answer now.
    pub fn tell_of_stop(&self) {
        let refused = self.stopped.load(Ordering::Relaxed);
        // Others go on with what replicas share.
        let queued = if self.is_shared() { 0 } else { self.state().core.queued() };
        if refused > 0 || queued > 0 {
            tracing::warn!(
                exchange = self.name(),
                refused,
                queued,
                "queued requests were refused, since this server stops"
            );
        }
    }
}
