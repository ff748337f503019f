//! `Topic`: a path where messages are published and read, and which of them are kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::columns::Column;
use super::condition;
use super::fields;
use super::schema::{self, rule};
use crate::config::{self, Problems};

/// What `kubectl get` shows.
pub(super) const COLUMNS: [Column; 11] = [
    Column::new("Path", "string", ".spec.path", "Where messages are published and read"),
    Column::new("Readers", "integer", ".status.readers", "Readers that wait: parked polls and streams"),
    Column::new("Messages", "integer", ".status.messages", "Messages that are kept"),
    Column::new("Rate", "string", ".status.rate", "Messages in a second, over the last minute"),
    Column::condition("Accepted", "Whether the spec can be served"),
    Column::condition("Ready", "Whether it takes messages"),
    Column::new("Age", "date", ".metadata.creationTimestamp", "How old it is"),
    Column::new("First", "string", ".status.first", "The first message that is kept").wide(),
    Column::new("Last", "string", ".status.last", "The newest message").wide(),
    Column::new("Backend", "string", ".status.backend", "Where messages are kept").wide(),
    Column::new("Replicas", "integer", ".status.replicas", "Sidecars that serve it").wide(),
];

/// The path where messages are published and read, and which of them are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tidewait.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    shortname = "tpc",
    category = "tidewait",
    status = "TopicStatus",
    derive = "PartialEq",
    doc = "A path whose messages are given, in one order, to everyone who reads. Each sidecar that was started with --operations for this namespace serves it, with messages of its own unless backend is nats: run one then, or let all clients of a topic reach the same one. A change takes effect at once and loses no message for which the history has room; after a deletion readers are told that the topic has ended."
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(&schema::message_fits(), "messageBytes is more than the whole history has: lower it, or raise history.bytes"),
]))]
pub struct TopicSpec {
    /// Where messages are published and read, such as /chat, at most 1,024 bytes: one path, compared byte for byte. Of two topics,
    /// or of a topic and an exchange or operation, with a path in common the older is served, the other is not Accepted. After a
    /// change the messages are at the new path, and streams that were begun at the former one go on.
    #[schemars(schema_with = "fields::topic_path")]
    pub path: String,
    /// Which messages are kept: as many as all three allow, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Bytes of the body of a message, at most 256Ki; a longer one is answered 413. Default: 16Ki, or history.bytes where that is
    /// less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::message_bytes")]
    pub message_bytes: Option<String>,
    /// How long it is known which messages were published by which Idempotency-Key, 1s to 720h. Default: 2m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::topic_time")]
    pub dedupe: Option<String>,
    /// How fast one client may publish: its identity, without one its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_rate: Option<PublishRate>,
    /// Where messages are kept: memory (of each sidecar, which has those that were published at it) or nats (a stream of NATS
    /// JetStream: all sidecars have the same ones, and they outlive a sidecar; sidecars that were started without --nats do not accept
    /// it). With another one the topic begins anew. Default: memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::backend")]
    pub backend: Option<String>,
    /// Whether streams that ask for it (presence=1) are told who reads the topic: off, count (how many) or named (also the names of
    /// those that have one). Default: count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::presence")]
    pub presence: Option<String>,
}

/// Which messages are kept: as many as all three allow, the newest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// How many, 1 to 1,000,000. Default: 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::topic_messages")]
    pub messages: Option<usize>,
    /// Bytes of them all, as they are sent, 1Ki to 1Gi. Default: 4Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::topic_bytes")]
    pub bytes: Option<String>,
    /// How long each is kept, 1s to 720h. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::topic_time")]
    pub age: Option<String>,
}

/// How fast one client may publish; a message beyond is answered 429.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishRate {
    /// Messages in a second, on the long run, 1 to 100,000. Default: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::topic_rate")]
    pub per_second: Option<usize>,
    /// Messages at once, 1 to 100,000. Default: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::topic_rate")]
    pub burst: Option<usize>,
}

/// What all sidecars together say of the topic; written by the one that holds the Lease of the namespace, at most every 10 s
/// while nothing but numbers change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// The metadata.generation that this status is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::total")]
    pub observed_generation: Option<i64>,
    /// Sidecars that serve it.
    #[schemars(schema_with = "fields::total")]
    pub replicas: u64,
    /// Readers that wait: parked polls and streams.
    #[schemars(schema_with = "fields::total")]
    pub readers: u64,
    /// Messages that are kept, in all histories; where backend is nats there is one.
    #[schemars(schema_with = "fields::total")]
    pub messages: u64,
    /// Messages in a second, over the last minute, such as "0.35".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::word")]
    pub rate: Option<String>,
    /// The id of the first message that is kept; absent: there are several histories, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::word")]
    pub first: Option<String>,
    /// The id of the newest message; absent: there are several histories, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::word")]
    pub last: Option<String>,
    /// Where messages are kept: memory or nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::word")]
    pub backend: Option<String>,
    /// Accepted: the spec can be served. Ready: the sidecars serve it, as this generation asks for; its message says where each has a
    /// history of its own. Each says of which generation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
}

impl Topic {
    /// The topic of its generation that it describes, with the defaults of the configuration file, or all that is wrong with it by its
    /// fields.
    ///
    /// The API server refuses most of that already, unless its schema is another.
    pub fn topic(&self) -> Result<config::Topic, Problems> {
        config::custom_topic(&self.name_any(), &self.spec)
    }
}
