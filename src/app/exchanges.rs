//! The exchanges of the configuration, and those that come later: their ports, their tasks and their metrics.

use std::sync::Arc;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{App, AppError, sockets};
use crate::config::Config;
use crate::exchange::metrics::Families;
use crate::exchange::registry::ExchangeRegistry;
use crate::exchanges;
use crate::http::exchange::{Exchanges, raw};
use crate::lifecycle::stop::Stop;
use crate::lifecycle::tasks::Tasks;
use crate::lifecycle::wanted::Wanted;

/// The raw ports of all exchanges, in their order.
pub(super) fn bind(config: &Config) -> Result<Vec<Option<TcpListener>>, AppError> {
    let bind = |address| {
        let setting = "exchanges.workers.raw";
        let (listener, address) =
            sockets::listen(address).map_err(|source| AppError::Bind { address, setting, source })?;
        tracing::info!(%address, "listening for workers");
        Ok(listener)
    };
    config.exchanges.iter().map(|exchange| exchange.raw.map(bind).transpose()).collect()
}

/// Starts those of the configuration; what is then sent to the sender runs in their place.
pub(super) fn start(
    app: &mut App,
    stop: &Stop,
    (registry, tasks): (&Registry, &mut Tasks),
    (connections, cut): (&TaskTracker, &CancellationToken),
) -> Result<(Arc<ExchangeRegistry>, watch::Sender<Wanted<crate::config::Exchange>>), AppError> {
    let (config, ports) = (&app.config, std::mem::take(&mut app.raw));
    let (wanted, wants) = watch::channel(Wanted::all(config.exchanges.clone()));
    if config.exchanges.is_empty() && config.controller.is_none() {
        return Ok((Arc::default(), wanted));
    }
    let mut exchanges = exchanges::Exchanges::new(Families::register(registry)?, config.grace, app.nats.take());
    exchanges.reconcile(&config.exchanges);
    let table = exchanges.registry();
    for (exchange, port) in table.all().into_iter().zip(ports) {
        if let Some(port) = port {
            let name = exchange.config().name.clone();
            let workers = raw::serve(port, exchange, stop.watch(), (connections.clone(), cut.clone()));
            tasks.spawn(format!("raw port of exchange {name}"), async move {
                workers.await?;
                // On request: the owner of all tasks ends them.
                std::future::pending().await
            });
        }
    }
    tasks.spawn("exchanges", exchanges.run(wants));
    Ok((table, wanted))
}

/// What requests to them need.
pub(super) fn port(
    config: &Config,
    table: &Arc<ExchangeRegistry>,
    connections: TaskTracker,
    cut: CancellationToken,
) -> Exchanges {
    let identity = config.access.identity_fields.clone();
    Exchanges::new(Arc::clone(table), &config.trusted_proxies, identity, connections, cut)
}
