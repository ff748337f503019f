//! PURE. Where an operation's model comes from.

use crate::config::reader::Reader;
use crate::config::value::{self, FormatName};
use crate::config::{Format, Objects, Refresh, Source, ranges};

mod describe;

type Read = fn(&mut Reader<'_>) -> Option<Source>;

/// The kinds of source: the setting that says one is there, its field, its reader.
const KINDS: [(&str, &str, Read); 5] = [
    ("source.file", "file", file),
    ("source.configMap", "configMap", config_map),
    ("source.resource", "resource", resource),
    ("source.upstream", "upstream", upstream),
    ("source.describe", "describe", describe::source),
];

/// Where an operation is described that has exactly one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum In {
    /// In a file, whose writer may have the process send requests to any host.
    File,
    /// In a custom resource.
    Resource,
}

/// The source of an operation in a file or a custom resource: exactly one of the kinds. `app`: whether one is behind.
pub(super) fn only(reader: &mut Reader<'_>, place: In, app: bool) -> Option<Source> {
    let there: Vec<_> = KINDS.iter().filter(|(setting, ..)| reader.contains(setting)).collect();
    let sources: Vec<_> = there.iter().map(|(.., read)| read(reader)).collect();
    if there.len() > 1 {
        let names: Vec<_> = there.iter().map(|(_, field, _)| *field).collect();
        reader.wrong_field("source", &format!("holds {}: keep one", names.join(" and ")));
    } else if there.is_empty() && (reader.given("source").is_some() || !reader.contains("source")) {
        let kinds = match place {
            In::File => "file, configMap, resource, upstream or describe",
            In::Resource => "file, configMap, resource or upstream",
        };
        reader.wrong_field("source", &format!("is missing or empty: write {kinds} in it"));
    }
    if !app && reader.contains("source.upstream") {
        reader.wrong_field("source.upstream", "asks the app, but none is behind: name it with --upstream URL");
    }
    sources.into_iter().next().flatten()
}

pub(super) fn file(reader: &mut Reader<'_>) -> Option<Source> {
    let format = reader.optional("format", value::format);
    let path = reader.required("file", ("source.file", "path"), value::file_path)?;
    let name = path.to_string_lossy();
    let format = format.map_or_else(|| Format::of_name(&name), |format| format.of(&name));
    Some(Source::File { path, format, below: None })
}

pub(super) fn config_map(reader: &mut Reader<'_>) -> Option<Source> {
    let format = reader.optional("format", value::format);
    let (namespace, name, key) = if reader.contains("configmap") {
        reader.optional("configmap", value::config_map)?
    } else {
        let object = "source.configMap";
        let namespace = reader.required("source.configMap.namespace", (object, "namespace"), value::namespace);
        let name = reader.required("source.configMap.name", (object, "name"), value::config_map_name);
        let key = reader.optional("source.configMap.key", value::key);
        (namespace?, name?, key)
    };
    let format = match (&key, format) {
        (Some(key), None) => Format::of_name(key),
        (Some(key), Some(format)) => format.of(key),
        (None, None | Some(FormatName::Json)) => Format::Json,
        (None, Some(FormatName::Yaml | FormatName::Opaque(_))) => {
            if let Some(given) = reader.given("format") {
                reader.wrong(given, "is for one key, but all keys together are JSON: name a key, or leave it out");
            }
            Format::Json
        }
    };
    Some(Source::ConfigMap { namespace, name, key, format })
}

fn resource(reader: &mut Reader<'_>) -> Option<Source> {
    let object = "source.resource";
    let api_version = reader.required("source.resource.apiVersion", (object, "apiVersion"), value::api_version);
    let kind = reader.required("source.resource.kind", (object, "kind"), value::kind);
    let namespace = reader.required("source.resource.namespace", (object, "namespace"), value::namespace);
    let name = reader.optional("source.resource.name", value::object_name);
    let requirements = reader.list("source.resource.selector", |text| Ok(text.to_owned()));
    let field = reader.setting("source.resource.field", value::field);
    let objects = match (reader.contains("source.resource.name"), reader.contains("source.resource.selector")) {
        (true, true) => {
            reader.wrong_field(object, "holds name and selector: keep one");
            None
        }
        (false, false) => {
            if reader.given(object).is_some() {
                reader.wrong_field(object, "holds neither name nor selector: write one of them");
            }
            None
        }
        (true, false) => name.map(Objects::Named),
        (false, true) => Some(Objects::Labelled(canonical(requirements))),
    };
    if let (Some(api_version), Some(kind), Some(given)) = (&api_version, &kind, reader.given("source.resource.kind"))
        && is_secret(api_version, kind)
    {
        let message = "would be served to everyone who may poll, and is refused for that: \
                       keep the model in another kind of object, such as a NetworkModel or a ConfigMap";
        reader.wrong(given, message);
    }
    Some(Source::Resource {
        namespace: namespace?,
        api_version: api_version?,
        kind: kind?,
        objects: objects?,
        field: field?,
    })
}

/// Of the core group, whatever the spelling.
fn is_secret(api_version: &str, kind: &str) -> bool {
    !api_version.contains('/') && ["secret", "secrets"].contains(&kind.to_ascii_lowercase().as_str())
}

/// Equal selectors become equal texts: the order is nobody's meaning.
fn canonical(mut requirements: Vec<String>) -> String {
    requirements.sort();
    requirements.dedup();
    requirements.join(",")
}

fn upstream(reader: &mut Reader<'_>) -> Option<Source> {
    let object = "source.upstream";
    let format = reader.optional("format", value::format);
    let path = reader.required("source.upstream.path", (object, "path"), value::request_target);
    let bounds = &ranges::INTERVAL;
    let interval = reader.optional("source.upstream.interval", |text| value::duration(text, bounds));
    let triggered = reader.contains("source.upstream.trigger");
    let trigger = if triggered { trigger(reader) } else { None };
    let refresh = match (triggered, reader.contains("source.upstream.interval")) {
        (true, true) => {
            reader.wrong_field(object, "holds trigger and interval: keep one");
            None
        }
        (false, false) => {
            if reader.given(object).is_some() {
                reader.wrong_field(object, "holds neither trigger nor interval: write one of them");
            }
            None
        }
        (true, false) => trigger,
        (false, true) => interval.map(Refresh::Interval),
    };
    Some(Source::Upstream { path: path?, refresh: refresh?, format })
}

fn trigger(reader: &mut Reader<'_>) -> Option<Refresh> {
    let object = "source.upstream.trigger";
    let api_version = reader.required("source.upstream.trigger.apiVersion", (object, "apiVersion"), value::api_version);
    let kind = reader.required("source.upstream.trigger.kind", (object, "kind"), value::kind);
    let namespace = reader.required("source.upstream.trigger.namespace", (object, "namespace"), value::namespace);
    let name = reader.required("source.upstream.trigger.name", (object, "name"), value::object_name);
    Some(Refresh::Trigger { namespace: namespace?, api_version: api_version?, kind: kind?, name: name? })
}

/// A pointer finds nothing in a model that is not parsed.
pub(super) fn version_from(reader: &mut Reader<'_>, source: Option<&Source>) -> Option<String> {
    let pointer = reader.optional("version-from", value::pointer)?;
    if let (Some(Source::Describe(_)), Some(given)) = (source, reader.given("version-from")) {
        reader.wrong(given, "is of no use: the states of another Tidewait come with their versions: leave it out");
        return None;
    }
    let opaque = match source {
        Some(Source::File { format, .. } | Source::ConfigMap { format, .. }) => matches!(format, Format::Opaque(_)),
        Some(Source::Upstream { format, .. }) => matches!(format, Some(FormatName::Opaque(_))),
        Some(Source::Resource { .. } | Source::Describe(_)) | None => false,
    };
    if opaque && let Some(given) = reader.given("version-from") {
        reader.wrong(given, "points into an opaque model, which is not parsed: set the format to json or yaml");
    }
    Some(pointer)
}
