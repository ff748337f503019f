//! PURE. When a client looks whether another endpoint has a younger state: a relay that is cut off answers for ever.

use std::time::{Duration, Instant};

use super::endpoints::Place;
use super::random::Random;
use crate::bounds::{CLIENT_LOOK_AROUND, CLIENT_STALE};

/// What is known of an endpoint whose state is old.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// The one that was left for another, how old its state was, and when.
    left: Option<(Place, Duration, Instant)>,
    /// Another one is not asked for this reason before.
    not_before: Option<Instant>,
}

/// What is done about the age of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing.
    Stay,
    /// Another endpoint is asked.
    Around,
    /// This endpoint had a younger one.
    Back(Place),
}

impl Stale {
    /// The endpoint in use has answered with a state of this age.
    pub(super) fn aged(&mut self, in_use: Place, age: Duration, now: Instant, random: &mut Random) -> Look {
        if let Some((place, age_there, at)) = self.left.take() {
            let age_there = age_there + now.saturating_duration_since(at);
            return if age < age_there || place == in_use { Look::Stay } else { Look::Back(place) };
        }
        if age < CLIENT_STALE || self.not_before.is_some_and(|at| now < at) {
            return Look::Stay;
        }
        // Not all clients of one that is cut off at the same moment.
        self.not_before = Some(now + CLIENT_LOOK_AROUND.mul_f64(1.0 + random.part()));
        self.left = Some((in_use, age, now));
        Look::Around
    }

    /// There is no other one that may be asked.
    pub(super) fn stays(&mut self) {
        self.left = None;
    }

    /// The one that was left, since the other one has failed.
    pub(super) fn back(&mut self) -> Option<Place> {
        self.left.take().map(|(place, ..)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn another_is_asked_at_most_once_a_minute_and_kept_only_if_it_is_younger() {
        let (mut stale, mut random) = (Stale::default(), Random::new(5));
        let now = tokio::time::Instant::now().into_std();
        let [one, other] = [0, 1].map(|url| Place { url, address: None });
        let mut aged = |place, age, at| stale.aged(place, SECS(age), now + SECS(at), &mut random);
        assert_eq!(aged(one, 59, 0), Look::Stay);
        assert_eq!(aged(one, 60, 1), Look::Around);
        assert_eq!(aged(other, 62, 2), Look::Back(one), "it is no younger");
        for at in 3..60 {
            assert_eq!(aged(one, 60 + at, at), Look::Stay, "not again within a minute");
        }
        assert_eq!(aged(one, 300, 130), Look::Around);
        assert_eq!(aged(other, 0, 131), Look::Stay);
        assert_eq!(aged(other, 0, 300), Look::Stay);
        assert_eq!(aged(other, 70, 400), Look::Around);
        assert_eq!((stale.back(), stale.back()), (Some(other), None));
    }
}
