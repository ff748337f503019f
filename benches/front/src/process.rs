//! A process that is measured: started, watched through /proc, and ended with all that it started.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::kernel::Cgroup;
use crate::outcome::{Outcome, because};

/// A process and its descendants. Ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Nanoseconds on a CPU that each thread was last seen with.
    threads: HashMap<u32, u64>,
    cpu: Duration,
    log: PathBuf,
    /// Removed after the process: fields are dropped in their order.
    cgroup: Option<Cgroup>,
}

impl Process {
    /// Starts it; what it prints goes to a file.
    pub(crate) fn start(command: &mut Command, log: &Path, cgroup: Option<Cgroup>) -> Outcome<Self> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let name = command.get_program().to_owned();
        let child = command.spawn().map_err(|error| because(format!("{}: {error}", name.display())))?;
        let cgroup = cgroup.filter(|cgroup| cgroup.take(child.id()).is_some());
        Ok(Self { child, threads: HashMap::new(), cpu: Duration::ZERO, log: log.to_owned(), cgroup })
    }

    /// Fails if it has ended, with what it printed last.
    pub(crate) fn must_run(&mut self) -> Outcome<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let printed = fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<_> = printed.lines().rev().take(5).collect();
        Err(because(format!("{}: {status}: {last:?}", self.log.display())))
    }

    /// The CPU time of all its threads, in user and in kernel mode, since it was started. A thread that ended between two
    /// looks is counted up to the first of them.
    pub(crate) fn cpu(&mut self) -> Duration {
        for process in self.all() {
            let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for thread in threads.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
                let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")).unwrap_or_default();
                let Some(now) = text.split(' ').next().and_then(|spent| spent.parse().ok()) else { continue };
                let before = self.threads.insert(thread, now).filter(|before| *before <= now).unwrap_or(0);
                self.cpu += Duration::from_nanos(now - before);
            }
        }
        self.cpu
    }

    /// Bytes resident.
    pub(crate) fn resident(&self) -> u64 {
        let of = |process| {
            let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:").map(str::to_owned));
            line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        self.all().into_iter().map(of).sum()
    }

    /// Bytes that count against the limit of a pod: those resident, and those that the kernel holds for it.
    pub(crate) fn charged(&self) -> Option<u64> {
        self.cgroup.as_ref()?.used()
    }

    /// Its id and those of its descendants.
    fn all(&self) -> Vec<u32> {
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while let Some(process) = found.get(at).copied() {
            at += 1;
            let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for thread in threads.flatten() {
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        found
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its descendants too: nothing may run beside the next candidate.
        for process in self.all() {
            if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
                let _ = kill_process(process, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}
