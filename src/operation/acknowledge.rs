//! Which agent holds, lacks or rejects which state: the operation's [`AgentRegistry`], with the clock and
//! the current state that it compares with. A poll takes its lock once, when it arrives.

use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Agent, Operation};
use crate::bounds::WORST_AGENTS;
use crate::hub::{Served, Subscription};
use crate::model::StateId;
use crate::registry::{Acknowledgement, AgentRegistry, Current, Listing, LivePoll, Totals};

impl Operation {
    /// Notes that an agent polls for what `subscription` looks at, what it acknowledges by that, and (`sends`) that it is
    /// answered with `served` at once.
    pub fn acknowledge(
        &self,
        acknowledgement: Acknowledgement,
        subscription: &Arc<Subscription>,
        served: &Served,
        sends: bool,
    ) -> LivePoll {
        let selected = subscription.selection().is_some().then_some(subscription);
        let current = Current { id: &served.snapshot.id, superseded_at: &served.superseded_at, selected };
        self.registry().arrive(acknowledgement, current, sends, Instant::now().into_std())
    }

    /// How many agents stand where to `current`, the state that its [`Facts`](super::Facts) name; those below relays
    /// included. Looks at each agent: for a scrape, a status every other second, or a relay's report each second.
    #[must_use]
    pub fn totals(&self, current: Option<&StateId>) -> Totals {
        let now = Instant::now().into_std();
        let mut totals = self.registry().totals(current, now);
        self.relays().add_to(&mut totals, current, now);
        totals
    }

    /// Brings the metrics up to date.
    pub(super) fn count_agents(&self) {
        let facts = self.facts();
        let now = Instant::now().into_std();
        // Under the lock, so that two scrapes at once count nothing twice.
        let mut registry = self.registry();
        let mut totals = registry.totals(facts.state_id(), now);
        self.relays().add_to(&mut totals, facts.state_id(), now);
        self.metrics.agents.set(&totals);
    }

    /// The agents to look at first, at most [`WORST_AGENTS`]: those that reject `current`, then those that lag, and of
    /// each those first that have done so for longest.
    #[must_use]
    pub fn worst(&self, current: Option<&StateId>) -> Vec<Agent> {
        self.registry().worst(WORST_AGENTS, current, Instant::now().into_std())
    }

    /// A page of agents, as they stand to `current`; and whether more follow.
    #[must_use]
    pub fn agents(&self, listing: &Listing, current: Option<&StateId>) -> (Vec<Agent>, bool) {
        self.registry().page(listing, current, Instant::now().into_std())
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, AgentRegistry<Subscription>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
