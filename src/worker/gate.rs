//! Gates: whether one more slot may be offered. Looked at each second, and when a request has begun.

use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use self::readings::{Free, Readings};
use super::metrics::Metrics;
use super::slots::Slots;
use crate::bounds::{WORKER_GATE, WORKER_GATE_LEAST};
use crate::config::worker;

mod kernel;
mod outside;
mod readings;
mod rule;

/// What the gates said, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_open: bool,
    /// How many requests had begun when they were looked at.
    pub(super) begun: u64,
}

/// What a gate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Cpu,
    Memory,
    Command,
    Url,
}

impl Kind {
    /// Its name in metrics and logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Command => "command",
            Self::Url => "url",
        }
    }
}

/// The gates of a worker.
#[derive(Debug)]
pub(super) struct Gates {
    all: Vec<Gate>,
    /// What the kernel says; none: no gate is about that.
    readings: Option<Readings>,
    slots: Arc<Slots>,
    metrics: Arc<Metrics>,
    verdict: watch::Sender<Verdict>,
}

#[derive(Debug)]
struct Gate {
    how: How,
    /// What it said last; none: nothing yet.
    was_open: Option<bool>,
}

#[derive(Debug)]
enum How {
    /// Thousandths of a core.
    Cpu(u32),
    /// Bytes.
    Memory(u64),
    Command(outside::Command),
    Url(Box<outside::Url>),
}

impl How {
    fn kind(&self) -> Kind {
        match self {
            Self::Cpu(_) => Kind::Cpu,
            Self::Memory(_) => Kind::Memory,
            Self::Command(_) => Kind::Command,
            Self::Url(_) => Kind::Url,
        }
    }
}

impl Gates {
    /// The gates that are configured; none: there are none.
    pub(super) fn new(
        gates: &[worker::Gate],
        cgroup: Option<PathBuf>,
        slots: Arc<Slots>,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        let how = |gate: &worker::Gate| match gate {
            worker::Gate::Cpu(cores) => How::Cpu(*cores),
            worker::Gate::Memory(bytes) => How::Memory(*bytes),
            worker::Gate::Command(text) => How::Command(outside::Command::new(text)),
            worker::Gate::Url(url) => How::Url(Box::new(outside::Url::new(Uri::clone(url)))),
        };
        let gates: Vec<_> = gates.iter().map(|gate| Gate { how: how(gate), was_open: None }).collect();
        if gates.is_empty() {
            return None;
        }
        let reads = gates.iter().any(|gate| matches!(gate.how, How::Cpu(_) | How::Memory(_)));
        let readings = reads.then(|| Readings::new(cgroup));
        Some(Self { all: gates, readings, slots, metrics, verdict: watch::Sender::new(Verdict::default()) })
    }

    /// What they say, as that changes.
    pub(super) fn verdict(&self) -> watch::Receiver<Verdict> {
        self.verdict.subscribe()
    }

    /// Looks at them for ever.
    pub(super) async fn run(mut self) {
        let mut running = self.slots.watch();
        loop {
            let begun = self.slots.begun();
            let is_open = self.look().await;
            self.verdict.send_replace(Verdict { is_open, begun });
            let next = Instant::now() + WORKER_GATE;
            sleep(WORKER_GATE_LEAST).await;
            tokio::select! {
                () = sleep_until(next) => {}
                seen = running.wait_for(|running| running.begun > begun) => if seen.is_err() { return },
            }
        }
    }

    /// Whether all are open.
    async fn look(&mut self) -> bool {
        let free = match &mut self.readings {
            Some(readings) => readings.read().await,
            None => Free::default(),
        };
        let mut are_open = true;
        for at in 0..self.all.len() {
            let is_open = self.is_open(at, &free).await;
            let gate = &mut self.all[at];
            let kind = gate.how.kind();
            if gate.was_open.replace(is_open) != Some(is_open) {
                tracing::debug!(gate = kind.name(), is_open, "a gate");
            }
            are_open &= is_open;
        }
        // Several of a kind are one in metrics: open where all of them are.
        for kind in [Kind::Cpu, Kind::Memory, Kind::Command, Kind::Url] {
            let mut of_kind = self.all.iter().filter(|gate| gate.how.kind() == kind).peekable();
            if of_kind.peek().is_some() {
                self.metrics.gate(kind, of_kind.all(|gate| gate.was_open == Some(true)));
            }
        }
        are_open
    }

    async fn is_open(&mut self, at: usize, free: &Free) -> bool {
        // As they run now, after what the gates before have taken.
        let running: Vec<_> = self.slots.watch().borrow().since.values().copied().collect();
        let now = Instant::now();
        let ages: Vec<_> = running.iter().map(|since| now.saturating_duration_since(*since)).collect();
        match &mut self.all[at].how {
            How::Cpu(cores) => rule::admits(f64::from(*cores) / 1000.0, free.cores, &ages),
            How::Memory(bytes) => rule::admits(exact(*bytes), free.bytes.map(exact), &ages),
            How::Command(command) => command.says_free().await,
            How::Url(url) => url.says_free().await,
        }
    }
}

/// As exact as the kernel's own numbers need it.
#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 bytes a page more or less is nothing")]
fn exact(bytes: u64) -> f64 {
    bytes as f64
}
