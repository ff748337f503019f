//! How an agent is, in a file of its state directory: for people, for scripts and for boot checks (`tidewait agent status`). It is
//! written whenever that changes, and is lost without harm.

use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::exit::Exit;
use super::store::is_locked;
use crate::config::agent::{Fault, StatusRequest};
use crate::escape::escape;

const NAME: &str = "status.json";

/// How an agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Its process.
    pub pid: u32,
    /// The path of the operation that it follows.
    pub operation: String,
    /// Where the model goes.
    pub output: String,
    /// The id of the state that is held, and that the output has.
    pub holds: Option<String>,
    /// The id of the state that is being applied, or tried again.
    pub applies: Option<String>,
    /// Why it is tried again.
    pub retries: Option<String>,
    /// The id of the newest state, where that is rejected.
    pub rejects: Option<String>,
    /// Why it is.
    pub reason: Option<String>,
    /// Why the output is not what is held.
    pub broken: Option<String>,
    /// Why the commands failed for what is held.
    pub failed: Option<String>,
    /// The server that is asked.
    pub endpoint: String,
    /// Why no state comes from it.
    pub failure: Option<String>,
    /// What is held is older than `--max-age`; absent: that was not given.
    pub is_stale: Option<bool>,
    /// There is no such operation there.
    pub is_gone: bool,
    /// It is refused there (401 or 403).
    pub is_denied: bool,
}

/// Where an agent says how it is.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    last: Option<Report>,
}

impl Journal {
    /// In this state directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join(NAME), last: None }
    }

    /// Writes it, if it is another than the last one. Best effort: the agent is no worse without.
    pub fn write(&mut self, report: Report) {
        if self.last.as_ref() == Some(&report) {
            return;
        }
        let next = self.path.with_extension("json.tmp");
        let text = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
        let written = fs::write(&next, text).and_then(|()| fs::rename(&next, &self.path));
        if let Err(error) = written {
            tracing::debug!(why = %error, "how the agent is cannot be written");
        }
        self.last = Some(report);
    }
}

/// What `tidewait agent status` prints, and its exit code.
#[must_use]
pub fn status(request: &StatusRequest) -> (String, u8) {
    let path = request.state_dir.join(NAME);
    let unreadable = |why: &dyn Display| {
        let text =
            format!("{}: cannot be read ({why}): run this as the agent's user\n", escape(&path.to_string_lossy()));
        (text, Exit::Failed.code())
    };
    let read = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return unreadable(&error),
    };
    let report = match read.as_deref().map(serde_json::from_str::<Report>).transpose() {
        Ok(report) => report,
        Err(error) => return unreadable(&error),
    };
    let is_running = is_locked(&request.state_dir);
    let faults = faults(report.as_ref(), is_running);
    let counts = faults.iter().find(|(fault, _)| request.fail_if.contains(fault));
    let code = counts.map_or(0, |(fault, _)| code(*fault));
    let text = match (request.json, read, report) {
        (true, Some(text), _) => text,
        (true, None, _) => "null\n".to_owned(),
        (false, _, report) => told(&report.unwrap_or_default(), &faults),
    };
    (text, code)
}

/// What is wrong, the worst first, each with a sentence.
fn faults(report: Option<&Report>, is_running: bool) -> Vec<(Fault, String)> {
    let mut faults = Vec::new();
    if !is_running {
        faults.push((Fault::Stopped, "no agent runs with this state directory".to_owned()));
    }
    let Some(report) = report else { return faults };
    let failed =
        [("the output is not what is held", &report.broken), ("the commands failed for what is held", &report.failed)];
    for (what, why) in failed {
        if let Some(why) = why {
            faults.push((Fault::Failed, format!("{what}: {}", escape(why))));
        }
    }
    if report.holds.is_none() {
        faults.push((Fault::Empty, "nothing is held yet".to_owned()));
    }
    if report.is_denied {
        faults.push((Fault::Denied, "the server refuses the agent: see its token or certificate".to_owned()));
    }
    if report.is_stale == Some(true) {
        faults.push((Fault::Stale, "what is held is older than --max-age".to_owned()));
    }
    // With --max-age, one that fails now and then is none.
    if let Some(failure) = report.failure.as_ref().filter(|_| !report.is_denied && report.is_stale != Some(false)) {
        let what = if report.is_gone { "the operation is gone, and what is held stays" } else { "no state comes" };
        faults.push((Fault::Stale, format!("{what}: {}", escape(failure))));
    }
    if let Some(reason) = &report.reason {
        faults.push((Fault::Rejected, format!("the newest state is rejected: {}", escape(reason))));
    }
    faults
}

fn code(fault: Fault) -> u8 {
    match fault {
        Fault::Stopped | Fault::Failed => Exit::Failed.code(),
        Fault::Rejected => Exit::Rejected.code(),
        Fault::Stale => Exit::Stale.code(),
        Fault::Empty => Exit::Nothing.code(),
        Fault::Denied => Exit::Denied.code(),
    }
}

fn told(report: &Report, faults: &[(Fault, String)]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            writeln!(text, "{name:<10}{}", escape(value)).expect("a String takes all");
        }
    };
    line("operation", &report.operation);
    line("output", &report.output);
    line("holds", report.holds.as_deref().unwrap_or("nothing"));
    line("applies", report.applies.as_deref().unwrap_or_default());
    line("retries", report.retries.as_deref().unwrap_or_default());
    line("rejects", report.rejects.as_deref().unwrap_or_default());
    line("endpoint", &report.endpoint);
    line("no state", report.failure.as_deref().filter(|_| report.is_stale == Some(false)).unwrap_or_default());
    match faults {
        [] => line("state", "well"),
        faults => faults.iter().for_each(|(_, sentence)| line("state", sentence)),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(directory: &Path) -> StatusRequest {
        StatusRequest { state_dir: directory.to_owned(), fail_if: Fault::ALL.to_vec(), json: false }
    }

    #[test]
    fn the_worst_that_counts_is_the_exit_code() {
        let good = Report { holds: Some("e.1.d".to_owned()), ..Report::default() };
        let failing = Report { failure: Some("away".to_owned()), reason: Some("no".to_owned()), ..good.clone() };
        for (report, is_running, expected) in [
            (Some(&good), true, vec![]),
            (Some(&good), false, vec![Fault::Stopped]),
            (None, false, vec![Fault::Stopped]),
            (Some(&Report::default()), true, vec![Fault::Empty]),
            (Some(&Report { failed: Some("no".to_owned()), ..good.clone() }), true, vec![Fault::Failed]),
            (Some(&failing), true, vec![Fault::Stale, Fault::Rejected]),
            (Some(&Report { is_stale: Some(true), ..good.clone() }), true, vec![Fault::Stale]),
            (Some(&Report { is_stale: Some(false), ..failing.clone() }), true, vec![Fault::Rejected]),
            (Some(&Report { is_denied: true, ..failing.clone() }), true, vec![Fault::Denied, Fault::Rejected]),
        ] {
            let found: Vec<_> = faults(report, is_running).into_iter().map(|(fault, _)| fault).collect();
            assert_eq!(found, expected, "{report:?}");
        }
        assert_eq!(Fault::ALL.map(code), [1, 1, 3, 4, 5, 6]);
    }

    #[test]
    fn what_was_written_is_told_and_what_is_not_asked_for_does_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(status(&request(folder.path())).1, 1);
        let mut journal = Journal::new(folder.path());
        let report = Report { holds: Some("e.1.d".to_owned()), reason: Some("mtu".to_owned()), ..Report::default() };
        journal.write(report);
        let rejected = StatusRequest { fail_if: vec![Fault::Rejected], ..request(folder.path()) };
        let (text, code) = status(&rejected);
        assert_eq!(code, 3);
        assert!(text.contains("holds     e.1.d\n") && text.contains("the newest state is rejected: mtu\n"), "{text}");
        let (text, code) = status(&StatusRequest { fail_if: vec![Fault::Denied], json: true, ..rejected });
        assert_eq!((code, text.contains("\"holds\": \"e.1.d\"")), (0, true), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_no_agent_that_is_well_or_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(NAME), "{").expect("written");
        let (text, code) = status(&StatusRequest { fail_if: vec![Fault::Denied], ..request(folder.path()) });
        assert_eq!(code, 1);
        assert!(
            text.contains("status.json: cannot be read (") && text.contains("run this as the agent's user"),
            "{text}"
        );
    }
}
