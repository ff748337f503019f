//! PURE. What of the configuration an exchange does with items.

use super::core::Rules;
use crate::config;

impl Rules {
    pub(super) fn of(config: &config::Exchange) -> Self {
        Self {
            queue_length: config.queue.length,
            per_client: config.queue.per_client,
            queue_age: config.queue.age,
            async_age: config.queue.async_age,
            deadline: config.deadline,
            first_touch: config.lease.first,
            lease: config.lease.length,
            attempts: config.attempts,
            repeat: config.repeat,
            keep: config.result.keep,
            refuse_after: config.refuse_after,
        }
    }
}
