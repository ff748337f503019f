//! What other replicas write and say.

use std::collections::hash_map::Entry::Vacant;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::record::{Record, SharedAnswer, SharedBody};
use super::{Line, State, forms, holder, since_1970};
use crate::exchange::core::{At, Cause, Ended, Failure, Over};
use crate::exchange::entry::Answer;
use crate::exchange::id::{ItemId, ReplicaId};
use crate::exchange::result::Buffer;
use crate::exchange::{Exchange, ShownShared};

impl Exchange {
    /// Another replica, or this one before, has written this of an item.
    pub(super) fn told(self: &Arc<Self>, id: ItemId, record: Record, revision: u64) {
        let age = since_1970().saturating_sub(Duration::from_millis(record.created));
        let whole = self.act_with(|state, now| {
            let State { core, entries, shared, .. } = state;
            let shared = shared.as_mut()?;
            let is_over = matches!(record.item.at, At::Ended(_));
            // Nothing is written after the end.
            let has_ended = shared.ended.contains(id) || shared.lines.get(&id).is_some_and(Line::has_ended);
            if has_ended && !is_over {
                // A server of NATS that has crashed shows what came before the end.
                shared.work.removes.push(revision);
                shared.is_work.notify_one();
                return None;
            }
            let line = shared.lines.entry(id).or_default();
            if line.revision >= revision {
                return None;
            }
            line.revision = revision;
            line.created = record.created;
            line.written = Some(record.item.clone());
            for replica in [Some(record.item.home), holder(record.item.at)].into_iter().flatten() {
                if replica != shared.replica {
                    shared.peers.named(now, replica);
                }
            }
            let is_known = core.shared(id).is_some();
            if is_over && !record.item.is_known && !is_known {
                shared.lines.remove(&id);
                shared.ended.add(id);
                return None;
            }
            if let Vacant(vacant) = entries.entry(id) {
                let Some(entry) = forms::entry(id, &record, line, self.config().body.replay) else {
                    shared.lines.remove(&id);
                    return None;
                };
                vacant.insert(entry);
            }
            line.learn_body(&record, entries.get(&id));
            line.is_stored = true;
            if let Some(answer) = record.answer
                && entries.get(&id).is_some_and(|entry| !entry.has_ended())
            {
                line.answer = Some(answer);
            }
            core.told(now, id, record.item, record.by, age);
            // What it was to complete goes on without it.
            let ends_here = matches!(core.shared(id).map(|item| item.at), Some(At::Ended(Ended::Done)));
            let line = shared.lines.get_mut(&id)?;
            if ends_here && !is_over { None } else { line.whole.take() }
        });
        if let Some(whole) = whole {
            whole.overruled(Over::Gone(Cause::Another));
        }
        self.use_inline_answer(id);
    }

    /// An answer that is in the record is there for who comes.
    fn use_inline_answer(self: &Arc<Self>, id: ItemId) {
        let found = {
            let mut state = self.state();
            let line = state.shared.as_mut().and_then(|shared| shared.lines.get_mut(&id));
            match line.and_then(|line| line.answer.clone()) {
                Some(SharedAnswer { body: SharedBody::Here(_), .. }) => {
                    state.shared.as_mut().and_then(|shared| shared.lines.get_mut(&id)?.answer.take())
                }
                _ => None,
            }
        };
        if let Some(answer) = found
            && let SharedBody::Here(bytes) = &answer.body
        {
            self.answered(id, &answer, bytes.clone().into());
        }
    }

    /// The answer of an item is here, from the store.
    pub(super) fn answered(self: &Arc<Self>, id: ItemId, answer: &SharedAnswer, bytes: Bytes) {
        let (Some(entry), Some((status, headers))) = (self.entry(id), answer.head()) else { return };
        let keep = bytes.len();
        let body = Buffer::whole(Arc::clone(&self.budget), bytes, keep);
        if !entry.answer(Answer { status, headers, body }) {
            // It is being read from the replica of its worker.
            return;
        }
        self.act(|core, now| core.answered_elsewhere(now, id, Ended::Done));
    }

    /// Nothing is written of an item any more, though something was.
    pub(super) fn vanished(self: &Arc<Self>, id: ItemId) {
        self.act_with(|state, now| {
            let State { core, shared, .. } = state;
            let Some(line) = shared.as_mut().and_then(|shared| shared.lines.get_mut(&id)) else { return };
            line.is_lost();
            if !core.is_home(id) && !core.has_worker(id) {
                core.forgotten(now, id);
            }
        });
    }

    /// NATS has lost what was written: what this replica has of it is written again.
    pub(super) fn written_is_lost(self: &Arc<Self>) {
        self.act_with(|state, _| {
            let State { core, shared, .. } = state;
            let Some(shared) = shared else { return };
            for (id, line) in &mut shared.lines {
                line.is_lost();
                if core.is_home(*id) || core.has_worker(*id) {
                    core.to_be_shared(*id);
                }
            }
        });
    }

    /// A replica has written this. What this one has written it knows, unless that is shown `again`.
    pub(super) fn seen(self: &Arc<Self>, id: ItemId, record: Record, revision: u64, again: bool) {
        if again || self.replica() != Some(record.by) {
            self.told(id, record, revision);
        }
    }

    /// Which replica it is, if it shares its items.
    pub(super) fn replica(&self) -> Option<ReplicaId> {
        self.state().shared.as_ref().map(|shared| shared.replica)
    }

    /// Other replicas that share its items and live.
    pub(super) fn live_replicas(&self) -> Vec<ReplicaId> {
        let now = tokio::time::Instant::now().into_std();
        self.state().shared.as_ref().map(|shared| shared.peers.all_live(now)).unwrap_or_default()
    }

    /// How many slots its workers have here.
    pub(super) fn slots(&self) -> usize {
        self.state().core.workers()
    }

    /// Where the body of a request is whose consumer came to another replica.
    pub(super) fn body_of(&self, id: ItemId) -> Option<SharedBody> {
        self.state().shared.as_ref()?.lines.get(&id)?.body.clone()
    }

    /// The answer that came from another replica is whole, or has broken off.
    pub(super) fn ended_elsewhere(self: &Arc<Self>, id: ItemId, how: Ended) {
        self.act(|core, now| core.answered_elsewhere(now, id, how));
    }

    /// Nobody reads here the answer that comes from another replica.
    pub(super) fn unread_elsewhere(self: &Arc<Self>, id: ItemId) {
        self.act(|core, now| core.answered_elsewhere(now, id, Ended::Failed(Failure::Abandoned)));
    }

    /// A replica says that it lives, or that it goes.
    pub(super) fn heard(self: &Arc<Self>, me: ReplicaId, replica: ReplicaId, slots: usize, leaves: bool) {
        {
            let mut state = self.state();
            let Some(shared) = &mut state.shared else { return };
            let now = tokio::time::Instant::now().into_std();
            match (replica == me, leaves) {
                (true, _) => shared.peers.heard_itself(now),
                (false, false) => return shared.peers.heard(now, replica, slots),
                (false, true) => shared.peers.left(now, replica),
            }
        }
        if leaves {
            self.look_at_peers();
        }
    }

    /// Goes on with what replicas had that are gone.
    pub(super) fn look_at_peers(self: &Arc<Self>) {
        self.act_with(|state, now| {
            let State { core, shared, .. } = state;
            let Some(shared) = shared else { return };
            core.slots_elsewhere(now, shared.peers.slots(now));
            for gone in shared.peers.gone(now) {
                core.replica_gone(now, gone, |replica| shared.peers.is_gone(now, replica));
                let of_gone = |line: &Line| matches!(&line.written, Some(item) if holder(item.at) == Some(gone));
                let unwritten: Vec<_> =
                    shared.lines.iter().filter(|(_, line)| of_gone(line)).map(|(id, _)| *id).collect();
                let is_left = unwritten.is_empty() && !core.is_named(gone);
                for id in unwritten {
                    core.to_be_shared(id);
                }
                if is_left {
                    shared.peers.forget(gone);
                }
            }
        });
        if let Some(ShownShared { replicas, is_up }) = self.state().shown_shared() {
            self.metrics.replicas(replicas);
            self.metrics.backend(is_up);
        }
    }

    /// What is written is seen from now on, or is not.
    pub(super) fn is_followed(&self, is_followed: bool) {
        if let Some(shared) = &mut self.state().shared {
            shared.is_followed = is_followed;
        }
    }
}

impl Line {
    /// Nothing is written of the item any more.
    fn is_lost(&mut self) {
        (self.revision, self.is_stored) = (0, false);
        self.written = None;
    }
}

impl State {
    /// What operators are shown of what replicas share.
    pub(in crate::exchange) fn shown_shared(&self) -> Option<ShownShared> {
        let shared = self.shared.as_ref()?;
        let now = tokio::time::Instant::now().into_std();
        let is_up = shared.is_followed && shared.peers.hears(now);
        Some(ShownShared { replicas: shared.peers.heard_of(now) + 1, is_up })
    }
}
