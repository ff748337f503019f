//! The settings of an operation, and how they change while it runs: no request is released for that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Operation;
use crate::config;
use crate::model::{RemovalApproval, Rules};

/// What an operation goes by; changes while it runs.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) config: Arc<config::Operation>,
    /// The state that may be published although it removes so much.
    pub(super) confirmed: Option<RemovalApproval>,
}

impl Operation {
    /// How it is configured now.
    #[must_use]
    pub fn config(&self) -> Arc<config::Operation> {
        Arc::clone(&self.settings.borrow().config)
    }

    /// Configures it anew, and releases no request: those that are parked keep their permit and their hold, all else
    /// follows the new configuration from now on. The path, the source and
    /// `versionFrom` are for the owner of the router and of the source's task to change; the name is that of the operation for good.
    pub fn change(&self, config: config::Operation) {
        debug_assert_eq!(config.name, self.name, "another name is another operation");
        self.hub.set_limits(config.parked, config.limits);
        self.registry().set_expiry(super::expiry(&config));
        self.relays().set_wait(config.wait.max);
        self.wake_spread.store(nanos(config.wake_spread), Ordering::Relaxed);
        self.settings.send_replace(Settings::of(config));
        self.settings_generation.fetch_add(1, Ordering::Release);
    }

    /// Counts the changes of the configuration: whoever has read it while this was the same has read the current one.
    #[must_use]
    pub fn settings_generation(&self) -> u64 {
        self.settings_generation.load(Ordering::Acquire)
    }

    /// Over how long a release is spread.
    #[must_use]
    pub fn wake_spread(&self) -> Duration {
        Duration::from_nanos(self.wake_spread.load(Ordering::Relaxed))
    }
}

impl Settings {
    pub(super) fn of(config: config::Operation) -> Self {
        let confirmed = config.confirmed.as_deref().and_then(RemovalApproval::parse);
        Self { config: Arc::new(config), confirmed }
    }

    pub(super) fn rules(&self) -> Rules {
        let config = &self.config;
        Rules { min_interval: config.min_interval, paused: config.paused, guard: config.guard }
    }

    /// Whether these are the same, not only equal.
    pub(super) fn are(&self, others: &Self) -> bool {
        Arc::ptr_eq(&self.config, &others.config)
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
