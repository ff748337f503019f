//! PURE. Which other replicas live: each says so at short intervals.

use std::collections::HashMap;
use std::time::Instant;

use crate::bounds::{EXCHANGE_REPLICA_BEAT, EXCHANGE_REPLICA_GONE, EXCHANGE_REPLICAS};
use crate::exchange::id::ReplicaId;

/// Other replicas of an exchange.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: HashMap<ReplicaId, Peer>,
    /// Since when this replica hears itself without a break, and when it did so last: only then does silence of another mean anything.
    own: Option<(Instant, Instant)>,
}

#[derive(Debug)]
struct Peer {
    heard: Instant,
    slots: usize,
    /// It has said that it lives, and is not only named.
    has_spoken: bool,
    /// It has said that it goes.
    has_left: bool,
}

impl Peers {
    /// A replica lives, and its workers have so many slots.
    pub(super) fn heard(&mut self, now: Instant, replica: ReplicaId, slots: usize) {
        if self.known.len() < EXCHANGE_REPLICAS || self.known.contains_key(&replica) {
            self.known.insert(replica, Peer { heard: now, slots, has_spoken: true, has_left: false });
        }
    }

    /// A replica was named, and may have been gone for long: it has time to say that it lives.
    pub(super) fn named(&mut self, now: Instant, replica: ReplicaId) {
        if self.known.len() < EXCHANGE_REPLICAS {
            self.known.entry(replica).or_insert(Peer { heard: now, slots: 0, has_spoken: false, has_left: false });
        }
    }

    /// A replica has said that it goes.
    pub(super) fn left(&mut self, now: Instant, replica: ReplicaId) {
        self.named(now, replica);
        if let Some(peer) = self.known.get_mut(&replica) {
            (peer.has_left, peer.slots) = (true, 0);
        }
    }

    /// This replica hears itself.
    pub(super) fn heard_itself(&mut self, now: Instant) {
        self.own = match self.own {
            Some((since, last)) if now.saturating_duration_since(last) < EXCHANGE_REPLICA_BEAT * 2 => {
                Some((since, now))
            }
            _ => Some((now, now)),
        };
    }

    /// Whether what is said comes to this replica: it hears itself.
    pub(super) fn hears(&self, now: Instant) -> bool {
        self.own.is_some_and(|(_, last)| now.saturating_duration_since(last) < EXCHANGE_REPLICA_BEAT * 2)
    }

    /// Whether a replica is gone.
    pub(super) fn is_gone(&self, now: Instant, replica: ReplicaId) -> bool {
        let Some(peer) = self.known.get(&replica) else { return false };
        if peer.has_left {
            return true;
        }
        let Some((since, _)) = self.own else { return false };
        // Both are silent where this replica is cut off.
        self.hears(now) && now.saturating_duration_since(peer.heard.max(since)) >= EXCHANGE_REPLICA_GONE
    }

    /// Those that are gone.
    pub(super) fn gone(&self, now: Instant) -> Vec<ReplicaId> {
        self.known.keys().copied().filter(|replica| self.is_gone(now, *replica)).collect()
    }

    /// Forgets one that is gone, of which nothing is left.
    pub(super) fn forget(&mut self, replica: ReplicaId) {
        self.known.remove(&replica);
    }

    /// How many slots workers have at those that live.
    pub(super) fn slots(&self, now: Instant) -> usize {
        let live = self.known.iter().filter(|(replica, _)| !self.is_gone(now, **replica));
        live.map(|(_, peer)| peer.slots).sum()
    }

    /// How many others have said that they live.
    pub(super) fn heard_of(&self, now: Instant) -> usize {
        self.known.iter().filter(|(replica, peer)| peer.has_spoken && !self.is_gone(now, **replica)).count()
    }

    /// Others that live.
    pub(super) fn all_live(&self, now: Instant) -> Vec<ReplicaId> {
        self.known.keys().copied().filter(|replica| !self.is_gone(now, *replica)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any time will do, and none passes but what the test says")]
    fn a_replica_is_gone_when_it_is_silent_while_this_one_hears_itself_or_when_it_has_said_so() {
        let (mut peers, mut now) = (Peers::default(), Instant::now());
        let (one, other) = (ReplicaId::of(1), ReplicaId::of(2));
        peers.heard(now, one, 3);
        peers.named(now, other);
        now += EXCHANGE_REPLICA_GONE * 2;
        assert_eq!(peers.heard_of(now), 1, "the other one was named alone");
        assert!(!peers.hears(now) && !peers.is_gone(now, one), "this replica hears nothing, not even itself");
        let beats = |peers: &mut Peers, now: &mut Instant, one_beats: bool| {
            for _ in 0..=EXCHANGE_REPLICA_GONE.as_secs() / EXCHANGE_REPLICA_BEAT.as_secs() {
                *now += EXCHANGE_REPLICA_BEAT;
                peers.heard_itself(*now);
                if one_beats {
                    peers.heard(*now, one, 3);
                }
            }
        };
        beats(&mut peers, &mut now, true);
        assert!(peers.hears(now));
        assert_eq!((peers.gone(now), peers.slots(now), peers.all_live(now)), (vec![other], 3, vec![one]));
        peers.forget(other);
        beats(&mut peers, &mut now, false);
        assert_eq!((peers.gone(now), peers.slots(now)), (vec![one], 0));
        peers.heard(now, one, 1);
        assert!(peers.gone(now).is_empty());
        peers.left(now, one);
        assert_eq!(peers.gone(now), [one]);
        now += EXCHANGE_REPLICA_BEAT * 3;
        peers.left(now, other);
        assert!(peers.is_gone(now, other), "what it has said counts at once");
    }
}
