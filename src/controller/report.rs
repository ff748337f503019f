//! What this replica says of itself: its own `DescribeReplica`, written by nobody else.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::core::ApiResource;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::exchange_report::{self, News};
use super::metrics::{WriteResult, Written};
use super::patch::{self, Meant, Unwritten};
use super::{Dependencies, Knows, Tables, topic_report};
use crate::bounds::{
    AGENT_SKEW, EXCHANGE_STATUS, KUBERNETES_READ, LEAVE, REPLICA_OPERATIONS, REPORT_RENEW, STATUS_AGENT,
    STATUS_INTERVAL, STATUS_RETRY, STATUS_TEXT, WORST_AGENTS,
};
use crate::crd::condition::{Agent, Reason, cut};
use crate::crd::describe_replica::{
    AgentTotals, DescribeReplica, DescribeReplicaSpec, DescribeReplicaStatus, ReplicaTotals, Reported, SourceHealth,
};
use crate::escape::escape;
use crate::operation::{Operation, Status};
use crate::registry::relays::Reportedly;
use crate::registry::{AgentCounts, SyncStatus};
use crate::sources::kubernetes::failure::{Failure, FailureKind};
use crate::sources::kubernetes::{Selector, Target};
use crate::sources::wall_clock;

/// Parked requests come and go while nothing changes: what differs by less is no news.
const PARKED_SHARE: u64 = 20;

/// Writes the object when there is news.
pub(super) struct Reporter {
    dependencies: Dependencies,
    tables: Tables,
    knows: Knows,
    target: Target,
    /// The object's uid, once it is known to be there.
    uid: Option<String>,
    written: Option<DescribeReplicaStatus>,
    /// When it is written without anything new to say, so that others see that this replica is there.
    renew: Instant,
    /// When it is written for other numbers of exchanges and topics alone.
    numbers: Instant,
    retry: Instant,
    failed: bool,
}

impl Reporter {
    /// Reports what `tables` hold, and which of it `knows` has of objects.
    pub(super) fn new(dependencies: Dependencies, tables: Tables, knows: Knows) -> Self {
        let target = Target {
            resource: ApiResource::erase::<DescribeReplica>(&()),
            namespace: Some(dependencies.settings.namespace.clone()),
            selector: Selector::Name(dependencies.settings.replica.clone()),
        };
        let now = Instant::now();
        Self {
            dependencies,
            tables,
            knows,
            target,
            uid: None,
            written: None,
            renew: now,
            numbers: now,
            retry: now,
            failed: false,
        }
    }

    /// Reports for ever.
    pub(super) async fn run(mut self) {
        let mut turn = interval(STATUS_INTERVAL);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            let at = wall_clock();
            let known = Arc::clone(&self.knows.borrow());
            let exchanges = exchange_report::reported(&self.tables.exchanges.all(), &known.exchanges.verdicts, at);
            let now = Instant::now();
            let topics = topic_report::reported(&self.tables.topics.all(), &known.topics.verdicts, now.into_std());
            let status = DescribeReplicaStatus { exchanges, topics, ..of(&self.tables.operations.all(), at) };
            if (self.has_news(&status, now) || now >= self.renew) && now >= self.retry {
                self.write(status).await;
            }
        }
    }

    fn has_news(&self, status: &DescribeReplicaStatus, now: Instant) -> bool {
        let Some(written) = &self.written else { return true };
        let of_exchanges = exchange_report::news(&written.exchanges, &status.exchanges);
        let has_news = match of_exchanges.max(topic_report::news(&written.topics, &status.topics)) {
            News::None => false,
            News::Numbers => now >= self.numbers,
            News::AtOnce => true,
        };
        has_news || is_news(written, status)
    }

    async fn write(&mut self, status: DescribeReplicaStatus) {
        let (renew, numbers) = (Instant::now() + REPORT_RENEW, Instant::now() + EXCHANGE_STATUS);
        let written = match self.uid.clone() {
            // Made without a status: that is written next.
            None => match self.find_or_create().await {
                Ok(()) => return Box::pin(self.write(status)).await,
                failed => failed,
            },
            Some(uid) => self.patch(&uid, &status).await.map_err(|failure| ("patch", failure)),
        };
        match written {
            Ok(()) => {
                self.dependencies.metrics.wrote(Written::Report, WriteResult::Ok);
                self.written = Some(status);
                (self.renew, self.numbers) = (renew, numbers);
                self.failed = false;
            }
            Err((verb, failure)) => {
                self.dependencies.metrics.wrote(Written::Report, WriteResult::Failed);
                // It was removed, or another has its name: begun anew.
                self.uid = None;
                self.written = None;
                self.retry = Instant::now() + failure.pause(STATUS_RETRY);
                if !std::mem::replace(&mut self.failed, true) {
                    let reason = failure.sentence(verb, &self.target);
                    tracing::warn!(%reason, "what this replica holds cannot be reported");
                }
            }
        }
    }

    /// Makes the object, or finds the one that a former process of this Pod made; else says what failed.
    async fn find_or_create(&mut self) -> Result<(), (&'static str, Failure)> {
        let api: Api<DescribeReplica> =
            Api::namespaced(self.dependencies.client.clone(), &self.dependencies.settings.namespace);
        let made = in_time(api.create(&PostParams::default(), &self.object())).await;
        let (verb, found) = match made {
            Err(failure) if failure.kind == FailureKind::Conflict => {
                ("get", in_time(api.get(&self.dependencies.settings.replica)).await)
            }
            made => ("create", made),
        };
        self.uid = found.map_err(|failure| (verb, failure))?.metadata.uid;
        Ok(())
    }

    fn object(&self) -> DescribeReplica {
        let settings = &self.dependencies.settings;
        let owner = settings.replica_uid.as_ref().map(|uid| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: settings.replica.clone(),
            uid: uid.clone(),
            ..OwnerReference::default()
        });
        let metadata = ObjectMeta {
            name: Some(settings.replica.clone()),
            namespace: Some(settings.namespace.clone()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        DescribeReplica { metadata, spec: DescribeReplicaSpec::default(), status: None }
    }

    async fn patch(&self, uid: &str, status: &DescribeReplicaStatus) -> Result<(), Failure> {
        let settings = &self.dependencies.settings;
        // Whichever version it is: nobody else writes it.
        let meant = Meant { namespace: &settings.namespace, name: &settings.replica, uid, version: 0 };
        match patch::status(&self.dependencies.client, &self.target.resource, meant, status).await {
            Ok(_) => Ok(()),
            Err(Unwritten::Conflict) => {
                Err(Failure::new(FailureKind::Refused, "somebody else changes it all the time (409)"))
            }
            Err(Unwritten::Failed(failure)) => Err(failure),
        }
    }
}

/// Removes the object of a replica that ends.
pub(super) async fn withdraw(dependencies: &Dependencies) {
    let api: Api<DescribeReplica> = Api::namespaced(dependencies.client.clone(), &dependencies.settings.namespace);
    let params = DeleteParams::default();
    match timeout(LEAVE, api.delete(&dependencies.settings.replica, &params)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the report of this replica was not removed"),
        Err(_) => tracing::debug!("the report of this replica was not removed in time"),
    }
}

async fn in_time<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    let late = || Failure::new(FailureKind::Timeout, "no answer in time");
    timeout(KUBERNETES_READ, answer).await.map_err(|_| late())?.map_err(Failure::from)
}

/// What is to be reported of these operations at `now`.
fn of(operations: &[Arc<Operation>], now: SystemTime) -> DescribeReplicaStatus {
    let all: Vec<_> = operations.iter().map(|operation| one(operation, now)).collect();
    let sum = |number: fn(&Reported) -> u64| all.iter().map(number).sum();
    let totals = ReplicaTotals {
        operations: all.len() as u64,
        parked: sum(|it| it.parked),
        agents: sum(|it| it.agents.total),
        lagging: sum(|it| it.agents.lagging),
        rejecting: sum(|it| it.agents.rejecting),
    };
    DescribeReplicaStatus {
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        written_at: moment(now),
        totals: Some(totals),
        operations: all.into_iter().take(REPLICA_OPERATIONS).collect(),
        exchanges: Vec::new(),
        topics: Vec::new(),
    }
}

fn one(operation: &Operation, now: SystemTime) -> Reported {
    let facts = operation.facts();
    let totals = operation.totals(facts.state_id());
    // Agents of the process before may be out there, and unknown here, for as long as they take to come back. How long they
    // were told is not known; but no more come in each second than this rises by.
    let within = Duration::from_secs(operation.hub.reconnect_within(Instant::now().into_std()));
    let are_back = totals.tracked >= AGENT_SKEW + within;
    let inputs = facts.published.as_ref().and_then(|it| it.revisions).filter(|_| are_back);
    let agents = totals.agents;
    let AgentCounts { converged, lagging, rejecting, evicted } = agents;
    let ago = |ago: Duration| now.checked_sub(ago).and_then(moment);
    let own = operation.worst(facts.state_id()).into_iter().filter_map(|agent| {
        Some(Agent {
            name: cut(&escape(agent.key.name()), STATUS_AGENT),
            state_id: agent.acknowledged.map(|holds| holds.to_string()),
            reason: if agent.sync_status == SyncStatus::Rejecting { Reason::Rejecting } else { Reason::Lagging },
            message: agent
                .reason
                .filter(|_| agent.sync_status == SyncStatus::Rejecting)
                .map(|reason| cut(&escape(&reason), STATUS_AGENT)),
            since: ago(agent.rejecting.or(agent.lagging).unwrap_or_default())?,
        })
    });
    let below =
        operation.worst_of_relays(facts.state_id()).into_iter().filter_map(|Reportedly { name, reason, lag }| {
            Some(Agent {
                name: cut(&escape(&name), STATUS_AGENT),
                state_id: None,
                reason: if reason.is_some() { Reason::Rejecting } else { Reason::Lagging },
                message: reason.filter(|reason| !reason.is_empty()).map(|reason| cut(&escape(&reason), STATUS_AGENT)),
                since: ago(lag)?,
            })
        });
    let mut worst: Vec<_> = own.chain(below).collect();
    worst.sort_by_key(|agent| (agent.reason, agent.since.0));
    worst.truncate(WORST_AGENTS);
    Reported {
        name: operation.name.clone(),
        path: operation.path.clone(),
        state_id: facts.state_id().map(ToString::to_string),
        inputs: inputs.map(|inputs| inputs.to_string()),
        source: health(&facts.status),
        parked: operation.hub.parked() as u64,
        agents: AgentTotals { total: agents.total(), converged, lagging, rejecting, evicted },
        lagging_since: totals.oldest_lag.and_then(ago),
        worst_agents: worst,
    }
}

fn health(status: &Status) -> SourceHealth {
    let (status, detail) = match status {
        Status::Starting => ("starting", None),
        Status::Live => ("live", None),
        Status::Lost(reason) => ("lost", Some(reason)),
        Status::Unusable(unusable) => (unusable.kind.as_str(), Some(&unusable.detail)),
    };
    SourceHealth { status: status.to_owned(), detail: detail.map(|detail| cut(&escape(detail), STATUS_TEXT)) }
}

/// A time as reports have it.
pub(super) fn moment(time: SystemTime) -> Option<Time> {
    // To the second: what Kubernetes keeps of a time.
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok().map(Time)
}

/// Whether two reports mean one time. Each is the difference of two clocks, rounded to the second.
pub(super) fn is_close(old: Option<&Time>, new: Option<&Time>) -> bool {
    const ROUNDING: i64 = 2;
    match (old, new) {
        (Some(old), Some(new)) => (old.0.as_second() - new.0.as_second()).abs() <= ROUNDING,
        (old, new) => old == new,
    }
}

/// Whether `new` says something that `old` did not: not its own time, nor times that moved by a
/// rounding, nor a few parked requests more or less, nor another version of the same state.
fn is_news(old: &DescribeReplicaStatus, new: &DescribeReplicaStatus) -> bool {
    let few = |old: u64, new: u64| old.abs_diff(new) <= old.max(new) / PARKED_SHARE && (old == 0) == (new == 0);
    let same_agents = |old: &[Agent], new: &[Agent]| {
        let key =
            |agent: &Agent| (agent.name.clone(), state(agent.state_id.as_deref()), agent.reason, agent.message.clone());
        old.len() == new.len()
            && old
                .iter()
                .zip(new)
                .all(|(old, new)| key(old) == key(new) && is_close(Some(&old.since), Some(&new.since)))
    };
    let same = |old: &Reported, new: &Reported| {
        (&old.name, &old.path, state(old.state_id.as_deref()), &old.inputs, &old.source, old.agents)
            == (&new.name, &new.path, state(new.state_id.as_deref()), &new.inputs, &new.source, new.agents)
            && few(old.parked, new.parked)
            && is_close(old.lagging_since.as_ref(), new.lagging_since.as_ref())
            && same_agents(&old.worst_agents, &new.worst_agents)
    };
    old.version != new.version
        || old.operations.len() != new.operations.len()
        || !old.operations.iter().zip(&new.operations).all(|(old, new)| same(old, new))
}

/// Epoch and digest of an id: the version does not tell states apart.
pub(super) fn state(id: Option<&str>) -> Option<String> {
    let (epoch, rest) = id?.split_once('.')?;
    let digest = rest.rsplit_once('.').map_or(rest, |(_, digest)| digest);
    Some(format!("{epoch}.{digest}"))
}

#[cfg(test)]
mod tests;
