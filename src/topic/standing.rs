//! A topic that changes, or ends, while there are readers.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Topic;
use crate::config;
use crate::describe::Problem;
use crate::describe::problem::Kind;

impl Topic {
    /// Changes how it is configured. What is kept stays, as far as the history allows; readers and publishers go on.
    pub fn change(&self, config: config::Topic, now: Instant) {
        let mut core = self.core();
        core.change(&config);
        self.metrics.show_kept(&core.extent(now));
        self.config.store(config.into());
    }

    /// Takes nothing more: readers are given what they have not read, and are then told that it has ended.
    pub fn end(&self) {
        {
            // Within the lock, so that nothing is published after it.
            let _core = self.core();
            self.has_ended.store(true, Ordering::Release);
        }
        self.announcer.tell_end();
        self.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// What is told to those who come to it once it has ended.
    #[must_use]
    pub fn ended(&self) -> Problem {
        let detail = format!("topic {} has ended: ask whoever runs the service", self.name);
        Problem::new(Kind::NotFound, detail)
    }
}
