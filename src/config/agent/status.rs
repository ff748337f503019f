//! What `tidewait agent status` is asked for.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{StatusOptions, state_dir};
use crate::config::problem::Problems;
use crate::escape::escape;

/// What `tidewait agent status` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRequest {
    /// Where it is asked.
    pub at: StatusAt,
    /// What is a failure.
    pub fail_if: Vec<Fault>,
    /// As JSON.
    pub json: bool,
}

/// Where `tidewait agent status` asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusAt {
    /// In the state directory of the agent.
    Directory(PathBuf),
    /// At its admin port.
    Port(SocketAddr),
}

/// What can be wrong with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None runs.
    Stopped,
    /// The output is not what is held, or the commands failed for it.
    Failed,
    /// The newest state is rejected.
    Rejected,
    /// No state comes from a server.
    Stale,
    /// Nothing is held.
    Empty,
    /// The server refuses the agent.
    Denied,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Stopped, Self::Failed, Self::Rejected, Self::Stale, Self::Empty, Self::Denied];

    /// As `--fail-if` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Stale => "stale",
            Self::Empty => "empty",
            Self::Denied => "denied",
        }
    }
}

/// What `tidewait agent status` is asked for, if it can be. `environment`: `STATE_DIRECTORY`.
pub fn resolve_status(options: &StatusOptions, environment: Option<&str>) -> Result<StatusRequest, Problems> {
    let mut problems = Problems::default();
    let mut fail_if = Vec::new();
    for word in &options.fail_if {
        if let Some(fault) = Fault::ALL.into_iter().find(|fault| fault.as_str() == word) {
            fail_if.push(fault);
        } else {
            let names = Fault::ALL.map(Fault::as_str).join(", ");
            problems.push("--fail-if", format!("\"{}\" is no failure: write one of {names}", escape(word)));
        }
    }
    if fail_if.is_empty() {
        fail_if = Fault::ALL.to_vec();
    }
    let at = match (&options.admin, &options.state_dir) {
        (Some(url), None) => port(url, &mut problems).map(StatusAt::Port),
        (Some(_), Some(directory)) => {
            let why = "is of no use beside --admin: one agent is asked in one place, so leave one of them out";
            problems.push("--state-dir", format!("\"{}\" {why}", escape(directory)));
            None
        }
        (None, given) => Some(StatusAt::Directory(state_dir(given.as_deref(), environment, &mut problems))),
    };
    let Some(at) = at.filter(|_| problems.is_empty()) else { return Err(problems) };
    Ok(StatusRequest { at, fail_if, json: options.json })
}

/// The address of the admin port of an agent, of its URL.
fn port(url: &str, problems: &mut Problems) -> Option<SocketAddr> {
    let address = url.strip_prefix("http://").map_or(url, |rest| rest.strip_suffix('/').unwrap_or(rest));
    let address = address.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    if address.is_none() {
        let remedy = "is not where an agent listens: write the address of its --admin, such as http://127.0.0.1:8482";
        problems.push("--admin", format!("\"{}\" {remedy}", escape(url)));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_asked_for_in_one_place() {
        let asked = |admin: Option<&str>, state_dir: Option<&str>| {
            let [admin, state_dir] = [admin, state_dir].map(|text| text.map(str::to_owned));
            let options = StatusOptions { state_dir, admin, ..StatusOptions::default() };
            resolve_status(&options, Some("/env")).map_err(|problems| problems.to_string()).map(|request| request.at)
        };
        assert_eq!(asked(None, None), Ok(StatusAt::Directory("/env".into())));
        assert_eq!(asked(None, Some("/a")), Ok(StatusAt::Directory("/a".into())));
        for url in ["http://127.0.0.1:8482", "http://127.0.0.1:8482/", "127.0.0.1:8482"] {
            assert_eq!(asked(Some(url), None), Ok(StatusAt::Port(([127, 0, 0, 1], 8482).into())), "{url}");
        }
        for url in ["https://127.0.0.1:8482", "http://127.0.0.1:0", "http://127.0.0.1:1/state", "http://a:1", ""] {
            let why = asked(Some(url), None).expect_err(url);
            assert_eq!(
                why,
                format!(
                    "--admin: \"{url}\" is not where an agent listens: write the address of its --admin, such as \
                     http://127.0.0.1:8482"
                )
            );
        }
        let why = asked(Some("127.0.0.1:1"), Some("/a")).expect_err("one of them");
        assert!(why.starts_with("--state-dir: \"/a\" is of no use beside --admin"), "{why}");
    }
}
