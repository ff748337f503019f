//! A poll that an agent has under way. What happens to it is written into what it shares with the
//! agent's entry, which no other agent's polls touch: a release takes no lock that anybody else waits for.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::AgentKey;
use crate::model::StateId;

/// A poll under way; over when dropped, answered or not.
#[derive(Debug)]
pub struct LivePoll {
    agent: Arc<Shared>,
    turn: u32,
    is_paced: bool,
}

/// One of the requests that an agent has parked; frees its place when dropped.
#[derive(Debug)]
pub struct AgentParkPermit(Arc<Shared>);

/// The agent has as many requests parked as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} requests of this agent are parked, as many as are allowed")]
pub struct TooMany {
    /// As many as it may.
    pub limit: usize,
}

/// What an agent's entry shares with the agent's polls.
#[derive(Debug)]
pub(super) struct Shared {
    key: AgentKey,
    polls: AtomicU32,
    parked: AtomicU32,
    sent: Mutex<Sent>,
}

/// What the last poll was answered with.
#[derive(Debug, Default)]
struct Sent {
    /// Which poll is the last one.
    turn: u32,
    /// Absent: no state, or no answer yet.
    state: Option<StateId>,
}

impl LivePoll {
    /// The next poll of an agent: what earlier ones are answered with counts no more.
    pub(super) fn begin(agent: &Arc<Shared>, is_paced: bool) -> Self {
        agent.polls.fetch_add(1, Ordering::Relaxed);
        let mut sent = agent.sent();
        *sent = Sent { turn: sent.turn.wrapping_add(1), state: None };
        Self { agent: Arc::clone(agent), turn: sent.turn, is_paced }
    }

    /// Who polls.
    #[must_use]
    pub fn key(&self) -> &AgentKey {
        &self.agent.key
    }

    /// Whether the agent is to be held before it is sent the state: it was sent the same one for
    /// the same `since` several times in a row.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.is_paced
    }

    /// The poll is answered with this state: what the agent holds is not known before its next poll.
    pub fn sent(&self, state: &StateId) {
        let mut sent = self.agent.sent();
        if sent.turn == self.turn {
            sent.state.get_or_insert(*state);
        }
    }

    /// Takes a place for the poll among the at most `limit` that its agent may have parked.
    pub fn park(&self, limit: usize) -> Result<AgentParkPermit, TooMany> {
        let take = |now: u32| (usize::try_from(now).unwrap_or(usize::MAX) < limit).then_some(now + 1);
        match self.agent.parked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(AgentParkPermit(Arc::clone(&self.agent))),
            Err(_) => Err(TooMany { limit }),
        }
    }
}

impl Shared {
    pub(super) fn new(key: AgentKey) -> Arc<Self> {
        Arc::new(Self { key, polls: AtomicU32::default(), parked: AtomicU32::default(), sent: Mutex::default() })
    }

    pub(super) fn key(&self) -> &AgentKey {
        &self.key
    }

    /// Polls under way.
    pub(super) fn polls(&self) -> usize {
        usize::try_from(self.polls.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// What the last poll was answered with; absent: no state, or no answer yet.
    pub(super) fn last_sent(&self) -> Option<StateId> {
        self.sent().state
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LivePoll {
    fn drop(&mut self) {
        self.agent.polls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for AgentParkPermit {
    fn drop(&mut self) {
        self.0.parked.fetch_sub(1, Ordering::Relaxed);
    }
}
