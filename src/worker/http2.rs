//! A connection of HTTP/2 on which the worker is the server. It ends by GOAWAY: streams that come too late for it are refused, so
//! that the exchange gives them to another worker.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::Builder;
use h2::{Ping, PingPong, Reason};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::seat::Served;
use super::standing::Counted;
use crate::bounds::{WORKER_HEAD_BYTES, WORKER_PING, WORKER_UPGRADE, WORKER_WINDOW};

mod body;
mod exchange;

/// Serves a connection with so many slots until it ends; `over`: nothing more is offered on it. Gives how it ended once what was
/// answered on it is sent, also by the way of `--redirect-response`.
pub(super) async fn serve(
    io: Upgraded,
    slots: usize,
    context: &Arc<Context>,
    counted: Counted,
    over: impl Future<Output = ()>,
) -> Served {
    let slots = u32::try_from(slots).unwrap_or(1);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(slots)
        .initial_window_size(WORKER_WINDOW)
        .initial_connection_window_size(WORKER_WINDOW.saturating_mul(slots))
        .max_header_list_size(u32::try_from(WORKER_HEAD_BYTES).unwrap_or(u32::MAX));
    let handshake = timeout(WORKER_UPGRADE, builder.handshake::<_, Bytes>(TokioIo::new(io)));
    let mut connection = match handshake.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Served::lost(0, &error.to_string()),
        Err(_) => return Served::lost(0, "the exchange did not begin HTTP/2 in time"),
    };
    let pings = connection.ping_pong();
    // An answer that is kept here takes the slot with it: the connection is not for another request.
    let kept = CancellationToken::new();
    let (mut over, mut silent) = (pin!(over), pin!(silent(pings)));
    let mut exchanges = JoinSet::new();
    let (mut count, mut is_ending) = (0, false);
    let lost = loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((_, mut respond))) if is_ending => respond.send_reset(Reason::REFUSED_STREAM),
                Some(Ok((request, respond))) => {
                    count += 1;
                    // In this order: who sees the connection busy sees the request, too.
                    let taken = context.slots.begin();
                    let held = (taken, counted.standing.begin());
                    exchanges.spawn(exchange::run(Arc::clone(context), held, kept.clone(), request, respond));
                }
                Some(Err(error)) => break Some(error.to_string()),
                None => break None,
            },
            () = async { tokio::select! { () = &mut over => {}, () = kept.cancelled() => {} } }, if !is_ending => {
                is_ending = true;
                counted.standing.withdraw();
                connection.graceful_shutdown();
            }
            () = &mut silent => break Some("the exchange gives no sign of life (PING)".to_owned()),
            Some(_) = exchanges.join_next() => {}
        }
    };
    // With the connection its streams are gone, which those who still work on one learn.
    drop(connection);
    drop(counted);
    while exchanges.join_next().await.is_some() {}
    match lost {
        Some(why) => Served::lost(count, &why),
        None => Served::ended(count),
    }
}

/// Ends once the other side has not answered a PING in time.
async fn silent(pings: Option<PingPong>) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    let (every, limit) = WORKER_PING;
    loop {
        sleep(every).await;
        // It fails where the connection is gone, which is told elsewhere.
        if pings.send_ping(Ping::opaque()).is_err() {
            return std::future::pending().await;
        }
        match timeout(limit, poll_fn(|cx| pings.poll_pong(cx))).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}
