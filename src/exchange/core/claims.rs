//! PURE. Offers of workers, and what becomes of the claims that they turn into.

use std::time::{Duration, Instant};

use super::item::{Again, Home, Lease, Phase};
use super::timers::urgency;
use super::{Core, Dead, Effect, Ended, Failure, Key, Offer, Seat};
use crate::bounds::{EXCHANGE_COMPLETED, EXCHANGE_GONE, EXCHANGE_UNTOUCHED};
use crate::exchange::id::{ClaimId, ItemId};

/// A live claim.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) item: ItemId,
    /// Its worker polls.
    pub(super) polls: bool,
    pub(super) seat: Option<Seat>,
    /// What the offer takes.
    pub(super) key: Option<Key>,
    /// Its worker waits for it here: it has not come from another replica.
    pub(super) is_offered: bool,
    /// It counts for all replicas; without others always.
    pub(super) is_confirmed: bool,
}

/// What an offer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It waits, or has become a claim: the effects say which.
    Taken,
    /// Its seat has a claim that it never touched. The offer is not needed: the claim is given again.
    Again {
        /// That claim.
        claim: ClaimId,
        /// Its item.
        item: ItemId,
        /// Which attempt it is, from 1.
        attempt: u32,
    },
}

/// Why a claim ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lost {
    /// The connection ended before anything of the request was written.
    Unwritten,
    /// The worker has given it back.
    GivenBack,
    /// The connection ended after some of the request was written, and before anything of the answer came.
    Written,
    /// The connection ended within the answer.
    AfterHead,
    /// The worker's answer is none of HTTP.
    Malformed,
    /// The worker did not touch it in time.
    Untouched,
    /// The worker did not touch it again in time.
    LeaseOver,
}

/// A claim is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// Its answer has come already.
    #[error("the answer of this claim has come already")]
    Completed,
    /// No answer to it is of use.
    #[error("{0}")]
    Gone(Cause),
}

/// Why no answer to a claim is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Nothing is known of it.
    #[error("the exchange knows no such claim: it never was one, is long over, or is of another replica")]
    Unknown,
    /// It was not touched in time.
    #[error("the claim was not touched in time (lease.first)")]
    Untouched,
    /// It was not touched again in time.
    #[error("the lease of the claim is over (lease.length)")]
    LeaseOver,
    /// Its worker touches it at another replica.
    #[error("the claim is at another replica now")]
    Moved,
    /// After that another worker was given the request.
    #[error("the lease of the claim is over, and another worker has the request")]
    Another,
    /// Its worker did not want it.
    #[error("the claim was given back")]
    GivenBack,
    /// It did not reach its worker.
    #[error("the claim did not reach its worker")]
    Unwritten,
    /// Its worker broke off.
    #[error("the answer to the claim broke off")]
    Broke,
    /// Its answer was none.
    #[error("the answer to the claim was not HTTP")]
    Malformed,
    /// Nobody waits for the answer, or nobody reads it.
    #[error("its consumer has left")]
    Left,
    /// A consumer has deleted the request.
    #[error("its consumer has deleted the request")]
    Deleted,
    /// A push has answered the request.
    #[error("a push has answered the request")]
    Pushed,
    /// Its answer did not begin in time.
    #[error("its answer did not begin in time (deadline)")]
    TooSlow,
    /// It has no answer, and there is no more time for one.
    #[error("the grace period is over, in which the exchange ends")]
    GraceOver,
    /// The request is not whole.
    #[error("its consumer broke off the body of the request")]
    BodyBroke,
}

impl Cause {
    /// Why a live claim is over when its item ends.
    pub(super) fn of(ended: Ended) -> Self {
        match ended {
            Ended::Done => Self::Pushed,
            Ended::Failed(failure) => match failure {
                Failure::Deleted => Self::Deleted,
                Failure::TooSlow => Self::TooSlow,
                Failure::BodyBroke => Self::BodyBroke,
                Failure::GraceOver => Self::GraceOver,
                Failure::Malformed => Self::Malformed,
                Failure::Abandoned | Failure::NotClaimed | Failure::NoWorker | Failure::Removed => Self::Left,
                Failure::Broke | Failure::Cut => Self::Broke,
            },
        }
    }
}

impl From<Lost> for Cause {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Unwritten => Self::Unwritten,
            Lost::GivenBack => Self::GivenBack,
            Lost::Written | Lost::AfterHead => Self::Broke,
            Lost::Malformed => Self::Malformed,
            Lost::Untouched => Self::Untouched,
            Lost::LeaseOver => Self::LeaseOver,
        }
    }
}

impl Core {
    /// A slot of a worker is free.
    pub fn offer(&mut self, now: Instant, offer: Offer) -> Offered {
        self.worker_seen = now;
        if let Some(seat) = &offer.seat
            && let Some(before) = self.seats.get(seat).copied()
        {
            if let Some(again) = self.untouched(before) {
                return again;
            }
            if self.idle.remove(before).is_some() {
                self.effects.push(Effect::Superseded(before));
            }
        }
        let (claim, key) = (offer.claim, offer.key.clone());
        if let Some(seat) = &offer.seat {
            self.seats.insert(seat.clone(), claim);
        }
        self.idle.add(offer);
        self.serve(now, claim, key.as_ref());
        Offered::Taken
    }

    /// Gives the next item to the worker of an offer, if there is one.
    pub(super) fn serve(&mut self, now: Instant, claim: ClaimId, key: Option<&Key>) {
        while !self.withholds
            && let Some(item) = self.queue.next(key)
        {
            if self.items.get(&item).is_some_and(|found| found.is_wanted(now)) {
                self.assign(now, claim, item);
                break;
            }
            self.end(now, item, Ended::Failed(Failure::Abandoned));
        }
    }

    fn untouched(&self, claim: ClaimId) -> Option<Offered> {
        let id = self.claims.get(&claim)?.item;
        let item = self.items.get(&id)?;
        let is_untouched = matches!(item.phase, Phase::Claimed { lease: Lease::Untouched(_), .. });
        is_untouched.then_some(Offered::Again { claim, item: id, attempt: item.attempts + 1 })
    }

    /// A slot is not free any more. Where it has become a claim, nothing of that was written.
    pub fn withdraw(&mut self, now: Instant, claim: ClaimId) {
        match self.idle.remove(claim) {
            Some(offer) => {
                self.worker_seen = now;
                self.leave_seat(claim, offer.seat.as_ref());
            }
            None => self.lost(now, claim, Lost::Unwritten),
        }
    }

    /// Gives a queued item to the worker of an offer.
    pub(super) fn assign(&mut self, now: Instant, claim: ClaimId, id: ItemId) {
        let Some(item) = self.items.get_mut(&id) else { return };
        let Phase::Queued { since } = item.phase else { return };
        let Some(offer) = self.idle.remove(claim) else { return };
        self.queue.take(&item.place);
        let lease = if offer.polls { Lease::Untouched(now + self.rules.first_touch) } else { Lease::OfConnection };
        item.phase = Phase::Claimed { claim, since: now, until: now + self.rules.deadline, lease };
        let attempt = item.attempts + 1;
        let is_confirmed = self.replica.is_none();
        let Offer { key, polls, seat, .. } = offer;
        self.claims.insert(claim, Claim { item: id, polls, seat, key, is_offered: true, is_confirmed });
        self.effects.push(Effect::Assign { claim, item: id, attempt, queued: now.saturating_duration_since(since) });
        self.schedule(id);
    }

    /// A worker that polls touches its claim: how long it keeps it now.
    pub fn touch(&mut self, now: Instant, claim: ClaimId) -> Result<Duration, Over> {
        let id = self.item_of(claim)?;
        let lease = self.rules.lease;
        if let Some(item) = self.items.get_mut(&id)
            && let Phase::Claimed { lease: lasts @ (Lease::Untouched(_) | Lease::Touched(_)), .. } = &mut item.phase
        {
            *lasts = Lease::Touched(now + lease);
            self.schedule(id);
        }
        Ok(lease)
    }

    /// The head of a worker's answer is here. Whether its body is to be kept, for others or for later.
    pub fn head(&mut self, claim: ClaimId) -> Result<bool, Over> {
        let id = self.item_of(claim)?;
        let item = self.items.get_mut(&id).ok_or(Over::Gone(Cause::Unknown))?;
        let Phase::Claimed { since, .. } = item.phase else { return Err(Over::Completed) };
        item.phase = Phase::Streaming { claim, since, is_served: false };
        // Another replica reads it when it has learnt of it.
        let keeps = item.is_known || item.share.is_some() || item.home != Home::Here;
        self.release_share(id);
        self.schedule(id);
        Ok(keeps)
    }

    /// All of a worker's answer is here: how long that took since the claim; none: the claim is over.
    pub fn finish(&mut self, now: Instant, claim: ClaimId) -> Option<Duration> {
        let live = self.unclaim(now, claim, None)?;
        if live.polls {
            self.remember_completed(claim);
        }
        let since = self.items.get(&live.item).and_then(|item| match item.phase {
            Phase::Claimed { since, .. } | Phase::Streaming { since, .. } => Some(since),
            Phase::Queued { .. } | Phase::Elsewhere { .. } | Phase::Ended { .. } => None,
        });
        let took = since.map(|since| now.saturating_duration_since(since));
        if let Some(took) = took {
            self.estimate.took(took);
        }
        self.end(now, live.item, Ended::Done);
        if let Some(item) = self.items.get_mut(&live.item)
            && let Phase::Ended { claim: answered, .. } = &mut item.phase
        {
            *answered = Some(claim);
        }
        took
    }

    /// Nobody reads the answer of a claim.
    pub fn unread(&mut self, now: Instant, claim: ClaimId) {
        if let Ok(id) = self.item_of(claim) {
            self.end(now, id, Ended::Failed(Failure::Abandoned));
        }
    }

    /// A worker is lost to its claim.
    pub fn lost(&mut self, now: Instant, claim: ClaimId, how: Lost) {
        let Some(Claim { item: id, .. }) = self.unclaim(now, claim, Some(how.into())) else { return };
        let Some(item) = self.items.get_mut(&id) else { return };
        let again = item.again;
        let has_begun = matches!(item.phase, Phase::Streaming { .. });
        let counts = match how {
            Lost::Unwritten | Lost::GivenBack => false,
            Lost::Untouched => {
                item.untouched += 1;
                item.untouched.is_multiple_of(EXCHANGE_UNTOUCHED)
            }
            Lost::Written | Lost::LeaseOver | Lost::AfterHead | Lost::Malformed => true,
        };
        item.attempts += u32::from(counts);
        let failure = match how {
            Lost::Malformed => Some(Failure::Malformed),
            Lost::AfterHead => Some(Failure::Cut),
            // Its consumers have some of that answer.
            _ if has_begun => Some(Failure::Cut),
            _ if again == Again::Never => Some(Failure::Broke),
            Lost::Unwritten | Lost::GivenBack => None,
            Lost::Written | Lost::LeaseOver | Lost::Untouched if again != Again::Always => Some(Failure::Broke),
            Lost::Written | Lost::LeaseOver | Lost::Untouched => {
                (item.attempts >= self.rules.attempts).then_some(Failure::Broke)
            }
        };
        let is_wanted = item.is_wanted(now);
        let is_dead = failure == Some(Failure::Broke) && again == Again::Always;
        if is_dead {
            let dead = Dead { item: id, key: item.place.key.clone(), attempts: item.attempts, lost: how, at: now };
            self.remember_dead(dead);
        }
        match failure {
            Some(failure) => self.end_with(now, id, Ended::Failed(failure), Some(how), is_dead),
            None if !is_wanted => self.end(now, id, Ended::Failed(Failure::Abandoned)),
            None => self.put_back(now, id, how),
        }
    }

    fn put_back(&mut self, now: Instant, id: ItemId, how: Lost) {
        let Some(item) = self.items.get_mut(&id) else { return };
        item.phase = Phase::Queued { since: now };
        item.place.urgency = urgency(item, now);
        self.queue.put_back(&item.place, id);
        let key = item.place.key.clone();
        let offer = self.free_slot(key.as_ref());
        self.effects.push(Effect::PutBack(id, how));
        self.schedule(id);
        if let Some(offer) = offer {
            self.assign(now, offer, id);
        }
    }

    /// Ends a claim; none: it has ended. Of a worker that polls it is remembered why no answer to it is of use.
    pub(super) fn unclaim(&mut self, now: Instant, claim: ClaimId, cause: Option<Cause>) -> Option<Claim> {
        let live = self.claims.remove(&claim)?;
        self.worker_seen = now;
        self.leave_seat(claim, live.seat.as_ref());
        if let Some(cause) = cause.filter(|_| live.polls) {
            if self.gone.len() == EXCHANGE_GONE {
                self.gone.pop_front();
            }
            self.gone.push_back((claim, live.item, cause));
        }
        Some(live)
    }

    fn leave_seat(&mut self, claim: ClaimId, seat: Option<&Seat>) {
        if let Some(seat) = seat
            && self.seats.get(seat) == Some(&claim)
        {
            self.seats.remove(seat);
        }
    }

    fn item_of(&self, claim: ClaimId) -> Result<ItemId, Over> {
        self.claims.get(&claim).map(|live| live.item).ok_or_else(|| self.over(claim))
    }

    /// Why a claim that does not live is over.
    #[must_use]
    pub fn over(&self, claim: ClaimId) -> Over {
        if self.completed.contains(&claim) {
            return Over::Completed;
        }
        let found = self.gone.iter().rev().find(|(gone, ..)| *gone == claim);
        Over::Gone(match found {
            None => Cause::Unknown,
            Some((_, item, Cause::Untouched | Cause::LeaseOver)) if self.is_claimed(*item) => Cause::Another,
            Some((.., cause)) => *cause,
        })
    }

    /// What a claim was for has its answer.
    pub(super) fn remember_completed(&mut self, claim: ClaimId) {
        if self.completed.len() == EXCHANGE_COMPLETED {
            self.completed.pop_front();
        }
        self.completed.push_back(claim);
    }

    /// Whether the worker of a claim has not touched it yet.
    #[must_use]
    pub fn is_untouched(&self, claim: ClaimId) -> bool {
        self.untouched(claim).is_some()
    }

    /// The consumer of an item has broken off its body, so nobody can answer it.
    pub fn broken_off(&mut self, now: Instant, id: ItemId) {
        self.end(now, id, Ended::Failed(Failure::BodyBroke));
    }

    /// The body of an item cannot be sent once more: no other worker is given it.
    pub fn not_replayable(&mut self, id: ItemId) {
        if let Some(item) = self.items.get_mut(&id) {
            item.again = Again::Never;
        }
    }
}
