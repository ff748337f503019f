//! The port for workers that speak HTTP/1.1 as servers from the first byte on: those of POTHEAD. They bring no credential.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::reverse::{ReverseWorker, serve_http1};
use crate::access::Caller;
use crate::bounds::{EXCHANGE_RAW_CONNECTIONS, EXCHANGE_RAW_KEEPALIVE};
use crate::exchange::Exchange;
use crate::exchange::metrics::Transport;
use crate::exchange::workers::WorkerDetails;
use crate::lifecycle::stop;

/// Accepts workers, until the process closes.
pub async fn serve(
    listener: TcpListener,
    exchange: Arc<Exchange>,
    stop: stop::Watch,
    (tasks, cut): (TaskTracker, CancellationToken),
) -> io::Result<()> {
    let permits = Arc::new(tokio::sync::Semaphore::new(EXCHANGE_RAW_CONNECTIONS));
    let mut drains = stop.clone();
    let drains = drains.left(stop::Phase::default());
    let mut drains = std::pin::pin!(drains);
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return Ok(()) };
        let (stream, peer) = tokio::select! {
            biased;
            _ = &mut drains => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, exchange = exchange.config().name, "a worker cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, "a worker's connection cannot be set up");
            continue;
        }
        let worker = ReverseWorker {
            exchange: Arc::clone(&exchange),
            key: None,
            details: WorkerDetails::new(Transport::Raw, (None, None), peer, 1),
            caller: Caller::Anonymous,
            stop: stop.clone(),
        };
        let (own, cut) = (tasks.clone(), cut.clone());
        tasks.spawn(async move {
            cut.run_until_cancelled(serve_http1(stream, worker, &own)).await;
            drop(permit);
        });
    }
}

/// A worker whose host is gone is noticed soon, though nothing is sent to an idle one.
fn tune(stream: &TcpStream) -> io::Result<()> {
    let (idle, interval, retries, unacknowledged) = EXCHANGE_RAW_KEEPALIVE;
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries))?;
    socket.set_tcp_user_timeout(Some(unacknowledged))
}
