//! Exchanges come, change and go while the process runs: what is wanted is compared with what runs, by name, and the difference is
//! made.
//!
//! All settings change in place, and nothing that is queued is lost: where an endpoint was, those who were told of it still come for
//! a while. One that is not wanted any more takes nothing new: its path is free at once, what is queued ends, and what workers have
//! already they may answer within the grace period.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bounds::EXCHANGE_FORMER;
use crate::config;
use crate::exchange::Exchange;
use crate::exchange::metrics::Families;
use crate::exchange::registry::{ExchangeRegistry, Former};
use crate::lifecycle::tasks::{Fatal, TaskResult};
use crate::lifecycle::wanted::{Follower, Wanted};

/// The exchanges that run.
#[derive(Debug)]
pub struct Exchanges {
    families: Families,
    /// How long those that end may take.
    grace: Duration,
    table: Arc<ExchangeRegistry>,
    running: Vec<Running>,
    /// Where those that end are, and where others were.
    former: Vec<Former>,
    tasks: JoinSet<Ended>,
}

/// What is over.
#[derive(Debug)]
enum Ended {
    /// An exchange.
    Exchange(Arc<Exchange>),
    /// The time of an endpoint that was an exchange's.
    Endpoint(Arc<str>),
}

/// One that runs.
#[derive(Debug)]
struct Running {
    exchange: Arc<Exchange>,
    /// Ends its task.
    end: CancellationToken,
}

impl Exchanges {
    /// None runs yet.
    #[must_use]
    pub fn new(families: Families, grace: Duration) -> Self {
        let (table, tasks) = (Arc::default(), JoinSet::new());
        Self { families, grace, table, running: Vec::new(), former: Vec::new(), tasks }
    }

    /// Where requests find them.
    #[must_use]
    pub fn registry(&self) -> Arc<ExchangeRegistry> {
        Arc::clone(&self.table)
    }

    /// Makes what runs what is wanted, until a task fails. Once nobody can want anything else, it stays as it is.
    pub async fn run(mut self, wanted: watch::Receiver<Wanted<config::Exchange>>) -> TaskResult {
        let mut wanted = Follower::new(wanted);
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(Ended::Exchange(exchange)) => self.forget(&exchange),
                    Ok(Ended::Endpoint(endpoint)) => self.forget_endpoint(&endpoint),
                    Err(panicked) => return Err(Fatal::Panicked(panicked).into()),
                },
                next = wanted.next() => {
                    self.reconcile(&next.configs);
                    // Not before they are found: until then a path may be one of theirs.
                    self.table.wait_for(next.unknown);
                }
            }
        }
    }

    /// Makes what runs these.
    pub fn reconcile(&mut self, wanted: &[config::Exchange]) {
        let is_wanted = |running: &Running| wanted.iter().any(|config| config.name == running.exchange.config().name);
        let (staying, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running).into_iter().partition(is_wanted);
        self.running = staying;
        self.former.extend(gone.iter().map(|running| former(&running.exchange)));
        // Requests no longer find them, before what is queued ends.
        self.publish();
        for Running { exchange, end } in gone {
            let shown = exchange.shown();
            let (queued, in_flight) = (shown.queued, shown.in_flight);
            tracing::info!(exchange = %exchange.config().name, queued, in_flight, "exchange ended");
            exchange.close();
            end.cancel();
        }
        for config in wanted {
            let running = self.running.iter().find(|running| running.exchange.config().name == config.name);
            match running.map(|running| Arc::clone(&running.exchange)) {
                None => self.start(config.clone()),
                Some(exchange) if *exchange.config() != *config => self.change(&exchange, config),
                Some(_) => {}
            }
        }
        self.publish();
    }

    fn change(&mut self, exchange: &Arc<Exchange>, config: &config::Exchange) {
        let before = exchange.config();
        if before.endpoint != config.endpoint {
            let is_moved = |former: &Former| self.running.iter().any(|it| Arc::ptr_eq(&it.exchange, &former.exchange));
            let moved: Vec<_> = self.former.iter().filter(|former| is_moved(former)).collect();
            if let [oldest, ..] = moved.as_slice()
                && moved.len() >= EXCHANGE_FORMER
            {
                let oldest = Arc::clone(&oldest.endpoint);
                self.forget_endpoint(&oldest);
            }
            let former = former(exchange);
            let endpoint = Arc::clone(&former.endpoint);
            self.former.push(former);
            // The longest that anything may take which was told of it.
            let longest = before.queue.age.max(before.queue.async_age) + before.deadline + before.result.keep;
            self.tasks.spawn(async move {
                sleep(longest).await;
                Ended::Endpoint(endpoint)
            });
        }
        tracing::info!(exchange = %config.name, path = %config.path.as_str(), endpoint = %config.endpoint, "exchange changed");
        exchange.change(config.clone());
    }

    fn start(&mut self, config: config::Exchange) {
        let (path, endpoint) = (config.path.as_str(), &config.endpoint);
        tracing::info!(exchange = %config.name, %path, %endpoint, "exchange started");
        let metrics = self.families.of(&config.name);
        let exchange = Exchange::new(config, metrics);
        let end = CancellationToken::new();
        self.tasks.spawn(keep(Arc::clone(&exchange), end.clone(), self.grace));
        self.running.push(Running { exchange, end });
    }

    fn forget(&mut self, ended: &Arc<Exchange>) {
        self.former.retain(|former| !Arc::ptr_eq(&former.exchange, ended));
        self.publish();
        let name = &ended.config().name;
        let others = self.running.iter().map(|running| &running.exchange);
        let mut others = others.chain(self.former.iter().map(|former| &former.exchange));
        if !others.any(|exchange| exchange.config().name == *name) {
            self.families.forget(name);
        }
    }

    fn forget_endpoint(&mut self, endpoint: &Arc<str>) {
        self.former.retain(|former| !Arc::ptr_eq(&former.endpoint, endpoint));
        self.publish();
    }

    fn publish(&self) {
        let all = self.running.iter().map(|running| Arc::clone(&running.exchange));
        self.table.replace(all.collect(), self.former.clone());
    }
}

/// The endpoint that an exchange has, and is about to leave.
fn former(exchange: &Arc<Exchange>) -> Former {
    Former { exchange: Arc::clone(exchange), endpoint: exchange.config().endpoint.as_str().into() }
}

/// The task of an exchange: it keeps its time, until it has ended.
async fn keep(exchange: Arc<Exchange>, end: CancellationToken, grace: Duration) -> Ended {
    {
        let mut time = std::pin::pin!(Arc::clone(&exchange).keep_time());
        tokio::select! {
            () = &mut time => {}
            () = end.cancelled() => {}
        }
        let emptied = async {
            tokio::select! {
                () = &mut time => {}
                () = exchange.emptied() => {}
            }
        };
        if timeout(grace, emptied).await.is_err() {
            let in_flight = exchange.shown().in_flight;
            tracing::warn!(exchange = %exchange.config().name, in_flight, "the grace period of an exchange that ended is over, what workers have is cancelled");
        }
    }
    exchange.cut();
    Ended::Exchange(exchange)
}
