//! PURE. Which endpoint is asked next. Each address of a name is an endpoint of its own: it fails, lies and is busy alone.
//!
//! The first URL is preferred, the others are in random order. The one in use is asked until it has failed three times in a
//! row; then the one that has failed least is. One that gave what cannot be true is left alone for ten minutes, unless all
//! did. The way back to the first URL is taken between two polls, after another endpoint has been well for some minutes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::pace::doubled;
use super::random::Random;
use super::stale::{Look, Stale};
use crate::bounds::{
    CLIENT_ADDRESSES, CLIENT_FAILURES, CLIENT_GONE, CLIENT_HEALTH, CLIENT_LEFT, CLIENT_PATCHES, CLIENT_REFUSED,
    CLIENT_RESOLVED, CLIENT_RETRY_AFTER,
};

/// Where a poll goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the URLs that the client was given.
    pub(super) url: usize,
    /// Which address of its host; none: not looked up yet.
    pub(super) address: Option<SocketAddr>,
}

/// Which endpoint may be asked, or when one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Now(Place),
    At(Instant),
}

#[derive(Debug)]
struct Endpoint {
    place: Place,
    /// In a row.
    failures: u32,
    /// Refusals in a row.
    refusals: u32,
    /// Patches in a row that did not lead where they should.
    patches: u32,
    /// Not asked before, since it asked for that.
    not_before: Option<Instant>,
    /// Not asked before, unless there is no other: it gave what cannot be true.
    left_until: Option<Instant>,
}

/// All endpoints; there is always one.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// The preferred ones first.
    all: Vec<Endpoint>,
    current: usize,
    /// For each URL: when its host was looked up.
    looked_up: Vec<Option<Instant>>,
    /// Since when the one in use has been well.
    well_since: Option<Instant>,
    /// How long it has to be, before the first is tried again.
    back_after: Duration,
    /// What is known of an endpoint whose state is old.
    stale: Stale,
}

impl Endpoint {
    fn new(place: Place) -> Self {
        Self { place, failures: 0, refusals: 0, patches: 0, not_before: None, left_until: None }
    }

    fn may_be_asked(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    fn is_trusted(&self, now: Instant) -> bool {
        self.left_until.is_none_or(|at| at <= now)
    }
}

impl Endpoints {
    /// So many URLs, at least one.
    pub(super) fn new(urls: usize, random: &mut Random) -> Self {
        let mut others: Vec<_> = (1..urls).collect();
        random.shuffle(&mut others);
        let order = std::iter::once(0).chain(others);
        let all = order.map(|url| Endpoint::new(Place { url, address: None })).collect();
        let looked_up = vec![None; urls.max(1)];
        Self { all, current: 0, looked_up, well_since: None, back_after: CLIENT_HEALTH, stale: Stale::default() }
    }

    /// The endpoint to ask now, which is the one in use then; or when there is one.
    pub(super) fn choose(&mut self, now: Instant) -> Choice {
        let none_is_trusted = !self.all.iter().any(|endpoint| endpoint.is_trusted(now));
        let allowed = |endpoint: &Endpoint| none_is_trusted || endpoint.is_trusted(now);
        let current = self.current;
        if allowed(&self.all[current])
            && self.all[current].may_be_asked(now)
            && self.all[current].failures < CLIENT_FAILURES
        {
            return Choice::Now(self.all[current].place);
        }
        let count = self.all.len();
        // The one in use comes last.
        let others = (1..=count).map(|distance| (current + distance) % count);
        let open = others.filter(|at| allowed(&self.all[*at]) && self.all[*at].may_be_asked(now));
        if let Some(next) = open.min_by_key(|at| self.all[*at].failures) {
            if next != current {
                (self.current, self.well_since) = (next, None);
            }
            return Choice::Now(self.all[next].place);
        }
        let opens = |endpoint: &Endpoint| {
            let left_until = if none_is_trusted { None } else { endpoint.left_until };
            endpoint.not_before.max(left_until).unwrap_or(now)
        };
        Choice::At(self.all.iter().map(opens).min().unwrap_or(now))
    }

    /// Whether the host of a place has to be looked up before a new connection to it.
    pub(super) fn wants_lookup(&self, place: Place, now: Instant) -> bool {
        let is_old = |at: Instant| now.saturating_duration_since(at) >= CLIENT_RESOLVED;
        place.address.is_none() || self.looked_up[place.url].is_none_or(is_old)
    }

    /// The host of a URL has these addresses; what is known of those that it had before stays.
    pub(super) fn resolved(&mut self, url: usize, addresses: &[SocketAddr], now: Instant, random: &mut Random) {
        self.looked_up[url] = Some(now);
        let in_use = self.all[self.current].place;
        let is_of = |endpoint: &Endpoint| endpoint.place.url == url;
        let Some(first) = self.all.iter().position(is_of).filter(|_| !addresses.is_empty()) else { return };
        let mut new: Vec<_> = addresses.iter().map(|address| Place { url, address: Some(*address) }).collect();
        new.retain(|place| !self.all.iter().any(|endpoint| endpoint.place == *place));
        random.shuffle(&mut new);
        let stays = |endpoint: &Endpoint| {
            endpoint.place.url != url || endpoint.place.address.is_some_and(|address| addresses.contains(&address))
        };
        // What is known of the name as a whole is known of each of its addresses.
        let of_name = self.all.iter().find(|endpoint| is_of(endpoint) && endpoint.place.address.is_none());
        let (failures, refusals) = of_name.map_or((0, 0), |endpoint| (endpoint.failures, endpoint.refusals));
        self.all.retain(stays);
        let after = self.all.iter().skip(first).take_while(|endpoint| is_of(endpoint)).count();
        let room = CLIENT_ADDRESSES.saturating_sub(after);
        let new = new.into_iter().take(room).map(|place| Endpoint { failures, refusals, ..Endpoint::new(place) });
        self.all.splice(first + after..first + after, new);
        let of_place = self.all.iter().position(|endpoint| endpoint.place == in_use);
        let of_url = || self.all.iter().position(|endpoint| endpoint.place.url == in_use.url);
        self.current = of_place.or_else(of_url).unwrap_or(0);
    }

    /// The host could not be looked up: the addresses that are known are used, if there are any.
    pub(super) fn not_resolved(&mut self, url: usize, now: Instant) -> bool {
        self.looked_up[url] = Some(now);
        self.all.iter().any(|endpoint| endpoint.place.url == url && endpoint.place.address.is_some())
    }

    /// The one in use answered as it should. This is between two polls: the way back to the first URL is taken here.
    pub(super) fn succeeded(&mut self, now: Instant, random: &mut Random) {
        let endpoint = &mut self.all[self.current];
        (endpoint.failures, endpoint.refusals, endpoint.left_until) = (0, 0, None);
        let well_since = *self.well_since.get_or_insert(now);
        if endpoint.place.url == 0 || now.saturating_duration_since(well_since) < self.back_after {
            return;
        }
        let is_open =
            |endpoint: &Endpoint| endpoint.place.url == 0 && endpoint.is_trusted(now) && endpoint.may_be_asked(now);
        self.well_since = Some(now);
        self.back_after = CLIENT_HEALTH.mul_f64(1.0 + random.part());
        if let Some(first) = self.all.iter().position(is_open) {
            // If it fails once more, the one that was well is asked again.
            self.all[first].failures = CLIENT_FAILURES - 1;
            (self.current, self.well_since) = (first, None);
        }
    }

    /// The one in use has a state that is so old. This is between two polls too: another one is asked where that may be
    /// younger, and left again if it is not.
    pub(super) fn aged(&mut self, age: Duration, now: Instant, random: &mut Random) {
        let in_use = self.all[self.current].place;
        let goes_to = match self.stale.aged(in_use, age, now, random) {
            Look::Stay => return,
            Look::Back(place) => self.all.iter().position(|endpoint| endpoint.place == place),
            Look::Around => {
                let count = self.all.len();
                let others = (1..count).map(|distance| (self.current + distance) % count);
                let is_open = |at: &usize| self.all[*at].is_trusted(now) && self.all[*at].may_be_asked(now);
                others.filter(is_open).min_by_key(|at| self.all[*at].failures)
            }
        };
        match goes_to {
            Some(next) => (self.current, self.well_since) = (next, None),
            None => self.stale.stays(),
        }
    }

    /// The one in use failed, and was asked since the one before has an old state: that is better than none.
    pub(super) fn back_to_stale(&mut self) {
        let before = self.stale.back();
        if let Some(at) = before.and_then(|place| self.all.iter().position(|endpoint| endpoint.place == place)) {
            self.current = at;
        }
    }

    /// The one in use failed.
    pub(super) fn failed(&mut self) {
        let endpoint = &mut self.all[self.current];
        endpoint.failures = endpoint.failures.saturating_add(1);
        self.well_since = None;
    }

    /// The one in use cannot be connected to. Whether there is another address of the same name that may be well: hosts
    /// often have one of each family, of which one leads nowhere.
    pub(super) fn unreachable(&mut self, now: Instant) -> bool {
        self.failed();
        let url = self.current().url;
        let is_open = |endpoint: &Endpoint| {
            endpoint.place.url == url
                && endpoint.failures == 0
                && endpoint.is_trusted(now)
                && endpoint.may_be_asked(now)
        };
        let Some(other) = self.all.iter().position(is_open) else { return false };
        self.current = other;
        true
    }

    /// The one in use asked not to be asked for some time.
    pub(super) fn busy(&mut self, asked: Duration, now: Instant, random: &mut Random) {
        self.failed();
        // Not all at the same moment, should a proxy have written it.
        let pause = asked.min(CLIENT_RETRY_AFTER).mul_f64(1.0 + random.part() / 10.0);
        self.all[self.current].not_before = Some(now + pause);
    }

    /// The one in use refused, for a reason that people have to mend.
    pub(super) fn refused(&mut self, now: Instant, random: &mut Random) {
        self.failed();
        let endpoint = &mut self.all[self.current];
        endpoint.refusals = endpoint.refusals.saturating_add(1);
        let (least, most) = CLIENT_REFUSED;
        let ceiling = doubled((least, most), endpoint.refusals);
        let more = ceiling.saturating_sub(least).mul_f64(random.part());
        endpoint.not_before = Some(now + least + more);
    }

    /// The one in use has no such operation: it is asked as seldom as one that has refused for long.
    pub(super) fn gone(&mut self, now: Instant, random: &mut Random) {
        self.all[self.current].refusals = CLIENT_GONE;
        self.refused(now, random);
    }

    /// The one in use gave what cannot be true.
    pub(super) fn lied(&mut self, now: Instant) {
        self.failed();
        self.all[self.current].left_until = Some(now + CLIENT_LEFT);
    }

    /// Whether the one in use is asked for patches.
    pub(super) fn gives_patches(&self) -> bool {
        self.all[self.current].patches < CLIENT_PATCHES
    }

    /// A patch of the one in use led where it should, or not.
    pub(super) fn patched(&mut self, is_right: bool) {
        let endpoint = &mut self.all[self.current];
        endpoint.patches = if is_right { 0 } else { endpoint.patches.saturating_add(1) };
    }

    /// All that holds somebody off is forgotten.
    pub(super) fn forgive(&mut self) {
        for endpoint in &mut self.all {
            (endpoint.not_before, endpoint.left_until, endpoint.refusals) = (None, None, 0);
        }
    }

    /// Those that refused may be asked again.
    pub(super) fn forgive_refusals(&mut self) {
        for endpoint in self.all.iter_mut().filter(|endpoint| endpoint.refusals > 0) {
            (endpoint.not_before, endpoint.refusals) = (None, 0);
        }
    }

    /// The one in use.
    pub(super) fn current(&self) -> Place {
        self.all[self.current].place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECS: fn(u64) -> Duration = Duration::from_secs;

    fn start() -> (Endpoints, Random, Instant) {
        let mut random = Random::new(3);
        (Endpoints::new(3, &mut random), random, tokio::time::Instant::now().into_std())
    }

    fn url(endpoints: &mut Endpoints, now: Instant) -> usize {
        match endpoints.choose(now) {
            Choice::Now(place) => place.url,
            Choice::At(at) => panic!("none before {:?}", at - now),
        }
    }

    #[test]
    fn one_is_left_after_three_failures_and_then_the_one_that_failed_least_is_asked() {
        let (mut endpoints, _, now) = start();
        let asked: Vec<_> = (0..15)
            .map(|_| {
                let asked = url(&mut endpoints, now);
                endpoints.failed();
                asked
            })
            .collect();
        let (second, third) = (asked[3], asked[6]);
        assert_eq!(asked[..9], [0, 0, 0, second, second, second, third, third, third]);
        assert_eq!(asked[9..], [0, second, third, 0, second, third], "each in turn, when all fail");
        assert_eq!(second + third, 3);
    }

    #[test]
    fn the_others_are_in_any_order_and_the_first_is_first() {
        let orders: std::collections::BTreeSet<Vec<_>> = (0..64)
            .map(|seed| Endpoints::new(3, &mut Random::new(seed)).all.iter().map(|each| each.place.url).collect())
            .collect();
        assert_eq!(orders, [vec![0, 1, 2], vec![0, 2, 1]].into());
    }

    #[test]
    fn one_that_lies_is_left_at_once_and_for_ten_minutes_unless_all_do() {
        let (mut endpoints, mut random, now) = start();
        let mut lied = Vec::new();
        for _ in 0..3 {
            lied.push(url(&mut endpoints, now));
            endpoints.lied(now);
        }
        assert_eq!((lied[0], lied.iter().sum::<usize>()), (0, 3), "each once: {lied:?}");
        assert!(matches!(endpoints.choose(now), Choice::Now(_)), "the last one is never left");

        let (mut endpoints, _, now) = start();
        endpoints.lied(now);
        let other = url(&mut endpoints, now);
        for _ in 0..50 {
            endpoints.failed();
            assert_ne!(url(&mut endpoints, now + SECS(599)), 0);
        }
        endpoints.busy(SECS(3600), now, &mut random);
        let third = url(&mut endpoints, now);
        assert!(third != other && third != 0);
        endpoints.busy(SECS(3600), now, &mut random);
        let Choice::At(at) = endpoints.choose(now) else { panic!("all are held off") };
        assert!((SECS(300)..=SECS(330)).contains(&(at - now)), "Retry-After has an end: {:?}", at - now);
        assert_eq!(url(&mut endpoints, now + SECS(600)), 0);
    }

    #[test]
    fn the_way_back_to_the_first_is_taken_between_polls_after_minutes_of_health_and_given_up_at_one_failure() {
        let (mut endpoints, mut random, mut now) = start();
        for _ in 0..3 {
            let _ = endpoints.choose(now);
            endpoints.failed();
        }
        let other = url(&mut endpoints, now);
        let mut tried = Vec::new();
        let began = now;
        for _ in 0..200 {
            now += SECS(10);
            match url(&mut endpoints, now) {
                0 => {
                    tried.push(now - began);
                    endpoints.failed();
                }
                asked => {
                    assert_eq!(asked, other, "the one that was well");
                    endpoints.succeeded(now, &mut random);
                }
            }
        }
        assert!((2..=6).contains(&tried.len()), "{tried:?}");
        assert!(tried.windows(2).all(|pair| pair[1] >= pair[0] + CLIENT_HEALTH), "{tried:?}");
        assert!(tried[0] >= CLIENT_HEALTH);
    }

    #[test]
    fn one_without_the_operation_is_asked_as_seldom_as_can_be() {
        let pauses: Vec<_> = (0..64)
            .map(|seed| {
                let (_, _, now) = start();
                let mut endpoints = Endpoints::new(1, &mut Random::new(seed));
                endpoints.gone(now, &mut Random::new(seed));
                let Choice::At(at) = endpoints.choose(now) else { panic!("held off") };
                at - now
            })
            .collect();
        assert!(pauses.iter().all(|pause| (SECS(30)..=SECS(300)).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause > SECS(200)), "{pauses:?}");
    }

    #[test]
    fn one_whose_state_is_old_is_left_for_one_whose_state_is_younger() {
        let (mut endpoints, mut random, mut now) = start();
        let asked = |endpoints: &mut Endpoints, age: u64, now: Instant, random: &mut Random| {
            let asked = url(endpoints, now);
            endpoints.succeeded(now, random);
            endpoints.aged(SECS(age), now, random);
            asked
        };
        assert_eq!(asked(&mut endpoints, 61, now, &mut random), 0);
        let other = url(&mut endpoints, now);
        assert_ne!(other, 0);
        // It is unreachable: the old state is better than none.
        endpoints.failed();
        endpoints.back_to_stale();
        assert_eq!(url(&mut endpoints, now), 0);
        now += SECS(121);
        assert_eq!(asked(&mut endpoints, 182, now, &mut random), 0);
        let third = url(&mut endpoints, now);
        assert!(third != 0 && third != other, "the one that has failed least");
        assert_eq!(asked(&mut endpoints, 3, now, &mut random), third);
        assert_eq!(url(&mut endpoints, now), third, "it is kept");
        // Nobody else may be asked.
        let (mut alone, mut random) = (Endpoints::new(1, &mut Random::new(1)), Random::new(2));
        assert_eq!(asked(&mut alone, 500, now, &mut random), 0);
        assert_eq!(asked(&mut alone, 500, now, &mut random), 0);
    }

    #[test]
    fn refusals_hold_off_for_half_a_minute_to_five_minutes() {
        let (mut endpoints, mut random, mut now) = (Endpoints::new(1, &mut Random::new(1)), Random::new(2), start().2);
        for most in [60, 120, 240, 300, 300] {
            endpoints.refused(now, &mut random);
            let Choice::At(at) = endpoints.choose(now) else { panic!("held off") };
            assert!((SECS(30)..=SECS(most)).contains(&(at - now)), "{:?}", at - now);
            now = at;
        }
        endpoints.refused(now, &mut random);
        endpoints.forgive();
        assert_eq!(url(&mut endpoints, now), 0);
    }

    #[test]
    fn each_address_of_a_name_is_an_endpoint_and_what_is_known_of_it_stays() {
        let (mut endpoints, mut random, now) = start();
        let address = |last: u8| SocketAddr::from(([10, 0, 0, last], 80));
        assert!(endpoints.wants_lookup(endpoints.current(), now));
        endpoints.resolved(0, &[1, 2, 3].map(address), now, &mut random);
        let Choice::Now(first) = endpoints.choose(now) else { panic!("one is open") };
        assert!(!endpoints.wants_lookup(first, now));
        endpoints.lied(now);
        let Choice::Now(second) = endpoints.choose(now) else { panic!("one is open") };
        assert!((second.url, second.address) != (0, first.address) && second.url == 0, "{second:?}");
        // The one in use is gone, the one that lied is there still.
        let rest: Vec<_> = [1, 2, 3, 4].map(address).into_iter().filter(|one| Some(*one) != second.address).collect();
        endpoints.resolved(0, &rest, now + SECS(6), &mut random);
        for _ in 0..20 {
            let Choice::Now(next) = endpoints.choose(now + SECS(6)) else { panic!("one is open") };
            assert!(next.address != second.address && next.address != first.address, "{next:?}");
            endpoints.failed();
        }
        assert!(endpoints.wants_lookup(endpoints.all[0].place, now + SECS(11)));
        assert!(endpoints.not_resolved(0, now), "the addresses are known from before");
        endpoints.resolved(0, &[], now, &mut random);
        assert!(endpoints.all.iter().filter(|each| each.place.url == 0).count() == 3, "nothing is no news");
        let many: Vec<_> = (0..200).map(address).collect();
        endpoints.resolved(0, &many, now, &mut random);
        assert_eq!(endpoints.all.iter().filter(|each| each.place.url == 0).count(), CLIENT_ADDRESSES);
    }

    #[test]
    fn patches_are_given_up_after_three_in_a_row() {
        let (mut endpoints, ..) = start();
        for is_right in [false, false, true, false, false, false] {
            assert!(endpoints.gives_patches());
            endpoints.patched(is_right);
        }
        assert!(!endpoints.gives_patches());
    }
}
