//! The topics of the configuration.

use std::sync::Arc;

use prometheus::Registry;
use tokio::time::Instant;

use super::AppError;
use crate::config::Config;
use crate::exchange::random;
use crate::http::topic::Topics;
use crate::topic::Topic;
use crate::topic::id::Epoch;
use crate::topic::metrics::Families;
use crate::topic::registry::TopicRegistry;

/// Starts them, without messages: each begins a history of its own. Also gives what requests to them need.
pub(super) fn start(config: &Config, registry: &Registry) -> Result<(Arc<TopicRegistry>, Arc<Topics>), AppError> {
    if config.topics.is_empty() {
        return Ok((Arc::default(), Arc::default()));
    }
    let families = Families::register(registry)?;
    let now = Instant::now().into_std();
    let started = config.topics.iter().map(|topic| {
        #[expect(clippy::cast_possible_truncation, reason = "any half of random bits is random")]
        let epoch = Epoch::of(random() as u64);
        tracing::info!(topic = %topic.name, path = %topic.path, "topic started");
        Topic::new(topic.clone(), epoch, families.of(&topic.name), now)
    });
    let table = Arc::new(TopicRegistry::new(started.collect()));
    let port = Topics::new(Arc::clone(&table), &config.trusted_proxies);
    Ok((table, Arc::new(port)))
}
