//! PURE. Which peers may have a credential found out that nobody knows yet: each has a budget of bad ones, which comes back
//! with time. So a flood of bad tokens costs a lookup each, and never a question to an API server each.

use std::net::IpAddr;
use std::time::Instant;

use super::budgets::Budgets;

/// The budgets of peers. Of those who have all of theirs nothing is kept.
#[derive(Debug, Default)]
pub struct Peers {
    budgets: Budgets<Network>,
}

/// What one client may have the addresses of: an address of IPv4, or the first 64 bits of one of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// An address of IPv4.
    V4(u32),
    /// The first 64 bits of an address of IPv6.
    V6(u64),
}

impl Peers {
    /// Whether a credential of this peer may be found out.
    #[must_use]
    pub fn may(&self, peer: IpAddr, now: Instant) -> bool {
        self.budgets.may(&Network::of(peer), now)
    }

    /// A credential of this peer was bad.
    pub fn failed(&mut self, peer: IpAddr, now: Instant) {
        self.budgets.failed(Network::of(peer), now);
    }
}

impl Network {
    /// The one that an address belongs to.
    #[must_use]
    pub fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Self::V6(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::bounds::{BAD_CREDENTIALS, BAD_CREDENTIALS_PACE, BAD_CREDENTIALS_PEERS, BAD_CREDENTIALS_WAIT};

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn v4(host: u32) -> IpAddr {
        Ipv4Addr::from_bits(host).into()
    }

    #[test]
    fn ten_at_once_and_then_one_a_second() {
        let (mut peers, start, peer) = (Peers::default(), now(), v4(1));
        for _ in 0..BAD_CREDENTIALS {
            assert!(peers.may(peer, start));
            peers.failed(peer, start);
        }
        for second in 1..100 {
            let now = start + BAD_CREDENTIALS_PACE * second;
            let before = start + (BAD_CREDENTIALS_PACE * second).saturating_sub(Duration::from_nanos(1));
            assert!(!peers.may(peer, before) && peers.may(peer, now), "{second}");
            assert!(peers.may(v4(2), now), "a budget is a peer's own");
            peers.failed(peer, now);
        }
    }

    #[test]
    fn an_overdrawn_budget_makes_a_peer_wait_a_minute_at_most() {
        let (mut peers, start, peer) = (Peers::default(), now(), v4(1));
        for _ in 0..1000 {
            peers.failed(peer, start);
        }
        let before = BAD_CREDENTIALS_WAIT.saturating_sub(Duration::from_nanos(1));
        assert!(!peers.may(peer, start + before) && peers.may(peer, start + BAD_CREDENTIALS_WAIT));
    }

    #[test]
    fn a_network_is_one_peer_and_a_mapped_address_is_its_own() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:0:0:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            assert_eq!(Network::of(address(one)) == Network::of(address(other)), same, "{one} {other}");
        }
    }

    #[test]
    fn of_too_many_peers_the_one_that_has_spent_least_is_forgotten() {
        let (mut peers, start) = (Peers::default(), now());
        for _ in 0..BAD_CREDENTIALS {
            peers.failed(v4(0), start);
        }
        let others = u32::try_from(BAD_CREDENTIALS_PEERS).expect("fits");
        for host in 1..=2 * others {
            peers.failed(v4(host), start);
            assert!(peers.budgets.len() <= BAD_CREDENTIALS_PEERS);
        }
        assert_eq!(peers.budgets.len(), BAD_CREDENTIALS_PEERS);
        assert!(!peers.may(v4(0), start), "who has spent all is remembered");
        peers.failed(v4(0), start + BAD_CREDENTIALS_WAIT);
        assert_eq!(peers.budgets.len(), 1, "who has spent nothing is not kept");
    }

    proptest! {
        /// Against tokens that drip into buckets, counted in nanoseconds.
        #[test]
        fn budgets_are_buckets(events in prop::collection::vec((0..3_u32, 0..3_000_u64, any::<bool>()), 0..200)) {
            let (mut peers, start) = (Peers::default(), now());
            let pace = i128::try_from(BAD_CREDENTIALS_PACE.as_nanos()).expect("fits");
            let full = pace * i128::from(BAD_CREDENTIALS);
            let least = pace - i128::try_from(BAD_CREDENTIALS_WAIT.as_nanos()).expect("fits");
            let mut buckets = [(full, start); 3];
            let mut now = start;
            for (host, pause, asks) in events {
                now += Duration::from_millis(pause);
                let (left, since) = &mut buckets[host as usize];
                let dripped = i128::try_from(now.duration_since(*since).as_nanos()).expect("fits");
                (*left, *since) = ((*left + dripped).min(full), now);
                let may = *left >= pace;
                prop_assert_eq!(peers.may(v4(host), now), may);
                if may || !asks {
                    peers.failed(v4(host), now);
                    *left = (*left - pace).max(least);
                }
                prop_assert!(peers.budgets.len() <= 3);
            }
        }

        /// However they ask, peers that ask first and count what failed have no more bad credentials found out than their budget.
        #[test]
        fn nobody_gets_more_than_the_budget(pauses in prop::collection::vec(0..2_000_u64, 0..300)) {
            let (mut peers, start, peer) = (Peers::default(), now(), v4(7));
            let (mut now, mut found) = (start, 0_u32);
            for pause in pauses {
                now += Duration::from_millis(pause);
                if peers.may(peer, now) {
                    peers.failed(peer, now);
                    found += 1;
                }
                let since = u32::try_from(now.duration_since(start).as_nanos() / BAD_CREDENTIALS_PACE.as_nanos());
                prop_assert!(found <= BAD_CREDENTIALS + since.expect("fits"));
            }
        }
    }
}
