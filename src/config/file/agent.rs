//! PURE. Every field that a configuration file of the agent knows, and the setting that each gives.

use super::fields::Fields;
use super::fields::Kind::{Count, Duration, Exactly, Object, Switch, Text, Texts};

pub(super) const AGENT: Fields = &[
    ("apiVersion", Exactly("apiVersion", "tidewait.dev/v1alpha1")),
    ("kind", Exactly("kind", "AgentConfig")),
    ("endpoints", Texts("endpoint")),
    ("operation", Text("operation")),
    ("select", Texts("select")),
    ("agentId", Text("agent-id")),
    ("wait", Duration("wait")),
    ("maxBytes", Count("max-bytes")),
    ("ca", Text("ca")),
    ("certificate", Text("certificate")),
    ("key", Text("key")),
    ("tokenFile", Text("token-file")),
    ("allowClearCredentials", Switch("allow-clear-credentials")),
    ("out", Texts("out")),
    ("outDir", Text("out-dir")),
    ("format", Text("format")),
    ("mode", Text("mode")),
    ("owner", Text("owner")),
    ("group", Text("group")),
    ("keep", Count("keep")),
    ("inPlace", Switch("in-place")),
    ("enforce", Switch("enforce")),
    ("stateDir", Text("state-dir")),
    ("check", Text("check")),
    ("exec", Text("exec")),
    ("verify", Text("verify")),
    ("verifyFor", Duration("verify-for")),
    ("shell", Switch("shell")),
    ("stdin", Switch("stdin")),
    ("env", Texts("env")),
    ("rollback", Switch("rollback")),
    ("execTimeout", Duration("exec-timeout")),
    ("killAfter", Duration("kill-after")),
    ("execAttempts", Count("exec-attempts")),
    ("splay", Duration("splay")),
    ("settle", Duration("settle")),
    ("execOnStart", Text("exec-on-start")),
    ("maxAge", Duration("max-age")),
    ("onStale", Text("on-stale")),
    ("onGone", Text("on-gone")),
    ("deadline", Duration("deadline")),
    ("stopTimeout", Duration("stop-timeout")),
    ("admin", Text("admin")),
    ("serve", Text("serve")),
    ("serveConfig", Text("serve-config")),
    ("log", Object("log object", &[("format", Text("log-format")), ("level", Text("log-level"))])),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::agent::layers::SETTINGS;
    use crate::config::file::fields::Kind;

    #[test]
    fn each_setting_is_a_field_and_each_option_is_a_setting() {
        let mut given = BTreeSet::from(["config"]);
        for (_, kind) in AGENT {
            match kind {
                Text(setting) | Texts(setting) | Duration(setting) | Count(setting) | Switch(setting) => {
                    given.insert(*setting);
                }
                Object(_, fields) => given.extend(fields.iter().map(|(name, _)| match *name {
                    "format" => "log-format",
                    _ => "log-level",
                })),
                Exactly(..) => {}
                Kind::Bytes(_) | Kind::Selector(_) | Kind::OperationsField | Kind::Objects(..) | Kind::AtMost(..) => {
                    panic!("it has none of these")
                }
            }
        }
        assert_eq!(given, BTreeSet::from(SETTINGS));
        let reference = crate::config::cli::agent_reference();
        let options = reference.lines().filter_map(|line| line.strip_prefix("| `--")?.split([' ', '`']).next());
        let options: BTreeSet<_> = options.filter(|option| !["once", "dry-run"].contains(option)).collect();
        assert_eq!(options, given);
    }
}
