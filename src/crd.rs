//! The API types: what people write (`DescribeOperation`, `NetworkModel`, `Exchange`) and what replicas say of themselves
//! (`DescribeReplica`). Data only: nothing here asks the API server.
//!
//! The schemas are made of these types and of the bounds that the program itself keeps, so that the API server
//! refuses what the program would; `tidewait crd` prints them. What their rules cannot say, [`DescribeOperation::operation`]
//! and [`Exchange::exchange`] do.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, ValidationRule,
};
use kube::CustomResourceExt as _;

use self::columns::Column;

pub mod access;
mod columns;
pub mod condition;
pub mod describe_operation;
pub mod describe_replica;
pub mod exchange;
mod fields;
pub mod network_model;
mod schema;
pub mod selector;
pub mod topic;

pub use describe_operation::DescribeOperation;
pub use describe_replica::DescribeReplica;
pub use exchange::Exchange;
pub use network_model::NetworkModel;
pub use topic::Topic;

/// The API group.
pub const GROUP: &str = "tidewait.dev";

/// An annotation on a `DescribeOperation` that confirms a change which its guard holds: the digest of the held
/// state, as the condition [`condition::HELD`] names it.
pub const CONFIRM_REMOVAL: &str = "tidewait.dev/confirm-removal";

/// Every definition, in the order in which people meet them.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 5] {
    let mut definitions = [
        with_columns(named(DescribeOperation::crd()), &describe_operation::COLUMNS),
        with_columns(NetworkModel::crd(), &network_model::COLUMNS),
        with_columns(named(Exchange::crd()), &exchange::COLUMNS),
        with_columns(named(Topic::crd()), &topic::COLUMNS),
        with_columns(DescribeReplica::crd(), &describe_replica::COLUMNS),
    ];
    definitions.iter_mut().flat_map(schemas).for_each(finish);
    definitions
}

/// The same, of a kind whose name labels metrics.
fn named(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for schema in schemas(&mut definition) {
        schema.x_kubernetes_validations = Some(vec![ValidationRule {
            rule: format!("self.metadata.name.matches('{}')", schema::LABEL),
            message: Some("the name labels metrics: write at most 63 of a-z, 0-9 and -".to_owned()),
            ..ValidationRule::default()
        }]);
    }
    definition
}

/// Every definition as a file of YAML: its name below `deploy/crds`, and what it holds.
#[must_use]
pub fn manifests() -> Vec<(String, String)> {
    let manifest = |definition: CustomResourceDefinition| {
        let name = format!("{}.yaml", definition.spec.names.plural);
        (name, serde_yaml::to_string(&definition).expect("a definition is YAML"))
    };
    definitions().into_iter().map(manifest).collect()
}

/// Every definition as one stream of YAML documents.
#[must_use]
pub fn documents() -> String {
    manifests().into_iter().flat_map(|(_, document)| ["---\n".to_owned(), document]).collect()
}

fn with_columns(mut definition: CustomResourceDefinition, columns: &[Column]) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        version.additional_printer_columns = Some(columns.iter().map(|column| column.definition()).collect());
    }
    definition
}

fn schemas(definition: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let schemas = definition.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut())
}

/// The API server drops a null, as if the field were absent, so that rules have two cases and not three. And a sentence is one line,
/// which kubectl breaks where the terminal ends, without what is for rustdoc.
fn finish(schema: &mut JSONSchemaProps) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        JSONSchemaPropsOrArray as Items, JSONSchemaPropsOrBool as Members,
    };
    schema.nullable = None;
    schema.description.iter_mut().for_each(|text| *text = text.replace('\n', " ").replace('`', ""));
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(finish);
    if let Some(Items::Schema(items)) = &mut schema.items {
        finish(items);
    }
    if let Some(Members::Schema(members)) = &mut schema.additional_properties {
        finish(members);
    }
}
