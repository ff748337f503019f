//! PURE. Other rules, and the end of an exchange.

use std::time::Instant;

use super::item::Phase;
use super::{Core, Ended, Failure, Rules};
use crate::exchange::id::{ClaimId, ItemId};

impl Core {
    /// From now on it goes by these rules. What is queued keeps the time that it was given; a claim that is held has the longer one
    /// of both deadlines.
    pub fn change(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Nothing is queued from now on: what is, and what comes, ends without a worker.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Takes back what workers that poll have offered: which offers that were.
    pub fn let_polls_go(&mut self, now: Instant) -> Vec<ClaimId> {
        let polls = self.idle.polls();
        for claim in &polls {
            self.withdraw(now, *claim);
        }
        polls
    }

    /// Ends what is queued, if nothing is to be.
    pub fn end_what_came_late(&mut self, now: Instant) {
        if !self.is_closed || self.queue.is_empty() {
            return;
        }
        let queued = self.items.iter().filter(|(_, item)| matches!(item.phase, Phase::Queued { .. }));
        let queued: Vec<(ItemId, Failure)> = queued
            .map(|(id, item)| (*id, if item.may_have_begun() { Failure::Broke } else { Failure::Removed }))
            .collect();
        for (id, failure) in queued {
            self.end(now, id, Ended::Failed(failure));
        }
    }

    /// Ends all that has not ended.
    pub fn cut(&mut self, now: Instant) {
        let live = self.items.iter().filter(|(_, item)| !matches!(item.phase, Phase::Ended { .. }));
        let live: Vec<_> = live.map(|(id, _)| *id).collect();
        for id in live {
            self.end(now, id, Ended::Failed(Failure::Deleted));
        }
    }
}
