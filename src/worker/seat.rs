//! One connection to an address after the other, each offered while it may be.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::context::Context;
use super::dial::{Unreached, dial};
use super::offer::{Offer, Terms};
use super::pause::Pause;
use super::standing::Counted;
use super::{http1, http2};
use crate::bounds::WORKER_BACKOFF;
use crate::client::Dialer;
use crate::config::Protocol;

/// A connection that ended sooner without a request counts as an attempt that failed.
const STEADY: Duration = Duration::from_secs(1);

/// Where one connection at a time stands.
pub(super) struct Seat {
    pub(super) context: Arc<Context>,
    pub(super) dialer: Arc<Dialer>,
    pub(super) address: SocketAddr,
    pub(super) slots: usize,
    pub(super) terms: Terms,
    pub(super) told: Arc<Told>,
}

/// What was logged last of an address: all seats there meet the same.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Option<String>>);

/// How a connection ended.
#[derive(Debug)]
pub(super) struct Served {
    /// Requests that came on it.
    pub(super) requests: u64,
    /// Why it was lost; none: it was ended.
    lost: Option<String>,
}

impl Served {
    pub(super) fn ended(requests: u64) -> Self {
        Self { requests, lost: None }
    }

    pub(super) fn lost(requests: u64, why: &str) -> Self {
        Self { requests, lost: Some(why.to_owned()) }
    }
}

impl Seat {
    /// Dials for as long as it is not drained.
    pub(super) async fn run(self) {
        let mut pause = Pause::new(WORKER_BACKOFF);
        while let Some(offer) = self.terms.offer().await {
            let dialled = tokio::select! {
                biased;
                () = self.terms.drain.cancelled() => return,
                dialled = dial(&self.context, &self.dialer, self.address, self.slots) => dialled,
            };
            let wait = match dialled {
                Ok(io) => {
                    self.reached();
                    let since = Instant::now();
                    let served = self.serve(io, offer).await;
                    let is_steady = served.requests > 0 || since.elapsed() >= STEADY;
                    if is_steady {
                        pause.reset();
                    }
                    match served.lost {
                        Some(why) => {
                            self.lost(&why);
                            pause.next()
                        }
                        None if is_steady => Duration::ZERO,
                        None => pause.next(),
                    }
                }
                Err(unreached) => {
                    // Another seat has its turn meanwhile.
                    drop(offer);
                    let pause = pause.next();
                    let wait = unreached.retry_after.map_or(pause, |asked| asked + pause);
                    self.unreached(&unreached);
                    wait
                }
            };
            tokio::select! {
                () = self.terms.drain.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    async fn serve(&self, io: hyper::upgrade::Upgraded, offer: Offer) -> Served {
        let counted = Counted::new(self.slots, &self.context.metrics, &self.context.connections);
        let over = offer.over(counted.standing.busy());
        match self.context.protocol {
            Protocol::Http1 => http1::serve(io, &self.context, counted, over).await,
            Protocol::Http2 => http2::serve(io, self.slots, &self.context, counted, over).await,
        }
    }

    fn name(&self) -> String {
        self.dialer.name(Some(self.address))
    }

    fn reached(&self) {
        self.context.reached.send_replace(true);
        if self.told.becomes("") {
            tracing::info!(exchange = self.name(), slots = self.slots, "connected");
        }
    }

    fn lost(&self, why: &str) {
        if self.told.becomes(why) {
            tracing::warn!(exchange = self.name(), why, "a connection to an exchange was lost: dialled again");
        }
    }

    fn unreached(&self, unreached: &Unreached) {
        self.context.reached.send_replace(false);
        if self.told.becomes(&unreached.why) {
            tracing::warn!(exchange = self.name(), why = unreached.why, "an exchange cannot be reached: tried again");
        }
    }
}

impl Told {
    /// Whether this is news.
    fn becomes(&self, text: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.as_deref() != Some(text);
        *told = Some(text.to_owned());
        is_news
    }
}
