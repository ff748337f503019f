//! The worker as a process: what it starts, what it is told, and its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::admin;
use super::context::Context;
use super::exit::Exit;
use super::fleet::Fleet;
use super::gate::Gates;
use super::metrics::Metrics;
use super::redirect::{Redirect, serve_fetches};
use super::server::Server;
use super::slots::Slots;
use crate::client::{Dialer, InvalidSetting};
use crate::config::worker::Worker;
use crate::lifecycle::stop::Signals;
use crate::sockets;
use crate::systemd::Notify;

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The connection to an exchange cannot be made.
    #[error("{} is {:?}: {}", .0.name, .0.value, .0.remedy)]
    Exchange(#[from] InvalidSetting),
    /// A port is not to be had.
    #[error("cannot listen on {address} ({flag})")]
    Listen {
        /// Which.
        flag: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Signals cannot be handled.
    #[error("signals cannot be handled")]
    Signals(#[source] io::Error),
    /// Two metrics have the same name.
    #[error("metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Runs a worker until it is told to end.
pub async fn run(config: &Worker, notify: &Notify) -> Result<Exit, StartError> {
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let dialers = Dialer::all(&config.exchange)?;
    let metrics = Arc::new(Metrics::new()?);
    let slots = Arc::new(Slots::new(config.slots));
    let mut beside = JoinSet::new();
    let redirect = match &config.redirect {
        Some(redirect) => {
            let listener = listen("--redirect-response", redirect.listen)?;
            let redirect = Arc::new(Redirect::new(&redirect.advertise));
            beside.spawn(serve_fetches(listener, Arc::clone(&redirect)));
            Some(redirect)
        }
        None => None,
    };
    let admin = config.admin.map(|address| listen("--admin", address)).transpose()?;
    let gates = Gates::new(&config.gates, config.cgroup.clone(), Arc::clone(&slots), Arc::clone(&metrics));
    let context = Arc::new(Context {
        server: Arc::new(Server::new(config.to.clone(), Arc::clone(&metrics))),
        slots,
        metrics,
        redirect,
        gate: gates.as_ref().map(Gates::verdict),
        protocol: config.protocol,
        key: config.key.clone(),
        agent_id: config.exchange.agent_id.clone(),
        connections: watch::Sender::new(0),
        reached: watch::Sender::new(false),
        stop: CancellationToken::new(),
    });
    let server = Arc::clone(&context.server);
    beside.spawn(async move { server.look().await });
    if let Some(gates) = gates {
        beside.spawn(gates.run());
    }
    let _admin = admin.map(|listener| admin::serve(listener, Arc::clone(&context)));
    let mut fleet = JoinSet::new();
    fleet.spawn(Fleet::new(Arc::clone(&context), dialers, config.slots).run());
    Ok(until_told(&context, &mut signals, notify, &mut fleet, config.grace).await)
}

fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let (listener, bound) = sockets::listen(address).map_err(|source| StartError::Listen { flag, address, source })?;
    tracing::info!(flag, address = %bound, "listening");
    Ok(listener)
}

async fn until_told(
    context: &Context,
    signals: &mut Signals,
    notify: &Notify,
    fleet: &mut JoinSet<()>,
    grace: Duration,
) -> Exit {
    let mut connected = context.connections.subscribe();
    let mut is_ready = false;
    let mut watchdog = interval(notify.watchdog().unwrap_or(Duration::from_secs(3600)));
    watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
    notify.status("no exchange is connected yet");
    let signal = loop {
        tokio::select! {
            signal = signals.next() => break signal,
            _ = watchdog.tick() => notify.alive(),
            seen = connected.wait_for(|count| *count > 0), if !is_ready => {
                is_ready = seen.is_ok();
                notify.ready("connected");
            }
            // It ends when it is told to, or by a fault of its own.
            _ = fleet.join_next() => {
                tracing::error!("what dials exchanges has ended, though nobody asked it to");
                return Exit::Failed;
            }
        }
    };
    notify.stopping(grace);
    let (running, begun) = (context.slots.busy(), context.slots.begun());
    tracing::info!(
        signal,
        running,
        grace_seconds = grace.as_secs_f64(),
        "ends: what runs is finished, nothing new is taken"
    );
    context.stop.cancel();
    let ended = tokio::select! {
        _ = fleet.join_next() => "all requests are finished",
        () = sleep(grace) => "the grace period is over",
        signal = signals.next() => signal,
    };
    let cut = context.slots.busy();
    // Requests that were on their way when it began have come meanwhile.
    let come = usize::try_from(context.slots.begun() - begun).unwrap_or(usize::MAX);
    let finished = running.saturating_add(come).saturating_sub(cut);
    fleet.shutdown().await;
    tracing::info!(finished, cut, why = ended, "ended");
    if cut == 0 { Exit::Stopped } else { Exit::Cut }
}
