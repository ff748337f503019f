//! PURE. From the spec of a `DescribeOperation` to an [`Operation`], from that of an `Exchange` to an [`Exchange`], and from that of a
//! `Topic` to a [`Topic`]. It is read by the tables of the configuration file, so that both forms mean the same, and is
//! checked whole: whoever may write one may not be whom the schema of the API server kept from writing this one.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::exchange;
use super::operation;
use super::source;
use super::topic;
use crate::config::file;
use crate::config::layer::Layer;
use crate::config::problem::{Problems, quote};
use crate::config::reader::Reader;
use crate::config::value;
use crate::config::{Exchange, Operation, Source, Topic};

/// What a process leaves to whoever writes a `DescribeOperation`, who else could serve any file of the sidecar, such
/// as its own token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grants<'a> {
    /// Directories below which files may be named; empty: none may be named.
    pub file_roots: &'a [PathBuf],
    /// Whether an app is behind, of which answers can be asked.
    pub app: bool,
}

/// What a `DescribeOperation` reads is where it is itself.
const NAMESPACES: [&str; 3] =
    ["source.configMap.namespace", "source.resource.namespace", "source.upstream.trigger.namespace"];

/// The operation that a `DescribeOperation` describes, or all that is wrong with it, by its fields.
///
/// `namespace` and `name` are the object's, `spec` is written as in its manifest. It reads only its own namespace, and its name is the operation's.
pub fn custom(namespace: &str, name: &str, spec: &impl Serialize, grants: Grants<'_>) -> Result<Operation, Problems> {
    let mut problems = Problems::default();
    let mut layer = Layer::new("spec");
    if !file::read_spec(spec, &mut layer, &mut problems) {
        return Err(problems);
    }
    for field in NAMESPACES {
        if layer.contains(field) {
            problems
                .push(format!("spec.{field}"), "is no field here: an operation reads its own namespace, leave it out");
        }
    }
    if layer.contains("name") {
        problems.push("spec.name", "is no field here: the name of the object is the operation's, leave it out");
    }
    let mut metadata = Layer::new("metadata");
    metadata.add("name", "metadata.name", name);
    for field in NAMESPACES {
        metadata.add(field, "metadata.namespace", namespace);
    }
    if !layer.contains("path") {
        problems.push("spec.path", "is missing: write the path that clients poll");
    }
    // The spec first: what is missing is missing there.
    let mut reader = Reader { layers: vec![&layer, &metadata], problems: &mut problems };
    let source = source::only(&mut reader, source::In::Resource, grants.app)
        .and_then(|source| granted(source, &mut reader, grants));
    let operation = operation(&mut reader, source);
    operation.filter(|_| problems.is_empty()).ok_or(problems)
}

/// The exchange that an `Exchange` describes, or all that is wrong with it, by its fields.
///
/// `name` is the object's, `spec` is written as in its manifest. What else is there it does not know.
pub fn custom_exchange(name: &str, spec: &impl Serialize) -> Result<Exchange, Problems> {
    let mut problems = Problems::default();
    let mut layer = Layer::new("spec");
    if !file::read_exchange(spec, &mut layer, &mut problems) {
        return Err(problems);
    }
    let mut metadata = Layer::new("metadata");
    metadata.add("exchange.name", "metadata.name", name);
    let mut reader = Reader { layers: vec![&layer, &metadata], problems: &mut problems };
    let exchange = exchange::exchange(&mut reader);
    if let Some(conflict) = exchange.as_ref().and_then(Exchange::conflict_with_itself) {
        problems.push(format!("spec.{}", conflict.field.as_str()), conflict.message);
    }
    exchange.filter(|_| problems.is_empty()).ok_or(problems)
}

/// The topic that a `Topic` describes, or all that is wrong with it, by its fields.
///
/// `name` is the object's, `spec` is written as in its manifest. What else is there it does not know.
pub fn custom_topic(name: &str, spec: &impl Serialize) -> Result<Topic, Problems> {
    let mut problems = Problems::default();
    let mut layer = Layer::new("spec");
    if !file::read_topic(spec, &mut layer, &mut problems) {
        return Err(problems);
    }
    let mut metadata = Layer::new("metadata");
    metadata.add("topic.name", "metadata.name", name);
    let mut reader = Reader { layers: vec![&layer, &metadata], problems: &mut problems };
    let topic = topic::topic(&mut reader);
    topic.filter(|_| problems.is_empty()).ok_or(problems)
}

/// A file only below a root, and never by way of `..`.
fn granted(source: Source, reader: &mut Reader<'_>, grants: Grants<'_>) -> Option<Source> {
    let Source::File { path, format, .. } = source else { return Some(source) };
    let root = root_of(&path, grants.file_roots);
    if root.is_none()
        && let Some(given) = reader.given("file")
    {
        let roots: Vec<_> = grants.file_roots.iter().map(|root| quote(&root.to_string_lossy())).collect();
        let allowed = match roots.as_slice() {
            [] => "no file may be served, since --allow-file-root names no directory: \
                   name one there, or use another source"
                .to_owned(),
            roots => format!("only files below {} may: write an absolute path there, without ..", roots.join(" or ")),
        };
        reader.wrong(given, &format!("may not be served: {allowed}"));
    }
    Some(Source::File { below: Some(root?.clone()), path, format })
}

/// The root that holds the path. Links are none of this: they are followed when the file is read, and only below.
fn root_of<'a>(path: &Path, roots: &'a [PathBuf]) -> Option<&'a PathBuf> {
    roots.iter().find(|root| path.is_absolute() && !value::climbs(path) && path.starts_with(root) && path != *root)
}

#[cfg(test)]
mod tests;
