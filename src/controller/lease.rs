//! PURE. Which replica writes the statuses that concern all of them: the holder of one Lease
//! (coordination.k8s.io/v1) a namespace.
//!
//! A lease has run out when nobody renewed it for its duration by this replica's own clock, from
//! when it saw it last: the times written in it are other machines', and only for people. Its
//! holder counts from the moment at which it sent the renewal, which no other replica can have
//! seen before, and not from when it heard of it, which may be any time later.

use std::time::{Duration, Instant};

use crate::bounds::{LEASE, LEASE_DEADLINE, LEASE_RENEW};
use k8s_openapi::api::coordination::v1::LeaseSpec;

/// What to do about the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// There is none: make one.
    Create,
    /// It is ours, and due: renew it.
    Renew,
    /// Nobody renewed it in time, or its holder gave it up: take it.
    Take,
    /// Nothing until then.
    Wait(Instant),
}

/// What was seen of the lease, and the writes of this process.
#[derive(Debug)]
pub struct Observed {
    me: String,
    seen: Option<Observation>,
    /// Writes of this process that may have reached the API server, answered or not; older ones
    /// than [`LEASE_DEADLINE`] are of no use.
    sent: Vec<Sent>,
}

#[derive(Debug, PartialEq, Eq)]
struct Observation {
    holder: Option<String>,
    renewal: Renewal,
    duration: Duration,
    at: Instant,
}

/// A write of this process.
#[derive(Debug)]
struct Sent {
    renewal: Renewal,
    at: Instant,
}

/// Everything that a renewal changes: its time in microseconds, which is what Kubernetes keeps of one, and the transitions.
#[derive(Debug, PartialEq, Eq)]
struct Renewal(Option<i64>, Option<i32>);

impl Renewal {
    fn of(spec: &LeaseSpec) -> Self {
        Self(spec.renew_time.as_ref().map(|time| time.0.as_microsecond()), spec.lease_transitions)
    }
}

impl Observed {
    /// Nothing was seen yet by the replica called `me`.
    #[must_use]
    pub fn new(me: &str) -> Self {
        Self { me: me.to_owned(), seen: None, sent: Vec::new() }
    }

    /// This is about to be written, by this process.
    pub fn sends(&mut self, spec: &LeaseSpec, now: Instant) {
        self.sent.retain(|sent| now < sent.at + LEASE_DEADLINE);
        self.sent.push(Sent { renewal: Renewal::of(spec), at: now });
    }

    /// The lease is so now.
    pub fn is(&mut self, spec: &LeaseSpec, now: Instant) {
        let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let seen = Observation {
            holder: spec.holder_identity.clone().filter(|holder| !holder.is_empty()),
            renewal: Renewal::of(spec),
            duration: duration.map_or(LEASE, Duration::from_secs),
            at: now,
        };
        let same = self.seen.as_ref().is_some_and(|old| (&old.holder, &old.renewal) == (&seen.holder, &seen.renewal));
        if !same {
            self.seen = Some(seen);
        }
    }

    /// There is none now.
    pub fn gone(&mut self) {
        self.seen = None;
    }

    /// When this process sent the renewal that the lease shows; none: another wrote it, or a former process of this name.
    fn renewed(&self) -> Option<Instant> {
        let seen = self.seen.as_ref().filter(|seen| seen.holder.as_deref() == Some(&*self.me))?;
        self.sent.iter().find(|sent| sent.renewal == seen.renewal).map(|sent| sent.at)
    }

    /// Until when this replica holds it and may act on that; none: it does not at `now`.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.renewed().map(|at| at + LEASE_DEADLINE).filter(|until| now < *until)
    }

    /// What to do at `now`.
    #[must_use]
    pub fn act(&self, now: Instant) -> Act {
        let Some(seen) = &self.seen else { return Act::Create };
        let (due, act) = match (&seen.holder, self.renewed()) {
            (Some(_), Some(renewed)) => (renewed + LEASE_RENEW, Act::Renew),
            // In this replica's name, by a process before this one: should that still be there, it acts no longer.
            (Some(holder), None) if *holder == self.me => (seen.at + LEASE_DEADLINE, Act::Take),
            (Some(_), None) => (seen.at + seen.duration, Act::Take),
            (None, _) => (seen.at, Act::Take),
        };
        if now >= due { act } else { Act::Wait(due) }
    }

    /// How often it has changed hands, when this replica takes it.
    #[must_use]
    pub fn transitions(&self, spec: &LeaseSpec) -> i32 {
        let before = spec.lease_transitions.unwrap_or(0);
        if spec.holder_identity.as_deref() == Some(&*self.me) { before } else { before.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    fn lease(holder: Option<&str>, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_transitions: Some(transitions),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_taken_once_its_holder_has_not_renewed_it() {
        let now = tokio::time::Instant::now().into_std();
        let mut observed = Observed::new("b");
        assert_eq!(observed.act(now), Act::Create);
        observed.is(&lease(Some("a"), 1), now);
        assert_eq!(observed.act(now), Act::Wait(now + Duration::from_secs(15)));
        let later = now + Duration::from_secs(10);
        observed.is(&lease(Some("a"), 1), later);
        assert_eq!(observed.act(later), Act::Wait(now + Duration::from_secs(15)), "the same again is no renewal");
        observed.is(&lease(Some("a"), 2), later);
        assert_eq!(observed.act(now + Duration::from_secs(15)), Act::Wait(later + Duration::from_secs(15)));
        assert_eq!(observed.act(later + Duration::from_secs(15)), Act::Take);
        assert_eq!(observed.until(later), None);
        observed.is(&lease(None, 2), later);
        assert_eq!(observed.act(later), Act::Take, "it was given up");
        observed.gone();
        assert_eq!(observed.act(later), Act::Create);
    }

    #[tokio::test(start_paused = true)]
    async fn its_holder_renews_it_and_stops_acting_before_another_may_take_it() {
        let now = tokio::time::Instant::now().into_std();
        let (mut mine, mut other) = (Observed::new("a"), Observed::new("b"));
        mine.sends(&lease(Some("a"), 1), now);
        for observed in [&mut mine, &mut other] {
            observed.is(&lease(Some("a"), 1), now);
        }
        assert_eq!(mine.act(now + LEASE_RENEW), Act::Renew);
        assert_eq!(mine.until(now + LEASE_RENEW), Some(now + LEASE_DEADLINE));
        let stops = (0..60).map(|second| now + Duration::from_secs(second)).find(|at| mine.until(*at).is_none());
        let takes = (0..60).map(|second| now + Duration::from_secs(second)).find(|at| other.act(*at) == Act::Take);
        assert!(stops.is_some() && stops < takes, "{stops:?} {takes:?}");
        assert_eq!(mine.transitions(&lease(Some("a"), 4)), 4);
        assert_eq!(other.transitions(&lease(Some("a"), 4)), 5);
    }

    /// The other replica may have seen the renewal long before the answer, or the event, came here.
    #[tokio::test(start_paused = true)]
    async fn a_renewal_counts_from_when_it_was_sent_however_late_it_is_heard_of() {
        let now = tokio::time::Instant::now().into_std();
        let second = |number| now + Duration::from_secs(number);
        let mut observed = Observed::new("a");
        observed.sends(&lease(Some("a"), 1), now);
        assert_eq!(observed.until(second(1)), None, "it is not known yet whether it was written");
        observed.is(&lease(Some("a"), 1), second(9));
        assert_eq!(observed.until(second(9)), Some(now + LEASE_DEADLINE));
        assert_eq!(observed.act(second(9)), Act::Renew);
        // The next one is not answered, and another tried; the watch shows the former, then the latter.
        observed.sends(&lease(Some("a"), 2), second(9));
        assert_eq!(observed.until(second(9)), Some(now + LEASE_DEADLINE), "the one before still holds");
        observed.sends(&lease(Some("a"), 3), second(13));
        observed.is(&lease(Some("a"), 2), second(14));
        assert_eq!(observed.until(second(14)), Some(second(9) + LEASE_DEADLINE));
        observed.is(&lease(Some("a"), 3), second(30));
        assert_eq!(observed.until(second(30)), None, "heard of too late");
    }

    /// A container that was restarted, or two replicas that were given one name.
    #[tokio::test(start_paused = true)]
    async fn a_lease_in_this_name_that_this_process_did_not_write_is_not_held() {
        let now = tokio::time::Instant::now().into_std();
        let mut observed = Observed::new("a");
        observed.is(&lease(Some("a"), 1), now);
        assert_eq!(observed.until(now), None);
        assert_eq!(observed.act(now), Act::Wait(now + LEASE_DEADLINE));
        assert_eq!(observed.act(now + LEASE_DEADLINE), Act::Take);
        observed.sends(&lease(Some("a"), 2), now);
        observed.is(&lease(Some("a"), 2), now);
        assert!(observed.until(now).is_some());
        observed.is(&lease(Some("a"), 3), now);
        assert_eq!(observed.until(now), None, "somebody else of this name");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_is_known_again_from_what_the_api_server_keeps_of_it() {
        let now = tokio::time::Instant::now().into_std();
        let mut observed = Observed::new("a");
        let time = k8s_openapi::jiff::Timestamp::new(1_700_000_000, 123_456_789).expect("in range");
        let spec = LeaseSpec { renew_time: Some(MicroTime(time)), ..lease(Some("a"), 1) };
        observed.sends(&spec, now);
        let kept = serde_json::from_value(serde_json::to_value(&spec).expect("JSON")).expect("a spec");
        observed.is(&kept, now);
        assert!(observed.until(now).is_some(), "{kept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_is_remembered_no_longer_than_it_matters() {
        let now = tokio::time::Instant::now().into_std();
        let mut observed = Observed::new("a");
        for number in 0..1_000 {
            observed.sends(&lease(Some("a"), number), now + LEASE_RENEW * number.unsigned_abs());
        }
        assert_eq!(observed.sent.len(), 2);
    }
}
