//! PURE. The options of a worker where they can be given: the command line wins over the environment.

use std::ffi::OsString;

use super::WorkerOptions;
use crate::config::layer::Layer;
use crate::config::problem::Problems;

/// What the names of variables begin with.
const PREFIX: &str = "TIDEWAIT_WORKER_";

/// The settings of a worker, by their options.
pub(in crate::config) const SETTINGS: [&str; 19] = [
    "to",
    "exchange",
    "key",
    "agent-id",
    "protocol",
    "ca",
    "certificate",
    "certificate-key",
    "token-file",
    "allow-clear-credentials",
    "slots",
    "gate",
    "cgroup",
    "redirect-response",
    "advertise",
    "grace",
    "admin",
    "log-format",
    "log-level",
];
/// The one of them whose items cannot hold a comma: in a variable, they are separated by commas.
const LIST: &str = "exchange";

/// The variable of a setting.
pub(in crate::config) fn variable(setting: &str) -> String {
    format!("{PREFIX}{}", setting.replace('-', "_").to_uppercase())
}

/// What the environment gives.
pub(super) fn from_environment(environment: &[(String, OsString)], problems: &mut Problems) -> Layer {
    let settings = SETTINGS.map(|setting| (variable(setting), setting));
    Layer::of_environment(environment, settings, &[LIST], problems)
}

/// What the command line gives.
pub(super) fn from_flags(options: &WorkerOptions) -> Layer {
    let mut flags = Layer::new("");
    for (name, texts) in [("exchange", &options.exchange), ("gate", &options.gate)] {
        for text in texts {
            flags.add(name, format!("--{name}"), text);
        }
    }
    let all = [
        ("to", &options.to),
        ("key", &options.key),
        ("agent-id", &options.agent_id),
        ("protocol", &options.protocol),
        ("ca", &options.ca),
        ("certificate", &options.certificate),
        ("certificate-key", &options.certificate_key),
        ("token-file", &options.token_file),
        ("allow-clear-credentials", &options.allow_clear_credentials),
        ("slots", &options.slots),
        ("cgroup", &options.cgroup),
        ("redirect-response", &options.redirect_response),
        ("advertise", &options.advertise),
        ("grace", &options.grace),
        ("admin", &options.admin),
        ("log-format", &options.log_format),
        ("log-level", &options.log_level),
    ];
    for (name, text) in all {
        if let Some(text) = text {
            flags.add(name, format!("--{name}"), text);
        }
    }
    flags
}
