//! PURE. Other rules, and the end of an exchange.

use std::time::Instant;

use super::item::Phase;
use super::{Core, Ended, Failure, Rules};
use crate::exchange::id::{ClaimId, ItemId};

impl Core {
    /// From now on it goes by these rules. What is queued keeps the time that it was given, and a claim its deadline.
    pub fn change(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Nothing is queued or given to a worker from now on, also where one is free: what is queued, and what comes, ends.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Workers are given nothing from now on, since the process stops. What is queued stays so until its consumers are told.
    pub fn withhold(&mut self) {
        self.withholds = true;
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Takes back what workers that poll have offered: which offers that were.
    pub fn let_polls_go(&mut self, now: Instant) -> Vec<ClaimId> {
        let polls = self.idle.polls();
        for claim in &polls {
            self.withdraw(now, *claim);
        }
        polls
    }

    /// Ends what is queued, if it was closed. The owner calls it after all that happens.
    pub fn end_queued_if_closed(&mut self, now: Instant) {
        if !self.is_closed || self.queue.is_empty() {
            return;
        }
        self.end_all(now, |phase| matches!(phase, Phase::Queued { .. }));
    }

    /// Ends what workers have of which no answer has begun: which items.
    pub fn give_up(&mut self, now: Instant) -> Vec<ItemId> {
        self.end_all(now, |phase| matches!(phase, Phase::Claimed { .. }))
    }

    /// Ends all that has not ended: which items workers had.
    pub fn cut(&mut self, now: Instant) -> Vec<ItemId> {
        self.end_all(now, |phase| matches!(phase, Phase::Queued { .. }));
        self.end_all(now, |phase| matches!(phase, Phase::Claimed { .. } | Phase::Streaming { .. }))
    }

    /// Ends the items that are in such a phase.
    fn end_all(&mut self, now: Instant, ends: impl Fn(&Phase) -> bool) -> Vec<ItemId> {
        let found = self.items.iter().filter(|(_, item)| ends(&item.phase));
        let found: Vec<_> = found
            .map(|(id, item)| {
                let failure = match item.claim() {
                    Some(_) => Failure::GraceOver,
                    None if item.may_have_begun() => Failure::Broke,
                    None => Failure::Removed,
                };
                (*id, failure)
            })
            .collect();
        for (id, failure) in &found {
            self.end(now, *id, Ended::Failed(*failure));
        }
        found.into_iter().map(|(id, _)| id).collect()
    }
}
