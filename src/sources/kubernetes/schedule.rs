//! PURE. When a source reads consistently: when it has a read scheduled (what it holds is not confirmed
//! yet), when a request asks for one, and once a minute on its own, so that a watch that fell silent is
//! noticed. Never twice within [`KUBERNETES_READ_PAUSE`], however many ask.
//!
//! Any client may claim, again and again, to have a newer state. Each read that such a claim causes costs the API server, and
//! is paid for with time; up to [`KUBERNETES_READ_CREDIT`] may be spent in advance, and then the next read waits.

use std::time::{Duration, Instant};

use crate::bounds::{
    KUBERNETES_CONFIRM, KUBERNETES_READ_COST, KUBERNETES_READ_CREDIT, KUBERNETES_READ_PAUSE, KUBERNETES_READ_RATE,
};
use crate::sources::backoff::Backoff;

/// How far a confirming read may be from its time, either way, so that replicas do not read together.
const JITTER: f64 = 0.1;

/// When the next read begins.
#[derive(Debug)]
pub(super) struct Schedule {
    last: Option<Instant>,
    /// When it reads on its own.
    confirm: Instant,
    scheduled: bool,
    backoff: Backoff,
    /// Not before, after one that failed.
    retry: Option<Instant>,
    /// When what was read for those who asked is paid for.
    paid: Instant,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last: None,
            confirm: now + KUBERNETES_CONFIRM,
            scheduled: false,
            backoff: Backoff::default(),
            retry: None,
            paid: now,
        }
    }

    /// When the next read begins; `now` is what "at once" means.
    pub(super) fn due(&self, asked: bool, now: Instant) -> Instant {
        let earliest = self.last.map_or(now, |last| last + KUBERNETES_READ_PAUSE).max(self.retry.unwrap_or(now));
        if self.scheduled {
            return earliest;
        }
        let asked = asked.then(|| earliest.max(now + self.debt(now).saturating_sub(KUBERNETES_READ_CREDIT)));
        // What those who ask cannot have now, all may have when it is time.
        let confirm = earliest.max(self.confirm);
        asked.map_or(confirm, |asked| asked.min(confirm))
    }

    fn debt(&self, now: Instant) -> Duration {
        self.paid.saturating_duration_since(now)
    }

    /// A read that was asked for has shown so many bytes.
    pub(super) fn spent(&mut self, bytes: usize, now: Instant) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let cost = Duration::from_secs(1).mul_f64(f64::from(bytes) / f64::from(KUBERNETES_READ_RATE));
        self.paid = now + self.debt(now) + cost.max(KUBERNETES_READ_COST);
    }

    /// Whether the next read is scheduled: for what was shown, or after one that failed or was ambiguous.
    pub(super) fn is_scheduled(&self) -> bool {
        self.scheduled
    }

    /// What the source holds is not confirmed; and the server is in contact, so that earlier
    /// failures no longer count.
    pub(super) fn schedule_read(&mut self) {
        self.scheduled = true;
        self.retry = None;
        self.backoff.succeeded();
    }

    /// A read begins. `random` is in 0..1.
    pub(super) fn begins(&mut self, now: Instant, random: f64) {
        self.last = Some(now);
        self.scheduled = false;
        let jitter = 1.0 - JITTER + 2.0 * JITTER * random;
        self.confirm = now + KUBERNETES_CONFIRM.mul_f64(jitter);
    }

    /// It was answered; `again`: the answer decides nothing.
    pub(super) fn answered(&mut self, again: bool) {
        self.scheduled |= again;
        self.retry = None;
        self.backoff.succeeded();
    }

    /// It failed, and the next read is scheduled. `random` is in 0..1.
    pub(super) fn failed(&mut self, retry_after: Option<Duration>, now: Instant, random: f64) {
        self.scheduled = true;
        self.retry = Some(now + self.backoff.failed(random, retry_after));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule() -> (Schedule, Instant) {
        let now = tokio::time::Instant::now().into_std();
        (Schedule::new(now), now)
    }

    #[test]
    fn reads_once_in_a_while_on_its_own_and_not_always_at_the_same_time() {
        let (mut schedule, mut now) = schedule();
        let mut pauses = std::collections::BTreeSet::new();
        for step in 0..20 {
            schedule.begins(now, f64::from(step) / 20.0);
            schedule.answered(false);
            let due = schedule.due(false, now);
            assert!((54 * SECOND..=66 * SECOND).contains(&(due - now)), "{:?}", due - now);
            pauses.insert(due - now);
            now = due;
        }
        assert!(pauses.len() > 10, "{pauses:?}");
    }

    #[test]
    fn what_is_requested_or_scheduled_is_read_at_once_and_never_twice_within_the_pause() {
        let (mut schedule, now) = schedule();
        assert_eq!(schedule.due(true, now), now);
        schedule.schedule_read();
        assert_eq!(schedule.due(false, now), now);
        schedule.begins(now, 0.5);
        assert!(!schedule.is_scheduled());
        for asked in [false, true] {
            schedule.schedule_read();
            assert_eq!(schedule.due(asked, now), now + KUBERNETES_READ_PAUSE);
        }
        schedule.begins(now, 0.5);
        schedule.answered(true);
        assert_eq!(schedule.due(false, now), now + KUBERNETES_READ_PAUSE, "ambiguous: again");
    }

    /// Asks all the time for reads of so many bytes: how many begin within so long, and the longest pause between two.
    fn asked_all_the_time(schedule: &mut Schedule, start: Instant, bytes: usize, lasting: Duration) -> (u64, Duration) {
        let (mut now, mut reads, mut longest) = (start, 0, Duration::ZERO);
        loop {
            let due = schedule.due(true, now);
            if due > start + lasting {
                return (reads, longest);
            }
            longest = longest.max(due - now);
            now = due;
            schedule.begins(now, 0.5);
            schedule.answered(false);
            schedule.spent(bytes, now);
            reads += 1;
        }
    }

    #[test]
    fn who_asks_all_the_time_is_given_little_after_a_while_and_again_after_a_rest() {
        const MIB: usize = 1024 * 1024;
        const HOUR: Duration = Duration::from_secs(3600);
        // An hour, two seconds each, and the credit; what it costs is the greater of time and bytes.
        for (bytes, most, pause) in [
            (1_000, 1_800 + 16, KUBERNETES_READ_COST),
            (MIB, 1_800 + 16, KUBERNETES_READ_COST),
            (8 * MIB, 450 + 5, 8 * SECOND),
            // No more than a read a minute, which is made in any case.
            (64 * MIB, 67, 66 * SECOND),
        ] {
            let (mut schedule, now) = schedule();
            let (reads, longest) = asked_all_the_time(&mut schedule, now, bytes, HOUR);
            assert!(reads <= most && longest <= pause, "{bytes}: {reads} reads, {longest:?}");
            let rested = now + HOUR + 2 * KUBERNETES_CONFIRM;
            assert_eq!(schedule.due(true, rested), rested, "{bytes}");
            if bytes <= MIB {
                let (reads, longest) = asked_all_the_time(&mut schedule, rested, bytes, 7 * SECOND);
                assert_eq!((reads, longest), (15, KUBERNETES_READ_PAUSE), "at first as often as ever");
            }
        }
    }

    #[test]
    fn failures_are_paced_until_the_server_is_in_contact() {
        let (mut schedule, now) = schedule();
        for _ in 0..9 {
            schedule.begins(now, 0.5);
            schedule.failed(None, now, 0.5);
        }
        assert!(schedule.due(true, now) >= now + 30 * SECOND, "also for those who ask");
        schedule.schedule_read();
        assert_eq!(schedule.due(false, now), now + KUBERNETES_READ_PAUSE);
        schedule.begins(now, 0.5);
        schedule.failed(Some(7 * SECOND), now, 0.5);
        let due = schedule.due(false, now);
        assert!((7 * SECOND..=14 * SECOND).contains(&(due - now)), "{:?}", due - now);
    }
}
