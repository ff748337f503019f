//! PURE. When items are looked at next, and what the time does to them.

use std::time::{Duration, Instant};

use super::item::{Again, Home, Item, Lease, Phase, Wanted};
use super::{Core, Ended, Failure, Lost};
use crate::exchange::id::ItemId;

/// A queued item becomes more urgent by one each time it has waited for so long.
const MORE_URGENT: Duration = Duration::from_secs(10);

impl Core {
    /// When [`Core::tick`] is to be called, if nothing happens until then.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let item = self.timers.first().map(|(at, _)| *at);
        item.into_iter().chain(self.refuses_at()).min()
    }

    /// When queued items are refused, since there is no worker.
    fn refuses_at(&self) -> Option<Instant> {
        let after = self.rules.refuse_after.filter(|_| self.slots() == 0 && !self.queue.is_empty())?;
        Some(self.worker_seen + after)
    }

    /// It is now later. Whether the body of an item can be sent again, the owner knows.
    pub fn tick(&mut self, now: Instant, is_replayable: impl Fn(ItemId) -> bool) {
        if self.refuses_at().is_some_and(|at| at <= now) {
            while let Some(id) = self.queue.next(None) {
                let failure = if self.may_have_begun(id) { Failure::Broke } else { Failure::NoWorker };
                self.end(now, id, Ended::Failed(failure));
            }
        }
        while let Some((at, id)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(item) = self.items.get_mut(&id) {
                item.timer = None;
                if !is_replayable(id) {
                    item.again = Again::Never;
                }
            }
            self.look(now, id);
        }
    }

    /// Does to an item what the time does.
    fn look(&mut self, now: Instant, id: ItemId) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let is_wanted = item.is_wanted(now);
        match item.phase {
            Phase::Ended { until, .. } if until <= now && item.is_settled => return self.forget(id),
            Phase::Ended { how, claim, until } if until <= now => {
                // Others are still to know.
                item.phase = Phase::Ended { until: now + self.rules.keep, how, claim };
            }
            Phase::Queued { .. } | Phase::Claimed { .. } | Phase::Streaming { .. } | Phase::Elsewhere { .. }
                if !is_wanted =>
            {
                return self.end(now, id, Ended::Failed(Failure::Abandoned));
            }
            Phase::Queued { .. } if item.expires <= now && item.home == Home::Here => {
                let failure = if item.may_have_begun() { Failure::Broke } else { Failure::NotClaimed };
                return self.end(now, id, Ended::Failed(failure));
            }
            Phase::Queued { .. } => {
                let urgency = urgency(item, now);
                if urgency != item.place.urgency {
                    self.queue.remove(&item.place);
                    item.place.urgency = urgency;
                    self.queue.push(&item.place, id);
                }
            }
            Phase::Claimed { until, .. } if until <= now => {
                return self.end(now, id, Ended::Failed(Failure::TooSlow));
            }
            Phase::Claimed { claim, lease: Lease::Untouched(until), .. } if until <= now => {
                self.lost(now, claim, Lost::Untouched);
                return self.effects.push(super::Effect::Cancel(claim));
            }
            Phase::Claimed { claim, lease: Lease::Touched(until), .. } if until <= now => {
                self.lost(now, claim, Lost::LeaseOver);
                return self.effects.push(super::Effect::Cancel(claim));
            }
            Phase::Claimed { .. } | Phase::Streaming { .. } | Phase::Elsewhere { .. } | Phase::Ended { .. } => {}
        }
        self.schedule(id);
    }

    /// Says anew when an item is looked at next.
    pub(super) fn schedule(&mut self, id: ItemId) {
        self.to_be_shared(id);
        let Some(item) = self.items.get_mut(&id) else { return };
        let next = next(item);
        if next == item.timer {
            return;
        }
        if let Some(before) = item.timer.take() {
            self.timers.remove(&(before, id));
        }
        item.timer = next;
        if let Some(at) = next {
            self.timers.insert((at, id));
        }
    }
}

/// The urgency of an item, which rises while it waits.
pub(super) fn urgency(item: &Item, now: Instant) -> u8 {
    let steps = now.saturating_duration_since(item.submitted).as_secs() / MORE_URGENT.as_secs();
    item.declared.saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
}

fn next(item: &Item) -> Option<Instant> {
    let unwanted = match item.wanted() {
        Wanted::Until(until) => Some(until),
        // What nobody wants ends at once.
        Wanted::Yes | Wanted::No => None,
    };
    let of_phase = match item.phase {
        Phase::Queued { .. } => {
            let steps = u32::from(item.declared - item.place.urgency) + 1;
            let rises = (item.place.urgency > 0).then(|| item.submitted + MORE_URGENT * steps);
            let expires = (item.home == Home::Here).then_some(item.expires);
            [expires, rises, unwanted]
        }
        Phase::Claimed { until, lease, .. } => {
            let lease = match lease {
                Lease::OfConnection => None,
                Lease::Untouched(until) | Lease::Touched(until) => Some(until),
            };
            [Some(until), lease, unwanted]
        }
        Phase::Streaming { .. } | Phase::Elsewhere { .. } => [None, None, unwanted],
        Phase::Ended { until, .. } => [Some(until), None, None],
    };
    of_phase.into_iter().flatten().min()
}
