//! PURE. Which epochs of an operation have ended, as this replica has itself seen: a client that
//! still holds a state of one of them holds nothing newer. Bounded: of one that is forgotten a
//! read is made.

use std::collections::VecDeque;

use crate::bounds::ENDED_EPOCHS;
use crate::model::Epoch;

/// The epochs that ended, the one that ended first in front.
#[derive(Debug, Default)]
pub(super) struct EndedEpochs(VecDeque<Epoch>);

impl EndedEpochs {
    /// `next` follows `before`. It may itself have ended earlier: a store restored from a backup brings it back.
    pub(super) fn follows(&mut self, before: Epoch, next: Epoch) {
        if before == next {
            return;
        }
        self.0.retain(|epoch| *epoch != before && *epoch != next);
        if self.0.len() == ENDED_EPOCHS {
            self.0.pop_front();
        }
        self.0.push_back(before);
    }

    /// Whether this epoch is known to have ended.
    #[must_use]
    pub(super) fn contains(&self, epoch: Epoch) -> bool {
        self.0.contains(&epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_when_another_follows_and_may_come_back() {
        let [a, b, c] = ["a", "b", "c"].map(|name| Epoch::of(&[name]));
        let mut ended = EndedEpochs::default();
        ended.follows(a, a);
        assert!(!ended.contains(a));
        ended.follows(a, b);
        ended.follows(b, c);
        assert!(ended.contains(a) && ended.contains(b) && !ended.contains(c));
        ended.follows(c, a);
        assert!(!ended.contains(a) && ended.contains(b) && ended.contains(c));
    }

    #[test]
    fn the_first_is_forgotten_at_the_bound() {
        let epochs: Vec<_> = (0..=ENDED_EPOCHS + 1).map(|at| Epoch::of(&[&at.to_string()])).collect();
        let mut ended = EndedEpochs::default();
        for pair in epochs.windows(2) {
            ended.follows(pair[0], pair[1]);
        }
        assert!(!ended.contains(epochs[0]) && ended.contains(epochs[1]));
        assert_eq!(ended.0.len(), ENDED_EPOCHS);
    }
}
