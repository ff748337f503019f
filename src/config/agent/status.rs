//! What `tidewait agent status` is asked for.

use std::path::PathBuf;

use super::{StatusOptions, state_dir};
use crate::config::problem::Problems;
use crate::escape::escape;

/// What `tidewait agent status` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRequest {
    /// The state directory of the agent.
    pub state_dir: PathBuf,
    /// What is a failure.
    pub fail_if: Vec<Fault>,
    /// As JSON.
    pub json: bool,
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

    fn as_str(self) -> &'static str {
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
    let state_dir = state_dir(options.state_dir.as_deref(), environment, &mut problems);
    if problems.is_empty() { Ok(StatusRequest { state_dir, fail_if, json: options.json }) } else { Err(problems) }
}
