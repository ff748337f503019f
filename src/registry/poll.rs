//! A poll that an agent has under way. What happens to it is written into what it shares with the
//! agent's entry: atomics, so that a release takes no lock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::AgentKey;
use crate::model::StateId;

/// A poll under way; over when dropped, answered or not.
#[derive(Debug)]
pub struct LivePoll {
    key: AgentKey,
    turn: Arc<Turn>,
    is_paced: bool,
}

/// One of the requests that an agent has parked; frees its place when dropped.
#[derive(Debug)]
pub struct AgentParkPermit(Arc<Turn>);

/// The agent has as many requests parked as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} requests of this agent are parked, as many as are allowed")]
pub struct TooMany {
    /// As many as it may.
    pub limit: usize,
}

/// What a poll shares with its agent's entry.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) counts: Arc<Counts>,
    sent: OnceLock<StateId>,
}

/// What all polls of an agent share.
#[derive(Debug, Default)]
pub(super) struct Counts {
    polls: AtomicUsize,
    parked: AtomicUsize,
}

impl LivePoll {
    pub(super) fn begin(key: AgentKey, counts: Arc<Counts>, is_paced: bool) -> Self {
        counts.polls.fetch_add(1, Ordering::Relaxed);
        Self { key, turn: Arc::new(Turn { counts, sent: OnceLock::new() }), is_paced }
    }

    pub(super) fn turn(&self) -> Arc<Turn> {
        Arc::clone(&self.turn)
    }

    /// Who polls.
    #[must_use]
    pub fn key(&self) -> &AgentKey {
        &self.key
    }

    /// Whether the agent is to be held before it is sent the state: it was sent the same one for
    /// the same `since` several times in a row.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.is_paced
    }

    /// The poll is answered with this state: what the agent holds is not known before its next poll.
    pub fn sent(&self, state: &StateId) {
        let _ = self.turn.sent.set(*state);
    }

    /// Takes a place for the poll among the at most `limit` that its agent may have parked.
    pub fn park(&self, limit: usize) -> Result<AgentParkPermit, TooMany> {
        let take = |now: usize| (now < limit).then_some(now + 1);
        match self.turn.counts.parked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(AgentParkPermit(Arc::clone(&self.turn))),
            Err(_) => Err(TooMany { limit }),
        }
    }
}

impl Turn {
    /// What the poll was answered with; absent: no state, or no answer yet.
    pub(super) fn sent(&self) -> Option<&StateId> {
        self.sent.get()
    }
}

impl Counts {
    pub(super) fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }
}

impl Drop for LivePoll {
    fn drop(&mut self) {
        self.turn.counts.polls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for AgentParkPermit {
    fn drop(&mut self) {
        self.0.counts.parked.fetch_sub(1, Ordering::Relaxed);
    }
}
