//! `DescribeOperation`: a path that clients poll, where its model comes from, and what it may cost.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::columns::Column;
use super::condition::{self, Agent};
use super::fields;
use super::schema::{self, rule};
use super::selector::Selector;
use crate::config::{self, Grants, Operation, Problems};

/// What `kubectl get` shows.
pub(super) const COLUMNS: [Column; 13] = [
    Column::new("Path", "string", ".spec.path", "What clients poll"),
    Column::new("Source", "string", ".status.source", "Where the model comes from"),
    Column::condition("Ready", "Whether it serves a state"),
    Column::condition("Converged", "Whether every live agent holds the current state"),
    Column::new("Agents", "integer", ".status.totals.agents", "Live agents"),
    Column::new("Lagging", "integer", ".status.totals.lagging", "Agents without the current state"),
    Column::new("Rejecting", "integer", ".status.totals.rejecting", "Agents that could not apply the current state"),
    Column::new("Parked", "integer", ".status.totals.parked", "Requests parked now"),
    Column::new("Age", "date", ".metadata.creationTimestamp", "How old it is"),
    Column::condition("Accepted", "Whether the spec can be served").wide(),
    Column::condition("Held", "Whether a newer state is not published").wide(),
    Column::new("Replicas", "integer", ".status.totals.replicas", "Sidecars that serve it").wide(),
    Column::new("State", "string", ".status.stateId", "The current state").wide(),
];

/// The path that clients poll for the current state of a model, and where that model comes from.
#[derive(Debug, Clone, PartialEq, Eq, CustomResource, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "tidewait.dev",
    version = "v1alpha1",
    kind = "DescribeOperation",
    namespaced,
    shortname = "dop",
    category = "tidewait",
    status = "DescribeOperationStatus",
    derive = "PartialEq",
    doc = "A path that clients poll for the current state of a model. Each sidecar that was started with --operations for this namespace serves it; every object that it reads is in its own namespace."
)]
#[serde(rename_all = "camelCase")]
pub struct DescribeOperationSpec {
    /// What clients poll, such as /describe: at most 1,024 bytes, compared byte for byte with the request's path. Of
    /// two operations with one path the older is served, the other is not Accepted.
    #[schemars(schema_with = "fields::path")]
    pub path: String,
    /// Where the model comes from: exactly one of configMap, resource, upstream and file. Another source begins
    /// another history: every client gets the whole state once.
    pub source: Source,
    /// JSON Pointer of an integer in the model that is its version, such as /metadata/version. Default: the source's
    /// own version, which is the resourceVersion of an object, and none of a file or the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::pointer")]
    pub version_from: Option<String>,
    /// How long requests are held while nothing changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// Least time between two publications, 0 to 60s. Changes between them are coalesced, the newest is published.
    /// Default: 100ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::min_interval")]
    pub min_interval: Option<String>,
    /// Time over which the answers to a change are spread, 0 to 60s, to protect services that the agents then call.
    /// Default: 0, all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::wake_spread")]
    pub wake_spread: Option<String>,
    /// What it may cost in each sidecar. Editing it releases nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Freeze: clients keep the state that is published now, whatever the source says. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Protection against a change that removes too much. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Who may poll it, beside those whom the rules of the sidecar let in. Default: whoever has a credential, unless
    /// the sidecar has rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// Whom relays may serve its states: open (whoever they let in), same (the same, if they have the same rules of
    /// access for it) or none. Default: same where clients of the sidecar need a credential, else open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::relays")]
    pub relays: Option<String>,
}

/// Where a model comes from: exactly one of the kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("[has(self.configMap), has(self.resource), has(self.upstream), has(self.file)].filter(x, x).size() == 1",
        "write exactly one of configMap, resource, upstream and file"),
]))]
pub struct Source {
    /// A ConfigMap: one key, or all keys as one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// One field of an object of any kind, or of many objects as one model. The sidecar's service account needs get,
    /// list and watch on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceSource>,
    /// An answer of the app behind the sidecar (--upstream). Its media type says how it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamSource>,
    /// A file in the sidecar's container, below one of the directories that its flag --allow-file-root names (none by
    /// default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
}

/// A `ConfigMap` that holds a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.key) || !has(self.format) || self.format == 'json'",
        "all keys together are JSON: name a key, or leave the format out"),
]))]
pub struct ConfigMapSource {
    /// Its name.
    #[schemars(schema_with = "fields::config_map_name")]
    pub name: String,
    /// The key that holds the model. Default: all keys together are one object, in which .json and .yaml keys are
    /// parsed, other text is a string and binary data is base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::config_map_key")]
    pub key: Option<String>,
    /// How the key is read: json, yaml, opaque (served as it is) or opaque:MEDIA/TYPE. Default: by the extension of
    /// the key; what is neither .json nor .yaml is opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::format")]
    pub format: Option<String>,
}

/// One object, or all that a selector matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.name) != has(self.selector)", "write either name or selector"),
    rule("self.apiVersion.contains('/') || !(self.kind.lowerAscii() in ['secret', 'secrets'])",
        "a Secret would be served to everyone who may poll: keep the model in another kind of object, such as a NetworkModel or a ConfigMap"),
]))]
pub struct ResourceSource {
    /// Group and version, such as tidewait.dev/v1alpha1; v1 for the core group.
    #[schemars(schema_with = "fields::api_version")]
    pub api_version: String,
    /// The kind, as manifests spell it. Secrets of the core group are refused: everyone who may poll would get them.
    #[schemars(schema_with = "fields::kind")]
    pub kind: String,
    /// The name of one object, whose field is the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::object_name")]
    pub name: Option<String>,
    /// Labels of the objects; the model is then an object with the field of each under its name, and may be larger
    /// than one object can be. An empty selector matches all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// The top-level field that holds the model, such as data or status; never metadata, which changes with every
    /// write. Default: spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::model_field")]
    pub field: Option<String>,
}

/// An answer of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.trigger) != has(self.interval)", "write either trigger or interval"),
]))]
pub struct UpstreamSource {
    /// What is asked for, with a query or without: at most 1,024 bytes.
    #[schemars(schema_with = "fields::path_and_query")]
    pub path: String,
    /// Ask again when this object changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Ask again after this long, 1s to 24h; by a conditional request where the app gives an `ETag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::interval")]
    pub interval: Option<String>,
    /// How the answer is read: json or yaml, which refuse an answer of another media type; opaque (served as it is)
    /// or opaque:MEDIA/TYPE, which refuses one of another media type. Default: by the media type, where a page
    /// (text/html) is never the model, and what is not JSON or YAML never replaces what is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::format")]
    pub format: Option<String>,
}

/// An object whose changes say that the app has something new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Group and version; v1 for the core group.
    #[schemars(schema_with = "fields::api_version")]
    pub api_version: String,
    /// The kind, as manifests spell it.
    #[schemars(schema_with = "fields::kind")]
    pub kind: String,
    /// The name of the object.
    #[schemars(schema_with = "fields::object_name")]
    pub name: String,
}

/// A file that holds a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// Its absolute path without "..", at most 4,096 bytes. Links are followed as long as they stay below the
    /// directory that --allow-file-root names.
    #[schemars(schema_with = "fields::file_path")]
    pub path: String,
    /// How it is read: json, yaml, opaque (served as it is) or opaque:MEDIA/TYPE. Default: by its extension; what is
    /// neither .json nor .yaml is opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::format")]
    pub format: Option<String>,
}

/// How long requests are held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(&schema::not_longer("default", "max"), "wait.default is longer than wait.max: lower it, or raise that"),
]))]
pub struct Wait {
    /// For a request that asks for no wait, 0 to 1h. Default: 25s, or max where that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::wait_default")]
    pub default: Option<String>,
    /// The longest, whatever the request asks for, 1ms to 1h. Default: 55s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::wait_max")]
    pub max: Option<String>,
}

/// What an operation may cost in each sidecar.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Requests parked at once, 1 to 1,000,000; one more is answered 503. Default: 20,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::count")]
    pub parked: Option<usize>,
    /// Requests that one agent may have parked at once, 1 to 1,000,000; one more is answered 429. Default: 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::count")]
    pub parked_per_agent: Option<usize>,
    /// JSON Pointers in the select of one request, 1 to 1,024; one more is answered 400. Default: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::pointers")]
    pub pointers: Option<usize>,
    /// Distinct selections that are kept, 1 to 1,000,000; a request for one more is answered 503. Default: 16,384.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::count")]
    pub selections: Option<usize>,
    /// Former states that deltas can start from, 0 to 4,096; beyond, the oldest is forgotten. Default: 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::history_entries")]
    pub history_entries: Option<usize>,
    /// Bytes of those states together, 0 to 1,073,741,824; beyond, the oldest is forgotten. Default: as many as the
    /// current state has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::history_bytes")]
    pub history_bytes: Option<usize>,
}

/// Protection against a change that removes too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// A change that removes more than this percentage of the published model, 0 to 100, is held. The condition Held
    /// then tells the annotation that confirms it, tidewait.dev/confirm-removal, and its value.
    #[schemars(schema_with = "fields::percent")]
    pub max_removed_percent: usize,
}

/// What all sidecars together say of the operation; written by the one that holds the Lease of the namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DescribeOperationStatus {
    /// The metadata.generation that this status is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::total")]
    pub observed_generation: Option<i64>,
    /// Where the model comes from, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::sentence")]
    pub source: Option<String>,
    /// The current state; absent: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::state_id")]
    pub state_id: Option<String>,
    /// Sums over the sidecars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// The agents that are furthest from the current state, at most 10: those that reject it, then by how long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::worst_agents")]
    pub worst_agents: Vec<Agent>,
    /// Accepted: the spec can be served. Ready: a state is served. Converged: every live agent holds the current
    /// state. Held: a newer state is not published, since the operation is paused or its guard waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
}

/// Sums over the sidecars that serve an operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Sidecars that serve it.
    #[schemars(schema_with = "fields::total")]
    pub replicas: u64,
    /// Requests parked now.
    #[schemars(schema_with = "fields::total")]
    pub parked: u64,
    /// Live agents: those that polled within twice the longest wait. One that moved between sidecars may count twice
    /// for that long.
    #[schemars(schema_with = "fields::total")]
    pub agents: u64,
    /// Agents that hold the current state.
    #[schemars(schema_with = "fields::total")]
    pub converged: u64,
    /// Agents that do not hold it and do not reject it.
    #[schemars(schema_with = "fields::total")]
    pub lagging: u64,
    /// Agents that could not apply it.
    #[schemars(schema_with = "fields::total")]
    pub rejecting: u64,
}

impl DescribeOperation {
    /// The operation that it describes, with the defaults of the flags, or all that is wrong with it by its fields.
    ///
    /// The API server refuses most of that already, unless its schema is another; what depends on the process
    /// (`grants`) it cannot know.
    pub fn operation(&self, grants: Grants<'_>) -> Result<Operation, Problems> {
        config::custom(&self.namespace().unwrap_or_default(), &self.name_any(), &self.spec, grants)
    }
}
