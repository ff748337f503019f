//! The exchanges of the configuration: their ports, their tasks and their metrics.

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{AppError, sockets};
use crate::config::Config;
use crate::exchange::Exchange;
use crate::exchange::metrics::Families;
use crate::exchange::registry::ExchangeRegistry;
use crate::http::exchange::{Exchanges, raw};
use crate::lifecycle::stop::Stop;
use crate::lifecycle::tasks::Tasks;

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

/// Starts all exchanges.
pub(super) fn start(
    config: &Config,
    ports: Vec<Option<TcpListener>>,
    stop: &Stop,
    (registry, tasks): (&Registry, &mut Tasks),
    (connections, cut): (TaskTracker, CancellationToken),
) -> Result<Exchanges, AppError> {
    let mut all = Vec::with_capacity(config.exchanges.len());
    if !config.exchanges.is_empty() {
        let families = Families::register(registry)?;
        for (exchange, port) in config.exchanges.iter().zip(ports) {
            let exchange = Exchange::new(exchange.clone(), families.of(&exchange.name));
            let name = &exchange.config().name;
            let keeping = std::sync::Arc::clone(&exchange);
            tasks.spawn(format!("exchange {name}"), async move {
                keeping.keep_time().await;
                Ok(())
            });
            if let Some(port) = port {
                let workers = raw::serve(
                    port,
                    std::sync::Arc::clone(&exchange),
                    stop.watch(),
                    (connections.clone(), cut.clone()),
                );
                tasks.spawn(format!("raw port of exchange {name}"), async move {
                    workers.await?;
                    // On request: the owner of all tasks ends them.
                    std::future::pending().await
                });
            }
            all.push(exchange);
        }
    }
    let identity = config.access.identity_fields.clone();
    Ok(Exchanges::new(ExchangeRegistry::of(all), &config.trusted_proxies, identity, connections, cut))
}
