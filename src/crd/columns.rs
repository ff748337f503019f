//! The columns that `kubectl get` shows. The narrow ones fit into 120 characters: ids of states are wide.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    kind: &'static str,
    shows: Shows,
    description: &'static str,
    wide: bool,
}

#[derive(Debug, Clone, Copy)]
enum Shows {
    Path(&'static str),
    /// The status of the condition that has the column's name.
    Condition,
}

impl Column {
    /// What a path finds; `kind`: string, integer or date.
    pub(super) const fn new(
        name: &'static str,
        kind: &'static str,
        path: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, kind, shows: Shows::Path(path), description, wide: false }
    }

    /// Whether a condition holds.
    pub(super) const fn condition(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "string", shows: Shows::Condition, description, wide: false }
    }

    /// Shown only by `-o wide`.
    pub(super) const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    pub(super) fn definition(self) -> CustomResourceColumnDefinition {
        CustomResourceColumnDefinition {
            name: self.name.to_owned(),
            type_: self.kind.to_owned(),
            json_path: match self.shows {
                Shows::Path(path) => path.to_owned(),
                Shows::Condition => format!(".status.conditions[?(@.type==\"{}\")].status", self.name),
            },
            description: Some(self.description.to_owned()),
            priority: self.wide.then_some(1),
            ..CustomResourceColumnDefinition::default()
        }
    }
}
