//! What is known of one agent, by its last poll. There are as many as clients: what few agents have is boxed.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::poll::Shared;
use super::{Acknowledgement, Agent, AgentKey, Connection, Current, LivePoll, SyncStatus};
use crate::bounds::{AGENT_SKEW, PACE_REPEATS};
use crate::model::{Since, StateId, SupersededAt};

/// What is known of an agent.
#[derive(Debug)]
pub(super) struct AgentEntry<V> {
    shared: Arc<Shared>,
    selected: Option<Box<Selected<V>>>,
    acknowledged: Option<Since>,
    reported: Option<Box<Reported>>,
    row: Option<Box<Row>>,
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

/// What the last poll reported of states that it does not hold.
#[derive(Debug, Default)]
struct Reported {
    rejection: Option<Rejection>,
    /// What it is busy with.
    applying: Option<Since>,
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
#[derive(Debug)]
struct Row {
    state: StateId,
    times: u8,
}

impl<V: PartialEq> AgentEntry<V> {
    /// An agent of which nothing is known until its first [`AgentEntry::poll`].
    pub(super) fn new(key: AgentKey, connection: Arc<Connection>, now: Instant) -> Self {
        Self {
            shared: Shared::new(key),
            selected: None,
            acknowledged: None,
            reported: None,
            row: None,
            lag: Lag::Since(now),
            seen: now,
            connection,
        }
    }

    /// The agent polls. Also whether it is a rejection that is new.
    pub(super) fn poll(
        &mut self,
        acknowledgement: Acknowledgement,
        current: Current<'_, V>,
        sends: bool,
        now: Instant,
    ) -> (LivePoll, bool) {
        let Acknowledgement { key: _, acknowledged, rejected, reason, applying, connection } = acknowledgement;
        let same_since = same(self.acknowledged.as_ref(), acknowledged.as_ref()) && self.looks_at(current.selected);
        // The null state is never held: a client that starts anew each time must be able to.
        let row = (sends && acknowledged.is_some()).then(|| Row::and(self.row.take(), current.id, same_since));
        let is_paced = row.as_ref().is_some_and(|(_, is_held)| *is_held);
        let is_new_rejection = self.report((rejected, reason), applying, now);
        self.row = row.map(|(row, _)| row);
        self.lag = Lag::Since(self.lags_since(now));
        self.selected = current.selected.map(|view| Box::new(Selected::new(view, current)));
        (self.acknowledged, self.connection, self.seen) = (acknowledged, connection, now);
        let poll = LivePoll::begin(&self.shared, is_paced);
        if self.sync_status(Some(current.id)) == SyncStatus::Converged {
            self.lag = Lag::From(Arc::clone(current.superseded_at));
        }
        (poll, is_new_rejection)
    }

    /// Takes what its poll rejects and what it is busy with. Whether it did not before.
    fn report(
        &mut self,
        (rejected, reason): (Option<Since>, Option<String>),
        applying: Option<Since>,
        now: Instant,
    ) -> bool {
        let before = self.reported.take().and_then(|reported| reported.rejection);
        let known = before.filter(|known| same(Some(&known.state), rejected.as_ref()));
        let is_new = rejected.is_some() && known.is_none();
        let since = known.map_or(now, |known| known.since);
        let rejection = rejected.map(|state| Rejection { state, reason, since });
        let is_any = rejection.is_some() || applying.is_some();
        self.reported = is_any.then(|| Box::new(Reported { rejection, applying }));
        is_new
    }

    fn rejection(&self) -> Option<&Rejection> {
        self.reported.as_ref()?.rejection.as_ref()
    }

    fn applying(&self) -> Option<Since> {
        self.reported.as_ref()?.applying
    }

    /// How the agent stands to `current`, the state of the whole model; one that selects, to what is current of that,
    /// which is known until that is superseded: then the agent lags until it says otherwise.
    pub(super) fn sync_status(&self, current: Option<&StateId>) -> SyncStatus {
        let current = match &self.selected {
            Some(selected) => selected.superseded_at.get().is_none().then_some(&selected.id),
            None => current,
        };
        let Some(current) = current else { return SyncStatus::Lagging };
        let is_rejected = self.rejection().is_some_and(|rejection| current.is_same_state(&rejection.state));
        let acknowledged = self.acknowledged.is_some_and(|acknowledged| current.is_same_state(&acknowledged));
        let was_sent_another = self.shared.last_sent().is_some_and(|sent| !current.is_same_state(&sent.into()));
        let is_applying = self.applying().is_some_and(|applying| current.is_same_state(&applying));
        match (is_rejected, acknowledged && !was_sent_another, is_applying) {
            (true, _, _) => SyncStatus::Rejecting,
            (false, true, _) => SyncStatus::Converged,
            (false, false, true) => SyncStatus::Applying,
            (false, false, false) => SyncStatus::Lagging,
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

    /// Which agent.
    pub(super) fn key(&self) -> &AgentKey {
        self.shared.key()
    }

    /// Polls under way.
    pub(super) fn polls(&self) -> usize {
        self.shared.polls()
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
    pub(super) fn view(&self, current: Option<&StateId>, now: Instant) -> Agent<V> {
        let sync_status = self.sync_status(current);
        let since = |at: Instant| now.saturating_duration_since(at);
        let polls = self.polls();
        Agent {
            key: self.key().clone(),
            selected: self.selected.as_ref().map(|selected| Arc::clone(&selected.view)),
            sync_status,
            acknowledged: self.acknowledged,
            sent: self.shared.last_sent(),
            rejects: self.rejection().map(|rejection| rejection.state),
            reason: self.rejection().and_then(|rejection| rejection.reason.clone()),
            rejecting: self.rejection().map(|rejection| since(rejection.since)),
            applying: self.applying(),
            lagging: (sync_status != SyncStatus::Converged).then(|| since(self.lags_since(now))),
            last_seen: if polls > 0 { Duration::ZERO } else { since(self.seen) },
            polls,
            peer: self.connection.peer,
        }
    }
}

impl<V> Selected<V> {
    fn new(view: &Arc<V>, current: Current<'_, V>) -> Self {
        let superseded_at = Arc::clone(current.superseded_at);
        Self { view: Arc::clone(view), id: *current.id, superseded_at }
    }
}

impl Row {
    /// The row once the agent is sent `state`, and whether it is held before that.
    fn and(before: Option<Box<Self>>, state: &StateId, same_since: bool) -> (Box<Self>, bool) {
        let before = before.filter(|before| same_since && state.is_same_state(&before.state.into()));
        let times = before.map_or(0, |before| before.times);
        let is_held = times >= PACE_REPEATS;
        (Box::new(Self { state: *state, times: if is_held { times } else { times + 1 } }), is_held)
    }
}

/// Entries are told apart by their agents, whatever is known of them: a set finds one by its key.
impl<V> PartialEq for AgentEntry<V> {
    fn eq(&self, other: &Self) -> bool {
        self.shared.key() == other.shared.key()
    }
}

impl<V> Eq for AgentEntry<V> {}

impl<V> Hash for AgentEntry<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shared.key().hash(state);
    }
}

impl<V> Borrow<AgentKey> for Box<AgentEntry<V>> {
    fn borrow(&self) -> &AgentKey {
        self.shared.key()
    }
}

/// Whether both name the same state, or both none.
fn same(one: Option<&Since>, other: Option<&Since>) -> bool {
    one.map(|one| (one.epoch, one.digest)) == other.map(|other| (other.epoch, other.digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_costs_two_small_pieces_of_memory() {
        assert!(size_of::<AgentEntry<()>>() <= 112, "{}", size_of::<AgentEntry<()>>());
        assert!(size_of::<Shared>() <= 96, "{}", size_of::<Shared>());
        assert_eq!(size_of::<LivePoll>(), 16, "each parked request has one");
    }
}
