//! What relays report of the agents below them, and what this process reports upstream where it is a relay itself: its own
//! agents and those of the relays below it, so that tiers add up.

use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Operation, ReportResult};
use crate::access::Connection;
use crate::bounds::{RELAY_REPORT_WORST, WORST_AGENTS};
use crate::hub::{Missing, Subscription};
use crate::model::StateId;
use crate::protocol::Report;
use crate::protocol::report::WorstAgent;
use crate::registry::relays::{RelayReport, Reported, Reportedly, TooSoon};
use crate::registry::{AgentCounts, Current, Relays, SyncStatus};

/// What is known of a relay.
pub type Relay = crate::registry::relays::Relay<Subscription>;

/// Why a report is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// It came too soon after the one before.
    TooSoon(TooSoon),
    /// It is of a part of a model that has none.
    NoParts,
}

impl Operation {
    /// Takes a report of a caller on what `subscription` looks at, which came on `connection`.
    pub fn take_report(
        &self,
        identity: Option<Arc<str>>,
        report: RelayReport,
        subscription: &Arc<Subscription>,
        connection: Arc<Connection>,
    ) -> Result<Reported, NotTaken> {
        let now = Instant::now().into_std();
        let selected = subscription.selection().is_some().then_some(subscription);
        match subscription.current() {
            Ok(served) => {
                let current = Current { id: &served.snapshot.id, superseded_at: &served.superseded_at, selected };
                self.relays().report(identity, report, Some(current), connection, now)
            }
            Err(Missing::NoState) => self.relays().report(identity, report, None, connection, now),
            Err(Missing::NoParts) => return Err(NotTaken::NoParts),
        }
        .map_err(NotTaken::TooSoon)
    }

    /// Counts a report by what became of it.
    pub fn count_report(&self, result: ReportResult) {
        self.metrics.agents.reported(result);
    }

    /// The relays below, as their agents stand to `current`.
    #[must_use]
    pub fn list_relays(&self, current: Option<&StateId>) -> Vec<Relay> {
        self.relays().list(current, Instant::now().into_std())
    }

    /// The agents below relays to look at first, at most [`WORST_AGENTS`], in the order of [`Operation::worst`].
    #[must_use]
    pub fn worst_of_relays(&self, current: Option<&StateId>) -> Vec<Reportedly> {
        self.relays().worst(WORST_AGENTS, current, Instant::now().into_std())
    }

    /// What a relay that is this process says upstream. Whoever sends it numbers it.
    #[must_use]
    pub fn report(&self, instance: &str) -> Report {
        let facts = self.facts();
        let totals = self.totals(facts.state_id());
        let AgentCounts { converged, lagging, rejecting, evicted } = totals.agents;
        // Nobody knows of them.
        let lagging = lagging.saturating_add(evicted);
        Report {
            instance: instance.to_owned(),
            seq: 0,
            state: facts.state_id().map(ToString::to_string),
            total: converged.saturating_add(lagging).saturating_add(rejecting),
            converged,
            lagging,
            rejecting,
            applying: totals.applying,
            oldest_lag_seconds: totals.oldest_lag.unwrap_or_default().as_secs(),
            worst: if lagging + rejecting == 0 { Vec::new() } else { self.worst_agents(facts.state_id()) },
        }
    }

    fn worst_agents(&self, current: Option<&StateId>) -> Vec<WorstAgent> {
        let own = self.worst(current).into_iter().map(|agent| {
            let rejects = agent.sync_status == SyncStatus::Rejecting;
            let reason = rejects.then(|| agent.reason.unwrap_or_default());
            (agent.rejecting.or(agent.lagging), WorstAgent { agent: agent.key.name().to_owned(), reason })
        });
        let below = self.worst_of_relays(current).into_iter();
        let below = below.map(|Reportedly { name, reason, lag }| (Some(lag), WorstAgent { agent: name, reason }));
        let mut all: Vec<_> = own.chain(below).collect();
        all.sort_by_key(|(lag, agent)| (agent.reason.is_none(), std::cmp::Reverse(*lag)));
        all.into_iter().map(|(_, agent)| agent).take(RELAY_REPORT_WORST).collect()
    }

    pub(super) fn relays(&self) -> MutexGuard<'_, Relays<Subscription>> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
