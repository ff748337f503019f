//! What the tasks that hold one parked poll each are told with the mailboxes: that the freshness of the state has turned.

use std::time::Duration;

use super::Who;

/// The last time that those who wait were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// Which time that was, counted from 1; 0: none yet.
    pub count: u64,
    /// Who is to know.
    pub who: Who,
    /// Over how long the answers are spread.
    pub within: Duration,
}

impl Default for Telling {
    fn default() -> Self {
        Self { count: 0, who: Who::Relays, within: Duration::ZERO }
    }
}
