//! PURE. From what was given to a [`Config`], or to all that is wrong with it. Flags win over
//! the environment, the environment over the file. Flags describe one operation, a file any
//! number of them: the two do not mix, so that nobody has to guess which operation a flag means.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use super::file::{self, ConfigFile, OperationsField};
use super::layer::{Given, Layer};
use super::problem::{Problems, quote};
use super::reader::Reader;
use super::settings::{self, Options};
use super::value;
use super::{Access, Config, Controller, Limits, Log, Operation, Source, Upstream, Wait, ranges};

mod access;
pub mod custom;
mod exchange;
mod nats;
pub mod relay;
mod source;
mod tls;
mod topic;

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
    let process = process(&mut reader, &contents.settings, WHO);
    let mut reader = Reader { layers: vec![&flags, &environment], problems: &mut problems };
    let (listed, listed_topics) = (contents.settings.objects("exchanges"), contents.settings.objects("topics"));
    let others = ["operations", "exchange", "topic"];
    let needed = others.iter().all(|other| reader.given(other).is_none()) && listed.or(listed_topics).is_none();
    let operations = match &contents.operations {
        OperationsField::Absent => Vec::from_iter(single(&mut reader, needed)),
        OperationsField::Unreadable => Vec::from_iter(single(&mut reader, false)),
        OperationsField::Listed(listed) => {
            refuse_flags_of_operation(&mut reader, &contents.settings.origin);
            let app = [&flags, &environment, &contents.settings].iter().any(|layer| layer.contains("upstream"));
            several(listed, app, &mut problems)
        }
    };
    let mut reader = Reader { layers: vec![&flags, &environment], problems: &mut problems };
    let exchanges = exchange::exchanges(&mut reader, listed, &operations);
    let topics = topic::topics(&mut reader, listed_topics, &operations, &exchanges);
    let is_given = [&flags, &environment, &contents.settings].iter().any(|layer| layer.contains("nats"));
    nats::needed((&exchanges, &topics), is_given, &mut problems);
    exchange::ports(&exchanges, process.as_ref(), &mut problems);
    let exchanges = exchanges.into_iter().map(|(_, exchange)| exchange).collect();
    let topics = topics.into_iter().map(|(_, topic)| topic).collect();
    match process {
        Some(process) if problems.is_empty() => Ok(Config { operations, exchanges, topics, ..process }),
        _ => Err(problems),
    }
}

/// Everything but the operations.
fn process(reader: &mut Reader<'_>, file: &Layer, remedy: &str) -> Option<Config> {
    let admin_access = reader.setting("admin-access", value::switch);
    let access = access::access(reader, file, admin_access == Some(true));
    let tls = tls::of_clients(reader);
    let (listen, admin) = addresses(reader, access.as_ref(), remedy);
    let upstream = upstream(reader, listen);
    let trusted_proxies = reader.list("trusted-proxies", value::network);
    let connections = number(reader, "max-connections", &ranges::COUNT);
    let grace = duration(reader, "grace", &ranges::GRACE);
    let state_dir = reader.optional("state-dir", value::file_path);
    let file_roots = reader.list("allow-file-root", value::file_root);
    let kubeconfig = reader.optional("kubeconfig", value::file_path);
    let watch_timeout = duration(reader, "watch-timeout", &ranges::WATCH);
    let format = reader.setting("log-format", value::log_format);
    let level = reader.setting("log-level", value::log_level);
    let access_log = reader.setting("access-log", value::switch);
    let otlp_endpoint = collector(reader);
    let nats = nats::nats(reader);
    Some(Config {
        listen: listen?,
        tls,
        admin: admin?,
        admin_tls: tls::of_admin(reader),
        admin_access: admin_access?,
        upstream,
        trusted_proxies,
        grace: grace?,
        connections: connections?,
        log: Log { format: format?, level: level?, access: access_log? },
        access: access?,
        state_dir,
        kubeconfig,
        watch_timeout: watch_timeout?,
        otlp_endpoint,
        file_roots,
        controller: controller(reader),
        operations: Vec::new(),
        exchanges: Vec::new(),
        topics: Vec::new(),
        nats,
    })
}

/// Where further operations come from.
fn controller(reader: &mut Reader<'_>) -> Option<Controller> {
    let operations = reader.optional("operations", value::operations);
    let replica = reader.optional("replica", value::replica);
    let replica_uid = reader.optional("replica-uid", value::uid);
    for flag in ["replica", "replica-uid"] {
        if let (None, Some(given)) = (reader.given("operations"), reader.given(flag)) {
            reader.wrong(given, "is of no use without --operations: give that too, or leave this out");
        }
    }
    let (namespace, labels) = operations?;
    Some(Controller { namespace, labels, replica, replica_uid })
}

fn duration(reader: &mut Reader<'_>, flag: &str, bounds: &std::ops::RangeInclusive<Duration>) -> Option<Duration> {
    reader.setting(flag, |text| value::duration(text, bounds))
}

fn number(reader: &mut Reader<'_>, flag: &str, bounds: &std::ops::RangeInclusive<usize>) -> Option<usize> {
    reader.setting(flag, |text| value::number(text, bounds))
}

/// What to do where a port that others reach asks nobody who they are.
const WHO: &str = "give --access-tokens FILE or another way to know clients (--access-users, --access-kubernetes, \
                   --access-issuer, --tls-client-ca), or --allow-anonymous if anyone who reaches the port may read the model";

/// Where it listens, and whether it may; `remedy`: what to do where it may not.
fn addresses(
    reader: &mut Reader<'_>,
    access: Option<&Access>,
    remedy: &str,
) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let listen = reader.setting("listen", value::address);
    let admin = reader.setting("admin", value::address);
    let asks_nobody = access.is_some_and(|access| !access.policy.anonymous && !access.asks());
    if let (Some(address), true, Some(given)) = (listen, asks_nobody, reader.given("listen"))
        && !address.ip().to_canonical().is_loopback()
    {
        let message = format!(
            "is reached from other machines, and Tidewait asks nobody who they are: {remedy}, or listen on a loopback \
             address such as 127.0.0.1:8480"
        );
        reader.wrong(given, &message);
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
    let protocol = reader.setting("upstream-protocol", value::protocol);
    let connect_timeout = duration(reader, "upstream-connect-timeout", &ranges::TIMEOUT);
    let response_head_timeout = duration(reader, "upstream-head-timeout", &ranges::TIMEOUT);
    let body_idle_timeout = duration(reader, "upstream-body-idle-timeout", &ranges::BODY_IDLE);
    let authority = authority?;
    if let (Ok(app), Some(listen), Some(given)) =
        (authority.as_str().parse::<SocketAddr>(), listen, reader.given("upstream"))
        && (app == listen || app.port() == listen.port() && app.ip().is_loopback() && listen.ip().is_unspecified())
    {
        reader.wrong(given, "is where Tidewait itself listens, so requests would go in a circle: give the app's port");
    }
    Some(Upstream {
        authority,
        protocol: protocol?,
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
                               list operations in a configuration file and name that with --config FILE, \
                               name the namespace of DescribeOperations with --operations NAMESPACE, a path whose \
                               requests wait for workers with --exchange PATH, or one of messages with --topic PATH";
                reader.problems.push("tidewait", message);
            }
            // Without a name there is no format by extension; the word is checked all the same.
            reader.optional("format", value::format);
            None
        }
        (file, config_map) => {
            let of_file = file.and_then(|_| source::file(reader));
            let of_map = config_map.and_then(|_| source::config_map(reader));
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
fn several(listed: &[Layer], app: bool, problems: &mut Problems) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::with_capacity(listed.len());
    let mut names: HashMap<String, &str> = HashMap::new();
    let mut paths: HashMap<String, &str> = HashMap::new();
    for layer in listed {
        let mut reader = Reader { layers: vec![layer], problems };
        let source = source::only(&mut reader, source::In::File, app);
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

/// The rest of an operation, wherever it is described.
fn operation(reader: &mut Reader<'_>, source: Option<Source>) -> Option<Operation> {
    let path = reader.setting("path", value::operation_path);
    let name = reader.optional("name", value::operation_name);
    let version_from = source::version_from(reader, source.as_ref());
    let wait = wait(reader);
    let min_interval = duration(reader, "min-interval", &ranges::MIN_INTERVAL);
    let parked = number(reader, "max-parked", &ranges::COUNT);
    let parked_per_agent = number(reader, "max-parked-per-agent", &ranges::COUNT);
    let wake_spread = duration(reader, "wake-spread", &ranges::WAKE_SPREAD);
    let paused = reader.setting("paused", value::switch);
    let percent = |text: &str| value::number(text, &ranges::PERCENT);
    let guard = reader.required("guard.maxRemovedPercent", ("guard", "maxRemovedPercent"), percent);
    let limits = limits(reader);
    let own_rules = access::own_rules(reader);
    let relays = reader.optional("relays", value::relays);
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
        wake_spread: wake_spread?,
        paused: paused?,
        guard: guard.and_then(|percent| u8::try_from(percent).ok()),
        confirmed: None,
        limits: limits?,
        access: own_rules?,
        relays,
    })
}

/// What selections and deltas may cost.
fn limits(reader: &mut Reader<'_>) -> Option<Limits> {
    let pointers = number(reader, "max-pointers", &ranges::POINTERS);
    let selections = number(reader, "max-selections", &ranges::COUNT);
    let history_entries = number(reader, "history-entries", &ranges::HISTORY_ENTRIES);
    let history_bytes = reader.optional("history-bytes", |text| value::number(text, &ranges::HISTORY_BYTES));
    Some(Limits { pointers: pointers?, selections: selections?, history_entries: history_entries?, history_bytes })
}

/// A default that nobody chose gives way to a shorter maximum; one that somebody chose is a mistake.
fn wait(reader: &mut Reader<'_>) -> Option<Wait> {
    let default = duration(reader, "wait-default", &ranges::DEFAULT_WAIT);
    let max = duration(reader, "wait-max", &ranges::MAX_WAIT);
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
