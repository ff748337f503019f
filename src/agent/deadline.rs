//! Waits that may have no end.

use tokio::time::{Instant, sleep_until};

/// Waits until then; none: for ever.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
