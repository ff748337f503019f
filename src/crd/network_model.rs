//! `NetworkModel`: a model as an object of its own.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::columns::Column;
use super::condition;
use super::fields;

/// What `kubectl get` shows.
pub(super) const COLUMNS: [Column; 5] = [
    Column::condition("Accepted", "Whether it can be served"),
    Column::condition("Served", "Whether an operation publishes it as it is now"),
    Column::condition("Converged", "Whether every live agent holds it"),
    Column::new("State", "string", ".status.stateId", "The state that it is"),
    Column::new("Age", "date", ".metadata.creationTimestamp", "How old it is"),
];

/// Any model; whoever reads it by this type keeps to the depth that `serde_json` reads, 128 levels.
#[derive(Debug, Clone, Default, PartialEq, Eq, CustomResource, Serialize, Deserialize)]
#[kube(
    group = "tidewait.dev",
    version = "v1alpha1",
    kind = "NetworkModel",
    namespaced,
    shortname = "netm",
    category = "tidewait",
    status = "NetworkModelStatus",
    derive = "PartialEq",
    doc = "A model of any shape, served by the DescribeOperations whose source names it. One larger than 256 KiB needs kubectl apply --server-side; one larger than about 1.5 MB has to be split, and is served as one through a selector."
)]
pub struct NetworkModelSpec(pub Map<String, Value>);

/// One owner for the whole, or server-side apply would keep a record of each field beside it.
impl JsonSchema for NetworkModelSpec {
    fn schema_name() -> Cow<'static, str> {
        "NetworkModelSpec".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "The model: any fields. Numbers without a point are kept exactly up to 64 bits, nulls are kept \
                            (kubectl apply drops them unless it is --server-side), more than 128 levels are not served.",
            "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-map-type": "atomic",
        })
    }
}

/// What has become of the model; written when the generation or a condition changes, and no more often.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkModelStatus {
    /// The metadata.generation that this status is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::total")]
    pub observed_generation: Option<i64>,
    /// The state that it is, as clients get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::state_id")]
    pub state_id: Option<String>,
    /// Accepted: it can be served. Served: an operation publishes it as it is now. Converged: every live agent of
    /// every operation that serves it holds it; Unknown while there are no agents. Each says of which generation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "condition::list")]
    pub conditions: Vec<Condition>,
}
