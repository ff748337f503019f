//! Where the model of an operation comes from.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Format, FormatName};
use crate::client;

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file that somebody else writes.
    File {
        /// Its path; symbolic links are followed anew at every change.
        path: PathBuf,
        /// How it is read.
        format: Format,
        /// Links may not lead out of this directory, which holds `path`; absent: they may lead anywhere.
        below: Option<PathBuf>,
    },
    /// A `ConfigMap`, watched.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key that holds the model; absent: all keys together are one object.
        key: Option<String>,
        /// How the key is read; without a key, [`Format::Json`] and not used.
        format: Format,
    },
    /// One field of an object of any kind, or of many objects as one model keyed by name; watched.
    Resource {
        /// The namespace of the objects.
        namespace: String,
        /// Group and version, or the version alone for the core group. Never a Secret.
        api_version: String,
        /// Kind, as in a manifest.
        kind: String,
        /// Which objects.
        objects: Objects,
        /// The top-level field that holds the model, never `metadata`.
        field: String,
    },
    /// An answer of the app behind; [`super::Config::upstream`] is then given.
    Upstream {
        /// What is asked for: a path, with a query if it has one.
        path: String,
        /// When it is asked.
        refresh: Refresh,
        /// How the answer is read, and what is taken for the model; absent: by its media type.
        format: Option<FormatName>,
    },
    /// An operation of another Tidewait, polled as every client polls it: this process relays its states.
    Describe(Box<client::Settings>),
}

/// Which objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// The one of this name.
    Named(String),
    /// Those that this label selector matches, in the syntax of the API server and in canonical
    /// order, so that equal selectors are equal texts. Empty: all.
    Labelled(String),
}

/// When an answer of the app is asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refresh {
    /// When this object changes.
    Trigger {
        /// Its namespace.
        namespace: String,
        /// Group and version, or the version alone for the core group.
        api_version: String,
        /// Its kind, as in a manifest.
        kind: String,
        /// Its name.
        name: String,
    },
    /// This long after the last time.
    Interval(Duration),
}

impl Source {
    /// What its history belongs to, as in an epoch: of two sources with the same identity a state of
    /// one is a state of the other. A file's and the app's is their operation, whose name is elsewhere.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::File { .. } => "file".to_owned(),
            Self::Upstream { .. } => "upstream".to_owned(),
            // Whichever server it is asked of: the states name their histories themselves.
            Self::Describe(settings) if settings.select.is_empty() => "describe".to_owned(),
            Self::Describe(settings) => format!("describe, {}", settings.select.join(" ")),
            Self::ConfigMap { namespace, key, .. } => {
                format!("{self} in {namespace}, {}", if key.is_some() { "one key" } else { "all keys" })
            }
            Self::Resource { namespace, api_version, field, .. } => {
                format!("{self} of {api_version} in {namespace}, field {field}")
            }
        }
    }

    /// Whether the API server is needed for it.
    #[must_use]
    pub fn is_in_cluster(&self) -> bool {
        match self {
            Self::File { .. } | Self::Describe(_) | Self::Upstream { refresh: Refresh::Interval(_), .. } => false,
            Self::ConfigMap { .. }
            | Self::Resource { .. }
            | Self::Upstream { refresh: Refresh::Trigger { .. }, .. } => true,
        }
    }
}

/// For people: the kind of source and what it reads, without the namespace.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "file {}", path.display()),
            Self::ConfigMap { name, key: None, .. } => write!(f, "ConfigMap {name}"),
            Self::ConfigMap { name, key: Some(key), .. } => write!(f, "ConfigMap {name}:{key}"),
            Self::Resource { kind, objects: Objects::Named(name), .. } => write!(f, "{kind} {name}"),
            Self::Resource { kind, objects: Objects::Labelled(labels), .. } if labels.is_empty() => {
                write!(f, "all {kind}")
            }
            Self::Resource { kind, objects: Objects::Labelled(labels), .. } => write!(f, "{kind} with {labels}"),
            Self::Upstream { path, .. } => write!(f, "app {path}"),
            Self::Describe(settings) => {
                write!(f, "Tidewait at {}", settings.endpoints.first().map_or("", String::as_str))
            }
        }
    }
}
