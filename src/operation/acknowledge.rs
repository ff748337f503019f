//! Which agent holds, lacks or rejects which state: the operation's [`Fleet`], with the clock and
//! the current state that it is asked about. A poll takes its lock once, when it arrives.

use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Agent, Operation};
use crate::bounds::WORST_AGENTS;
use crate::describe::Want;
use crate::fleet::{Acknowledgement, AgentKey, Connection, Current, Fleet, Listing, LivePoll, Totals};
use crate::hub::{Served, Viewer};

impl Operation {
    /// Notes that an agent polls for what `viewer` looks at, what it says by that, and (`gives`) that it is
    /// answered with `served` at once. None: a client that is no agent, or HEAD, which acknowledges nothing. Takes
    /// the agent and its reason out of `want`: a parked request has no use for them.
    pub fn acknowledge(
        &self,
        want: &mut Want,
        connection: &Arc<Connection>,
        viewer: &Arc<Viewer>,
        served: &Served,
        gives: bool,
    ) -> Option<LivePoll> {
        let name = want.agent.take().filter(|_| !want.head)?;
        let said = Acknowledgement {
            key: AgentKey::claimed(&name),
            holds: want.since,
            rejected: want.rejected.as_ref().map(|rejected| rejected.state),
            reason: want.rejected.as_mut().and_then(|rejected| rejected.reason.take()),
            connection: Arc::clone(connection),
        };
        let selected = viewer.selection().is_some().then_some(viewer);
        let current = Current { id: &served.snapshot.id, reign: &served.reign, selected };
        Some(self.fleet().arrive(said, current, gives, Instant::now().into_std()))
    }

    /// How many agents stand where to the state that is served now, which [`Totals::state`] names. Looks at
    /// each agent: for a scrape, or a status every other second.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let current = self.hub.current();
        let id = current.as_ref().map(|served| &served.snapshot.id);
        self.fleet().totals(id, Instant::now().into_std())
    }

    /// Brings the metrics up to date.
    pub(super) fn count_agents(&self) {
        let current = self.hub.current();
        let id = current.as_ref().map(|served| &served.snapshot.id);
        // Under the lock, so that two scrapes at once count nothing twice.
        let mut fleet = self.fleet();
        self.metrics.agents.set(&fleet.totals(id, Instant::now().into_std()));
    }

    /// The agents to look at first, at most [`WORST_AGENTS`]: those that reject the state that is served
    /// now, then those that lag, and of each those first that have done so for longest.
    #[must_use]
    pub fn worst(&self) -> Vec<Agent> {
        let current = self.hub.current();
        let id = current.as_ref().map(|served| &served.snapshot.id);
        self.fleet().worst(WORST_AGENTS, id, Instant::now().into_std())
    }

    /// A page of agents, as they stand to the state that is served now; and whether more follow.
    #[must_use]
    pub fn agents(&self, listing: &Listing) -> (Vec<Agent>, bool) {
        let current = self.hub.current();
        let id = current.as_ref().map(|served| &served.snapshot.id);
        self.fleet().page(listing, id, Instant::now().into_std())
    }

    pub(super) fn fleet(&self) -> MutexGuard<'_, Fleet<Viewer>> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
