//! How many agents stand where: for metrics, and for whoever says whether everyone has a change.

use std::iter::Sum;
use std::time::Duration;

use super::SyncStatus;
use super::relays::RelayCounts;

/// The age ranges of lagging agents in the metrics: the label, and the upper bound. The last has none.
pub const AGES: [(&str, Duration); 4] = [
    ("10s", Duration::from_secs(10)),
    ("1m", Duration::from_secs(60)),
    ("10m", Duration::from_secs(600)),
    ("more", Duration::MAX),
];

/// How many agents stand where to one state: of one operation, or of several replicas together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentCounts {
    /// Agents that hold the state, by their own polls or by the report of their relay.
    pub converged: u64,
    /// Agents that do not, or of which nobody knows.
    pub lagging: u64,
    /// Agents that could not apply it.
    pub rejecting: u64,
    /// Agents that were forgotten for want of room, and may be out there: counted until there was room
    /// for all for as long as a silent agent is remembered.
    pub evicted: u64,
}

/// What is counted of the agents of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// How many stand where.
    pub agents: AgentCounts,
    /// The lagging ones by how long they lag, as [`AGES`] has it; those below a relay by the one that does so for longest.
    pub lagging_by_age: [u64; AGES.len()],
    /// Those of the lagging ones that are busy with the state.
    pub applying: u64,
    /// Relays that are known, whose agents are counted too.
    pub relays: usize,
    /// How long the one lags or rejects that has done so for longest; absent: none does.
    pub oldest_lag: Option<Duration>,
    /// Agents with two polls or more under way: two that share a name, or one that gave up a
    /// poll of which the end was not noticed yet.
    pub duplicates: usize,
    /// Agents forgotten for want of room since the start.
    pub evictions: u64,
    /// Rejections since the start, each counted once for as long as an agent repeats it.
    pub rejections: u64,
    /// For how long agents have been tracked. After a start, those of the process before it may not
    /// have come back until a silent agent would be forgotten.
    pub tracked: Duration,
}

impl AgentCounts {
    /// All agents that are known.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.converged.saturating_add(self.lagging).saturating_add(self.rejecting)
    }

    /// Whether every agent holds the state; absent: there is none that could.
    #[must_use]
    pub fn is_converged(&self) -> Option<bool> {
        (self.total() > 0 || self.evicted > 0).then_some(self.converged == self.total() && self.evicted == 0)
    }
}

impl Sum for AgentCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, counts| Self {
            converged: sum.converged.saturating_add(counts.converged),
            lagging: sum.lagging.saturating_add(counts.lagging),
            rejecting: sum.rejecting.saturating_add(counts.rejecting),
            evicted: sum.evicted.saturating_add(counts.evicted),
        })
    }
}

impl Totals {
    /// Counts an agent that lags for `lag`, unless it is converged.
    pub(super) fn count(&mut self, sync_status: SyncStatus, lag: Duration, polls: usize) {
        self.duplicates += usize::from(polls > 1);
        match sync_status {
            SyncStatus::Converged => {
                self.agents.converged += 1;
                return;
            }
            SyncStatus::Rejecting => self.agents.rejecting += 1,
            SyncStatus::Lagging | SyncStatus::Applying => {
                self.agents.lagging += 1;
                self.applying += u64::from(sync_status == SyncStatus::Applying);
                self.lagging_by_age[age(lag)] += 1;
            }
        }
        self.oldest_lag = self.oldest_lag.max(Some(lag));
    }

    /// Counts the agents below a relay, of which one lags for `oldest_lag`, unless all are converged.
    pub(super) fn add(&mut self, counts: RelayCounts, oldest_lag: Option<Duration>) {
        let RelayCounts { converged, lagging, rejecting, applying } = counts;
        let below = AgentCounts { converged, lagging, rejecting, evicted: 0 };
        self.agents = [self.agents, below].into_iter().sum();
        self.applying = self.applying.saturating_add(applying);
        let of_age = &mut self.lagging_by_age[age(oldest_lag.unwrap_or_default())];
        *of_age = of_age.saturating_add(lagging);
        self.oldest_lag = self.oldest_lag.max(oldest_lag);
    }
}

/// Which of [`AGES`] a lag is of.
fn age(lag: Duration) -> usize {
    AGES.iter().position(|(_, below)| lag < *below).unwrap_or(AGES.len() - 1)
}
