//! What is known of one agent, by its last poll.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::poll::{Counts, Turn};
use super::{Acknowledgement, Agent, AgentKey, Connection, Current, LivePoll, SyncStatus};
use crate::bounds::{AGENT_SKEW, PACE_REPEATS};
use crate::model::{Since, StateId, SupersededAt};

/// What is known of an agent.
#[derive(Debug)]
pub(super) struct AgentEntry<V> {
    selected: Option<Selected<V>>,
    acknowledged: Option<Since>,
    rejection: Option<Box<Rejection>>,
    turn: Arc<Turn>,
    row: Row,
    lag: Lag,
    seen: Instant,
    connection: Arc<Connection>,
}

/// What an agent selects, and the state of that when it polled last.
#[derive(Debug)]
struct Selected<V> {
    view: Arc<V>,
    id: StateId,
    superseded_at: Arc<SupersededAt>,
}

/// The state that the last poll rejected.
#[derive(Debug)]
struct Rejection {
    state: Since,
    reason: Option<String>,
    /// Since when its polls say so.
    since: Instant,
}

/// Since when the agent lags, if it does.
#[derive(Debug)]
enum Lag {
    /// The last poll held the current state: since that was superseded.
    From(Arc<SupersededAt>),
    /// The last poll did not hold the current state.
    Since(Instant),
}

/// How often in a row the agent was sent the same state for the same `since`.
#[derive(Debug, Default)]
struct Row {
    state: Option<StateId>,
    times: u8,
}

impl<V: PartialEq> AgentEntry<V> {
    /// An agent polls; `before`: what was known of it. Also whether it is a rejection that is new.
    pub(super) fn next(
        before: Option<Self>,
        key: AgentKey,
        acknowledgement: Acknowledgement,
        current: Current<'_, V>,
        sends: bool,
        now: Instant,
    ) -> (Self, LivePoll, bool) {
        let same_since = before.as_ref().is_some_and(|before| {
            same(before.acknowledged.as_ref(), acknowledgement.acknowledged.as_ref())
                && before.looks_at(current.selected)
        });
        let lagged_since = before.as_ref().map_or(now, |before| before.lags_since(now));
        let (counts, row, rejected) = match before {
            Some(before) => (Arc::clone(&before.turn.counts), before.row, before.rejection),
            None => (Arc::<Counts>::default(), Row::default(), None),
        };
        let (row, is_paced) = if sends && acknowledgement.acknowledged.is_some() {
            row.and(current.id, same_since)
        } else {
            // The null state is never held: a client that starts anew each time must be able to.
            (Row::default(), false)
        };
        let known = rejected
            .filter(|known| acknowledgement.rejected.is_some_and(|state| same(Some(&known.state), Some(&state))));
        let is_new = acknowledgement.rejected.is_some() && known.is_none();
        let rejection = acknowledgement.rejected.map(|state| {
            let since = known.map_or(now, |known| known.since);
            Box::new(Rejection { state, reason: acknowledgement.reason, since })
        });
        let poll = LivePoll::begin(key, counts, is_paced);
        let selected = current.selected.map(|view| Selected {
            view: Arc::clone(view),
            id: *current.id,
            superseded_at: Arc::clone(current.superseded_at),
        });
        let mut entry = Self {
            selected,
            acknowledged: acknowledgement.acknowledged,
            rejection,
            turn: poll.turn(),
            row,
            lag: Lag::Since(lagged_since),
            seen: now,
            connection: acknowledgement.connection,
        };
        if entry.sync_status(Some(current.id)) == SyncStatus::Converged {
            entry.lag = Lag::From(Arc::clone(current.superseded_at));
        }
        (entry, poll, is_new)
    }

    /// How the agent stands to `current`, the state of the whole model; one that selects, to what is current of that,
    /// which is known until that is superseded: then the agent lags until it says otherwise.
    pub(super) fn sync_status(&self, current: Option<&StateId>) -> SyncStatus {
        let current = match &self.selected {
            Some(selected) => selected.superseded_at.get().is_none().then_some(&selected.id),
            None => current,
        };
        let Some(current) = current else { return SyncStatus::Lagging };
        let is_rejected = self.rejection.as_ref().is_some_and(|rejection| current.is_same_state(&rejection.state));
        let acknowledged = self.acknowledged.is_some_and(|acknowledged| current.is_same_state(&acknowledged));
        let was_sent_another = self.turn.sent().is_some_and(|sent| !current.is_same_state(&(*sent).into()));
        match (is_rejected, acknowledged && !was_sent_another) {
            (true, _) => SyncStatus::Rejecting,
            (false, true) => SyncStatus::Converged,
            (false, false) => SyncStatus::Lagging,
        }
    }

    fn looks_at(&self, view: Option<&Arc<V>>) -> bool {
        self.selected.as_ref().map(|selected| &selected.view) == view
    }

    /// Since when it lags, if it does at `now`.
    pub(super) fn lags_since(&self, now: Instant) -> Instant {
        match &self.lag {
            Lag::From(superseded_at) => superseded_at.get().unwrap_or(now),
            Lag::Since(at) => *at,
        }
    }

    /// Polls under way.
    pub(super) fn polls(&self) -> usize {
        self.turn.counts.polls()
    }

    /// When its last poll arrived.
    pub(super) fn seen(&self) -> Instant {
        self.seen
    }

    /// Whether it is to be forgotten: nothing is under way, and its connection ended a while ago, or
    /// it was silent for `expiry`.
    pub(super) fn is_expired(&self, expiry: Duration, now: Instant) -> bool {
        let ended = self.connection.ended().is_some_and(|ended| now >= ended + AGENT_SKEW);
        self.polls() == 0 && (ended || now >= self.seen + expiry)
    }

    /// For operators.
    pub(super) fn view(&self, key: &AgentKey, current: Option<&StateId>, now: Instant) -> Agent<V> {
        let sync_status = self.sync_status(current);
        let since = |at: Instant| now.saturating_duration_since(at);
        let polls = self.polls();
        Agent {
            key: key.clone(),
            selected: self.selected.as_ref().map(|selected| Arc::clone(&selected.view)),
            sync_status,
            acknowledged: self.acknowledged,
            sent: self.turn.sent().copied(),
            rejects: self.rejection.as_ref().map(|rejection| rejection.state),
            reason: self.rejection.as_ref().and_then(|rejection| rejection.reason.clone()),
            rejecting: self.rejection.as_ref().map(|rejection| since(rejection.since)),
            lagging: (sync_status != SyncStatus::Converged).then(|| since(self.lags_since(now))),
            last_seen: if polls > 0 { Duration::ZERO } else { since(self.seen) },
            polls,
            peer: self.connection.peer,
        }
    }
}

impl Row {
    /// The row once the agent is sent `state`, and whether it is held before that.
    fn and(self, state: &StateId, same_since: bool) -> (Self, bool) {
        let goes_on = same_since && self.state.is_some_and(|last| state.is_same_state(&last.into()));
        let times = if goes_on { self.times } else { 0 };
        let is_held = times >= PACE_REPEATS;
        (Self { state: Some(*state), times: if is_held { times } else { times + 1 } }, is_held)
    }
}

/// Whether both name the same state, or both none.
fn same(one: Option<&Since>, other: Option<&Since>) -> bool {
    one.map(|one| (one.epoch, one.digest)) == other.map(|other| (other.epoch, other.digest))
}
