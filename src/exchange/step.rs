//! Something happens to an exchange: its core says what follows, and that is done.

use std::sync::Arc;

use tokio::time::Instant;

use super::core::{Core, Effect, Failure};
use super::job::Job;
use super::notes::Notes;
use super::{Exchange, Given, Live, State};

impl Exchange {
    pub(super) fn act<T>(self: &Arc<Self>, event: impl FnOnce(&mut Core, std::time::Instant) -> T) -> T {
        self.act_with(|state, now| event(&mut state.core, now))
    }

    /// Lets something happen, and does what follows from it.
    pub(super) fn act_with<T>(self: &Arc<Self>, event: impl FnOnce(&mut State, std::time::Instant) -> T) -> T {
        let mut state = self.state();
        let now = Instant::now().into_std();
        // After its end another one may have its name, and its metrics.
        let was_closed = state.core.is_closed();
        let result = event(&mut state, now);
        state.core.end_queued_if_closed(now);
        let mut notes = Notes::default();
        for effect in state.core.effects() {
            self.apply(&mut state, effect, &mut notes);
        }
        state.over.clear();
        state.share(now);
        notes.dropped.append(&mut state.dropped);
        let (queued, in_flight) = (state.core.queued(), state.core.in_flight());
        if !was_closed {
            self.metrics.show_requests(queued, in_flight);
        }
        self.in_flight.send_if_modified(|before| std::mem::replace(before, in_flight) != in_flight);
        let in_all = state.core.queued_in_all();
        notes.queue = state.fills(in_all);
        let next = state.core.next();
        let is_earlier = next.is_some_and(|next| state.wakes.is_none_or(|wakes| next < wakes));
        if is_earlier {
            state.wakes = next;
        }
        drop(state);
        if is_earlier {
            self.earlier.notify_one();
        }
        // Claims that nobody took, or that are over: their end needs the lock.
        drop(std::mem::take(&mut notes.dropped));
        self.tell_of(notes);
        result
    }

    fn apply(self: &Arc<Self>, state: &mut State, effect: Effect, notes: &mut Notes) {
        match effect {
            Effect::Assign { claim, item, attempt, queued } => {
                self.metrics.queue_seconds.observe(queued.as_secs_f64());
                if state.shared.is_some() {
                    // Its worker gets it once that counts.
                    return;
                }
                let (Some(offer), Some(entry)) = (state.offers.remove(&claim), state.entries.get(&item)) else {
                    return;
                };
                entry.take();
                let job = Job::new(Arc::clone(self), claim, Arc::clone(entry), attempt);
                state.live.insert(claim, Live { cancel: job.cancelled().clone(), worker: offer.worker });
                notes.dropped.extend(offer.give.send(Given::Job(job)).err());
            }
            Effect::Superseded(claim) => {
                if let Some(offer) = state.offers.remove(&claim) {
                    self.metrics.superseded.inc();
                    notes.dropped.extend(offer.give.send(Given::Superseded).err());
                }
            }
            Effect::Cancel(claim) => {
                state.forget_claim(claim, |live| live.cancel.cancel());
                notes.dropped.extend(state.held.remove(&claim).map(Given::Job));
            }
            Effect::PutBack(_, how) => self.metrics.put_back(how),
            Effect::End(failed) => {
                if !failed.is_told {
                    self.metrics.failed(&failed);
                    notes.failed(failed, state);
                }
                if let Some(entry) = state.entries.get(&failed.item) {
                    entry.fail(failed.failure);
                }
            }
            Effect::Forget(item) => {
                state.entries.remove(&item);
                state.core.to_be_shared(item);
            }
            Effect::Overruled(item) => {
                if let Some(entry) = state.entries.get_mut(&item) {
                    entry.fail(Failure::Cut);
                    *entry = entry.anew();
                }
            }
        }
    }
}
