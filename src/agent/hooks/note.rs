//! Which command runs, in a file: an agent that is killed cannot end it, so the next one does, before it starts another.
//!
//! A number of a process is given again, so its start is noted as well, and the boot of the machine. What a command has left in
//! the background once it had ended is not looked for: it is left alone, as ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::Instant;

use crate::bounds::{HOOK_KILLED, HOOK_LOOK};

/// The file; none: nothing is noted.
#[derive(Debug, Clone, Default)]
pub struct Note(Option<PathBuf>);

/// The first process of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leader {
    pid: Pid,
    /// Since the boot, in ticks.
    started: u64,
    boot: String,
}

impl Note {
    /// Nothing is noted.
    pub const NONE: Self = Self(None);

    /// A file of the state directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self(Some(directory.join("command")))
    }

    /// A command runs, the first process of which this is.
    pub(super) fn write(&self, pid: Pid) {
        let Some(path) = &self.0 else { return };
        let Some(started) = started(pid) else { return };
        let text = format!("{} {started} {}\n", pid.as_raw_nonzero(), boot());
        // A whole one, or none.
        let next = path.with_extension("tmp");
        if let Err(error) = fs::write(&next, text).and_then(|()| fs::rename(&next, path)) {
            tracing::warn!(why = %error, "which command runs is not noted: it would go on if the agent were killed");
        }
    }

    /// It has ended.
    pub(super) fn clear(&self) {
        if let Some(path) = &self.0 {
            // What stays is of a process that is not there any more.
            let _ = fs::remove_file(path);
        }
    }

    /// Ends what was left running: SIGTERM to its group, and SIGKILL after a while. Gives the number of its process.
    pub fn end(&self, kill_after: Duration) -> Option<i32> {
        let leader = self.read();
        let ended = leader.filter(Leader::runs).map(|leader| {
            leader.signal(Signal::TERM, kill_after);
            // Nothing of its group goes on.
            leader.signal(Signal::KILL, HOOK_KILLED);
            leader.pid.as_raw_nonzero().get()
        });
        self.clear();
        ended
    }

    fn read(&self) -> Option<Leader> {
        let text = fs::read_to_string(self.0.as_ref()?).ok()?;
        let mut words = text.split_whitespace();
        let pid = Pid::from_raw(words.next()?.parse().ok()?)?;
        let (started, boot) = (words.next()?.parse().ok()?, words.next().unwrap_or_default().to_owned());
        Some(Leader { pid, started, boot })
    }
}

impl Leader {
    fn runs(&self) -> bool {
        self.boot == boot() && started(self.pid) == Some(self.started)
    }

    /// Sends a signal to its group, and waits until it has ended or for a while.
    fn signal(&self, signal: Signal, most: Duration) {
        // It may have no member left.
        let _ = kill_process_group(self.pid, signal);
        let since = Instant::now();
        while self.runs() && since.elapsed() < most {
            sleep(HOOK_LOOK);
        }
    }
}

/// When a process was started; none: it is not there, or has ended (proc(5)).
fn started(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name before may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?;
    // From its third field on; the start is the 22nd.
    words.nth(18)?.parse().ok().filter(|_| !["Z", "X"].contains(&state))
}

fn boot() -> String {
    crate::agent::store::boot()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_was_left_running_is_ended_with_its_group_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let note = Note::new(folder.path());
        assert_eq!(note.end(Duration::ZERO), None);
        let start = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).process_group(0).stdout(Stdio::piped());
            let mut child = command.spawn().expect("a shell");
            let mut line = String::new();
            let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
            std::io::BufRead::read_line(&mut out, &mut line).expect("it says its number");
            (child, line.trim().parse().ok().and_then(Pid::from_raw).expect("a number"))
        };
        // It does not hear SIGTERM, and neither does what it has started.
        let (mut child, inner) = start("trap '' TERM; sleep 1000 & echo $!; wait; wait");
        let pid = Pid::from_child(&child);
        note.write(pid);
        assert!(folder.path().join("command").exists());
        assert_eq!(note.end(Duration::from_millis(50)), Some(pid.as_raw_nonzero().get()));
        assert!(!child.wait().expect("ended").success());
        let since = Instant::now();
        while started(inner).is_some() && since.elapsed() < Duration::from_secs(10) {
            sleep(HOOK_LOOK);
        }
        assert_eq!(started(inner), None);
        assert!(!folder.path().join("command").exists());
        // Another process by the same number.
        let (mut child, _) = start("echo $$; sleep 1000");
        let pid = Pid::from_child(&child);
        let other = format!("{} 1 {}\n", pid.as_raw_nonzero(), boot());
        fs::write(folder.path().join("command"), other).expect("written");
        assert_eq!(note.end(Duration::ZERO), None);
        assert!(started(pid).is_some());
        child.kill().expect("it runs");
        child.wait().expect("ended");
    }
}
