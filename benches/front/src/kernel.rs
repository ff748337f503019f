//! Memory as a pod's limit counts it: what is resident, and what the kernel holds for the process beside it, such as
//! its sockets.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A cgroup for one process, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: PathBuf,
    /// The file that says how much is used.
    used: &'static str,
}

impl Cgroup {
    /// Makes one below that of this process; `None` where that is not allowed, which takes root as a rule.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let lines = fs::read_to_string("/proc/self/cgroup").ok()?;
        let below = |prefix: &str, root: &str| {
            let own = lines.lines().find_map(|line| line.split_once(prefix))?.1;
            Some(Path::new(root).join(own.trim_start_matches('/')).join(name))
        };
        let newer = below("::", "/sys/fs/cgroup").map(|folder| (folder, "memory.current"));
        let older = below(":memory:", "/sys/fs/cgroup/memory").map(|folder| (folder, "memory.usage_in_bytes"));
        [newer, older].into_iter().flatten().find_map(|(folder, used)| {
            fs::create_dir(&folder).ok()?;
            let made = Self { folder, used };
            made.used().is_some().then_some(made)
        })
    }

    /// Puts a process into it.
    pub(crate) fn take(&self, process: u32) -> Option<()> {
        fs::write(self.folder.join("cgroup.procs"), process.to_string()).ok()
    }

    /// Bytes that count against a limit.
    pub(crate) fn used(&self) -> Option<u64> {
        fs::read_to_string(self.folder.join(self.used)).ok()?.trim().parse().ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Killed workers of a killed process are in it until init has reaped them.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
