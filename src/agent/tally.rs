//! What has happened in an agent since its start: its loop counts it, and its admin port reads it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::hooks::{Ended, Outcome};

/// Counts that grow while others read them.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<Counts>,
}

/// What has happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands, by their name.
    pub commands: BTreeMap<&'static str, Runs>,
    /// Files of the output that somebody else had changed, and that were put right.
    pub corrections: u64,
    /// States that were to be tried again.
    pub retries: u64,
    /// Connections to the admin port that were closed to make room.
    pub closed: u64,
}

/// How a command has run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs {
    /// Whether it succeeded when it ran last, and how long it took. One that was ended since the agent had to says nothing.
    pub last: Option<(bool, Duration)>,
    /// How often it ended how.
    pub outcomes: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// What has happened until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// A command has ended.
    pub(super) fn ran(&self, command: &'static str, ended: &Ended) {
        let mut counts = self.lock();
        let runs = counts.commands.entry(command).or_default();
        *runs.outcomes.entry(ended.outcome.as_str()).or_default() += 1;
        if ended.outcome != Outcome::Stopped {
            runs.last = Some((ended.outcome == Outcome::Done, ended.took));
        }
    }

    /// So many files were put right.
    pub(super) fn corrected(&self, files: usize) {
        self.lock().corrections += files as u64;
    }

    /// A state is to be tried again.
    pub(super) fn retries(&self) {
        self.lock().retries += 1;
    }

    /// A connection to the admin port was closed to make room.
    pub(super) fn closed(&self) {
        self.lock().closed += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing in it is half done when a thread panics.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
