//! The end of the process: what waits is answered, and connections close.

use std::pin::pin;
use std::sync::Arc;

use prometheus::IntGauge;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::bounds::EXCHANGE_GIVE_UP;
use crate::exchange::Exchange;
use crate::exchange::registry::ExchangeRegistry;
use crate::lifecycle::stop::Stop;
use crate::operation::OperationRegistry;
use crate::topic::registry::TopicRegistry;

/// Begins to stop: nothing that waits is begun any more. It is said once that is so.
pub(super) fn begin(stop: &Stop, exchanges: &ExchangeRegistry, signal: &str) {
    exchanges.withhold();
    stop.drain();
    tracing::info!(signal, grace = ?stop.grace(), "stopping");
}

/// Answers what is parked, then closes connections, within the grace period. Shortly before its end what workers have and have not
/// answered fails, so that its consumers are still told.
pub(super) async fn drain(
    stop: &Stop,
    (operations, exchanges, topics): (&OperationRegistry, &ExchangeRegistry, &TopicRegistry),
    connections: &TaskTracker,
    open: &IntGauge,
) {
    let deadline = Instant::now() + stop.grace();
    let of_exchanges = exchanges.all_and_leaving();
    let mut ended = pin!(end_connections(stop, (operations, &of_exchanges, topics), connections, deadline));
    let gives_up = deadline - EXCHANGE_GIVE_UP.min(stop.grace() / 2);
    let is_over = if let Ok(is_over) = timeout_at(gives_up, &mut ended).await {
        is_over
    } else {
        for exchange in &of_exchanges {
            exchange.give_up();
        }
        ended.await
    };
    for exchange in &of_exchanges {
        exchange.tell_of_stop();
        exchange.leave().await;
    }
    if !is_over {
        // Tunnels, and what is left of uploads, are tasks without a connection that counts.
        let (connections, tasks) = (open.get(), connections.len());
        tracing::warn!(connections, tasks, "the grace period is over, what is left is cut");
    }
}

/// Answers what is parked, then closes connections: whether all have ended by then.
async fn end_connections(
    stop: &Stop,
    (operations, exchanges, topics): (&OperationRegistry, &[Arc<Exchange>], &TopicRegistry),
    connections: &TaskTracker,
    deadline: Instant,
) -> bool {
    let drain = stop.drain();
    let emptied = async {
        for operation in operations.all() {
            operation.hub.emptied().await;
        }
        for topic in topics.all() {
            topic.emptied().await;
        }
        // A worker that polls posts its answer on another connection.
        for exchange in exchanges {
            exchange.emptied().await;
        }
    };
    // Who comes after the slots is answered at once when the process closes.
    let _ = timeout_at(drain.end().min(deadline), emptied).await;
    stop.close();
    connections.close();
    timeout_at(deadline, connections.wait()).await.is_ok()
}
