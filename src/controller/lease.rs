//! PURE. Who of the replicas writes what is true of all of them: the holder of one Lease
//! (coordination.k8s.io/v1) a namespace.
//!
//! A lease has run out when nobody renewed it for its duration by this replica's own clock, from
//! when it saw it last: the times written in it are other machines', and only for people.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use tokio::time::Instant;

use crate::bounds::{LEASE, LEASE_RENEW};

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

/// What was seen of the lease.
#[derive(Debug)]
pub struct Observed {
    me: String,
    seen: Option<Seen>,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    holder: Option<String>,
    /// Everything that a renewal changes.
    renewal: String,
    duration: Duration,
    at: Instant,
}

impl Seen {
    /// Its holder no longer acts from then on: between a renewal that is due and the moment when another may take
    /// it, half the time is kept as a margin.
    fn acts_until(&self) -> Instant {
        self.at + self.duration.min(LEASE_RENEW) + self.duration.saturating_sub(LEASE_RENEW) / 2
    }
}

impl Observed {
    /// Nothing was seen yet by the replica called `me`.
    #[must_use]
    pub fn new(me: &str) -> Self {
        Self { me: me.to_owned(), seen: None }
    }

    /// The lease is so now.
    pub fn is(&mut self, spec: &LeaseSpec, now: Instant) {
        let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let seen = Seen {
            holder: spec.holder_identity.clone().filter(|holder| !holder.is_empty()),
            renewal: format!("{:?} {:?}", spec.renew_time, spec.lease_transitions),
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

    /// Whether this replica holds it, and may act on that at `now`.
    #[must_use]
    pub fn is_held(&self, now: Instant) -> bool {
        let mine = |seen: &Seen| seen.holder.as_deref() == Some(&*self.me) && now < seen.acts_until();
        self.seen.as_ref().is_some_and(mine)
    }

    /// Until when that is so, if it is.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.is_held(now).then(|| self.seen.as_ref().map(Seen::acts_until)).flatten()
    }

    /// What to do at `now`.
    #[must_use]
    pub fn act(&self, now: Instant) -> Act {
        let Some(seen) = &self.seen else { return Act::Create };
        let (due, act) = match &seen.holder {
            Some(holder) if *holder == self.me => (seen.at + LEASE_RENEW, Act::Renew),
            Some(_) => (seen.at + seen.duration, Act::Take),
            None => (seen.at, Act::Take),
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
        let now = Instant::now();
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
        assert!(!observed.is_held(later));
        observed.is(&lease(None, 2), later);
        assert_eq!(observed.act(later), Act::Take, "it was given up");
        observed.gone();
        assert_eq!(observed.act(later), Act::Create);
    }

    #[tokio::test(start_paused = true)]
    async fn its_holder_renews_it_and_stops_acting_before_another_may_take_it() {
        let now = Instant::now();
        let (mut mine, mut other) = (Observed::new("a"), Observed::new("b"));
        for observed in [&mut mine, &mut other] {
            observed.is(&lease(Some("a"), 1), now);
        }
        assert_eq!(mine.act(now + LEASE_RENEW), Act::Renew);
        assert!(mine.is_held(now + LEASE_RENEW));
        let stops = (0..60).map(|second| now + Duration::from_secs(second)).find(|at| !mine.is_held(*at));
        let takes = (0..60).map(|second| now + Duration::from_secs(second)).find(|at| other.act(*at) == Act::Take);
        assert!(stops.is_some() && stops < takes, "{stops:?} {takes:?}");
        assert_eq!(mine.transitions(&lease(Some("a"), 4)), 4);
        assert_eq!(other.transitions(&lease(Some("a"), 4)), 5);
    }
}
