//! Slots of workers, and the claims of those that poll.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::core::{Key, Lost, Offer, Offered, Over, Seat};
use super::entry::Answer;
use super::id::ClaimId;
use super::job::Job;
use super::metrics::Transport;
use super::result::Buffer;
use super::workers::{Worker, WorkerDetails};
use super::{Exchange, State, WaitingOffer, random};

/// What becomes of an offer.
#[derive(Debug)]
pub enum Given {
    /// It is a claim now.
    Job(Job),
    /// A newer offer has come from the same slot.
    Superseded,
    /// The exchange does not take workers that poll any more.
    Unwelcome,
}

/// A slot that is offered. Dropped, the offer is withdrawn.
#[derive(Debug)]
pub struct Slot {
    exchange: Arc<Exchange>,
    claim: ClaimId,
    given: oneshot::Receiver<Given>,
    /// What has come of it, until somebody takes that.
    came: Option<Given>,
    taken: bool,
}

/// What a worker that polls gets at once.
#[derive(Debug)]
pub enum Seated<T = Slot> {
    /// A slot that waits.
    Waits(T),
    /// The claim that it has already and never touched.
    Again(ClaimId),
}

impl Exchange {
    /// A slot of a worker is free.
    #[must_use]
    pub fn offer(self: &Arc<Self>, key: Option<Key>, worker: Option<Arc<Worker>>) -> Slot {
        let claim = ClaimId::of(random());
        let (give, given) = oneshot::channel();
        self.act_with(|state, now| {
            state.offers.insert(claim, WaitingOffer { give, worker });
            // Without a seat there is nothing that it could have already.
            state.core.offer(now, Offer { claim, key, polls: false, seat: None });
        });
        Slot { exchange: Arc::clone(self), claim, given, came: None, taken: false }
    }

    /// A worker polls for an item.
    #[must_use]
    pub fn poll(self: &Arc<Self>, key: Option<Key>, seat: Option<Seat>, details: &WorkerDetails) -> Seated {
        let claim = ClaimId::of(random());
        let (give, given) = oneshot::channel();
        let worker = self.polling(details);
        let offered = self.act_with(|state, now| {
            if !self.takes(Transport::Claims) {
                // Its other end is below.
                let _ = give.send(Given::Unwelcome);
                return Offered::Taken;
            }
            state.offers.insert(claim, WaitingOffer { give, worker });
            let offered = state.core.offer(now, Offer { claim, key, polls: true, seat });
            if matches!(offered, Offered::Again { .. }) {
                state.offers.remove(&claim);
            }
            offered
        });
        match offered {
            Offered::Taken => {
                Seated::Waits(Slot { exchange: Arc::clone(self), claim, given, came: None, taken: false })
            }
            Offered::Again { claim, .. } => Seated::Again(claim),
        }
    }

    /// A worker that polls touches its claim.
    pub fn touch(self: &Arc<Self>, claim: ClaimId) -> Result<std::time::Duration, Over> {
        // A lease may be shorter than the time to the first touch: then something is due earlier than before.
        self.act(|core, now| core.touch(now, claim))
    }

    /// Keeps a claim for a worker that polls, until its next request.
    pub fn hold_job(self: &Arc<Self>, mut job: Job) {
        let claim = job.claim();
        // Only who knows that it was not handed over may say so.
        job.written();
        let over =
            self.act_with(
                |state, _| {
                    if state.live.contains_key(&claim) { state.held.insert(claim, job) } else { Some(job) }
                },
            );
        drop(over);
    }

    /// The claim of a worker that polls, for its next request.
    pub fn take_job(&self, claim: ClaimId) -> Result<Job, Over> {
        let mut state = self.state();
        match state.held.remove(&claim) {
            Some(job) => Ok(job),
            None if state.live.contains_key(&claim) => Err(Over::Completed),
            None => Err(state.core.over(claim)),
        }
    }

    /// A claim did not reach its worker, with this reader of its request. Where its worker has asked for it again since, it is on
    /// its way with another.
    pub fn not_handed(self: &Arc<Self>, claim: ClaimId, reader: u64) {
        let job = self.act_with(|state, _| {
            let is_newest = state.held.get(&claim).is_some_and(|job| job.entry().request.body.readers() == reader);
            if is_newest && state.core.is_untouched(claim) { state.held.remove(&claim) } else { None }
        });
        if let Some(job) = job {
            job.lost(Lost::Unwritten);
        }
    }

    /// The answer to all shared requests of a key that wait: how many consumers wait for it.
    pub fn push(self: &Arc<Self>, key: Option<&Key>, bytes: &Bytes, answer: impl Fn(Arc<Buffer>) -> Answer) -> u32 {
        let most = self.config().result.bytes;
        let ended = self.act_with(|state, now| {
            let State { core, entries, .. } = state;
            let ended = core.complete_shared(now, key, |id| entries.get(&id).map(Arc::clone));
            // Before anybody can see that they have ended.
            for (entry, _) in &ended {
                let body = Buffer::whole(Arc::clone(&self.budget), bytes.clone(), most);
                entry.answer(answer(body));
            }
            ended
        });
        for _ in &ended {
            self.metrics.done();
        }
        ended.iter().map(|(_, consumers)| consumers).sum()
    }

    /// Is cancelled once a claim is over; none: it is.
    #[must_use]
    pub fn cancelled(&self, claim: ClaimId) -> Option<CancellationToken> {
        self.state().live.get(&claim).map(|live| live.cancel.clone())
    }
}

impl Slot {
    /// Waits for what becomes of it.
    pub async fn given(&mut self) -> Given {
        let came = poll_fn(|cx| self.poll_came(cx)).await;
        self.taken = true;
        came
    }

    /// Whether something has become of it, which [`Self::given`] then gives at once.
    pub fn poll_given(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let came = ready!(self.poll_came(cx));
        self.came = Some(came);
        Poll::Ready(())
    }

    fn poll_came(&mut self, cx: &mut Context<'_>) -> Poll<Given> {
        match self.came.take() {
            Some(came) => Poll::Ready(came),
            // The exchange keeps the other end until it has given something.
            None => Pin::new(&mut self.given).poll(cx).map(|given| given.unwrap_or(Given::Superseded)),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let claim = self.claim;
        self.exchange.act_with(|state, now| {
            state.offers.remove(&claim);
            state.core.withdraw(now, claim);
        });
    }
}
