//! How an agent is, in a file of its state directory and at its admin port: for people, for scripts and for boot checks
//! (`tidewait agent status`). It is written whenever that changes, and is lost without harm.

use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::exit::Exit;
use super::run::failure;
use super::store::is_locked;
use super::wording::in_options;
use crate::admin::ask;
use crate::bounds::AGENT_REPORT_BYTES;
use crate::client::{FailureKind, Status};
use crate::config::agent::{Fault, StatusAt, StatusRequest};
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
    /// The output is whole, be it the last good one.
    pub is_whole: bool,
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

impl Report {
    /// With what the client knows by now.
    #[must_use]
    pub fn with(self, status: &Status) -> Self {
        Self {
            is_gone: status.failure.as_ref().is_some_and(|(failure, _)| failure.kind == FailureKind::Gone),
            is_denied: status.denied.is_some(),
            failure: failure(status).map(in_options),
            endpoint: status.endpoint.clone(),
            ..self
        }
    }

    /// As it is written.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// What is wrong, the worst first, each with a sentence.
    #[must_use]
    pub fn faults(&self) -> Vec<(Fault, String)> {
        let mut faults = Vec::new();
        let failed =
            [("the output is not what is held", &self.broken), ("the commands failed for what is held", &self.failed)];
        for (what, why) in failed {
            if let Some(why) = why {
                faults.push((Fault::Failed, format!("{what}: {}", escape(why))));
            }
        }
        if self.holds.is_none() {
            faults.push((Fault::Empty, "nothing is held yet".to_owned()));
        }
        if self.is_denied {
            faults.push((Fault::Denied, "the server refuses the agent: see its token or certificate".to_owned()));
        }
        if self.is_stale == Some(true) {
            faults.push((Fault::Stale, "what is held is older than --max-age".to_owned()));
        }
        // With --max-age, one that fails now and then is none.
        if let Some(failure) = self.failure.as_ref().filter(|_| !self.is_denied && self.is_stale != Some(false)) {
            let what = if self.is_gone { "the operation is gone, and what is held stays" } else { "no state comes" };
            faults.push((Fault::Stale, format!("{what}: {}", escape(failure))));
        }
        if let Some(reason) = &self.reason {
            faults.push((Fault::Rejected, format!("the newest state is rejected: {}", escape(reason))));
        }
        faults
    }
}

/// Where an agent says how it is.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    last: watch::Sender<Report>,
}

impl Journal {
    /// In this state directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join(NAME), last: watch::Sender::default() }
    }

    /// What was written last.
    #[must_use]
    pub fn last(&self) -> watch::Receiver<Report> {
        self.last.subscribe()
    }

    /// Writes it, if it is another than the last one. Best effort: the agent is no worse without.
    pub fn write(&self, report: Report) {
        if *self.last.borrow() == report {
            return;
        }
        let next = self.path.with_extension("json.tmp");
        let written = fs::write(&next, report.to_json()).and_then(|()| fs::rename(&next, &self.path));
        if let Err(error) = written {
            tracing::debug!(why = %error, "how the agent is cannot be written");
        }
        self.last.send_replace(report);
    }
}

/// What an agent has said of itself.
struct Said {
    /// As it was written; none: nothing was.
    text: Option<String>,
    is_running: bool,
}

/// What `tidewait agent status` prints, and its exit code.
pub async fn status(request: &StatusRequest) -> (String, u8) {
    match read(&request.at).await.and_then(|said| judged(request, said)) {
        Ok(judged) => judged,
        Err(why) => (format!("{why}\n"), Exit::Failed.code()),
    }
}

async fn read(at: &StatusAt) -> Result<Said, String> {
    match at {
        StatusAt::Directory(directory) => {
            let text = match fs::read_to_string(directory.join(NAME)) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(unreadable(at, &error)),
            };
            Ok(Said { text, is_running: is_locked(directory) })
        }
        StatusAt::Port(address) => match ask::get(*address, "/state", AGENT_REPORT_BYTES).await {
            Ok(body) => Ok(Said { text: Some(String::from_utf8_lossy(&body).into_owned()), is_running: true }),
            // Where nobody listens no agent runs, as where nobody has the lock of the state directory.
            Err(ask::AskError::Connect(_, error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Ok(Said { text: None, is_running: false })
            }
            Err(error) => Err(crate::telemetry::chain(&error)),
        },
    }
}

fn judged(request: &StatusRequest, said: Said) -> Result<(String, u8), String> {
    let report = said.text.as_deref().map(serde_json::from_str::<Report>).transpose();
    let report = report.map_err(|error| unreadable(&request.at, &error))?;
    if let (StatusAt::Port(address), Some(Report { pid: 0, .. })) = (&request.at, &report) {
        return Err(format!("{address}: this is the admin port of no agent: give the address of its --admin"));
    }
    let mut faults = report.as_ref().map(Report::faults).unwrap_or_default();
    if !said.is_running {
        let sentence = match &request.at {
            StatusAt::Directory(_) => "no agent runs with this state directory".to_owned(),
            StatusAt::Port(address) => format!("no agent listens at {address}"),
        };
        faults.insert(0, (Fault::Stopped, sentence));
    }
    let counts = faults.iter().find(|(fault, _)| request.fail_if.contains(fault));
    let code = counts.map_or(0, |(fault, _)| code(*fault));
    let text = match (request.json, said.text, report) {
        (true, Some(text), _) => text,
        (true, None, _) => "null\n".to_owned(),
        (false, _, report) => told(&report.unwrap_or_default(), &faults),
    };
    Ok((text, code))
}

fn unreadable(at: &StatusAt, why: &dyn Display) -> String {
    match at {
        StatusAt::Directory(directory) => {
            let path = directory.join(NAME);
            format!("{}: cannot be read ({why}): run this as the agent's user", escape(&path.to_string_lossy()))
        }
        StatusAt::Port(address) => {
            format!("{address}: what it answers cannot be read ({why}): give the address of an agent's --admin")
        }
    }
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
        StatusRequest { at: StatusAt::Directory(directory.to_owned()), fail_if: Fault::ALL.to_vec(), json: false }
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
            for (place, fault) in expected.iter().enumerate() {
                let (text, is_running) = (report.map(Report::to_json), is_running);
                // What comes before it does not count.
                let fail_if = expected[place..].to_vec();
                let asked = StatusRequest { fail_if, ..request(Path::new("/none")) };
                let (text, found) = judged(&asked, Said { text, is_running }).expect("it is read");
                assert_eq!(found, code(*fault), "{report:?}: {text}");
                assert_eq!(text.lines().filter(|line| line.starts_with("state ")).count(), expected.len(), "{text}");
            }
            let asked = request(Path::new("/none"));
            let said = Said { text: report.map(Report::to_json), is_running };
            assert_eq!(judged(&asked, said).expect("it is read").1 == 0, expected.is_empty(), "{report:?}");
        }
        assert_eq!(Fault::ALL.map(code), [1, 1, 3, 4, 5, 6]);
    }

    #[tokio::test]
    async fn what_was_written_is_told_and_what_is_not_asked_for_does_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(status(&request(folder.path())).await.1, 1);
        let journal = Journal::new(folder.path());
        let report = Report { holds: Some("e.1.d".to_owned()), reason: Some("mtu".to_owned()), ..Report::default() };
        journal.write(report);
        let rejected = StatusRequest { fail_if: vec![Fault::Rejected], ..request(folder.path()) };
        let (text, code) = status(&rejected).await;
        assert_eq!(code, 3);
        assert!(text.contains("holds     e.1.d\n") && text.contains("the newest state is rejected: mtu\n"), "{text}");
        let (text, code) = status(&StatusRequest { fail_if: vec![Fault::Denied], json: true, ..rejected }).await;
        assert_eq!((code, text.contains("\"holds\": \"e.1.d\"")), (0, true), "{text}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_no_agent_that_is_well_or_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(NAME), "{").expect("written");
        let (text, code) = status(&StatusRequest { fail_if: vec![Fault::Denied], ..request(folder.path()) }).await;
        assert_eq!(code, 1);
        assert!(
            text.contains("status.json: cannot be read (") && text.contains("run this as the agent's user"),
            "{text}"
        );
    }
}
