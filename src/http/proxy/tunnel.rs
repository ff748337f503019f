//! What follows a 101: bytes both ways, until both sides have ended.

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::metrics::Metrics;

/// Joins the client's connection and the app's. The end of one direction is passed on and the
/// other goes on, as TCP has it; a silent tunnel stays, since a WebSocket may be silent, and TCP
/// keep-alive finds peers that are gone.
pub(super) async fn run(client: OnUpgrade, app: OnUpgrade, metrics: Metrics) {
    let joined = futures::future::try_join(client, app).await;
    let result = match joined {
        Ok((client, app)) => {
            let _open = metrics.tunnel();
            copy(client, app).await
        }
        // The client left before it read the 101.
        Err(error) => Err(std::io::Error::other(error)),
    };
    if let Err(error) = result {
        debug!(%error, "a tunnel to the app broke");
    }
}

async fn copy(client: Upgraded, app: Upgraded) -> std::io::Result<()> {
    let (mut client, mut app) = (TokioIo::new(client), TokioIo::new(app));
    tokio::io::copy_bidirectional(&mut client, &mut app).await?;
    Ok(())
}
