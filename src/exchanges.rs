//! Exchanges come, change and go while the process runs: what is wanted is compared with what runs, by name, and the difference is
//! made.
//!
//! All settings change in place, and nothing that is queued is lost: where an endpoint was, those who were told of it still come for
//! a while. One that is not wanted any more takes nothing new: its path is free, what is queued ends, and what workers have
//! already they may answer within the grace period.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::bounds::EXCHANGE_FORMER;
use crate::config::{self, Backend};
use crate::exchange::metrics::Families;
use crate::exchange::registry::{ExchangeRegistry, Former};
use crate::exchange::{Exchange, Tally, shared};
use crate::lifecycle::tasks::{Fatal, TaskResult};
use crate::lifecycle::wanted::{Follower, Wanted};
use crate::nats::Connection;

/// The exchanges that run.
#[derive(Debug)]
pub struct Exchanges {
    families: Families,
    /// How long those that end may take.
    grace: Duration,
    /// The servers of NATS.
    nats: Option<Connection>,
    table: Arc<ExchangeRegistry>,
    running: Vec<Running>,
    /// Where those that end are, and where others were: the oldest first.
    former: Vec<Left>,
    /// Each is an exchange's, and gives it back once it has ended.
    tasks: JoinSet<Arc<Exchange>>,
}

/// An endpoint that an exchange has left.
#[derive(Debug)]
struct Left {
    endpoint: Former,
    /// Until when it is found; none: until the exchange has ended.
    until: Option<Instant>,
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
    pub fn new(families: Families, grace: Duration, nats: Option<Connection>) -> Self {
        let (table, tasks) = (Arc::default(), JoinSet::new());
        Self { families, grace, nats, table, running: Vec::new(), former: Vec::new(), tasks }
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
            let due = self.former.iter().filter_map(|left| left.until).min();
            tokio::select! {
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(exchange) => self.forget(&exchange),
                    Err(panicked) => return Err(Fatal::Panicked(panicked).into()),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.forget_overdue(Instant::now()),
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
        // What one has in memory it cannot bring where another has it.
        let is_same = |running: &Running, config: &config::Exchange| {
            let before = running.exchange.config();
            before.name == config.name && before.backend == config.backend
        };
        let is_wanted = |running: &Running| wanted.iter().any(|config| is_same(running, config));
        let (staying, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running).into_iter().partition(is_wanted);
        self.running = staying;
        self.former.extend(gone.iter().map(|running| Left { endpoint: endpoint(&running.exchange), until: None }));
        // Requests no longer find them, before what is queued ends.
        self.publish();
        for Running { exchange, end } in gone {
            let Tally { queued, busy: in_flight, .. } = exchange.tally();
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
            let is_moved = |left: &Left| left.until.is_some();
            if self.former.iter().filter(|left| is_moved(left)).count() >= EXCHANGE_FORMER
                && let Some(oldest) = self.former.iter().position(is_moved)
            {
                self.former.remove(oldest);
            }
            // The longest that anything may take which was told of it.
            let longest = before.queue.age.max(before.queue.async_age) + before.deadline + before.result.keep;
            self.former.push(Left { endpoint: endpoint(exchange), until: Some(Instant::now() + longest) });
        }
        tracing::info!(exchange = %config.name, path = %config.path.as_str(), endpoint = %config.endpoint, "exchange changed");
        exchange.change(config.clone());
    }

    fn start(&mut self, config: config::Exchange) {
        let (path, endpoint) = (config.path.as_str(), &config.endpoint);
        tracing::info!(exchange = %config.name, %path, %endpoint, "exchange started");
        let metrics = self.families.of(&config.name);
        let exchange = Exchange::new(config, metrics);
        let shares = match (exchange.config().backend, &self.nats) {
            (Backend::Nats, Some(connection)) => {
                let link = exchange.share();
                Some(shared::run(Arc::clone(&exchange), connection.clone(), link))
            }
            // Without servers it is not accepted.
            (Backend::Memory | Backend::Nats, _) => None,
        };
        let end = CancellationToken::new();
        self.tasks.spawn(keep(Arc::clone(&exchange), shares, end.clone(), self.grace));
        self.running.push(Running { exchange, end });
    }

    fn forget(&mut self, ended: &Arc<Exchange>) {
        self.former.retain(|left| !Arc::ptr_eq(&left.endpoint.exchange, ended));
        self.publish();
        let name = &ended.config().name;
        let others = self.running.iter().map(|running| &running.exchange);
        let mut others = others.chain(self.former.iter().map(|left| &left.endpoint.exchange));
        if !others.any(|exchange| exchange.config().name == *name) {
            self.families.forget(name);
        }
    }

    /// Forgets the endpoints whose time is over.
    fn forget_overdue(&mut self, now: Instant) {
        self.former.retain(|left| left.until.is_none_or(|until| until > now));
        self.publish();
    }

    fn publish(&self) {
        let all = self.running.iter().map(|running| Arc::clone(&running.exchange));
        self.table.replace(all.collect(), self.former.iter().map(|left| left.endpoint.clone()).collect());
    }
}

/// The endpoint that an exchange has, and is about to leave.
fn endpoint(exchange: &Arc<Exchange>) -> Former {
    Former { exchange: Arc::clone(exchange), endpoint: exchange.config().endpoint.as_str().into() }
}

/// The task of an exchange: it keeps its time, until it has ended.
async fn keep(
    exchange: Arc<Exchange>,
    shares: Option<impl Future<Output = ()>>,
    end: CancellationToken,
    grace: Duration,
) -> Arc<Exchange> {
    {
        let time = Arc::clone(&exchange).keep_time();
        let shares = async {
            match shares {
                Some(shares) => shares.await,
                None => std::future::pending().await,
            }
        };
        let mut time = std::pin::pin!(async { tokio::join!(time, shares) });
        tokio::select! {
            _ = &mut time => {}
            () = end.cancelled() => {}
        }
        let emptied = async {
            tokio::select! {
                _ = &mut time => {}
                () = exchange.emptied() => {}
            }
        };
        // What workers have after that is cut, and operators are told.
        let _ = timeout(grace, emptied).await;
        exchange.cut();
        tokio::select! {
            _ = &mut time => {}
            () = exchange.leave() => {}
        }
    }
    exchange
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::time::sleep;

    use super::*;

    /// An exchange whose endpoint is this.
    fn at(endpoint: &str) -> [config::Exchange; 1] {
        [config::Exchange { endpoint: endpoint.to_owned(), ..config::Exchange::example("work") }]
    }

    #[tokio::test(start_paused = true)]
    async fn former_endpoints_are_bounded_and_leave_no_task_behind() {
        let families = Families::register(&Registry::new()).expect("new names");
        let mut exchanges = Exchanges::new(families, Duration::from_secs(20), None);
        for number in 0..4 * EXCHANGE_FORMER {
            exchanges.reconcile(&at(&format!("/workers-{number}")));
        }
        assert_eq!((exchanges.former.len(), exchanges.tasks.len()), (EXCHANGE_FORMER, 1), "the exchange's own task");
    }

    #[tokio::test(start_paused = true)]
    async fn a_former_endpoint_is_found_until_nobody_who_was_told_of_it_can_come() {
        let families = Families::register(&Registry::new()).expect("new names");
        let mut exchanges = Exchanges::new(families, Duration::from_secs(20), None);
        let found = |table: &ExchangeRegistry, endpoint: &str| table.find(&format!("{endpoint}/work/1")).is_some();
        let table = exchanges.registry();
        exchanges.reconcile(&at("/a"));
        exchanges.reconcile(&at("/b"));
        let config::Exchange { queue, deadline, result, .. } = &at("/b")[0];
        let longest = queue.age.max(queue.async_age) + *deadline + result.keep;
        let (wants, wanted) = watch::channel(Wanted::all(at("/b").to_vec()));
        let mut running = JoinSet::new();
        running.spawn(exchanges.run(wanted));
        sleep(longest / 2).await;
        wants.send_replace(Wanted::all(at("/c").to_vec()));
        sleep((longest / 2).saturating_sub(Duration::from_secs(1))).await;
        assert!(found(&table, "/a") && found(&table, "/b") && found(&table, "/c"));
        sleep(Duration::from_secs(2)).await;
        assert!(!found(&table, "/a") && found(&table, "/b") && found(&table, "/c"));
        sleep(longest / 2).await;
        assert!(!found(&table, "/b") && found(&table, "/c"));
    }
}
