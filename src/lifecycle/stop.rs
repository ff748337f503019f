//! How the process stops: running, then draining (parked requests are answered in slots over the
//! grace period), then closing (idle connections go), then gone.
//!
//! A drain can begin without the process ending (`tidewait drain` from a preStop hook); SIGTERM
//! then finds it done. A second signal ends the process at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bounds::DRAINED_HOLD;

/// Of the grace period, this share is for the slots of parked requests; the rest is for their
/// bytes and for what the app still answers.
const SLOTS: f64 = 0.9;

/// What the process is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phase {
    /// Since when parked requests are answered, and over how long.
    pub drain: Option<Drain>,
    /// Connections finish what they have and close.
    pub closing: bool,
}

/// Parked requests are answered, spread over time, so that their clients do not all come back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    from: Instant,
    over: Duration,
    grace: Duration,
}

impl Drain {
    /// The slot of a request that is parked, or arrives, at `now`; `chance` is in 0..1. Once the slots are over, it is
    /// [`DRAINED_HOLD`] later, less up to half of it: a client that polls without a pause must not spin until the process
    /// closes.
    #[must_use]
    pub fn slot(&self, now: Instant, chance: f64) -> Instant {
        let (start, end) = (self.from.max(now), self.end());
        if start < end { start + (end - start).mul_f64(chance) } else { now + DRAINED_HOLD.mul_f64(1.0 - chance / 2.0) }
    }

    /// When the last slot is.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.from + self.over
    }

    /// When the grace period is over: until then the last of the slots may still be answered.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.from + self.grace
    }
}

/// The sender of the stop signal. There is one in the process; [`Stop::watch`] is for all others.
#[derive(Debug)]
pub struct Stop {
    grace: Duration,
    phase: watch::Sender<Phase>,
}

/// Sees what the process is doing.
#[derive(Debug, Clone)]
pub struct Watch(watch::Receiver<Phase>);

impl Stop {
    /// A process that runs, and has `grace` to stop.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { grace, phase: watch::Sender::new(Phase::default()) }
    }

    /// How long a stop may take.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// For those who must see it.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(self.phase.subscribe())
    }

    /// Begins to answer parked requests; does nothing if that has begun. Gives back the drain under way.
    #[expect(clippy::must_use_candidate, reason = "beginning it is what most want")]
    pub fn drain(&self) -> Drain {
        let begun = Drain { from: Instant::now(), over: self.grace.mul_f64(SLOTS), grace: self.grace };
        self.phase.send_if_modified(|phase| {
            let first = phase.drain.is_none();
            phase.drain.get_or_insert(begun);
            first
        });
        self.phase.borrow().drain.unwrap_or(begun)
    }

    /// Lets connections finish what they have and close.
    pub fn close(&self) {
        self.phase.send_modify(|phase| phase.closing = true);
    }
}

impl Watch {
    /// What the process is doing now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits for a drain to begin; for ever if the process ends without one.
    pub async fn draining(&mut self) -> Drain {
        match self.0.wait_for(|phase| phase.drain.is_some()).await.ok().and_then(|phase| phase.drain) {
            Some(drain) => drain,
            None => std::future::pending().await,
        }
    }

    /// Waits until the process has left this phase, and says which it is in then; for ever if it ends in it.
    pub async fn left(&mut self, phase: Phase) -> Phase {
        // The guard must not be held over an await.
        let next = self.0.wait_for(|now| *now != phase).await.ok().map(|now| *now);
        match next {
            Some(next) => next,
            None => std::future::pending().await,
        }
    }

    /// Waits until connections are to close.
    pub async fn closing(&mut self) {
        if self.0.wait_for(|phase| phase.closing).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// SIGTERM and SIGINT, either as often as it comes. SIGHUP is taken over too, and does nothing: many programs read their
/// files anew on it, ours are followed without it, and the default would end the process without a drain.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes over these signals.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one that stops the process and names it.
    pub async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.term.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::warn!(
                    "SIGHUP is ignored: what can change is followed without it, options and --config need a restart, SIGTERM stops"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slots_are_spread_over_the_drain_and_late_comers_join() {
        let stop = Stop::new(Duration::from_secs(20));
        let drain = stop.drain();
        let start = Instant::now();
        assert_eq!(drain.slot(start, 0.0), start);
        assert_eq!(drain.slot(start, 0.5), start + Duration::from_secs(9));
        assert_eq!(drain.end(), start + Duration::from_secs(18));
        assert_eq!(drain.deadline(), start + Duration::from_secs(20));
        let late = start + Duration::from_secs(17);
        assert_eq!(drain.slot(late, 0.5), start + Duration::from_millis(17_500));
        let after = start + Duration::from_secs(19);
        assert_eq!(drain.slot(after, 0.0), after + DRAINED_HOLD);
        assert_eq!(drain.slot(after, 1.0), after + DRAINED_HOLD / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_drain_joins_the_first() {
        let stop = Stop::new(Duration::from_secs(20));
        let mut watch = stop.watch();
        assert_eq!(watch.phase(), Phase::default());
        let first = stop.drain();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(stop.drain(), first);
        assert_eq!(watch.draining().await, first);
        stop.close();
        watch.closing().await;
    }
}
