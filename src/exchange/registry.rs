//! Which exchange a path belongs to.

use std::sync::Arc;

use super::Exchange;
use super::core::Key;

/// All exchanges.
#[derive(Debug, Default)]
pub struct ExchangeRegistry {
    all: Vec<Arc<Exchange>>,
}

/// What a path is, to an exchange.
#[derive(Debug, Clone)]
pub enum Found<'a> {
    /// The path of consumers' requests, with this key.
    Path(&'a Arc<Exchange>, Option<Key>),
    /// Below the endpoint: the rest of the path, without its first slash.
    Endpoint(&'a Arc<Exchange>, &'a str),
}

impl ExchangeRegistry {
    /// These exchanges.
    #[must_use]
    pub fn of(all: Vec<Arc<Exchange>>) -> Self {
        Self { all }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Arc<Exchange>] {
        &self.all
    }

    /// What a path is.
    #[must_use]
    pub fn find<'a>(&'a self, path: &'a str) -> Option<Found<'a>> {
        self.all.iter().find_map(|exchange| {
            let config = exchange.config();
            if let Some(rest) = path.strip_prefix(&config.endpoint)
                && let Some(rest) = rest.strip_prefix('/').or_else(|| rest.is_empty().then_some(""))
            {
                return Some(Found::Endpoint(exchange, rest));
            }
            let key = config.path.matches(path)?;
            Some(Found::Path(exchange, key.map(Key::from)))
        })
    }
}
