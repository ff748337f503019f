//! The configuration of `tidewait serve`, validated: what the rest of the program reads.
//!
//! Flags win over the environment, the environment over the file; [`resolve`] merges the three
//! and reports every problem at once. No field here means "use the default": defaults are
//! already filled in, and what may be absent says why.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::access::policy::Rule;
use http::uri::Authority;
use ipnet::IpNet;

mod access;
pub mod agent;
pub mod chat;
pub mod cli;
pub mod connection;
mod environment;
mod exchange;
pub mod fetch;
pub mod file;
mod layer;
pub mod problem;
pub(crate) mod ranges;
mod reader;
pub mod resolve;
mod settings;
mod source;
mod topic;
mod value;
pub mod worker;

pub use access::{Access, Judges};
pub use cli::load;
pub use exchange::{
    Backend, BodyLimits, Chain, Conflict, ConflictField, Exchange, Hold, Lease, Nats, PathPattern, QueueLimits, Repeat,
    ResultLimits, Transports,
};
pub use problem::{Problem, Problems};
pub use resolve::custom::{Grants, custom, custom_exchange, custom_topic};
pub use source::{Objects, Refresh, Source};
pub use topic::{Presence, PublishRate, Topic, TopicHistory};

pub(crate) use value::brief;
pub use value::{FormatName, log_level};

/// The whole configuration of `tidewait serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where clients poll and the app's traffic arrives.
    pub listen: SocketAddr,
    /// How the first of the two speaks TLS; absent: it speaks HTTP in the clear.
    pub tls: Option<Tls>,
    /// Where operators and the kubelet ask.
    pub admin: SocketAddr,
    /// How that one speaks TLS; absent: it speaks HTTP in the clear.
    pub admin_tls: Option<Tls>,
    /// Other hosts show there who they are, as clients do.
    pub admin_access: bool,
    /// The app behind; absent: paths that no operation names are 404.
    pub upstream: Option<Upstream>,
    /// Peers whose forwarding headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a drain may take.
    pub grace: Duration,
    /// Who may poll.
    pub access: Access,
    /// Connections accepted at once on `listen`; one more is answered 503.
    pub connections: usize,
    /// What is logged, and how.
    pub log: Log,
    /// Where the last good snapshots are kept; absent: in memory only.
    pub state_dir: Option<PathBuf>,
    /// How the API server is found; absent: the usual places, then the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Longest a Kubernetes watch runs before it is renewed; at most 200 s, below the idle
    /// limits of the load balancers that silently drop one (240 s has been seen).
    pub watch_timeout: Duration,
    /// Where spans are sent (OTLP over HTTP), the whole URL with its path; absent: none are made.
    pub otlp_endpoint: Option<String>,
    /// Directories below which whoever writes a `DescribeOperation` may name files; empty: none may be named.
    pub file_roots: Vec<PathBuf>,
    /// Where further operations come from; absent: nowhere, there are no others.
    pub controller: Option<Controller>,
    /// The describe operations, with distinct names and paths; at least one where no others can come.
    pub operations: Vec<Operation>,
    /// The exchanges, with distinct names, endpoints and paths.
    pub exchanges: Vec<Exchange>,
    /// The topics, with distinct names and paths.
    pub topics: Vec<Topic>,
    /// The NATS servers that exchanges and topics may be kept at.
    pub nats: Option<Nats>,
}

/// How a port speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The file with its certificate, and what leads from it to its authority.
    pub certificate: PathBuf,
    /// The file with the key of that.
    pub key: PathBuf,
    /// What it asks of clients; absent: nothing.
    pub clients: Option<TlsClients>,
}

/// Which clients are let in by their certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsClients {
    /// The file with the authorities that verify them.
    pub authorities: PathBuf,
    /// One without a certificate is not let in; on the admin port, which answers probes of anybody, never.
    pub is_required: bool,
}

/// The `DescribeOperation`s that are served, and who serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Their namespace.
    pub namespace: String,
    /// Their labels, in the syntax of the API server; empty: all.
    pub labels: String,
    /// What this replica calls itself; absent: the host's name, which is a pod's own.
    pub replica: Option<String>,
    /// The uid of its pod; absent: nothing removes its report but itself.
    pub replica_uid: Option<String>,
}

/// One describe endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Names it in metrics, logs and, for a file, in its epoch: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63 characters.
    pub name: String,
    /// The path, compared byte for byte with the request's.
    pub path: String,
    /// Where its model comes from.
    pub source: Source,
    /// JSON Pointer (RFC 6901) of an integer in the model that is its version; absent: the source's own.
    pub version_from: Option<String>,
    /// How long requests are held.
    pub wait: Wait,
    /// Least time between two publications.
    pub min_interval: Duration,
    /// Requests parked at once; one more is answered 503.
    pub parked: usize,
    /// Requests that one agent may have parked at once; one more is answered 429.
    pub parked_per_agent: usize,
    /// Over how long a release is spread, to protect what is behind the agents; zero: everyone at once.
    pub wake_spread: Duration,
    /// Frozen: clients keep the published state, whatever the source says.
    pub paused: bool,
    /// A change that removes more than this percentage of the published model is held until it is
    /// confirmed; absent: none is.
    pub guard: Option<u8>,
    /// The state that may be published although it removes so much, as it was written: its id or digest. For once.
    pub confirmed: Option<String>,
    /// What selections and deltas may cost.
    pub limits: Limits,
    /// Rules of its own, beside those of the process: their operations are not looked at.
    pub access: Vec<Rule>,
    /// Whom relays may serve its states; absent: by whether clients of this process need a credential.
    pub relays: Option<Relays>,
}

/// Whom relays may serve the states of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relays {
    /// Whoever they let in.
    Open,
    /// Whoever they let in by the same rules as this process has.
    Same,
    /// Nobody.
    None,
}

/// What selections and deltas of an operation may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pointers in the `select` of one request; one more is 400.
    pub pointers: usize,
    /// Distinct selections that are kept; a request for one more is 503.
    pub selections: usize,
    /// Former states that deltas can start from; beyond, the oldest is forgotten. Zero: no deltas.
    pub history_entries: usize,
    /// Bytes of those states together; absent: as many as the current state has.
    pub history_bytes: Option<usize>,
}

/// How bytes become a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// JSON (RFC 8259).
    Json,
    /// YAML, one document with string keys.
    Yaml,
    /// Served as it is, under this media type.
    Opaque(String),
}

/// How long requests are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Where the request does not say.
    pub default: Duration,
    /// At most, whatever the request says.
    pub max: Duration,
}

/// The app behind Tidewait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Host and port, always both; the scheme is http.
    pub authority: Authority,
    /// What it speaks.
    pub protocol: Protocol,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the head of an answer once the request is sent.
    pub response_head_timeout: Duration,
    /// Longest silence within a body; absent: unlimited.
    pub body_idle_timeout: Option<Duration>,
}

/// A version of HTTP, in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113, section 3.3).
    Http2,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// A level or a filter in `tracing_subscriber::EnvFilter`'s syntax, already checked.
    pub level: String,
    /// Whether each request is logged.
    pub access: bool,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// What it leaves to whoever writes a `DescribeOperation`.
    #[must_use]
    pub fn grants(&self) -> Grants<'_> {
        Grants { file_roots: &self.file_roots, app: self.upstream.is_some() }
    }
}

impl Format {
    /// The format that a name's extension says: `.json`, `.yaml` and `.yml` are parsed,
    /// anything else is served as it is. A `.json` that does not parse is an error, never opaque.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        match extension.to_ascii_lowercase().as_str() {
            "json" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "txt" | "conf" | "ini" => Self::Opaque("text/plain; charset=utf-8".to_owned()),
            "xml" => Self::Opaque("application/xml".to_owned()),
            "html" => Self::Opaque("text/html; charset=utf-8".to_owned()),
            "csv" => Self::Opaque("text/csv; charset=utf-8".to_owned()),
            "toml" => Self::Opaque("application/toml".to_owned()),
            _ => Self::Opaque("application/octet-stream".to_owned()),
        }
    }
}

#[cfg(test)]
impl Operation {
    /// One for tests: with the defaults of all settings, from a file.
    pub(crate) fn example(name: &str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            source: Source::File { path: "models/model.json".into(), format: Format::Json, below: None },
            version_from: None,
            wait: Wait { default: Duration::from_secs(25), max: Duration::from_secs(55) },
            min_interval: Duration::from_millis(100),
            parked: 20_000,
            parked_per_agent: 16,
            wake_spread: Duration::ZERO,
            paused: false,
            guard: None,
            confirmed: None,
            limits: Limits { pointers: 64, selections: 16_384, history_entries: 32, history_bytes: None },
            access: Vec::new(),
            relays: None,
        }
    }
}
