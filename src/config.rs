//! The configuration of `tidewait serve`, validated: what the rest of the program reads.
//!
//! Flags win over the environment, the environment over the file; [`resolve`] merges the three
//! and reports every problem at once. No field here means "use the default": defaults are
//! already filled in, and what may be absent says why.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Authority;
use ipnet::IpNet;

pub mod cli;
pub mod file;
mod layer;
pub mod problem;
pub mod resolve;
mod settings;
mod value;

pub use cli::load;
pub use problem::Problems;
pub use value::log_level;

/// Everything that `tidewait serve` was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where clients poll and the app's traffic arrives.
    pub listen: SocketAddr,
    /// Where operators and the kubelet ask.
    pub admin: SocketAddr,
    /// The app behind; absent: paths that no operation names are 404.
    pub upstream: Option<Upstream>,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a drain may take.
    pub grace: Duration,
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
    /// The describe operations, at least one, with distinct names and paths.
    pub operations: Vec<Operation>,
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
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file that somebody else writes.
    File {
        /// Its path; symbolic links are followed anew at every change.
        path: PathBuf,
        /// How it is read.
        format: Format,
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
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the head of an answer once the request is sent.
    pub response_head_timeout: Duration,
    /// Longest silence within a body; absent: unlimited.
    pub body_idle_timeout: Option<Duration>,
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

impl Source {
    /// What its history belongs to, the same as in an epoch: of two sources with the same identity
    /// a state of one is a state of the other. A file's is its operation, whose name is elsewhere.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::File { .. } => "file".to_owned(),
            Self::ConfigMap { .. } => self.to_string(),
        }
    }
}

/// For people: the kind and where it is.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "file {}", path.display()),
            Self::ConfigMap { namespace, name, key, .. } => {
                write!(f, "ConfigMap {namespace}/{name}")?;
                key.iter().try_for_each(|key| write!(f, ", key {key}"))
            }
        }
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
