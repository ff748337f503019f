//! The queue of an exchange that several replicas share, by a stream of NATS JetStream.
//!
//! ```text
//!  Core (all items; acts at once) --- changed ---> writer::write --- put, if nobody was earlier ---> the stream
//!        ^                                             | counts: a claim is given, an answer is whole        |
//!        +------------------ told <--------------------+ was late: what counts                               |
//!        +------------------ told <------------------------------- run::watch <------------------------------+
//! ```
//! The replica that has an item's consumer is its home, and ends it where nobody waits any more. The replica whose worker has it
//! reads the request from its home, if it is not in the record, and those whose consumers wait read the answer from there ([`pull`],
//! [`serve`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::core::{At, Ended, Over, SharedItem};
use super::entry::Entry;
use super::id::{ClaimId, ItemId, ReplicaId};
use super::job::Job;
use super::result::Buffer;
use super::{Exchange, Given, Live, State, random};
use crate::sources::wall_clock;

mod call;
mod find;
mod forms;
mod others;
mod peers;
mod pull;
mod push;
mod record;
mod remembered;
mod run;
mod serve;
mod store;
mod writer;

use peers::Peers;
use record::{Record, SharedAnswer, SharedBody};
use remembered::Remembered;
pub use run::run;

/// What an exchange knows of what replicas share.
#[derive(Debug)]
pub(super) struct Shared {
    replica: ReplicaId,
    lines: HashMap<ItemId, Line>,
    peers: Peers,
    work: Work,
    /// There is work.
    is_work: Arc<Notify>,
    /// What is written is seen.
    is_followed: bool,
    ended: Remembered,
}

/// What is to be done without the lock.
#[derive(Debug, Default)]
struct Work {
    /// To write what is known of these.
    writes: Vec<ItemId>,
    /// To read the answers of these from the replica that has them, until that is cancelled.
    reads: HashMap<ItemId, (ReplicaId, CancellationToken)>,
    /// To remove what was written once as these, since it counts no more.
    removes: Vec<u64>,
    /// To remove what is stored of these, which have ended.
    bodies: Vec<ItemId>,
}

/// What was written of an item.
#[derive(Debug, Default)]
struct Line {
    /// The number of what was written last; 0: nothing was.
    revision: u64,
    written: Option<SharedItem>,
    /// When it came, in milliseconds since 1970.
    created: u64,
    /// How often this replica has written.
    count: u64,
    /// It is being written.
    is_busy: bool,
    /// Where the body of its request is, if its consumer came to another replica.
    body: Option<SharedBody>,
    /// What is long of it is in the object store.
    is_stored: bool,
    /// Something of it is, or was.
    is_long: bool,
    /// Its answer, which was not read from there yet.
    answer: Option<SharedAnswer>,
    /// From where its answer is read.
    read_from: Option<(ReplicaId, CancellationToken)>,
    /// An answer that is whole once that was written.
    whole: Option<Whole>,
    /// Who waits until all was written.
    waits: Vec<oneshot::Sender<()>>,
}

/// An answer that is whole.
#[derive(Debug)]
struct Whole {
    answer: Arc<Buffer>,
    trailers: Option<HeaderMap>,
    tell: oneshot::Sender<Result<(), Over>>,
}

/// What is to be written.
#[derive(Debug)]
struct Write {
    record: Record,
    revision: u64,
    life: Duration,
    /// Bodies that are stored before.
    bodies: Vec<(String, Bytes)>,
}

/// What the tasks of a shared exchange need.
#[derive(Debug)]
pub struct Link {
    is_work: Arc<Notify>,
    replica: ReplicaId,
}

/// Where replicas that share an exchange look for what they do not know.
#[derive(Debug)]
pub(super) struct Lookup {
    client: async_nats::Client,
    store: store::Store,
    /// Up to which number all that was written was seen.
    seen: watch::Receiver<u64>,
}

impl Shared {
    fn wants_write(&self, line: &Line, item: &SharedItem, answered: Option<ClaimId>, now: Instant) -> bool {
        item.differs(line.written.as_ref(), self.replica, answered, |replica| self.peers.is_gone(now, replica))
    }
}

impl State {
    /// Does what follows for other replicas from what has changed.
    pub(super) fn share(&mut self, now: Instant) {
        let Some(shared) = &mut self.shared else { return };
        let mut changed = self.core.changed();
        changed.sort_unstable();
        changed.dedup();
        for id in changed {
            let Some(item) = self.core.shared(id) else {
                if let Some(line) = shared.lines.remove(&id) {
                    if line.has_ended() {
                        shared.ended.add(id);
                        shared.work.bodies.extend(line.is_long.then_some(id));
                        shared.is_work.notify_one();
                    }
                    line.end();
                }
                continue;
            };
            let elsewhere = self.core.elsewhere(id);
            let entry = self.entries.get(&id);
            if let (Some(_), Some(entry)) = (elsewhere, entry) {
                entry.take();
            }
            let answered = self.core.answered_claim(id);
            let mut line = shared.lines.remove(&id).unwrap_or_default();
            if line.created == 0 {
                let came = since_1970().saturating_sub(self.core.age(now, id).unwrap_or_default());
                line.created = u64::try_from(came.as_millis()).unwrap_or(u64::MAX);
            }
            let is_read = self.core.has_consumers(id) && entry.is_some_and(|entry| !entry.has_ended());
            // One that outlives a replica is read once it is whole.
            let is_ready = !self.core.is_durable(id) || self.core.is_done_elsewhere(id);
            let from =
                elsewhere.filter(|_| is_ready && (is_read || line.read_from.is_some() && self.core.has_consumers(id)));
            if line.read_from.as_ref().map(|(from, _)| *from) != from {
                if let Some((_, before)) = line.read_from.take() {
                    before.cancel();
                }
                if let Some(from) = from {
                    let token = CancellationToken::new();
                    line.read_from = Some((from, token.clone()));
                    shared.work.reads.insert(id, (from, token));
                    shared.is_work.notify_one();
                }
            }
            if !line.is_busy && shared.wants_write(&line, &item, answered, now) {
                line.is_busy = true;
                shared.work.writes.push(id);
                shared.is_work.notify_one();
            }
            shared.lines.insert(id, line);
        }
    }
}

impl Line {
    /// The body of a request may have been stored since its consumer came.
    fn learn_body(&mut self, record: &Record, entry: Option<&Arc<Entry>>) {
        if !matches!(self.body, Some(SharedBody::AtHome(_))) {
            return;
        }
        match &record.request.body {
            SharedBody::AtHome(_) => {}
            SharedBody::Stored(length) => self.body = Some(SharedBody::Stored(*length)),
            SharedBody::Here(bytes) => {
                if entry.is_some_and(|entry| entry.request.body.is_stored_as(&bytes.clone().into())) {
                    self.body = None;
                }
            }
        }
    }

    /// Whether it was written how the item has ended.
    fn has_ended(&self) -> bool {
        self.written.as_ref().is_some_and(|written| matches!(written.at, At::Ended(_)))
    }

    /// Nothing more is known of the item.
    fn end(self) {
        if let Some((_, token)) = self.read_from {
            token.cancel();
        }
        if let Some(whole) = self.whole {
            whole.overruled(Over::Gone(super::core::Cause::Another));
        }
    }
}

impl Whole {
    fn overruled(self, over: Over) {
        self.answer.cut();
        // Its worker may be gone.
        let _ = self.tell.send(Err(over));
    }
}

fn since_1970() -> Duration {
    // It is before 1970 where nobody has set the clock: then all is as old as it can be.
    wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Exchange {
    /// Shares its items with other replicas, from its start on: what its tasks need.
    #[must_use]
    pub fn share(&self) -> Link {
        let is_work = Arc::new(Notify::new());
        let replica = ReplicaId::of(random());
        let mut state = self.state();
        state.core.share(replica);
        let link = Link { is_work: Arc::clone(&is_work), replica };
        let (peers, work, ended) = (Peers::default(), Work::default(), Remembered::default());
        state.shared = Some(Shared { replica, lines: HashMap::new(), peers, work, is_work, is_followed: false, ended });
        link
    }

    /// Whether it shares its items with other replicas.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.state().shared.is_some()
    }

    pub(super) fn entry(&self, item: ItemId) -> Option<Arc<Entry>> {
        self.state().entries.get(&item).map(Arc::clone)
    }

    /// What is to be done now.
    fn take_work(&self) -> Work {
        self.state().shared.as_mut().map(|shared| std::mem::take(&mut shared.work)).unwrap_or_default()
    }

    /// What is to be written of an item; none: nothing is.
    fn next_write(self: &Arc<Self>, id: ItemId) -> Option<Write> {
        let config = self.config();
        self.act_with(|state, now| {
            let State { core, entries, shared, .. } = state;
            let shared = shared.as_mut()?;
            let item = core.shared(id);
            let line = shared.lines.get(&id)?;
            let wants = item.filter(|item| shared.wants_write(line, item, core.answered_claim(id), now));
            let line = shared.lines.get_mut(&id)?;
            let (Some(item), Some(entry)) = (wants, entries.get(&id)) else {
                line.is_busy = false;
                line.waits.drain(..).for_each(|wait| {
                    let _ = wait.send(());
                });
                core.settled(id);
                return None;
            };
            line.count += 1;
            let (request, stored) = forms::request(entry, line);
            let mut bodies = Vec::new();
            if !line.is_stored {
                bodies.extend(stored.map(|bytes| (format!("{id}.request"), bytes)));
            }
            let whole = matches!(item.at, At::Ended(Ended::Done)) && item.is_known;
            let answer = if whole { forms::answer(entry) } else { None };
            let answer = answer.map(|(answer, stored)| {
                bodies.extend(stored.map(|bytes| (format!("{id}.answer"), bytes)));
                answer
            });
            let kept_for = match item.at {
                At::Ended(_) if item.is_known => config.result.keep,
                At::Ended(_) => crate::bounds::EXCHANGE_ENDED_RECORD,
                At::Queued | At::Claimed { .. } => life(&config),
            };
            line.is_long |= !bodies.is_empty();
            let (by, count, created) = (shared.replica, line.count, line.created);
            let record = Record { by, count, created, item, request, answer };
            Some(Write { record, revision: line.revision, life: kept_for, bodies })
        })
    }

    /// What was to be written counts. `item` is what that was.
    fn written(self: &Arc<Self>, id: ItemId, item: SharedItem, revision: u64) {
        let whole = self.act_with(|state, _| {
            let line = state.shared.as_mut()?.lines.get_mut(&id)?;
            line.revision = revision;
            let at = item.at;
            line.written = Some(item);
            line.is_stored = true;
            let whole = if matches!(at, At::Ended(Ended::Done)) { line.whole.take() } else { None };
            if let At::Claimed { claim, .. } = at {
                self.give(state, id, claim);
            }
            whole
        });
        if let Some(Whole { answer, trailers, tell }) = whole {
            answer.finish(trailers);
            self.linger(&answer);
            self.metrics.done();
            // Its worker may be gone.
            let _ = tell.send(Ok(()));
        }
    }

    /// A claim counts: its worker gets it, if it is of this replica and still wanted.
    fn give(self: &Arc<Self>, state: &mut State, id: ItemId, claim: ClaimId) {
        if state.core.claimed(claim) != Some(id) {
            return;
        }
        state.core.confirm(claim);
        let Some(entry) = state.entries.get(&id).map(Arc::clone) else { return };
        entry.take();
        let attempt = state.core.attempt(id);
        let is_given = state.live.contains_key(&claim);
        let offer = state.offers.remove(&claim);
        if is_given {
            return;
        }
        let mut job = Job::new(Arc::clone(self), claim, entry, attempt);
        let worker = offer.as_ref().and_then(|offer| offer.worker.clone());
        state.live.insert(claim, Live { cancel: job.cancelled().clone(), worker });
        if let Some(offer) = offer {
            // It is dropped without the lock, where nobody takes it.
            state.dropped.extend(offer.give.send(Given::Job(job)).err());
        } else {
            // Its worker has it already, and comes here with it.
            job.written();
            state.held.insert(claim, job);
        }
    }
}

/// How long an item, its body and its answer are of use at most.
fn life(config: &crate::config::Exchange) -> Duration {
    config.queue.age.max(config.queue.async_age) * 2
        + config.deadline * 2
        + config.result.keep
        + Duration::from_secs(60)
}

fn holder(at: At) -> Option<ReplicaId> {
    match at {
        At::Claimed { replica, .. } => Some(replica),
        At::Queued | At::Ended(_) => None,
    }
}

impl State {
    /// The answer of an item is whole; its end is told once that counts: what tells that.
    pub(super) fn completes(
        &mut self,
        id: ItemId,
        answer: &Arc<Buffer>,
        trailers: Option<HeaderMap>,
    ) -> oneshot::Receiver<Result<(), Over>> {
        let (tell, told) = oneshot::channel();
        let whole = Whole { answer: Arc::clone(answer), trailers, tell };
        if let Some(shared) = &mut self.shared {
            shared.lines.entry(id).or_default().whole = Some(whole);
        }
        told
    }
}
