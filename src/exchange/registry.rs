//! Which exchange a path belongs to. Replaced as a whole when one comes, changes or goes, so that a request finds its own
//! without a lock.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Exchange;
use super::core::Key;
use crate::config;

/// All exchanges.
#[derive(Debug)]
pub struct ExchangeRegistry {
    table: ArcSwap<Table>,
    /// What is waited for before all exchanges are known: until then a path that none has may be one of theirs.
    unknown: watch::Sender<Option<&'static str>>,
}

#[derive(Debug, Default)]
struct Table {
    all: Vec<Arc<Exchange>>,
    /// How each of these is configured.
    configs: Vec<Arc<config::Exchange>>,
    former: Vec<Former>,
}

/// An endpoint where nothing new is taken: workers still answer there, and consumers still come back.
#[derive(Debug, Clone)]
pub struct Former {
    /// Whose it is, or was.
    pub exchange: Arc<Exchange>,
    /// Where it is.
    pub endpoint: Arc<str>,
}

/// What a path is, to an exchange.
#[derive(Debug, Clone)]
pub enum Found {
    /// The path of consumers' requests, with this key.
    Path(Arc<Exchange>, Option<Key>),
    /// Below the endpoint: the rest of the path, without its first slash.
    Endpoint(Arc<Exchange>, Box<str>),
}

impl Default for ExchangeRegistry {
    fn default() -> Self {
        Self { table: ArcSwap::default(), unknown: watch::Sender::new(None) }
    }
}

impl ExchangeRegistry {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let table = self.table.load();
        table.all.is_empty() && table.former.is_empty()
    }

    /// All of them, without those that end.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Exchange>> {
        self.table.load().all.clone()
    }

    /// All of them, and those that end.
    #[must_use]
    pub fn all_and_leaving(&self) -> Vec<Arc<Exchange>> {
        let table = self.table.load();
        let former = table.former.iter().map(|former| &former.exchange);
        let leaving = former.filter(|exchange| !table.all.iter().any(|other| Arc::ptr_eq(other, exchange)));
        table.all.iter().chain(leaving).map(Arc::clone).collect()
    }

    /// Gives workers nothing more, since the process stops.
    pub fn withhold(&self) {
        self.all_and_leaving().iter().for_each(Exchange::withhold);
    }

    /// Serves these from now on, as they are configured now.
    pub fn replace(&self, all: Vec<Arc<Exchange>>, former: Vec<Former>) {
        let configs = all.iter().map(|exchange| exchange.config()).collect();
        self.table.store(Arc::new(Table { all, configs, former }));
    }

    /// Names what must be known before this is whole; none: it is.
    pub fn wait_for(&self, unknown: Option<&'static str>) {
        self.unknown.send_replace(unknown);
    }

    /// What must be known before this is whole.
    #[must_use]
    pub fn unknown(&self) -> Option<&'static str> {
        *self.unknown.borrow()
    }

    /// What a path is.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Found> {
        let table = self.table.load();
        let below = |endpoint: &str| {
            let rest = path.strip_prefix(endpoint)?;
            rest.strip_prefix('/').or_else(|| rest.is_empty().then_some("")).map(Box::<str>::from)
        };
        let of_all = table.all.iter().zip(&table.configs).find_map(|(exchange, config)| {
            if let Some(rest) = below(&config.endpoint) {
                return Some(Found::Endpoint(Arc::clone(exchange), rest));
            }
            let key = config.path.matches(path)?;
            Some(Found::Path(Arc::clone(exchange), key.map(Key::from)))
        });
        let is_old = |rest: &str| rest.starts_with("work/") || rest.starts_with("claims/");
        let of_former = || {
            table.former.iter().find_map(|Former { exchange, endpoint }| {
                let rest = below(endpoint).filter(|rest| is_old(rest))?;
                Some(Found::Endpoint(Arc::clone(exchange), rest))
            })
        };
        of_all.or_else(of_former)
    }
}
