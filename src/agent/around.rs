//! What goes on beside the states: signals, the end, orphans, and what systemd and the admin port are told.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::admin::Heart;
use super::age::Age;
use super::commands::Commands;
use super::deadline::at;
use super::hooks::{Ends, Orphans};
use super::setup::SetupError;
use super::signals::{Asked, Signals};
use crate::client::Reports;
use crate::config::agent::Agent;
use crate::systemd::Notify;

/// What goes on beside the states.
pub(super) struct Around {
    signals: Signals,
    orphans: Orphans,
    pub(super) notify: Notify,
    watchdog: Option<Interval>,
    heart: Heart,
    deadline: Option<Instant>,
    age: Age,
    reports: Reports,
    /// No further command is started; those that run are ended.
    ends: (CancellationToken, Ends),
    /// How long those that run may go on, and how long they take to end after that.
    stop_timeout: Duration,
    kill_after: Duration,
    /// When those that run are ended.
    stops_at: Option<Instant>,
    /// The commands are to run again.
    pub(super) is_asked_again: bool,
    /// What was rejected may be tried again.
    pub(super) is_asked_anew: bool,
    /// What is held has become too old, or is not any more.
    pub(super) has_turned: bool,
}

/// Why what goes on is to be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// A signal.
    Stop,
    /// The time of `--once` is over.
    Deadline,
    /// To look at what is asked for.
    Asked,
    /// What is held has become too old, or is not any more.
    Turned,
}

impl Around {
    /// Takes over the signals of the process, and its orphans.
    pub(super) fn new(
        config: &Agent,
        notify: Notify,
        reports: Reports,
        heart: Heart,
        commands: &Commands,
    ) -> Result<Self, SetupError> {
        let stale = commands.stale().clone();
        let system = |what| move |error| SetupError::System(what, error);
        Ok(Self {
            signals: Signals::new().map_err(system("signals cannot be handled"))?,
            orphans: Orphans::adopt().map_err(system("what commands leave behind cannot be adopted"))?,
            watchdog: notify.watchdog().map(every),
            notify,
            heart,
            deadline: config.once.map(|time| Instant::now() + time),
            age: Age::new(config.max_age, reports.status(), stale),
            reports,
            ends: commands.ends(),
            stop_timeout: config.hooks.stop_timeout,
            kill_after: config.hooks.kill_after,
            stops_at: None,
            is_asked_again: false,
            is_asked_anew: false,
            has_turned: false,
        })
    }

    /// Whether there is an age that is too old.
    pub(super) fn max_age_is_given(&self) -> bool {
        self.age.is_bounded()
    }

    /// Whether no further command is started.
    pub(super) fn is_stopping(&self) -> bool {
        self.ends.0.is_cancelled()
    }

    /// Waits for what interrupts, and does what does not. Dropping the future loses nothing.
    pub(super) async fn attend(&mut self) -> Interrupt {
        loop {
            let (deadline, stops_at) = (self.deadline, self.stops_at);
            tokio::select! {
                asked = self.signals.next() => match asked {
                    Asked::Stop => return Interrupt::Stop,
                    Asked::PollNow => {
                        self.reports.poll_now();
                        self.is_asked_anew = true;
                        return Interrupt::Asked;
                    }
                    Asked::Again => {
                        self.is_asked_again = true;
                        return Interrupt::Asked;
                    }
                },
                () = at(deadline) => {
                    self.deadline = None;
                    return Interrupt::Deadline;
                }
                () = at(stops_at) => {
                    self.stops_at = None;
                    self.ends.1.stop.cancel();
                }
                is_stale = self.age.turned() => {
                    if is_stale {
                        tracing::warn!("what is held is older than --max-age");
                    } else {
                        tracing::info!("what is held is not older than --max-age any more");
                    }
                    self.has_turned = true;
                    return Interrupt::Turned;
                }
                _ = self.orphans.reaped() => {}
                () = self.heart.beat() => {}
                () = tick(self.watchdog.as_mut()) => self.notify.alive(),
            }
        }
    }

    /// What `work` comes to. If the agent is to end meanwhile, no further command is started, and one that runs has a while left;
    /// with what it came to then.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> (T, Option<Interrupt>) {
        let (mut work, mut ends) = (pin!(work), None);
        loop {
            tokio::select! {
                done = &mut work => return (done, ends),
                interrupt = self.attend() => match interrupt {
                    Interrupt::Asked | Interrupt::Turned => {}
                    Interrupt::Stop | Interrupt::Deadline => {
                        tracing::info!("asked to end: a command that runs has a while left");
                        // Who asks a second time is in a hurry.
                        if (ends, interrupt) == (Some(Interrupt::Stop), Interrupt::Stop) {
                            self.ends.1.kill.cancel();
                        }
                        ends = ends.filter(|before| *before == Interrupt::Stop).or(Some(interrupt));
                        self.notify.stopping(self.stop_timeout + self.kill_after);
                        self.ends.0.cancel();
                        self.stops_at = self.stops_at.or(Some(Instant::now() + self.stop_timeout));
                    }
                },
            }
        }
    }
}

/// Ticks at this distance from the last one, however late that was.
pub(super) fn every(time: Duration) -> Interval {
    let mut ticks = interval(time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn tick(ticks: Option<&mut Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}
