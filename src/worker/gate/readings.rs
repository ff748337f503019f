//! What the kernel says is idle: of the machine, and of each control group with a limit that the process is in.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::kernel;
use crate::bounds::WORKER_GATE_BYTES;

/// Where control groups are.
const ROOT: &str = "/sys/fs/cgroup";
/// A rate over less time says little.
const RATE: Duration = Duration::from_millis(500);

/// What is idle; none: it is not known (yet).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Free {
    pub(super) cores: Option<f64>,
    pub(super) bytes: Option<u64>,
}

/// What was read, and is read again.
#[derive(Debug)]
pub(super) struct Readings(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    /// The group and those above it.
    groups: Vec<PathBuf>,
    /// The counters as they were, and when.
    before: Option<(Instant, Counters)>,
    cores: Option<f64>,
}

/// What only grows.
#[derive(Debug)]
struct Counters {
    /// Ticks of the machine: idle, and all.
    ticks: Option<[u64; 2]>,
    /// Microseconds of each group.
    usage: Vec<Option<u64>>,
}

impl Readings {
    /// Those of a group; none is given: that of the process. Says once what is read.
    pub(super) fn new(given: Option<PathBuf>) -> Self {
        let groups = given.or_else(own).map(with_those_above).unwrap_or_default();
        let has_limit = |group: &PathBuf| {
            let cpu = read(&group.join("cpu.max")).is_ok_and(|text| kernel::cpu_max(&text).is_some());
            cpu || read(&group.join("memory.max")).is_ok_and(|text| kernel::memory_max(&text).is_some())
        };
        if let Some(group) = groups.iter().find(|group| has_limit(group)) {
            tracing::info!(group = %group.display(), "gates read this control group, and the machine");
        } else {
            tracing::info!("there is no control group (v2) with a limit: gates read the machine");
        }
        Self(Arc::new(Mutex::new(Known { groups, before: None, cores: None })))
    }

    /// What is idle now.
    pub(super) async fn read(&mut self) -> Free {
        let (known, now) = (Arc::clone(&self.0), Instant::now());
        let reading = tokio::task::spawn_blocking(move || {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            Free { cores: known.cores(now), bytes: known.bytes() }
        });
        // It is broken off only where the process ends.
        reading.await.unwrap_or_default()
    }
}

impl Known {
    fn cores(&mut self, now: Instant) -> Option<f64> {
        let since = self.before.as_ref().map(|(at, _)| now.saturating_duration_since(*at));
        if since.is_some_and(|since| since < RATE) {
            return self.cores;
        }
        let (machine, ticks) = of(Path::new("/proc/stat"), kernel::stat).unzip();
        let usage = self.groups.iter().map(|group| of(&group.join("cpu.stat"), kernel::usage_usec)).collect();
        let counters = Counters { ticks, usage };
        if let (Some(since), Some((_, before))) = (since, &self.before) {
            self.cores = self.idle(machine, before, &counters, since);
        }
        self.before = Some((now, counters));
        self.cores
    }

    /// The least of what is idle anywhere.
    fn idle(&self, machine: Option<f64>, before: &Counters, now: &Counters, since: Duration) -> Option<f64> {
        let of_machine = || {
            let ([idle, all], [idle_before, all_before]) = (now.ticks?, before.ticks?);
            let all = all.saturating_sub(all_before);
            (all > 0).then_some(machine? * number(idle.saturating_sub(idle_before)) / number(all))
        };
        let usage = self.groups.iter().zip(&now.usage).zip(&before.usage);
        let of_groups = usage.filter_map(|((group, now), before)| {
            let limit = of(&group.join("cpu.max"), kernel::cpu_max)?;
            let used = number(((*now)?).saturating_sub((*before)?)) / 1e6 / since.as_secs_f64();
            Some((limit - used).max(0.0))
        });
        of_machine().into_iter().chain(of_groups).reduce(f64::min)
    }

    fn bytes(&self) -> Option<u64> {
        let of_groups = self.groups.iter().filter_map(|group| {
            let limit = of(&group.join("memory.max"), kernel::memory_max)?;
            let (current, stat) = (read(&group.join("memory.current")).ok()?, read(&group.join("memory.stat")));
            let used = kernel::memory_used(&current, &stat.unwrap_or_default())?;
            Some(limit.saturating_sub(used))
        });
        of(Path::new("/proc/meminfo"), kernel::available).into_iter().chain(of_groups).min()
    }
}

/// The group of the process.
fn own() -> Option<PathBuf> {
    let text = read(Path::new("/proc/self/cgroup")).ok()?;
    let group = Path::new(ROOT).join(kernel::own_group(&text)?.trim_start_matches('/'));
    is_group(&group).then_some(group)
}

fn with_those_above(group: PathBuf) -> Vec<PathBuf> {
    let above: Vec<_> = group.ancestors().skip(1).take_while(|path| is_group(path)).map(Path::to_owned).collect();
    std::iter::once(group).chain(above).collect()
}

fn is_group(path: &Path) -> bool {
    path.join("cgroup.controllers").exists()
}

fn of<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    read(path).ok().and_then(|text| parse(&text))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(WORKER_GATE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Exact up to 2^53, which is 285 years of microseconds.
#[expect(clippy::cast_precision_loss, reason = "counters of one period are small")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_idle_is_the_least_of_the_groups_and_the_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).expect("a folder");
        let write = |group: &Path, name: &str, text: &str| std::fs::write(group.join(name), text).expect("written");
        for (group, cpu, memory) in [(folder.path(), "30000 100000", "3000"), (&*inner, "max 100000", "max")] {
            write(group, "cgroup.controllers", "cpu memory");
            write(group, "cpu.max", cpu);
            write(group, "memory.max", memory);
            write(group, "memory.current", "2000");
            write(group, "memory.stat", "inactive_file 500\n");
            write(group, "cpu.stat", "usage_usec 0\n");
        }
        let mut known = Known { groups: with_those_above(inner), before: None, cores: None };
        assert_eq!(known.groups.len(), 2);
        assert_eq!(known.bytes(), Some(1500));
        let start = Instant::now();
        assert_eq!(known.cores(start), None, "a rate needs two looks");
        write(folder.path(), "cpu.stat", "usage_usec 200000\n");
        assert_eq!(known.cores(start + RATE / 2), None);
        let idle = known.cores(start + Duration::from_secs(1)).expect("known by now");
        assert!(idle <= 0.1 + 1e-9, "0.3 of a core, of which 0.2 were used: {idle}");
        write(folder.path(), "memory.current", "9000");
        assert_eq!(known.bytes(), Some(0));
    }
}
