//! PURE. Every setting by its name: its flag, its name in the environment, its default; and what
//! flags and environment give, as layers. Values stay text here: what is wrong with them is reported
//! by `resolve`, together with what is wrong elsewhere.

use std::ffi::OsString;

use super::layer::Layer;
use super::problem::Problems;

// Headings of the help.
const OPERATION: &str = "The operation (for several, see --config)";
const TRAFFIC: &str = "Traffic";
const STATE: &str = "State and Kubernetes";
const LOGS: &str = "Logs";

/// The settings of `serve` and `check`, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Configuration file (YAML); several operations need one. Paths in it are relative to the working directory
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,

    /// Serve the model that this file holds
    #[arg(long, value_name = "PATH", help_heading = OPERATION)]
    pub file: Option<String>,
    /// Serve the model that this ConfigMap holds: one key, or all keys as one object
    #[arg(long, value_name = "NAMESPACE/NAME[:KEY]", help_heading = OPERATION)]
    pub configmap: Option<String>,
    /// How to read the model: json, yaml, opaque (served as it is) or opaque:MEDIA/TYPE
    #[arg(long, value_name = "FORMAT", help_heading = OPERATION)]
    pub format: Option<String>,
    /// Path that clients poll
    #[arg(long, value_name = "PATH", help_heading = OPERATION)]
    pub path: Option<String>,
    /// JSON Pointer to an integer in the model that is its version
    #[arg(long, value_name = "POINTER", help_heading = OPERATION)]
    pub version_from: Option<String>,
    /// How long a request is held that asks for no wait; at most --wait-max
    #[arg(long, value_name = "DURATION", help_heading = OPERATION)]
    pub wait_default: Option<String>,
    /// How long a request is held at most (up to 1h)
    #[arg(long, value_name = "DURATION", help_heading = OPERATION)]
    pub wait_max: Option<String>,
    /// Shortest time between two published states (0 to 60s)
    #[arg(long, value_name = "DURATION", help_heading = OPERATION)]
    pub min_interval: Option<String>,
    /// Requests parked at once; one more is answered 503
    #[arg(long, value_name = "NUMBER", help_heading = OPERATION)]
    pub max_parked: Option<String>,
    /// Requests that one agent may have parked at once; one more is answered 429
    #[arg(long, value_name = "NUMBER", help_heading = OPERATION)]
    pub max_parked_per_agent: Option<String>,

    /// Let requests for this path wait for workers that dial in; {key} may stand for a segment. Once for each path
    #[arg(long, value_name = "PATH", help_heading = TRAFFIC)]
    pub exchange: Vec<String>,
    /// Take and give messages at this path, to all who read there; each is kept for a while. Once for each path
    #[arg(long, value_name = "PATH", help_heading = TRAFFIC)]
    pub topic: Vec<String>,
    /// NATS servers, which keep requests of exchanges and messages of topics with backend: nats; nats:// or tls://, port 4222 if the URL names none
    #[arg(long, value_name = "URL[,URL]", value_delimiter = ',', help_heading = TRAFFIC)]
    pub nats: Vec<String>,
    /// Credentials for them, as `nsc generate creds` makes them
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub nats_credentials: Option<String>,
    /// Verify their certificates by these authorities (PEM), and not by those of the system
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub nats_ca: Option<String>,
    /// On how many of them each request and message is kept (1 to 5); more than one needs a cluster of so many
    #[arg(long, value_name = "NUMBER", help_heading = TRAFFIC)]
    pub nats_replicas: Option<String>,
    /// Address for clients and for the traffic of the app
    #[arg(long, value_name = "IP:PORT", help_heading = TRAFFIC)]
    pub listen: Option<String>,
    /// Speak HTTP over TLS, with this certificate and what leads from it to its authority (PEM); a change is followed
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub tls_certificate: Option<String>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub tls_key: Option<String>,
    /// Ask clients for a certificate, and verify it by these authorities (PEM); one that is not good ends the handshake
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub tls_client_ca: Option<String>,
    /// Whether a client may also come without a certificate (optional), or not (required)
    #[arg(long, value_name = "WORD", help_heading = TRAFFIC)]
    pub tls_client_auth: Option<String>,
    /// Which of the names in a client's certificate is its owner's: the first of these kinds that is in it
    #[arg(long, value_name = "KIND[,KIND]", value_delimiter = ',', help_heading = TRAFFIC)]
    pub access_certificate_names: Vec<String>,
    /// Let in who brings one of the tokens of this file, of lines as `tidewait token NAME` prints them
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub access_tokens: Option<String>,
    /// Let in who brings the name and password of a user of this file, as `htpasswd -B` makes it
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub access_users: Option<String>,
    /// Let in who brings a token that the Kubernetes API server knows, for one of these audiences
    #[arg(long, value_name = "AUDIENCE[,AUDIENCE]", value_delimiter = ',', help_heading = TRAFFIC)]
    pub access_kubernetes: Vec<String>,
    /// Let in who brings a token (JWT) of this OpenID Connect issuer; several, and more of each, in a configuration file
    #[arg(long, value_name = "URL", help_heading = TRAFFIC)]
    pub access_issuer: Option<String>,
    /// The audience that tokens of the issuer must be for
    #[arg(long, value_name = "AUDIENCE", help_heading = TRAFFIC)]
    pub access_issuer_audience: Option<String>,
    /// Who decides what those may: rules, kubernetes (by RBAC), or both (each must allow it)
    #[arg(long, value_name = "JUDGE", help_heading = TRAFFIC)]
    pub access_authorization: Option<String>,
    /// Take credentials over connections that others can read: not encrypted, and from another host
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = TRAFFIC)]
    pub allow_clear_credentials: Option<String>,
    /// Origins (scheme, host and perhaps a port) whose pages may read, publish to topics and open connections of WebSocket beside those of the server's own
    #[arg(long, value_name = "ORIGIN[,ORIGIN]", value_delimiter = ',', help_heading = TRAFFIC)]
    pub access_origins: Vec<String>,
    /// Pass credentials on to the app; without it, they are taken out of its requests where clients are asked for them
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = TRAFFIC)]
    pub forward_credentials: Option<String>,
    /// Tell the app who sends a request, by the header field of this name; what clients send under it is removed
    #[arg(long, value_name = "FIELD", help_heading = TRAFFIC)]
    pub forward_user: Option<String>,
    /// Tell the app also the groups of who sends a request, with commas between them, by the header field of this name
    #[arg(long, value_name = "FIELD", help_heading = TRAFFIC)]
    pub forward_groups: Option<String>,
    /// Let anyone who reaches the port read the model, send and take requests of exchanges, and write and read messages of topics; needed where --listen is not loopback and nobody is asked for a token
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = TRAFFIC)]
    pub allow_anonymous: Option<String>,
    /// Address for operators and the kubelet
    #[arg(long, value_name = "IP:PORT", help_heading = TRAFFIC)]
    pub admin: Option<String>,
    /// Speak HTTP over TLS there, with this certificate and what leads from it to its authority (PEM); a change is followed
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub admin_tls_certificate: Option<String>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub admin_tls_key: Option<String>,
    /// Let in other hosts there with a certificate of these authorities alone (PEM), but for probes
    #[arg(long, value_name = "FILE", help_heading = TRAFFIC)]
    pub admin_tls_client_ca: Option<String>,
    /// Let in other hosts there by the ways to know clients above and by --admin-tls-client-ca, as far as rules for paths allow it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = TRAFFIC)]
    pub admin_access: Option<String>,
    /// The app, which gets all requests for other paths (port 80 if the URL names none); without it they are answered 404
    #[arg(long, value_name = "URL", help_heading = TRAFFIC)]
    pub upstream: Option<String>,
    /// What the app speaks: http1, or h2c (HTTP/2 without TLS, such as gRPC)
    #[arg(long, value_name = "PROTOCOL", help_heading = TRAFFIC)]
    pub upstream_protocol: Option<String>,
    /// Longest wait for a connection to the app (1ms to 1h)
    #[arg(long, value_name = "DURATION", help_heading = TRAFFIC)]
    pub upstream_connect_timeout: Option<String>,
    /// Longest wait for the head of the app's answer (1ms to 1h)
    #[arg(long, value_name = "DURATION", help_heading = TRAFFIC)]
    pub upstream_head_timeout: Option<String>,
    /// Longest silence within a body to or from the app (up to 24h); 0 is unlimited
    #[arg(long, value_name = "DURATION", help_heading = TRAFFIC)]
    pub upstream_body_idle_timeout: Option<String>,
    /// Proxies whose forwarding headers (Forwarded, X-Forwarded-*) are trusted
    #[arg(long, value_name = "CIDR[,CIDR]", value_delimiter = ',', help_heading = TRAFFIC)]
    pub trusted_proxies: Vec<String>,
    /// Connections accepted at once; one more is answered 503. Lowered to what the limit of open files allows
    #[arg(long, value_name = "NUMBER", help_heading = TRAFFIC)]
    pub max_connections: Option<String>,
    /// How long a drain may take (0 to 1h)
    #[arg(long, value_name = "DURATION", help_heading = TRAFFIC)]
    pub grace: Option<String>,

    /// Directory that keeps the last good states and the messages of topics over a restart
    #[arg(long, value_name = "DIR", help_heading = STATE)]
    pub state_dir: Option<String>,
    /// Absolute directories below which a DescribeOperation may name files; by default it may name none
    #[arg(long, value_name = "PATH[,PATH]", value_delimiter = ',', help_heading = STATE)]
    pub allow_file_root: Vec<String>,
    /// Kubeconfig file that names the API server
    #[arg(long, value_name = "PATH", help_heading = STATE)]
    pub kubeconfig: Option<String>,
    /// Serve the DescribeOperations, Exchanges and Topics of a namespace: all of them, or those with these labels
    #[arg(long, value_name = "NAMESPACE[/LABEL-SELECTOR]", help_heading = STATE)]
    pub operations: Option<String>,
    /// Name of this replica in its DescribeReplica and in the Lease: the name of its pod
    #[arg(long, value_name = "NAME", help_heading = STATE)]
    pub replica: Option<String>,
    /// Uid of that pod, so that the DescribeReplica is deleted with the pod
    #[arg(long, value_name = "UID", help_heading = STATE)]
    pub replica_uid: Option<String>,
    /// Longest a Kubernetes watch runs before it is renewed (1s to 200s)
    #[arg(long, value_name = "DURATION", help_heading = STATE)]
    pub watch_timeout: Option<String>,

    /// Format of the log: text or json
    #[arg(long, value_name = "FORMAT", help_heading = LOGS)]
    pub log_format: Option<String>,
    /// What is logged: off, error, warn, info, debug, trace, or a filter such as info,tidewait=debug
    #[arg(long, value_name = "LEVEL", help_heading = LOGS)]
    pub log_level: Option<String>,
    /// Log each request
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = LOGS)]
    pub access_log: Option<String>,
}

/// What a setting is without being given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unset {
    /// The same as this text.
    Text(&'static str),
    /// Nothing; the words are for people.
    Absent(&'static str),
}

use Unset::{Absent, Text};

/// One setting: the name of its flag, without the dashes, is its name everywhere.
pub(super) struct Setting {
    pub(super) flag: &'static str,
    pub(super) default: Unset,
    /// Whether it is of the operation, of which a configuration file may have several.
    of_operation: bool,
    pick: fn(&Options) -> &[String],
}

/// Every setting, in the order of [`Options`].
pub(super) const SETTINGS: [Setting; 58] = [
    process("config", Absent("none"), |o| o.config.as_slice()),
    operation("file", Absent("none"), |o| o.file.as_slice()),
    operation("configmap", Absent("none"), |o| o.configmap.as_slice()),
    operation("format", Absent("by the file extension"), |o| o.format.as_slice()),
    operation("path", Text("/describe"), |o| o.path.as_slice()),
    operation("version-from", Absent("the source's own"), |o| o.version_from.as_slice()),
    operation("wait-default", Text("25s"), |o| o.wait_default.as_slice()),
    operation("wait-max", Text("55s"), |o| o.wait_max.as_slice()),
    operation("min-interval", Text("100ms"), |o| o.min_interval.as_slice()),
    operation("max-parked", Text("20000"), |o| o.max_parked.as_slice()),
    operation("max-parked-per-agent", Text("16"), |o| o.max_parked_per_agent.as_slice()),
    process("exchange", Absent("none"), |o| &o.exchange),
    process("topic", Absent("none"), |o| &o.topic),
    process("nats", Absent("none"), |o| &o.nats),
    process("nats-credentials", Absent("none"), |o| o.nats_credentials.as_slice()),
    process("nats-ca", Absent("those of the system"), |o| o.nats_ca.as_slice()),
    process("nats-replicas", Text("1"), |o| o.nats_replicas.as_slice()),
    process("listen", Text("127.0.0.1:8480"), |o| o.listen.as_slice()),
    process("tls-certificate", Absent("none"), |o| o.tls_certificate.as_slice()),
    process("tls-key", Absent("none"), |o| o.tls_key.as_slice()),
    process("tls-client-ca", Absent("none"), |o| o.tls_client_ca.as_slice()),
    process("tls-client-auth", Text("optional"), |o| o.tls_client_auth.as_slice()),
    process("access-certificate-names", Absent("uri,dns,cn"), |o| &o.access_certificate_names),
    process("access-tokens", Absent("none"), |o| o.access_tokens.as_slice()),
    process("access-users", Absent("none"), |o| o.access_users.as_slice()),
    process("access-kubernetes", Absent("none"), |o| &o.access_kubernetes),
    process("access-issuer", Absent("none"), |o| o.access_issuer.as_slice()),
    process("access-issuer-audience", Absent("none"), |o| o.access_issuer_audience.as_slice()),
    process("access-authorization", Text("rules"), |o| o.access_authorization.as_slice()),
    process("allow-clear-credentials", Text("false"), |o| o.allow_clear_credentials.as_slice()),
    process("access-origins", Absent("those of the server's own"), |o| &o.access_origins),
    process("forward-credentials", Text("false"), |o| o.forward_credentials.as_slice()),
    process("forward-user", Absent("none"), |o| o.forward_user.as_slice()),
    process("forward-groups", Absent("none"), |o| o.forward_groups.as_slice()),
    process("allow-anonymous", Text("false"), |o| o.allow_anonymous.as_slice()),
    process("admin", Text("127.0.0.1:8481"), |o| o.admin.as_slice()),
    process("admin-tls-certificate", Absent("none"), |o| o.admin_tls_certificate.as_slice()),
    process("admin-tls-key", Absent("none"), |o| o.admin_tls_key.as_slice()),
    process("admin-tls-client-ca", Absent("none"), |o| o.admin_tls_client_ca.as_slice()),
    process("admin-access", Text("false"), |o| o.admin_access.as_slice()),
    process("upstream", Absent("none"), |o| o.upstream.as_slice()),
    process("upstream-protocol", Text("http1"), |o| o.upstream_protocol.as_slice()),
    process("upstream-connect-timeout", Text("1s"), |o| o.upstream_connect_timeout.as_slice()),
    process("upstream-head-timeout", Text("60s"), |o| o.upstream_head_timeout.as_slice()),
    process("upstream-body-idle-timeout", Text("0"), |o| o.upstream_body_idle_timeout.as_slice()),
    process("trusted-proxies", Absent("none"), |o| &o.trusted_proxies),
    process("max-connections", Text("20000"), |o| o.max_connections.as_slice()),
    process("grace", Text("20s"), |o| o.grace.as_slice()),
    process("state-dir", Absent("in memory only"), |o| o.state_dir.as_slice()),
    process("allow-file-root", Absent("none"), |o| &o.allow_file_root),
    process("kubeconfig", Absent("KUBECONFIG or ~/.kube/config, else the pod's service account"), |o| {
        o.kubeconfig.as_slice()
    }),
    process("operations", Absent("none"), |o| o.operations.as_slice()),
    process("replica", Absent("the host's name"), |o| o.replica.as_slice()),
    process("replica-uid", Absent("none"), |o| o.replica_uid.as_slice()),
    process("watch-timeout", Text("200s"), |o| o.watch_timeout.as_slice()),
    process("log-format", Text("text"), |o| o.log_format.as_slice()),
    process("log-level", Text("info"), |o| o.log_level.as_slice()),
    process("access-log", Text("false"), |o| o.access_log.as_slice()),
];

/// Settings of an operation that only a file or a `DescribeOperation` gives, and what they are without being given.
const WITHOUT_FLAG: [(&str, &str); 6] = [
    ("source.resource.field", "spec"),
    ("wake-spread", "0"),
    ("paused", "false"),
    ("max-pointers", "64"),
    ("max-selections", "16384"),
    ("history-entries", "32"),
];

/// Settings that are lists: with commas between the items in the environment.
const LISTS: [&str; 6] = ["access-kubernetes", "trusted-proxies", "allow-file-root", "exchange", "topic", "nats"];

/// Where spans go: the variables of OpenTelemetry, whose names everybody knows, and nothing else.
pub(super) const COLLECTOR: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "URL that spans are sent to (OTLP over HTTP), used as it is"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "The same, to which /v1/traces is added"),
];

const fn process(flag: &'static str, default: Unset, pick: fn(&Options) -> &[String]) -> Setting {
    Setting { flag, default, of_operation: false, pick }
}

const fn operation(flag: &'static str, default: Unset, pick: fn(&Options) -> &[String]) -> Setting {
    Setting { flag, default, of_operation: true, pick }
}

/// `--wait-max` is `TIDEWAIT_WAIT_MAX`. Kubernetes injects `TIDEWAIT_PORT`, `TIDEWAIT_SERVICE_HOST`
/// and their like where a Service is called tidewait: names that no setting may have.
pub(super) fn environment_name(flag: &str) -> String {
    format!("TIDEWAIT_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// The text that a setting has without being given.
pub(super) fn default_of(flag: &str) -> &'static str {
    let default = SETTINGS.iter().find(|setting| setting.flag == flag).map(|setting| setting.default);
    match default {
        Some(Text(text)) => text,
        Some(Absent(_)) => "",
        None => WITHOUT_FLAG.iter().find(|(name, _)| *name == flag).map_or("", |(_, text)| text),
    }
}

/// The settings that describe one operation.
pub(super) fn of_operation() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter(|setting| setting.of_operation).map(|setting| setting.flag)
}

/// The layer of the flags.
pub(super) fn from_flags(options: &Options) -> Layer {
    let mut layer = Layer::new("");
    for setting in &SETTINGS {
        for text in (setting.pick)(options) {
            layer.add(setting.flag, format!("--{}", setting.flag), text);
        }
    }
    layer
}

/// The layer of the environment. What is empty is not set; what is not ours is ignored.
pub(super) fn from_environment(environment: &[(String, OsString)], problems: &mut Problems) -> Layer {
    let ours = SETTINGS.iter().map(|setting| (environment_name(setting.flag), setting.flag));
    let all = ours.chain(COLLECTOR.map(|(name, _)| (name.to_owned(), name)));
    Layer::of_environment(environment, all, &LISTS, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_has_a_name_that_kubernetes_injects() {
        // For a Service called tidewait, or tidewait-something.
        let injected = |name: &str| {
            let port = name.ends_with("_PORT") || name.contains("_PORT_");
            port || name.ends_with("_SERVICE_HOST")
        };
        assert!(
            injected("TIDEWAIT_PORT") && injected("TIDEWAIT_SERVICE_PORT") && injected("TIDEWAIT_PORT_80_TCP_ADDR")
        );
        for setting in &SETTINGS {
            let name = environment_name(setting.flag);
            assert!(!injected(&name), "{name}");
        }
    }

    #[test]
    fn the_environment_ignores_what_is_empty_or_not_ours() {
        let variables = [
            ("TIDEWAIT_PORT", "tcp://10.0.0.1:80"),
            ("TIDEWAIT_SERVICE_HOST", "10.0.0.1"),
            ("TIDEWAIT_GRACE", ""),
            ("TIDEWAIT_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1"),
            ("TIDEWAIT_WAIT_MAX", "5s"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), OsString::from(value)));
        let mut problems = Problems::default();
        let layer = from_environment(&variables, &mut problems);
        assert!(problems.is_empty() && !layer.contains("grace"));
        assert_eq!(layer.all("trusted-proxies").len(), 2);
        assert_eq!(layer.all("wait-max")[0].origin, "TIDEWAIT_WAIT_MAX");
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_no_text_is_told() {
        use std::os::unix::ffi::OsStringExt as _;
        let mut problems = Problems::default();
        let variables = [("TIDEWAIT_FILE".to_owned(), OsString::from_vec(vec![0xff]))];
        from_environment(&variables, &mut problems);
        assert_eq!(problems.to_string(), "TIDEWAIT_FILE: is not UTF-8: write it as UTF-8");
    }
}
