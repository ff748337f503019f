//! Who may poll an operation: rules of its own.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::fields;
use super::schema::list;
use crate::bounds::{ACCESS_OWN_RULES, ACCESS_RULE_ITEMS};

/// Who may poll the operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Each lets some clients in; at most 32. Together with the rules of the sidecar they are all that let anybody in,
    /// and where a sidecar leaves the decision to Kubernetes (--access-authorization), only those for anonymous are
    /// looked at. A change ends the requests of those who may no longer wait.
    // None is not the same as an empty list, which is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules")]
    pub rules: Option<Vec<Rule>>,
}

/// Lets some clients in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The clients: user:NAME, group:NAME (with * for any text), authenticated (whoever has a credential) or anonymous
    /// (whoever has none); at most 64.
    #[schemars(schema_with = "subjects")]
    pub subjects: Vec<String>,
    /// What they may: get, which is to poll.
    #[schemars(schema_with = "verbs")]
    pub verbs: Vec<String>,
    /// The parts of the model that they may have, as JSON Pointers such as /shared or /nodes/{name}, in which {name},
    /// {node} and {pod} stand for the client's own; at most 64. Default: the whole model.
    // None is the whole model, and an empty list is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "restrict")]
    pub restrict: Option<Vec<String>>,
}

fn rules(generator: &mut SchemaGenerator) -> Schema {
    some(ACCESS_OWN_RULES, &generator.subschema_for::<Rule>())
}

fn subjects(generator: &mut SchemaGenerator) -> Schema {
    some(ACCESS_RULE_ITEMS, &fields::subject(generator))
}

fn verbs(generator: &mut SchemaGenerator) -> Schema {
    some(ACCESS_RULE_ITEMS, &fields::verb(generator))
}

fn restrict(generator: &mut SchemaGenerator) -> Schema {
    some(ACCESS_RULE_ITEMS, &fields::part(generator))
}

/// A list of one item at least.
fn some(most: usize, item: &Schema) -> Schema {
    let mut list = list(most, item);
    list.insert("minItems".to_owned(), json!(1));
    list
}
