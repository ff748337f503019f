//! Pauses between attempts: a random part of a ceiling that doubles, so that workers that lost an exchange together come back spread.

use std::time::Duration;

use crate::client::doubled;

/// What of the attempts before decides about the next pause.
#[derive(Debug)]
pub(super) struct Pause {
    ceilings: (Duration, Duration),
    failures: u32,
}

impl Pause {
    /// The first ceiling, and the longest.
    pub(super) fn new(ceilings: (Duration, Duration)) -> Self {
        Self { ceilings, failures: 0 }
    }

    /// After an attempt that failed.
    pub(super) fn next(&mut self) -> Duration {
        self.at(fastrand::f64())
    }

    /// An attempt succeeded.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    fn at(&mut self, random: f64) -> Duration {
        let ceiling = doubled(self.ceilings, self.failures);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_to_the_longest_and_a_success_begins_anew() {
        let mut pause = Pause::new((Duration::from_millis(500), Duration::from_secs(3)));
        for ceiling in [500, 1000, 2000, 3000, 3000] {
            assert_eq!(pause.at(0.5), Duration::from_millis(ceiling) / 2);
        }
        pause.reset();
        assert_eq!(pause.at(1.0), Duration::from_millis(500));
        assert!(pause.next() < Duration::from_secs(1));
    }
}
