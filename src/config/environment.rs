//! PURE. Variables that look like settings of ours and are none: a misspelt one is warned of, not passed over.

use super::agent::layers;
use super::problem::{Problem, nearest};
use super::settings::{SETTINGS, environment_name};
use super::worker;

const PREFIX: &str = "TIDEWAIT_";

/// A line for each variable with our prefix that no setting reads, but for those of Kubernetes.
pub(super) fn unread<'a>(environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Problem> {
    let of_serve = SETTINGS.iter().map(|setting| environment_name(setting.flag));
    let names: Vec<_> = of_serve
        .chain(layers::SETTINGS.map(layers::variable))
        .chain(worker::layers::SETTINGS.map(worker::layers::variable))
        .collect();
    let unread = |name: &str, value: &str| {
        name.starts_with(PREFIX)
            // As everywhere, what is empty is not set.
            && !value.is_empty()
            && !names.iter().any(|known| known == name)
            && !is_of_kubernetes(name, value)
    };
    let found = environment.into_iter().filter(|(name, value)| unread(name, value));
    let mut lines: Vec<_> = found.map(|(name, _)| one(name, &names)).collect();
    lines.sort_by(|one, other| one.origin.cmp(&other.origin));
    lines
}

fn one(name: &str, names: &[String]) -> Problem {
    // Without the prefix, which all have, or all would be near.
    let known = names.iter().map(|known| &known[PREFIX.len()..]);
    let meant = match nearest(&name[PREFIX.len()..], known) {
        Some(near) => format!("did you mean {PREFIX}{near}?"),
        None if name.starts_with("TIDEWAIT_AGENT_") => "docs/agent.md lists those of the agent".to_owned(),
        None if name.starts_with("TIDEWAIT_WORKER_") => "docs/worker.md lists those of the worker".to_owned(),
        None => "tidewait serve --help lists them".to_owned(),
    };
    Problem { origin: name.to_owned(), message: format!("no setting has this name, it is not read: {meant}") }
}

/// What Kubernetes gives to all containers of a namespace where a Service is called `tidewait` or `tidewait-NAME`:
/// `_SERVICE_HOST`, `_SERVICE_PORT` (with `_NAME` for named ports), `_PORT` and `_PORT_80_TCP` with `_ADDR`, `_PORT`
/// and `_PROTO`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    // Any setting of a port that somebody imagines would end in _PORT too.
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_port = || {
        name.rsplit_once("_PORT_").is_some_and(|(_, rest)| is_port_number_and_protocol(rest))
            || name.strip_suffix("_PORT").is_some_and(|name| {
                name.rsplit_once("_PORT_").is_some_and(|(_, rest)| is_port_number_and_protocol(rest))
            })
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_url)
        || is_port()
}

/// `80_TCP`, `80_TCP_ADDR`, `80_TCP_PROTO`.
fn is_port_number_and_protocol(text: &str) -> bool {
    let mut parts = text.split('_');
    let number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
    number
        && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
        && matches!(parts.next(), None | Some("ADDR" | "PROTO"))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(environment: &[(&str, &str)]) -> Vec<String> {
        unread(environment.iter().copied()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_misspelt_variable_is_warned_of_with_what_was_meant() {
        let warnings = warnings(&[
            ("TIDEWAIT_UPSTREAMS", "http://127.0.0.1:1"),
            ("TIDEWAIT_ADMIN_PORT", "8481"),
            ("TIDEWAIT_FOO_BAR_BAZ_QUX", "1"),
            ("TIDEWAIT_AGENT_WIAT", "1s"),
            ("TIDEWAIT_AGENT_WAIT", "1s"),
            ("TIDEWAIT_GRACEE", ""),
            ("TIDEWAIT_GRACE", "1s"),
            ("TIDEWAITER", "1"),
            ("PATH", "/bin"),
        ]);
        let none = "no setting has this name, it is not read";
        assert_eq!(
            warnings,
            [
                format!("TIDEWAIT_ADMIN_PORT: {none}: tidewait serve --help lists them"),
                format!("TIDEWAIT_AGENT_WIAT: {none}: did you mean TIDEWAIT_AGENT_WAIT?"),
                format!("TIDEWAIT_FOO_BAR_BAZ_QUX: {none}: tidewait serve --help lists them"),
                format!("TIDEWAIT_UPSTREAMS: {none}: did you mean TIDEWAIT_UPSTREAM?"),
            ]
        );
    }

    #[test]
    fn what_kubernetes_gives_for_services_of_our_name_is_no_mistake() {
        for service in ["TIDEWAIT", "TIDEWAIT_AGENT", "TIDEWAIT_UPSTREAM", "TIDEWAIT_V2"] {
            for (suffix, value) in [
                ("SERVICE_HOST", "10.0.0.1"),
                ("SERVICE_PORT", "80"),
                ("SERVICE_PORT_HTTP", "80"),
                ("PORT", "tcp://10.0.0.1:80"),
                ("PORT_80_TCP", "tcp://10.0.0.1:80"),
                ("PORT_80_TCP_PROTO", "tcp"),
                ("PORT_80_TCP_PORT", "80"),
                ("PORT_80_TCP_ADDR", "10.0.0.1"),
                ("PORT_53_UDP_ADDR", "fd00::1"),
            ] {
                assert_eq!(warnings(&[(&format!("{service}_{suffix}"), value)]), [""; 0], "{service}_{suffix}");
            }
        }
    }
}
