//! PURE. When the app is asked: at an interval, on a trigger, and how soon again after a failure.
//!
//! A trigger may come before the app itself holds the new state. So after a
//! trigger the app is asked again after the pauses of [`TRIGGER_ECHOES`], until a change was seen for
//! each trigger.

use std::time::{Duration, Instant};

use crate::bounds::{BACKOFF, FETCH_BACKOFF, FETCH_PAUSE, TRIGGER_ECHOES};
use crate::client::doubled;

/// An interval is shortened by up to this share of it, so that replicas that started together do
/// not ask together for ever.
const JITTER: f64 = 0.1;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask the app now.
    Fetch,
    /// Ask again at this time, if nothing happens before.
    Sleep(Instant),
}

/// What a fetch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// A model, another one than before.
    Changed,
    /// The model of before.
    Unchanged,
    /// An answer without a model that can be served.
    Unusable,
    /// No answer, or one without the model; and the pause that the app asked for.
    Lost(Option<Duration>),
}

/// When the app is asked next.
#[derive(Debug)]
pub(super) struct Driver {
    every: Duration,
    /// Fetches that failed since the last that did not.
    failures: u32,
    /// When the last fetch began.
    began: Option<Instant>,
    due: Instant,
    /// Triggers for which no change was seen.
    awaited: u64,
    /// Pauses of [`TRIGGER_ECHOES`] that were made since the last trigger.
    echoes: usize,
}

impl Driver {
    /// Asks at once, and then each time that `every` is over.
    pub(super) fn new(every: Duration, now: Instant) -> Self {
        Self { every, failures: 0, began: None, due: now, awaited: 0, echoes: 0 }
    }

    /// What to do now.
    pub(super) fn step(&self, now: Instant) -> Action {
        if self.due <= now { Action::Fetch } else { Action::Sleep(self.due) }
    }

    /// A fetch begins.
    pub(super) fn begins(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// `times` triggers came: the app may hold something new; a fetch that began before does not count.
    pub(super) fn triggered(&mut self, times: u64, now: Instant) {
        self.awaited = self.awaited.saturating_add(times);
        self.echoes = 0;
        self.due = self.not_too_soon(now);
    }

    /// The fetch that began last is over. `random` is in 0..1.
    pub(super) fn ended(&mut self, input: Input, now: Instant, random: f64) {
        let regular = self.began.unwrap_or(now) + self.every.mul_f64(1.0 - JITTER * random.clamp(0.0, 1.0));
        self.due = match input {
            Input::Lost(retry_after) => now + self.pause(random, retry_after),
            // It answers, so it may be asked as often as ever; but a model that is missing or
            // broken while the app starts must not stay so for a long interval.
            Input::Unusable => regular.min(now + self.pause(random, None)),
            Input::Changed | Input::Unchanged => {
                self.failures = 0;
                regular
            }
        };
        if input == Input::Changed {
            self.awaited = self.awaited.saturating_sub(1);
        }
        if self.awaited > 0 && !matches!(input, Input::Lost(_)) {
            match TRIGGER_ECHOES.get(self.echoes) {
                Some(pause) => {
                    self.echoes += 1;
                    self.due = self.due.min(now + *pause);
                }
                None => self.awaited = 0,
            }
        }
        self.due = self.not_too_soon(self.due);
    }

    /// How long to wait after a failure: never longer than the interval or some seconds, since the app is near and
    /// asked by few, unless it asks for that (and nobody may silence a source for long).
    fn pause(&mut self, random: f64, retry_after: Option<Duration>) -> Duration {
        let pause = doubled(FETCH_BACKOFF, self.failures).min(self.every);
        self.failures = self.failures.saturating_add(1);
        let pause = pause.mul_f64(1.0 - JITTER * random.clamp(0.0, 1.0));
        pause.max(retry_after.unwrap_or_default().min(BACKOFF.1))
    }

    fn not_too_soon(&self, at: Instant) -> Instant {
        self.began.map_or(at, |began| at.max(began + FETCH_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    /// Fetches when it is time, each taking 10 ms and coming to the next of `outcomes`; triggers
    /// at the given times. Returns when each fetch began, from the start.
    #[track_caller]
    fn fetches(every: Duration, outcomes: &[Input], triggers: &[(u64, u64)], random: f64) -> Vec<u128> {
        let start = tokio::time::Instant::now().into_std();
        let (mut now, mut driver) = (start, Driver::new(every, start));
        let mut triggers = triggers.iter().map(|(at, times)| (start + MILLIS(*at), *times)).peekable();
        let mut began = Vec::new();
        for outcome in outcomes {
            while let Action::Sleep(until) = driver.step(now) {
                assert!(until > now, "no sleep of no time");
                match triggers.next_if(|(at, _)| *at <= until) {
                    Some((at, times)) => {
                        now = now.max(at);
                        driver.triggered(times, now);
                    }
                    None => now = until,
                }
            }
            driver.begins(now);
            began.push((now - start).as_millis());
            now += MILLIS(10);
            driver.ended(*outcome, now, random);
        }
        began
    }

    use Input::{Changed, Lost, Unchanged, Unusable};

    #[tokio::test(start_paused = true)]
    async fn an_interval_counts_from_the_start_of_a_fetch_and_is_jittered_downwards() {
        assert_eq!(fetches(10 * SECOND, &[Changed, Unchanged, Changed], &[], 0.0), [0, 10_000, 20_000]);
        assert_eq!(fetches(10 * SECOND, &[Unchanged; 3], &[], 1.0), [0, 9000, 18_000]);
        assert_eq!(fetches(Duration::ZERO, &[Unchanged; 3], &[], 0.0), [0, 100, 200], "never in a tight loop");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_a_success_ends_that() {
        for (every, outcomes, expected) in [
            (60 * SECOND, vec![Lost(None); 4], vec![0, 810, 2420, 5630]),
            (
                60 * SECOND,
                vec![Lost(None), Lost(None), Unchanged, Lost(None), Changed],
                vec![0, 810, 2420, 62_420, 63_230],
            ),
            (60 * SECOND, vec![Lost(Some(7 * SECOND)), Changed], vec![0, 7010]),
            (60 * SECOND, vec![Lost(Some(3600 * SECOND)), Changed], vec![0, 30_010]),
            // An app that does not answer is asked about as often as one that does.
            (SECOND / 5, vec![Lost(None), Lost(None), Changed, Changed], vec![0, 210, 420, 620]),
            (60 * SECOND, vec![Unusable, Unusable, Changed, Changed], vec![0, 810, 2420, 62_420]),
            (SECOND / 5, vec![Unusable; 4], vec![0, 200, 400, 600]),
        ] {
            assert_eq!(fetches(every, &outcomes, &[], 0.0), expected, "{outcomes:?} every {every:?}");
        }
    }

    /// The longest time from any moment of an outage until the app is asked again.
    fn longest_pause(every: Duration, outage: Duration, random: f64) -> Duration {
        let start = tokio::time::Instant::now().into_std();
        let (mut now, mut driver) = (start, Driver::new(every, start));
        let mut longest = Duration::ZERO;
        while now < start + outage {
            driver.begins(now);
            driver.ended(Lost(None), now, random);
            let Action::Sleep(until) = driver.step(now) else { panic!("no pause") };
            longest = longest.max(until - now);
            now = until;
        }
        longest
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_was_away_is_asked_again_within_the_interval_and_within_seconds() {
        for (every, outage, expected) in [
            (SECOND, 20 * SECOND, SECOND),
            (SECOND, 45 * SECOND, SECOND),
            (2 * SECOND, 600 * SECOND, 2 * SECOND),
            (3600 * SECOND, 45 * SECOND, 5 * SECOND),
            (3600 * SECOND, 3600 * SECOND, 5 * SECOND),
        ] {
            for random in [0.0, 0.5, 1.0] {
                let longest = longest_pause(every, outage, random);
                assert!(longest <= expected, "{longest:?} of {expected:?} every {every:?}, away for {outage:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trigger_fetches_at_once_and_again_while_nothing_changed() {
        let minute = 60 * SECOND;
        for (name, outcomes, triggers, expected) in [
            ("changed at once", vec![Changed, Changed, Unchanged], vec![(5000, 1)], vec![0, 5000, 65_000]),
            (
                "never changed",
                vec![Changed, Unchanged, Unchanged, Unchanged, Unchanged, Unchanged],
                vec![(5000, 1)],
                vec![0, 5000, 5110, 6120, 11_130, 71_130],
            ),
            ("late by one", vec![Changed, Unchanged, Changed, Unchanged], vec![(5000, 1)], vec![0, 5000, 5110, 65_110]),
            (
                "triggered again before the first change was seen: that change may be the first one's",
                vec![Changed, Unchanged, Changed, Unchanged, Changed, Unchanged],
                vec![(5000, 1), (5050, 1)],
                vec![0, 5000, 5100, 5210, 6220, 66_220],
            ),
            (
                "triggered often at once, changed once",
                vec![Changed, Changed, Unchanged, Unchanged, Unchanged, Unchanged],
                vec![(5000, 3)],
                vec![0, 5000, 5110, 6120, 11_130, 71_130],
            ),
            (
                "triggered while it is being fetched: that answer may be the old one",
                vec![Changed, Changed, Unchanged],
                vec![(5, 1)],
                vec![0, 100, 60_100],
            ),
            (
                "the app is lost for a moment",
                vec![Changed, Lost(None), Unchanged, Changed, Unchanged],
                vec![(5000, 1)],
                vec![0, 5000, 5810, 5920, 65_920],
            ),
            (
                "triggered in a storm",
                vec![Changed; 4],
                vec![(5000, 1), (5020, 1), (5040, 1)],
                vec![0, 5000, 5100, 5210],
            ),
        ] {
            assert_eq!(fetches(minute, &outcomes, &triggers, 0.0), expected, "{name}");
        }
    }
}
