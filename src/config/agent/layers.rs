//! PURE. What the command line and the environment give, as layers.

use std::ffi::OsString;

use super::AgentOptions;
use crate::config::layer::Layer;
use crate::config::problem::Problems;

/// What the names of variables begin with.
const PREFIX: &str = "TIDEWAIT_AGENT_";

/// The settings of an agent, by their options. `--config` names the file of the others; `--once` and `--dry-run` are for one run.
pub(in crate::config) const SETTINGS: [&str; 46] = [
    "endpoint",
    "operation",
    "select",
    "agent-id",
    "wait",
    "max-bytes",
    "ca",
    "certificate",
    "key",
    "token-file",
    "allow-clear-credentials",
    "out",
    "out-dir",
    "format",
    "mode",
    "owner",
    "group",
    "keep",
    "in-place",
    "enforce",
    "state-dir",
    "check",
    "exec",
    "verify",
    "verify-for",
    "shell",
    "stdin",
    "env",
    "rollback",
    "exec-timeout",
    "kill-after",
    "exec-attempts",
    "splay",
    "settle",
    "exec-on-start",
    "max-age",
    "on-stale",
    "on-gone",
    "deadline",
    "stop-timeout",
    "admin",
    "serve",
    "serve-config",
    "log-format",
    "log-level",
    "config",
];
/// Those of them that are lists: in a variable, separated by commas.
const LISTS: [&str; 4] = ["endpoint", "select", "out", "env"];

/// The variable of a setting.
pub(in crate::config) fn variable(setting: &str) -> String {
    format!("{PREFIX}{}", setting.replace('-', "_").to_uppercase())
}

/// What the environment gives.
pub(super) fn from_environment(environment: &[(String, OsString)], problems: &mut Problems) -> Layer {
    let settings = SETTINGS.map(|setting| (variable(setting), setting));
    Layer::of_environment(environment, settings, &LISTS, problems)
}

/// What the command line gives.
pub(super) fn from_flags(options: &AgentOptions) -> Layer {
    let mut flags = Layer::new("");
    let lists =
        [("endpoint", &options.endpoint), ("select", &options.select), ("out", &options.out), ("env", &options.env)];
    for (name, texts) in lists {
        for text in texts {
            flags.add(name, format!("--{name}"), text);
        }
    }
    let all = [
        ("operation", &options.operation),
        ("agent-id", &options.agent_id),
        ("wait", &options.wait),
        ("max-bytes", &options.max_bytes),
        ("ca", &options.ca),
        ("certificate", &options.certificate),
        ("key", &options.key),
        ("token-file", &options.token_file),
        ("allow-clear-credentials", &options.allow_clear_credentials),
        ("out-dir", &options.out_dir),
        ("format", &options.format),
        ("mode", &options.mode),
        ("owner", &options.owner),
        ("group", &options.group),
        ("keep", &options.keep),
        ("in-place", &options.in_place),
        ("enforce", &options.enforce),
        ("state-dir", &options.state_dir),
        ("check", &options.check),
        ("exec", &options.exec),
        ("verify", &options.verify),
        ("verify-for", &options.verify_for),
        ("shell", &options.shell),
        ("stdin", &options.stdin),
        ("rollback", &options.rollback),
        ("exec-timeout", &options.exec_timeout),
        ("kill-after", &options.kill_after),
        ("exec-attempts", &options.exec_attempts),
        ("splay", &options.splay),
        ("settle", &options.settle),
        ("exec-on-start", &options.exec_on_start),
        ("max-age", &options.max_age),
        ("on-stale", &options.on_stale),
        ("on-gone", &options.on_gone),
        ("deadline", &options.deadline),
        ("stop-timeout", &options.stop_timeout),
        ("admin", &options.admin),
        ("serve", &options.serve),
        ("serve-config", &options.serve_config),
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
