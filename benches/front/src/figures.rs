//! Samples, and their medians and spread.

use std::collections::BTreeMap;

/// What was measured. Memory in kB (1000 bytes) for each parked client, CPU time of the server in microseconds for each client
/// or request, times in milliseconds, where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Resident,
    ResidentAfterChanges,
    ResidentAfterStorm,
    /// As a cgroup counts it: with what the kernel holds for the server.
    Charged,
    /// A client is told, and polls again after all were told.
    Cpu,
    Last,
    LastAfterCommit,
    /// A client is told, and polls again at once.
    CpuAtOnce,
    LastAtOnce,
    /// Milliseconds for a change that one client is told.
    CpuOfOne,
    LastOfOne,
    /// The longest wait of another request meanwhile.
    Probe,
    StormCpu,
    /// Seconds.
    StormTime,
    ProxySmall,
    ProxyLarge,
    Start,
    /// A request that a worker works on for 100 ms.
    JobMedian,
    /// What 99 of 100 took at most.
    JobTail,
    /// Percent of the requests that the slots could do.
    JobRate,
    /// Whether a consumer gets the status, a field, the body that it sent, and an answer though the worker is killed: 1 or 0.
    KeptStatus,
    KeptField,
    KeptBody,
    KeptWork,
    /// Requests a second.
    ExchangeRate,
    ExchangeCpu,
    /// Percent of the requests that met a free slot.
    Immediate,
    /// A request that waits for a worker.
    Queued,
    /// A poll of a worker.
    Polling,
    /// From the moment at which a message of a topic is sent until a reader has it.
    TopicMedian,
    TopicTail,
    /// For each message that a reader is told: its requests, and bytes of these and of the answers.
    TopicRequests,
    TopicBytes,
    TopicCpu,
}

/// What was measured of whom, with how many clients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) what: What,
    pub(crate) who: &'static str,
    pub(crate) clients: usize,
}

/// All samples of a run.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<Key, Vec<f64>>);

impl Figures {
    /// Adds a sample.
    pub(crate) fn add(&mut self, what: What, who: &'static str, clients: usize, sample: f64) {
        self.0.entry(Key { what, who, clients }).or_default().push(sample);
    }

    /// The median of the samples.
    pub(crate) fn median(&self, what: What, who: &'static str, clients: usize) -> Option<f64> {
        let mut samples = self.0.get(&Key { what, who, clients })?.clone();
        samples.sort_by(f64::total_cmp);
        let middle = samples.len() / 2;
        let upper = *samples.get(middle)?;
        Some(if samples.len() % 2 == 1 { upper } else { f64::midpoint(*samples.get(middle - 1)?, upper) })
    }

    /// The least and the most.
    pub(crate) fn spread(&self, what: What, who: &'static str, clients: usize) -> Option<(f64, f64)> {
        let samples = self.0.get(&Key { what, who, clients })?;
        let least = samples.iter().copied().min_by(f64::total_cmp)?;
        Some((least, samples.iter().copied().max_by(f64::total_cmp)?))
    }

    /// How many times the median of another it is.
    pub(crate) fn ratio(&self, what: What, who: &'static str, other: &'static str, clients: usize) -> Option<f64> {
        Some(self.median(what, who, clients)? / self.median(what, other, clients)?)
    }

    /// A cell of a table: the median, and between which values the samples lie.
    pub(crate) fn cell(&self, what: What, who: &'static str, clients: usize) -> String {
        match (self.median(what, who, clients), self.spread(what, who, clients)) {
            (Some(median), Some((least, most))) if least < most => {
                format!("{} ({} to {})", short(median), short(least), short(most))
            }
            (Some(median), _) => short(median),
            (None, _) => String::new(),
        }
    }
}

/// A number as a reader wants it: three digits that count.
pub(crate) fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 99.95 => format!("{number:.0}"),
        size if size >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_median_and_the_spread() {
        let mut figures = Figures::default();
        for sample in [30.0, 1.25, 200.4] {
            figures.add(What::Cpu, "floor", 1000, sample);
        }
        assert_eq!(figures.cell(What::Cpu, "floor", 1000), "30.0 (1.25 to 200)");
        figures.add(What::Cpu, "floor", 1000, 10.0);
        assert_eq!(figures.median(What::Cpu, "floor", 1000), Some(20.0));
        assert_eq!(figures.cell(What::Cpu, "floor", 2000), "");
    }
}
