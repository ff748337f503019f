//! PURE. From what was given to a [`Config`], or to all that is wrong with it. Flags win over
//! the environment, the environment over the file. Flags describe one operation, a file any
//! number of them: the two do not mix, so that nobody has to guess which operation a flag means.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use super::file::{self, ConfigFile, Operations};
use super::layer::{Given, Layer, Reader};
use super::problem::{Problems, quote};
use super::settings::{self, Options};
use super::value::{self, FormatName, bounds};
use super::{Config, Format, Log, Operation, Source, Upstream, Wait};

/// What was given, unread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers {
    /// The flags.
    pub flags: Options,
    /// Variables of the environment; those that are none of ours are ignored.
    pub environment: Vec<(String, OsString)>,
    /// The file that `--config` names.
    pub file: Option<ConfigFile>,
}

/// Merges the layers and checks everything; says all that is wrong at once.
pub fn resolve(layers: &Layers) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let flags = settings::from_flags(&layers.flags);
    let environment = settings::from_environment(&layers.environment, &mut problems);
    let contents = layers.file.as_ref().map(|file| file::read(file, &mut problems)).unwrap_or_default();

    let mut reader = Reader { layers: vec![&flags, &environment, &contents.settings], problems: &mut problems };
    let process = process(&mut reader);
    let mut reader = Reader { layers: vec![&flags, &environment], problems: &mut problems };
    let operations = match &contents.operations {
        Operations::Absent => Vec::from_iter(single(&mut reader, true)),
        Operations::Unreadable => Vec::from_iter(single(&mut reader, false)),
        Operations::Listed(listed) => {
            refuse_flags_of_operation(&mut reader, &contents.settings.origin);
            several(listed, &mut problems)
        }
    };
    match process {
        Some(process) if problems.is_empty() => Ok(Config { operations, ..process }),
        _ => Err(problems),
    }
}

/// Everything but the operations.
fn process(reader: &mut Reader<'_>) -> Option<Config> {
    let (listen, admin) = addresses(reader);
    let upstream = upstream(reader, listen);
    let trusted_proxies = reader.list("trusted-proxies", value::network);
    let connections = reader.setting("max-connections", value::count);
    let grace = duration(reader, "grace", &bounds::GRACE);
    let state_dir = reader.optional("state-dir", value::file_path);
    let kubeconfig = reader.optional("kubeconfig", value::file_path);
    let watch_timeout = duration(reader, "watch-timeout", &bounds::WATCH);
    let format = reader.setting("log-format", value::log_format);
    let level = reader.setting("log-level", value::log_level);
    let access = reader.setting("access-log", value::switch);
    let otlp_endpoint = collector(reader);
    Some(Config {
        listen: listen?,
        admin: admin?,
        upstream,
        trusted_proxies,
        grace: grace?,
        connections: connections?,
        log: Log { format: format?, level: level?, access: access? },
        state_dir,
        kubeconfig,
        watch_timeout: watch_timeout?,
        otlp_endpoint,
        operations: Vec::new(),
    })
}

fn duration(reader: &mut Reader<'_>, flag: &str, bounds: &std::ops::RangeInclusive<Duration>) -> Option<Duration> {
    reader.setting(flag, |text| value::duration(text, bounds))
}

/// Where it listens, and whether it may.
fn addresses(reader: &mut Reader<'_>) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let listen = reader.setting("listen", value::address);
    let anonymous = reader.setting("allow-anonymous", value::switch);
    let admin = reader.setting("admin", value::address);
    if let (Some(address), Some(false), Some(given)) = (listen, anonymous, reader.given("listen"))
        && !address.ip().to_canonical().is_loopback()
    {
        let message = "is reached from other machines, and Tidewait asks nobody who they are: \
                       give --allow-anonymous if anyone who reaches the port may read the model, \
                       or listen on a loopback address such as 127.0.0.1:8480";
        reader.wrong(given, message);
    }
    let given = reader.given("admin").or_else(|| reader.given("listen"));
    if let (Some(one), Some(other), Some(given)) = (listen, admin, given)
        && collide(one, other)
    {
        reader.wrong(given, "is one port for --listen and --admin: give each its own");
    }
    (listen, admin)
}

/// Whether the system would refuse to listen on both.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || any && one.is_ipv4() == other.is_ipv4())
}

fn upstream(reader: &mut Reader<'_>, listen: Option<SocketAddr>) -> Option<Upstream> {
    let authority = reader.optional("upstream", value::upstream);
    let connect_timeout = duration(reader, "upstream-connect-timeout", &bounds::TIMEOUT);
    let response_head_timeout = duration(reader, "upstream-head-timeout", &bounds::TIMEOUT);
    let body_idle_timeout = duration(reader, "upstream-body-idle-timeout", &bounds::BODY_IDLE);
    let authority = authority?;
    if let (Ok(app), Some(listen), Some(given)) =
        (authority.as_str().parse::<SocketAddr>(), listen, reader.given("upstream"))
        && (app == listen || app.port() == listen.port() && app.ip().is_loopback() && listen.ip().is_unspecified())
    {
        reader.wrong(given, "is where Tidewait itself listens, so requests would go in a circle: give the app's port");
    }
    Some(Upstream {
        authority,
        connect_timeout: connect_timeout?,
        response_head_timeout: response_head_timeout?,
        body_idle_timeout: body_idle_timeout.filter(|limit| !limit.is_zero()),
    })
}

/// Where spans go: the variable for traces is the URL itself, the general one its base
/// (OpenTelemetry, OTLP exporter configuration).
fn collector(reader: &mut Reader<'_>) -> Option<String> {
    let traces = reader.optional("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value::collector);
    let base = reader.optional("OTEL_EXPORTER_OTLP_ENDPOINT", value::collector);
    traces.or_else(|| base.map(|base| format!("{}/v1/traces", base.trim_end_matches('/'))))
}

/// Flags beside a file that lists operations would have to say which one they mean.
fn refuse_flags_of_operation(reader: &mut Reader<'_>, file: &str) {
    let given: Vec<&Given> =
        reader.layers.iter().flat_map(|layer| settings::of_operation().flat_map(|flag| layer.all(flag))).collect();
    for given in given {
        let message = format!("describes the only operation, but {file} lists operations: write it there");
        reader.wrong(given, &message);
    }
}

/// The operation that flags describe.
fn single(reader: &mut Reader<'_>, needed: bool) -> Option<Operation> {
    let source = match (reader.given("file"), reader.given("configmap")) {
        (None, None) => {
            if needed {
                let message = "nothing to serve: name a model with --file PATH or --configmap NAMESPACE/NAME[:KEY], \
                               or list operations in a configuration file and name that with --config FILE";
                reader.problems.push("tidewait", message);
            }
            // Without a name there is no format by extension; the word is checked all the same.
            reader.optional("format", value::format);
            None
        }
        (file, config_map) => {
            let of_file = file.and_then(|_| file_source(reader));
            let of_map = config_map.and_then(|_| config_map_source(reader));
            if let (Some(file), Some(config_map)) = (file, config_map) {
                let message = format!("is a second source beside {}: give one of them", file.origin);
                reader.wrong(config_map, &message);
            }
            of_file.or(of_map)
        }
    };
    operation(reader, source)
}

/// The operations that a file lists.
fn several(listed: &[Layer], problems: &mut Problems) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::with_capacity(listed.len());
    let mut names: HashMap<String, &str> = HashMap::new();
    let mut paths: HashMap<String, &str> = HashMap::new();
    for layer in listed {
        let mut reader = Reader { layers: vec![layer], problems };
        let source = listed_source(&mut reader);
        let Some(operation) = operation(&mut reader, source) else { continue };
        let place = |field: &str| reader.given(field).map_or(format!("{}.{field}", layer.origin), |g| g.origin.clone());
        let twice = |what: &str, value: &str, other: &str| {
            format!("{} is also the {what} of {other}: give each operation its own", quote(value))
        };
        if let Some(other) = paths.insert(operation.path.clone(), &layer.origin) {
            reader.problems.push(place("path"), twice("path", &operation.path, other));
        } else if let Some(other) = names.insert(operation.name.clone(), &layer.origin) {
            reader.problems.push(place("name"), twice("name", &operation.name, other));
        }
        operations.push(operation);
    }
    operations
}

/// The source of an operation in a file: exactly one of the kinds.
fn listed_source(reader: &mut Reader<'_>) -> Option<Source> {
    let (file, config_map) = (reader.contains("source.file"), reader.contains("source.configMap"));
    let of_file = if file { file_source(reader) } else { None };
    let of_map = if config_map { config_map_source(reader) } else { None };
    match (file, config_map) {
        (true, true) => reader.wrong_field("source", "holds both file and configMap: keep one"),
        (false, false) if reader.given("source").is_some() || !reader.contains("source") => {
            reader.wrong_field("source", "is missing or empty: write file or configMap in it");
        }
        _ => {}
    }
    of_file.or(of_map)
}

fn file_source(reader: &mut Reader<'_>) -> Option<Source> {
    let format = reader.optional("format", value::format);
    let path = reader.required("file", ("source.file", "path"), value::file_path)?;
    let name = path.to_string_lossy();
    let format = format.map_or_else(|| Format::of_name(&name), |format| format.of(&name));
    Some(Source::File { path, format })
}

fn config_map_source(reader: &mut Reader<'_>) -> Option<Source> {
    let format = reader.optional("format", value::format);
    let (namespace, name, key) = if reader.contains("configmap") {
        reader.optional("configmap", value::config_map)?
    } else {
        let object = "source.configMap";
        let namespace = reader.required("source.configMap.namespace", (object, "namespace"), value::namespace);
        let name = reader.required("source.configMap.name", (object, "name"), value::object_name);
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

/// The rest of an operation, wherever it is described.
fn operation(reader: &mut Reader<'_>, source: Option<Source>) -> Option<Operation> {
    let path = reader.setting("path", value::operation_path);
    let name = reader.optional("name", value::operation_name);
    let version_from = version_from(reader, source.as_ref());
    let wait = wait(reader);
    let min_interval = duration(reader, "min-interval", &bounds::MIN_INTERVAL);
    let parked = reader.setting("max-parked", value::count);
    let parked_per_agent = reader.setting("max-parked-per-agent", value::count);
    let path = path?;
    Some(Operation {
        name: name.unwrap_or_else(|| value::name_of_path(&path)),
        path,
        source: source?,
        version_from,
        wait: wait?,
        min_interval: min_interval?,
        parked: parked?,
        parked_per_agent: parked_per_agent?,
        wake_spread: Duration::ZERO,
        paused: false,
        guard: None,
    })
}

/// A pointer finds nothing in a model that is not parsed.
fn version_from(reader: &mut Reader<'_>, source: Option<&Source>) -> Option<String> {
    let pointer = reader.optional("version-from", value::pointer)?;
    if let (Some(Source::File { format, .. } | Source::ConfigMap { format, .. }), Some(given)) =
        (source, reader.given("version-from"))
        && matches!(format, Format::Opaque(_))
    {
        reader.wrong(given, "points into an opaque model, which is not parsed: set the format to json or yaml");
    }
    Some(pointer)
}

/// A default that nobody chose gives way to a shorter maximum; one that somebody chose is a mistake.
fn wait(reader: &mut Reader<'_>) -> Option<Wait> {
    let default = duration(reader, "wait-default", &bounds::DEFAULT_WAIT);
    let max = duration(reader, "wait-max", &bounds::MAX_WAIT);
    let (default, max) = (default?, max?);
    if let Some(given) = reader.given("wait-default")
        && default > max
    {
        let message = format!("is longer than the longest wait, {}: lower it, or raise that", value::brief(max));
        reader.wrong(given, &message);
    }
    Some(Wait { default: default.min(max), max })
}

#[cfg(test)]
mod tests;
