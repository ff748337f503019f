//! `/state`: what each operation holds, and how it is with what is followed, for people with `curl` and `jq`.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::followed::Followed;
use crate::escape::escape;
use crate::exchange::registry::ExchangeRegistry;
use crate::exchange::workers::Worker;
use crate::exchange::{Exchange, ShownItem};
use crate::operation::{Operation, OperationRegistry, Status};
use crate::registry::Totals;
use crate::topic::Topic;
use crate::topic::registry::TopicRegistry;

/// Everything that is shown.
#[derive(Debug)]
pub struct Shown {
    /// All operations.
    pub operations: Arc<OperationRegistry>,
    /// All exchanges.
    pub exchanges: Arc<ExchangeRegistry>,
    /// All topics.
    pub topics: Arc<TopicRegistry>,
    /// Files and issuers that say who may poll, and certificates.
    pub followed: Followed,
    /// The port for clients.
    pub clients: Port,
}

/// The port for clients.
#[derive(Debug)]
pub struct Port {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Shown {
    /// All of these, and what is followed beside them.
    #[must_use]
    pub fn new(
        (operations, exchanges, topics): (&Arc<OperationRegistry>, &Arc<ExchangeRegistry>, &Arc<TopicRegistry>),
        followed: Followed,
        clients: Port,
    ) -> Self {
        let (operations, exchanges, topics) = (Arc::clone(operations), Arc::clone(exchanges), Arc::clone(topics));
        Self { operations, exchanges, topics, followed, clients }
    }

    /// All operations, exchanges and topics, by name, and what is followed beside them.
    #[must_use]
    pub fn state(&self) -> Value {
        let scheme = if self.clients.tls { "https" } else { "http" };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "clients": { "listen": self.clients.listen.to_string(), "scheme": scheme },
            "operations": operations(&self.operations.all()),
            "exchanges": self.exchanges.all().iter().map(|exchange| waiting(exchange)).collect::<Vec<_>>(),
            "topics": self.topics.all().iter().map(|topic| messages(topic)).collect::<Vec<_>>(),
            "files": self.followed.files(),
            "issuers": self.followed.issuers(),
        })
    }
}

/// What is shown of operations.
#[must_use]
pub fn operations(operations: &[Arc<Operation>]) -> Value {
    operations.iter().map(|operation| one(operation)).collect()
}

fn one(operation: &Operation) -> Value {
    let facts = operation.facts();
    let snapshot = facts.published.as_ref().map(|published| &published.snapshot);
    json!({
        "name": operation.name,
        "path": operation.path,
        "stateId": snapshot.map(|snapshot| snapshot.id.to_string()),
        "mediaType": snapshot.map(|snapshot| snapshot.content.media_type()),
        "bytes": snapshot.map(|snapshot| snapshot.content.len()),
        "ageSeconds": operation.freshness.age().as_secs(),
        "parked": operation.hub.parked(),
        "agents": agents(&operation.totals(facts.state_id())),
        "source": source(&facts.status),
        "relay": operation.relayed().map(|relayed| json!({
            "endpoint": escape(&relayed.endpoint),
            "statePath": relayed.path,
            "relayPolicy": relayed.policy,
            "cutOff": relayed.cut_off,
            "refusal": relayed.refusal.map(|unfit| unfit.to_string()),
        })),
        "paused": operation.config().paused,
        // The change that waits to be confirmed, and the id that confirms it.
        "held": facts.blocked_change.map(|held| json!({
            "stateId": held.id.to_string(),
            "removedPercent": (held.removed_percent * 10.0).round() / 10.0,
            "limitPercent": held.limit_percent,
        })),
    })
}

fn waiting(exchange: &Exchange) -> Value {
    let (config, shown) = (exchange.config(), exchange.shown());
    json!({
        "name": config.name,
        "path": config.path.as_str(),
        "endpoint": config.endpoint,
        "backend": config.backend.as_str(),
        "shared": shown.shared.map(|shared| json!({ "up": shared.is_up, "replicas": shared.replicas })),
        "queued": shown.queued,
        "oldestSeconds": shown.oldest.as_secs(),
        "consumers": shown.consumers,
        "inFlight": shown.in_flight,
        "freeSlots": shown.free,
        "workers": shown.workers.iter().map(|shown| json!({
            "worker": worker(&shown.worker),
            "ageSeconds": shown.age.as_secs(),
            "busySlots": shown.busy,
            "freeSlots": shown.free,
            "items": shown.items.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "oldestInFlight": shown.oldest_in_flight.iter().map(item).collect::<Vec<_>>(),
        "oldestQueued": shown.oldest_queued.iter().map(item).collect::<Vec<_>>(),
        "dead": shown.dead.iter().map(|dead| json!({
            "item": dead.item,
            "key": dead.key.as_deref().map(escape),
            "attempts": dead.attempts,
            "reason": dead.reason,
            "ageSeconds": dead.age.as_secs(),
        })).collect::<Vec<_>>(),
    })
}

fn messages(topic: &Topic) -> Value {
    let extent = topic.extent(tokio::time::Instant::now().into_std());
    json!({
        "name": topic.name(),
        "path": topic.config().path,
        "backend": topic.config().backend.as_str(),
        "shared": topic.is_shared().then(|| json!({ "up": topic.is_up() })),
        "stores": topic.is_up(),
        "first": extent.first.to_string(),
        "last": extent.last.to_string(),
        "messages": extent.messages,
        "bytes": extent.bytes,
        "readers": topic.readers(),
        "presence": topic.present().map(|present| json!({
            "readers": present.readers,
            "names": present.names.iter().map(|name| escape(name)).collect::<Vec<_>>(),
        })),
    })
}

fn worker(worker: &Worker) -> Value {
    json!({
        "transport": worker.transport.as_str(),
        "agentId": worker.agent.as_deref().map(escape),
        "identity": worker.identity.as_deref().map(escape),
        "peer": worker.peer.to_string(),
    })
}

fn item(shown: &ShownItem) -> Value {
    json!({
        "item": shown.item.to_string(),
        "key": shown.key.as_deref().map(escape),
        "client": escape(&shown.client),
        "state": shown.state,
        "attempt": shown.attempt,
        "ageSeconds": shown.age.as_secs(),
        "claimedSeconds": shown.claimed.map(|claimed| claimed.as_secs()),
        "worker": shown.worker.as_deref().map(worker),
    })
}

fn agents(totals: &Totals) -> Value {
    json!({
        "total": totals.agents.total(),
        "converged": totals.agents.converged,
        "lagging": totals.agents.lagging,
        "applying": totals.applying,
        "rejecting": totals.agents.rejecting,
        "relays": totals.relays,
        "duplicates": totals.duplicates,
        "evicted": totals.agents.evicted,
        "oldestLagSeconds": totals.oldest_lag.map(|lag| lag.as_secs()),
        "trackedSeconds": totals.tracked.as_secs(),
    })
}

fn source(status: &Status) -> Value {
    match status {
        Status::Starting => json!({ "status": "starting" }),
        Status::Live => json!({ "status": "live" }),
        Status::Lost(reason) => json!({ "status": "lost", "detail": escape(reason) }),
        Status::Unusable(unusable) => {
            json!({ "status": unusable.kind.as_str(), "detail": escape(&unusable.detail) })
        }
    }
}
