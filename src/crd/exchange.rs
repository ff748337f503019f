//! `Exchange`: a path whose requests wait for workers that dial in, and what that may cost.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, ResourceExt as _};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::columns::Column;
use super::condition;
use super::fields;
use super::schema::{self, list, rule};
use crate::bounds::{EXCHANGE_METHODS, STATUS_DEAD};
use crate::config::{self, Problems};

/// What `kubectl get` shows.
pub(super) const COLUMNS: [Column; 12] = [
    Column::new("Path", "string", ".spec.path", "Where consumers send their requests"),
    Column::new("Workers", "integer", ".status.workers", "Workers that are there"),
    Column::new("Slots", "integer", ".status.slots", "Requests that they work on at once"),
    Column::new("Queued", "integer", ".status.queued", "Requests that wait for a worker"),
    Column::new("Oldest", "date", ".status.oldest", "How long the oldest of them has waited"),
    Column::new("Dead", "integer", ".status.dead", "Requests that failed after all attempts"),
    Column::condition("Ready", "Whether it takes requests"),
    Column::new("Age", "date", ".metadata.creationTimestamp", "How old it is"),
    Column::condition("Accepted", "Whether the spec can be served").wide(),
    Column::condition("HasWorkers", "Whether every sidecar has a worker").wide(),
    Column::new("Busy", "integer", ".status.busy", "Slots that work on a request").wide(),
    Column::new("Replicas", "integer", ".status.replicas", "Sidecars that serve it").wide(),
];

/// The path where consumers send requests that wait for workers, and how long and how many of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tidewait.dev",
    version = "v1alpha1",
    kind = "Exchange",
    namespaced,
    shortname = "exch",
    category = "tidewait",
    status = "ExchangeStatus",
    derive = "PartialEq",
    doc = "A path whose requests wait for workers that dial in or poll. Each sidecar that was started with --operations for this namespace serves it, with a queue of its own unless backend is nats. A change takes effect at once and loses nothing that is queued; after a deletion what is queued is answered 503, and what workers have they may still answer within the grace period."
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.endpoint) || !(self.path == self.endpoint || self.path.startsWith(self.endpoint + '/'))",
        "endpoint is at or above path: choose another"),
    rule(&schema::first_touch(), "lease.first is longer than the deadline: lower it, or raise that"),
]))]
pub struct ExchangeSpec {
    /// Where consumers send their requests, such as `/start_work` or /cameras/{key}/logs, in which {key} stands for one segment: at
    /// most 1,024 bytes. Of two exchanges, or of an exchange and an operation, with a path in common the older is served, the
    /// other is not Accepted.
    #[schemars(schema_with = "fields::path_pattern")]
    pub path: String,
    /// Where workers go, and consumers that come back. Default: /exchange/NAME, with the name of the object. After a change workers have
    /// to come to the new one; who was told of the former one may still come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::endpoint")]
    pub endpoint: Option<String>,
    /// The methods of consumers' requests, at most 64. Default: all but CONNECT and TRACE, which cannot be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "methods")]
    pub methods: Option<Vec<String>>,
    /// How many requests may be queued, and how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// How long a consumer's request is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// From a claim to the head of the answer, 1s to 24h; then the consumer gets 504. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_time")]
    pub deadline: Option<String>,
    /// How long a worker that polls keeps a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// How often a request is given to a worker that may begin it, 1 to 100. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::attempts")]
    pub attempts: Option<usize>,
    /// Which requests are given to another worker after one may have begun: idempotent (idempotent methods, and those with an
    /// Idempotency-Key), always or never. Default: idempotent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::repeat")]
    pub repeat: Option<String>,
    /// Which requests wait for one answer: identicalGets (GETs with the same target and the same Accept fields) or none. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::share")]
    pub share: Option<String>,
    /// Bounds of the answers of workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultLimits>,
    /// Bounds of the bodies of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyLimits>,
    /// How workers may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
    /// Where requests are kept: memory (of each sidecar, whose own workers are given them) or nats (a stream of NATS JetStream: workers
    /// of all sidecars are given them, and they outlive a sidecar; sidecars that were started without --nats do not accept it).
    /// Default: memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::backend")]
    pub backend: Option<String>,
    /// What becomes of a request while no worker is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_worker: Option<NoWorker>,
    /// The redirects of a consumer that comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
}

/// How many requests may be queued in each sidecar, and how long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.perClient) || self.perClient <= (has(self.length) ? self.length : 1000)",
        "queue.perClient is more than the whole queue has: lower it, or raise queue.length"),
]))]
pub struct Queue {
    /// Requests that are queued, 1 to 1,000,000; one more is answered 503. Default: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::count")]
    pub length: Option<usize>,
    /// Requests of one client that are queued, 1 to 1,000,000, and at most length; one more is answered 429. Default: 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::count")]
    pub per_client: Option<usize>,
    /// How long a request may be queued, 1s to 24h; then it is answered 503. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_time")]
    pub age: Option<String>,
    /// The same, of a request whose consumer does not wait. Default: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_time")]
    pub async_age: Option<String>,
}

/// How long a consumer's request is held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(&schema::not_longer("default", "max"), "hold.default is longer than hold.max: lower it, or raise that"),
    rule(&schema::needs_longer("default", "55s", "max"), "hold.default is longer than the longest hold, 55s: lower it, or raise hold.max"),
]))]
pub struct Hold {
    /// One that asks for no time, 0 to 1h. Default: 25s, or max where that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::wait_default")]
    pub default: Option<String>,
    /// The longest, whatever the request asks for, 0 to 1h. Default: 55s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::wait_default")]
    pub max: Option<String>,
}

/// How long a worker that polls keeps a claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Until it touches the claim first, 1s to 24h, and at most the deadline. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_time")]
    pub first: Option<String>,
    /// From each touch on, 2s to 1h. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::lease")]
    pub length: Option<String>,
}

/// Bounds of the answers of workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultLimits {
    /// How long an answer is kept for who comes for it, 1s to 24h. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_time")]
    pub keep: Option<String>,
    /// Bytes of an answer that is kept, at most 1Gi; a longer one is for the first who comes. Default: 8Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_bytes")]
    pub bytes: Option<String>,
    /// Bytes that are read from a worker before a consumer has taken them, at most 1Gi. Default: 256Ki.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_bytes")]
    pub window: Option<String>,
}

/// Bounds of the bodies of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BodyLimits {
    /// Bytes of a body that is stored before a worker takes it, at most 1Gi; a longer one is answered 413. Default: 1Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_bytes")]
    pub bytes: Option<String>,
    /// Bytes of a body that is streamed which are kept to send it again, at most 1Gi. Default: 64Ki.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_bytes")]
    pub replay: Option<String>,
}

/// How workers may come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// claims (workers poll), http1 and http2 (workers dial in). Default: all three. Workers that came by one that is taken away
    /// end what they have and are let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "transports")]
    pub transports: Option<Vec<String>>,
}

/// What becomes of a request while no worker is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.after) || (has(self.action) && self.action == 'refuse')",
        "noWorker.after is of no use without action: refuse: write that too, or leave this out"),
]))]
pub struct NoWorker {
    /// wait, or refuse (503). Default: wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::no_worker")]
    pub action: Option<String>,
    /// How long none must have been there before a request is refused, 1s to 24h. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_time")]
    pub after: Option<String>,
}

/// The redirects of a consumer that comes back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// So many are 303, 0 to 100; from then on it is 202, since clients follow only so many. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::hops")]
    pub hops: Option<usize>,
    /// How long each is held, 1s to 24h, and at most hold.max. Default: 20s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::exchange_time")]
    pub hold: Option<String>,
}

/// What all sidecars together say of the exchange; written by the one that holds the Lease of the namespace, at most every 10 s
/// while nothing but numbers change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeStatus {
    /// The metadata.generation that this status is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::total")]
    pub observed_generation: Option<i64>,
    /// Sidecars that serve it.
    #[schemars(schema_with = "fields::total")]
    pub replicas: u64,
    /// Workers that are there, each by its transport, address, identity and Agent-Id. One that dials every sidecar counts at each.
    #[schemars(schema_with = "fields::total")]
    pub workers: u64,
    /// Slots of workers: how many requests they can work on at once.
    #[schemars(schema_with = "fields::total")]
    pub slots: u64,
    /// Slots that work on a request.
    #[schemars(schema_with = "fields::total")]
    pub busy: u64,
    /// Requests that wait for a worker.
    #[schemars(schema_with = "fields::total")]
    pub queued: u64,
    /// Since when the oldest of them has waited; absent: none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::moment")]
    pub oldest: Option<Time>,
    /// Requests that failed after all attempts, since each sidecar serves it.
    #[schemars(schema_with = "fields::total")]
    pub dead: u64,
    /// The last of them, at most 10, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "last_dead")]
    pub last_dead: Vec<DeadRequest>,
    /// Accepted: the spec can be served. Ready: the sidecars serve it, as this generation asks for. `HasWorkers`: every one of them has a worker; at one without,
    /// requests wait although workers are elsewhere. Each says of which generation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
}

/// A request that failed after all attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadRequest {
    /// Its id, as in Exchange-Item.
    #[schemars(schema_with = "fields::word")]
    pub item: String,
    /// What its path has in the place of {key}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::of_agent")]
    pub key: Option<String>,
    /// How often a worker may have begun it.
    #[schemars(schema_with = "fields::total")]
    pub attempts: u64,
    /// When it failed.
    #[schemars(schema_with = "fields::moment")]
    pub at: Time,
}

fn methods(generator: &mut SchemaGenerator) -> Schema {
    list(EXCHANGE_METHODS, &fields::method(generator))
}

fn transports(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = list(3, &fields::transport(generator));
    schema.insert("minItems".to_owned(), serde_json::json!(1));
    schema
}

/// Requests that failed after all attempts.
pub(super) fn last_dead(generator: &mut SchemaGenerator) -> Schema {
    list(STATUS_DEAD, &generator.subschema_for::<DeadRequest>())
}

impl Exchange {
    /// The exchange of its generation that it describes, with the defaults of the configuration file, or all that is wrong with it
    /// by its fields.
    ///
    /// The API server refuses most of that already, unless its schema is another.
    pub fn exchange(&self) -> Result<config::Exchange, Problems> {
        config::custom_exchange(&self.name_any(), &self.spec)
    }
}
