//! Which operations run, by their paths. Replaced as a whole when one comes or goes, so that a
//! request finds its own without a lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Operation;

/// All operations that run.
#[derive(Debug)]
pub struct OperationRegistry {
    by_path: ArcSwap<HashMap<String, Arc<Operation>>>,
    generation: AtomicU64,
    /// What else is waited for before all operations are known: until then a path that none has may be one of theirs.
    unknown: watch::Sender<Option<&'static str>>,
}

impl Default for OperationRegistry {
    fn default() -> Self {
        Self { by_path: ArcSwap::default(), generation: AtomicU64::new(0), unknown: watch::Sender::new(None) }
    }
}

impl OperationRegistry {
    /// A table of these operations, to which none will be added.
    #[must_use]
    pub fn of(operations: impl IntoIterator<Item = Arc<Operation>>) -> Self {
        let table = Self::default();
        table.replace(operations);
        table
    }

    /// The operation with this path, compared byte for byte.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Arc<Operation>> {
        self.by_path.load().get(path).cloned()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Operation>> {
        let mut all: Vec<_> = self.by_path.load().values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// All of their paths, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.by_path.load().keys().cloned().collect();
        paths.sort();
        paths
    }

    /// Serves these from now on. Their paths are distinct.
    pub fn replace(&self, operations: impl IntoIterator<Item = Arc<Operation>>) {
        let by_path = operations.into_iter().map(|operation| (operation.path.clone(), operation));
        self.by_path.store(Arc::new(by_path.collect()));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Counts the changes of the table: whoever has found an operation while this was the same finds it again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Names what must be known before this table is whole; none: it is.
    pub fn wait_for(&self, unknown: Option<&'static str>) {
        self.unknown.send_replace(unknown);
    }

    /// What must be known before this table is whole.
    #[must_use]
    pub fn unknown(&self) -> Option<&'static str> {
        *self.unknown.borrow()
    }

    /// The operations that are relayed here without their server, where all are; with one that is not, there is something
    /// to come here for.
    #[must_use]
    pub fn cut_off(&self) -> Vec<String> {
        let named = |operation: Arc<Operation>| operation.cut_off().map(|why| format!("{} ({why})", operation.name));
        self.all().into_iter().map(named).collect::<Option<_>>().unwrap_or_default()
    }

    /// What lacks a state, for `/readyz`: the operations without one, and what is not known yet.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let without = self.all().into_iter().filter(|operation| operation.hub.current().is_none());
        let mut missing: Vec<_> = without.map(|operation| operation.name.clone()).collect();
        missing.extend(self.unknown().map(str::to_owned));
        missing
    }
}
