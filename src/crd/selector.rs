//! A label selector as Kubernetes structures it, with bounds.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::fields;
use super::schema::{list, rule};

/// Which objects: those that meet all requirements. One without requirements matches all of the kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Selector {
    /// Labels with the value that they must have; at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fields::labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "expressions")]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0",
        "In and NotIn need values, Exists and DoesNotExist have none"),
]))]
pub struct Requirement {
    /// The label.
    #[schemars(schema_with = "fields::label_key")]
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    #[schemars(schema_with = "fields::operator")]
    pub operator: String,
    /// The values for `In` and `NotIn`; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "fields::label_values")]
    pub values: Vec<String>,
}

fn expressions(generator: &mut SchemaGenerator) -> Schema {
    list(fields::REQUIREMENTS, &generator.subschema_for::<Requirement>())
}
