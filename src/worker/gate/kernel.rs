//! PURE. What files of the kernel say: control groups (v2) and /proc.

/// Cores that `cpu.max` allows; none: as many as there are.
pub(super) fn cpu_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota = words.next()?.parse::<f64>().ok()?;
    let period = words.next()?.parse::<f64>().ok().filter(|period| *period > 0.0)?;
    Some(quota / period)
}

/// Microseconds of CPU that `cpu.stat` counts.
pub(super) fn usage_usec(text: &str) -> Option<u64> {
    named(text, "usage_usec")
}

/// Bytes that `memory.max` allows; none: as many as there are.
pub(super) fn memory_max(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Bytes in use by `memory.current`, less those that the kernel gives back without asking (`inactive_file` of `memory.stat`).
pub(super) fn memory_used(current: &str, stat: &str) -> Option<u64> {
    let current = current.trim().parse::<u64>().ok()?;
    Some(current.saturating_sub(named(stat, "inactive_file").unwrap_or(0)))
}

/// The number of cores by /proc/stat, and its ticks: those that were idle, and all.
pub(super) fn stat(text: &str) -> Option<(f64, [u64; 2])> {
    let mut lines = text.lines();
    let all: Vec<u64> =
        lines.next()?.strip_prefix("cpu ")?.split_whitespace().map(|tick| tick.parse().unwrap_or(0)).collect();
    let cores = lines.take_while(|line| line.starts_with("cpu")).count();
    // user nice system idle iowait irq softirq steal; what guests take is part of user and nice.
    let [_, _, _, idle, iowait, ..] = all[..] else { return None };
    let cores = u32::try_from(cores).ok().map(f64::from)?;
    Some((cores, [idle + iowait, all.iter().take(8).sum()]))
}

/// Bytes that /proc/meminfo calls available.
pub(super) fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The path of the process's group below the root of control groups, by /proc/self/cgroup.
pub(super) fn own_group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::")).filter(|path| path.starts_with('/') && !path.contains(".."))
}

fn named(text: &str, name: &str) -> Option<u64> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(found, _)| *found == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_none_is_none() {
        assert_eq!(cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!((cpu_max("max 100000\n"), cpu_max(""), cpu_max("1 0")), (None, None, None));
        assert_eq!((memory_max("1048576\n"), memory_max("max\n")), (Some(1 << 20), None));
    }

    #[test]
    fn use_is_read() {
        assert_eq!(usage_usec("usage_usec 42\nuser_usec 40\n"), Some(42));
        assert_eq!(usage_usec("user_usec 40\n"), None);
        assert_eq!(memory_used("1000\n", "anon 1\ninactive_file 300\n"), Some(700));
        assert_eq!(memory_used("1000\n", ""), Some(1000));
        assert_eq!(memory_used("100\n", "inactive_file 300\n"), Some(0));
        let text = "cpu  10 0 5 100 20 1 2 3 4 0\ncpu0 1\ncpu1 1\nintr 7\n";
        assert_eq!(stat(text), Some((2.0, [120, 141])));
        assert_eq!(stat("cpu  1 2\n"), None);
        assert_eq!(available("MemTotal: 5 kB\nMemAvailable:    2048 kB\n"), Some(2048 * 1024));
        assert_eq!(available("MemTotal: 5 kB\n"), None);
    }

    #[test]
    fn the_group_is_that_of_v2() {
        assert_eq!(own_group("1:cpu:/a\n0::/system.slice/w.service\n"), Some("/system.slice/w.service"));
        assert_eq!(own_group("0::/\n"), Some("/"));
        assert_eq!((own_group("1:cpu:/a\n"), own_group("0::/../x\n")), (None, None));
    }
}
