//! What is asked of the API server: which resource, in which namespace, and which objects of it.

use std::fmt;

use kube::core::{ApiResource, DynamicObject, Resource as _};

/// Some objects of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The resource, of any group; kube resolves a kind to it, or it is known.
    pub resource: ApiResource,
    /// Their namespace; absent: those of the whole cluster.
    pub namespace: Option<String>,
    /// Which of them.
    pub selector: Selector,
}

/// Which objects are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The one with this name. Listed and watched by field, which a Role with `resourceNames` allows.
    Name(String),
    /// Those with these labels; empty: all.
    Labels(String),
}

impl Target {
    /// The path of the resource, without a query.
    #[must_use]
    pub(super) fn path(&self) -> String {
        DynamicObject::url_path(&self.resource, self.namespace.as_deref())
    }

    /// What to write, so that `verb` is allowed. What is patched is a status.
    pub(super) fn role(&self, verb: &str) -> String {
        let ApiResource { group, plural, .. } = &self.resource;
        let (resource, verbs) = match verb {
            "get" | "list" | "watch" => (plural.clone(), r#""get", "list", "watch""#.to_owned()),
            "patch" => (format!("{plural}/status"), format!("{verb:?}")),
            _ => (plural.clone(), format!("{verb:?}")),
        };
        let names = match &self.selector {
            // A name cannot be required of what is yet to be made.
            Selector::Name(name) if verb != "create" => format!(", resourceNames [{name:?}]"),
            Selector::Name(_) | Selector::Labels(_) => String::new(),
        };
        let role = match &self.namespace {
            Some(namespace) => format!("a Role in namespace {namespace:?}"),
            None => "a ClusterRole".to_owned(),
        };
        format!("bind {role} with apiGroups [{group:?}], resources [{resource:?}], verbs [{verbs}]{names} to it")
    }

    /// The plural, with its group where it has one: `configmaps`, `networkmodels.tidewait.dev`.
    pub(super) fn plural(&self) -> String {
        let ApiResource { group, plural, .. } = &self.resource;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plural())?;
        match &self.selector {
            Selector::Name(name) => write!(f, " {name:?}")?,
            Selector::Labels(labels) if labels.is_empty() => {}
            Selector::Labels(labels) => write!(f, " with labels {labels:?}")?,
        }
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in namespace {namespace:?}"))
    }
}
