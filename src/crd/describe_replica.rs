//! `DescribeReplica`: what one sidecar says of itself. Each writes its own and nobody else's, since many writers of
//! one object wait for each other; the holder of the namespace's Lease adds them up.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::columns::Column;
use super::condition::{self, Agent};
use super::exchange::{self, DeadRequest};
use super::fields;
use super::schema::list;
use crate::bounds::{EXCHANGES, REPLICA_OPERATIONS, TOPICS};

/// What `kubectl get` shows.
pub(super) const COLUMNS: [Column; 8] = [
    Column::new("Operations", "integer", ".status.totals.operations", "Operations that it serves"),
    Column::new("Parked", "integer", ".status.totals.parked", "Requests parked now"),
    Column::new("Agents", "integer", ".status.totals.agents", "Live agents, of all operations"),
    Column::new("Lagging", "integer", ".status.totals.lagging", "Agents without the current state"),
    Column::new("Rejecting", "integer", ".status.totals.rejecting", "Agents that could not apply the current state"),
    Column::new("Written", "date", ".status.writtenAt", "When it was last heard of"),
    Column::new("Age", "date", ".metadata.creationTimestamp", "How old it is"),
    Column::new("Version", "string", ".status.version", "Version of the program").wide(),
];

/// Nothing: its name is its Pod's, which owns it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tidewait.dev",
    version = "v1alpha1",
    kind = "DescribeReplica",
    namespaced,
    no_spec,
    shortname = "drep",
    category = "tidewait",
    status = "DescribeReplicaStatus",
    derive = "PartialEq",
    doc = "What one sidecar says of itself. It has the name of its Pod, is owned by it, and is written by that sidecar alone: at most every 2 s when something changed, every 10 s when only numbers of exchanges and topics did, and every 30 s when nothing did."
)]
pub struct DescribeReplicaSpec {}

/// What the sidecar says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DescribeReplicaStatus {
    /// Version of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::word")]
    pub version: Option<String>,
    /// When this was written, by the clock of the sidecar, for people; a sidecar that has nothing new to say writes it
    /// anew every 30 s. One that has not for 100 s keeps Converged from being True; without a Pod as owner it is
    /// removed after 300 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::moment")]
    pub written_at: Option<Time>,
    /// Sums over its operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<ReplicaTotals>,
    /// Its operations by name, at most 128; those beyond are left out and only counted in the totals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "reported")]
    pub operations: Vec<Reported>,
    /// Its exchanges by name, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "reported_exchanges")]
    pub exchanges: Vec<ReportedExchange>,
    /// Its topics by name, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "reported_topics")]
    pub topics: Vec<ReportedTopic>,
}

/// Sums over the operations of one sidecar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaTotals {
    /// Operations that it serves.
    #[schemars(schema_with = "fields::total")]
    pub operations: u64,
    /// Requests parked now.
    #[schemars(schema_with = "fields::total")]
    pub parked: u64,
    /// Live agents.
    #[schemars(schema_with = "fields::total")]
    pub agents: u64,
    /// Agents that do not hold the current state and do not reject it.
    #[schemars(schema_with = "fields::total")]
    pub lagging: u64,
    /// Agents that could not apply the current state.
    #[schemars(schema_with = "fields::total")]
    pub rejecting: u64,
}

/// What a sidecar says of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// Name of the `DescribeOperation`.
    #[schemars(schema_with = "fields::operation_name")]
    pub name: String,
    /// What clients poll.
    #[schemars(schema_with = "fields::reported_path")]
    pub path: String,
    /// The state that it publishes; absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::state_id")]
    pub state_id: Option<String>,
    /// What that state was made from: a hash over the uid and the generation of the objects. Equal texts on two
    /// sidecars mean the same objects as they were at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::inputs")]
    pub inputs: Option<String>,
    /// The health of its source.
    pub source: SourceHealth,
    /// Requests parked now.
    #[schemars(schema_with = "fields::total")]
    pub parked: u64,
    /// Its live agents.
    pub agents: AgentTotals,
    /// Since when the agent that is furthest behind has been; absent: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::moment")]
    pub lagging_since: Option<Time>,
    /// The agents that are furthest from the current state, at most 10: those that reject it, then by how long. One
    /// below a relay is named behind it (`relay/agent`), and `relay/*` are all of a relay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::worst_agents")]
    pub worst_agents: Vec<Agent>,
}

/// What a sidecar says of one exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportedExchange {
    /// Name of the `Exchange`.
    #[schemars(schema_with = "fields::exchange_name")]
    pub name: String,
    /// The metadata.generation that is served; absent: an earlier one is, or an exchange of the sidecar's own configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::total")]
    pub generation: Option<i64>,
    /// Its requests are those of all replicas, whose workers take them (`backend: nats`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Workers that are there, each by its transport, address, identity and Agent-Id.
    #[schemars(schema_with = "fields::total")]
    pub workers: u64,
    /// Slots of workers.
    #[schemars(schema_with = "fields::total")]
    pub slots: u64,
    /// Slots that work on a request.
    #[schemars(schema_with = "fields::total")]
    pub busy: u64,
    /// Requests that wait for a worker.
    #[schemars(schema_with = "fields::total")]
    pub queued: u64,
    /// Since when the oldest of them has waited, by the clock of the sidecar; absent: none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::moment")]
    pub oldest: Option<Time>,
    /// Requests that failed after all attempts, since the sidecar serves it.
    #[schemars(schema_with = "fields::total")]
    pub dead: u64,
    /// The last of them, at most 10, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "exchange::last_dead")]
    pub last_dead: Vec<DeadRequest>,
}

/// What a sidecar says of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportedTopic {
    /// Name of the `Topic`.
    #[schemars(schema_with = "fields::exchange_name")]
    pub name: String,
    /// The metadata.generation that is served; absent: an earlier one is, or a topic of the sidecar's own configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::total")]
    pub generation: Option<i64>,
    /// Where its messages are kept: memory or nats.
    #[schemars(schema_with = "fields::word")]
    pub backend: String,
    /// Readers that wait: parked polls and streams.
    #[schemars(schema_with = "fields::total")]
    pub readers: u64,
    /// Messages that are kept.
    #[schemars(schema_with = "fields::total")]
    pub messages: u64,
    /// Messages that were published here within the last minute.
    #[schemars(schema_with = "fields::total")]
    pub within_minute: u64,
    /// The id of the first message that is kept; where none is, of the next one.
    #[schemars(schema_with = "fields::word")]
    pub first: String,
    /// The id of the newest message that there ever was.
    #[schemars(schema_with = "fields::word")]
    pub last: String,
}

/// The health of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceHealth {
    /// starting, live, lost (it cannot be asked), missing, empty, invalid or forbidden.
    #[schemars(schema_with = "fields::word")]
    pub status: String,
    /// What is wrong, and the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::sentence")]
    pub detail: Option<String>,
}

/// The live agents of one operation at one sidecar, with those below relays that report to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentTotals {
    /// All of them.
    #[schemars(schema_with = "fields::total")]
    pub total: u64,
    /// Those that hold the current state.
    #[schemars(schema_with = "fields::total")]
    pub converged: u64,
    /// Those that do not hold it and do not reject it.
    #[schemars(schema_with = "fields::total")]
    pub lagging: u64,
    /// Those that could not apply it.
    #[schemars(schema_with = "fields::total")]
    pub rejecting: u64,
    /// Those that were forgotten since the sidecar started, because there were too many to remember: the other
    /// numbers may then be too low, and Converged cannot be said.
    #[schemars(schema_with = "fields::total")]
    pub evicted: u64,
}

/// What a replica reports of its exchanges, by name.
fn reported_exchanges(generator: &mut SchemaGenerator) -> Schema {
    by_name(EXCHANGES, &generator.subschema_for::<ReportedExchange>())
}

/// What a replica reports of its topics, by name.
fn reported_topics(generator: &mut SchemaGenerator) -> Schema {
    by_name(TOPICS, &generator.subschema_for::<ReportedTopic>())
}

/// What a replica reports of its operations, by name.
fn reported(generator: &mut SchemaGenerator) -> Schema {
    by_name(REPLICA_OPERATIONS, &generator.subschema_for::<Reported>())
}

fn by_name(length: usize, item: &Schema) -> Schema {
    let mut schema = list(length, item);
    schema.insert("x-kubernetes-list-type".to_owned(), json!("map"));
    schema.insert("x-kubernetes-list-map-keys".to_owned(), json!(["name"]));
    schema
}
