//! What clients were told, and the verdict over it. A run in which one client of thousands was told something else than it
//! should have been fails.

use std::fmt;

use crate::outcome::{Outcome, because};

/// Answers and ends of connections.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    told: usize,
    unchanged: usize,
    wrong: usize,
    refused: usize,
    lost: usize,
    /// What was strange first.
    first: Option<String>,
}

impl Counts {
    /// How many were told what is expected.
    pub(crate) fn told(&self) -> usize {
        self.told
    }

    pub(crate) fn count_told(&mut self) {
        self.told += 1;
    }

    /// The wait ended: no news, and no fault.
    pub(crate) fn unchanged(&mut self) {
        self.unchanged += 1;
    }

    /// A state that is not the one which this client should be told now: an older one, or that of another client.
    pub(crate) fn wrong(&mut self, body: &str) {
        self.wrong += 1;
        self.note(|| format!("told {}", body.chars().take(120).collect::<String>()));
    }

    pub(crate) fn refused(&mut self, status: u16) {
        self.refused += 1;
        self.note(|| format!("status {status}"));
    }

    pub(crate) fn lost(&mut self, why: &str) {
        self.lost += 1;
        self.note(|| format!("a connection ended: {why}"));
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        self.first.get_or_insert_with(what);
    }

    /// Fails where somebody was told something else than is expected.
    pub(crate) fn must_be_clean(&self) -> Outcome<()> {
        if self.wrong + self.refused + self.lost == 0 { Ok(()) } else { Err(because(self.to_string())) }
    }

    /// Fails unless exactly so many were told.
    pub(crate) fn must_be(&self, told: usize) -> Outcome<()> {
        self.must_be_clean()?;
        if self.told == told { Ok(()) } else { Err(because(format!("{self}, where {told} should have been told"))) }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { told, unchanged, wrong, refused, lost, first } = self;
        write!(f, "{told} told, {unchanged} unchanged, {wrong} told a wrong state, {refused} refused, {lost} lost")?;
        first.iter().try_for_each(|first| write!(f, "; first: {first}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_that_was_told_something_else_fails_the_run() {
        let faults: [fn(&mut Counts); 3] =
            [|counts| counts.wrong("old"), |counts| counts.refused(503), |counts| counts.lost("closed")];
        for fault in faults {
            let mut counts = Counts::default();
            counts.count_told();
            assert!(counts.must_be(1).is_ok());
            assert!(counts.must_be(2).is_err(), "one was not told");
            fault(&mut counts);
            assert!(counts.must_be_clean().is_err() && counts.must_be(1).is_err(), "{counts}");
        }
    }
}
