//! The options of `tidewait worker`, as text.

const WORK: &str = "What works, and for whom";
const CONNECTION: &str = "How the exchange is reached";
const SLOTS: &str = "How much at a time";
const RUN: &str = "How it runs";

/// The options of `tidewait worker`, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct WorkerOptions {
    /// Server that answers the requests: the URL of its port, in the clear
    #[arg(long, value_name = "URL", help_heading = WORK)]
    pub to: Option<String>,
    /// URL of the exchange's endpoint; several times for several
    #[arg(long, value_name = "URL", help_heading = WORK, help = "URL of the exchange's endpoint, such as http://tidewait:8480/exchange/work; several times for several")]
    pub exchange: Vec<String>,
    /// Take only requests of this key
    #[arg(long, value_name = "KEY", help_heading = WORK)]
    pub key: Option<String>,

    /// Name of this worker for the exchange [default: the host's name]
    #[arg(long, value_name = "NAME", help_heading = CONNECTION)]
    pub agent_id: Option<String>,
    /// What is spoken on the connections that it dials: http2, or http1 with one connection for each slot [default: http2]
    #[arg(long, value_name = "PROTOCOL", help_heading = CONNECTION)]
    pub protocol: Option<String>,
    /// Verify exchanges by the authorities of this file (PEM), and not by those of the system
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub ca: Option<String>,
    /// Client certificate (PEM), with --certificate-key
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub certificate: Option<String>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub certificate_key: Option<String>,
    /// Send the token that this file holds; it is read for each connection
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub token_file: Option<String>,
    /// Send it over connections that others can read, too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = CONNECTION)]
    pub allow_clear_credentials: Option<String>,

    /// Requests at a time at most (1 to 256) [default: 1; with --gate 64]
    #[arg(long, value_name = "NUMBER", help_heading = SLOTS)]
    pub slots: Option<String>,
    /// Offer one more slot only while this is free; several times: while all are
    #[arg(long, value_name = "KIND=VALUE", help_heading = SLOTS, help = "Offer one more slot only while this is free: cpu=1, memory=512Mi, command='exit 0', url=http://127.0.0.1:8080/free; several times: while all are")]
    pub gate: Vec<String>,
    /// Folder of the control group (v2) that the gates cpu and memory read [default: that of this process]
    #[arg(long, value_name = "DIR", help_heading = SLOTS)]
    pub cgroup: Option<String>,
    /// Keep what the server answers with 200, and let the consumer fetch it at this address, with --advertise
    #[arg(long, value_name = "IP:PORT", help_heading = SLOTS)]
    pub redirect_response: Option<String>,
    /// URL by which consumers reach --redirect-response
    #[arg(long, value_name = "URL", help_heading = SLOTS)]
    pub advertise: Option<String>,

    /// How long requests that run may still take after SIGTERM (0 to 1h) [default: 20s]
    #[arg(long, value_name = "DURATION", help_heading = RUN)]
    pub grace: Option<String>,
    /// Answer operators and the kubelet at this address: /healthz, /readyz, /metrics [default: none]
    #[arg(long, value_name = "IP:PORT", help_heading = RUN)]
    pub admin: Option<String>,
    /// Form of the log: text or json [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = RUN)]
    pub log_format: Option<String>,
    /// Level of the log, or a filter such as info,tidewait=debug [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = RUN)]
    pub log_level: Option<String>,
}
