//! PURE. What a command sees: `PATH`, `HOME`, `LANG`, the names of `--env`, and `TIDEWAIT_*`; never a credential of the agent,
//! and nothing that speaks to systemd in its name. All commands of a state see the same.

use std::ffi::OsString;
use std::path::Path;

use crate::escape::escape;

/// What is handed on without being asked for.
const ALWAYS: [&str; 3] = ["PATH", "HOME", "LANG"];
/// Where programs are looked for, if the agent has no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Names of systemd's (`sd_notify(3)`, `sd_watchdog_enabled(3)`, systemd.exec(5)), which are for the agent alone.
const NEVER: [&str; 5] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY", "LISTEN_FDS"];

/// What commands see of the agent's own environment.
#[derive(Debug, Clone)]
pub struct Environment(Vec<(String, OsString)>);

/// Why a name cannot be handed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvironment {
    /// It is none.
    #[error("{0:?} is no name of a variable: give one without = and a value")]
    Name(String),
    /// It is the agent's.
    #[error("{0} is for the agent alone: a command that had it could speak in its name")]
    Own(String),
}

/// Why a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A new state.
    Apply,
    /// The agent has started with the state that it held.
    Start,
    /// It was asked to run the command again (SIGUSR1).
    Again,
    /// The state failed, and the one before is back.
    Rollback,
    /// What is held has become too old.
    Stale,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Start => "start",
            Self::Again => "again",
            Self::Rollback => "rollback",
            Self::Stale => "stale",
        }
    }
}

/// What a command is told; what is absent is empty.
#[derive(Debug, Clone, Copy)]
pub struct Call<'c> {
    /// `TIDEWAIT_ACTION`.
    pub action: Action,
    /// `TIDEWAIT_OPERATION`: the path of the operation.
    pub operation: &'c str,
    /// `TIDEWAIT_ID`: the state.
    pub id: &'c str,
    /// `TIDEWAIT_PREVIOUS_ID`: the one that is held.
    pub previous_id: Option<&'c str>,
    /// `TIDEWAIT_FILE`, and `{}`: the bytes; what is staged in a check, the output afterwards.
    pub file: &'c Path,
    /// `TIDEWAIT_TARGET`: the output.
    pub target: &'c Path,
    /// `TIDEWAIT_PREVIOUS_FILE`: the output before.
    pub previous_file: Option<&'c Path>,
    /// `TIDEWAIT_PATCH_FILE`: the way from what is held to the state.
    pub patch_file: Option<&'c Path>,
    /// `TIDEWAIT_REASON`: of a rollback.
    pub reason: Option<&'c str>,
    /// `TIDEWAIT_STALE`: `true` while what is held is too old.
    pub is_stale: bool,
    /// `TIDEWAIT_ATTEMPT`, from 1.
    pub attempt: u32,
}

impl Environment {
    /// What is handed on: `inherited` gives the agent's own variables.
    pub fn new(names: &[String], inherited: impl Fn(&str) -> Option<OsString>) -> Result<Self, InvalidEnvironment> {
        for name in names {
            let is_name = !name.is_empty() && !name.contains(['=', '\0']);
            if !is_name {
                return Err(InvalidEnvironment::Name(name.clone()));
            }
            if NEVER.contains(&name.as_str()) || name.starts_with("TIDEWAIT_") {
                return Err(InvalidEnvironment::Own(name.clone()));
            }
        }
        let names = ALWAYS.into_iter().chain(names.iter().map(String::as_str));
        let mut variables: Vec<_> =
            names.filter_map(|name| inherited(name).map(|value| (name.to_owned(), value))).collect();
        if variables.iter().all(|(name, _)| name != "PATH") {
            variables.push(("PATH".to_owned(), PATH.into()));
        }
        Ok(Self(variables))
    }

    /// All that a command sees.
    pub(super) fn of(&self, call: &Call<'_>) -> Vec<(String, OsString)> {
        let path = |path: Option<&Path>| path.map(|path| path.as_os_str().to_owned()).unwrap_or_default();
        let text = |text: Option<&str>| OsString::from(escape(text.unwrap_or_default()).into_owned());
        let own = [
            ("ACTION", call.action.name().into()),
            ("OPERATION", text(Some(call.operation))),
            ("ID", text(Some(call.id))),
            ("PREVIOUS_ID", text(call.previous_id)),
            ("FILE", path(Some(call.file))),
            ("TARGET", path(Some(call.target))),
            ("PREVIOUS_FILE", path(call.previous_file)),
            ("PATCH_FILE", path(call.patch_file)),
            ("REASON", text(call.reason)),
            ("STALE", text(call.is_stale.then_some("true"))),
            ("ATTEMPT", call.attempt.to_string().into()),
        ];
        let own = own.into_iter().map(|(name, value)| (format!("TIDEWAIT_{name}"), value));
        self.0.iter().cloned().chain(own).collect()
    }
}
