//! Which topic a path belongs to. Replaced as a whole when one comes, changes or goes, so that a request finds its own without a
//! lock.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Topic;

/// All topics.
#[derive(Debug)]
pub struct TopicRegistry {
    table: ArcSwap<Table>,
    /// What is waited for before all topics are known: until then a path that none has may be one of theirs.
    unknown: watch::Sender<Option<&'static str>>,
}

#[derive(Debug, Default)]
struct Table {
    by_path: HashMap<Box<str>, Arc<Topic>>,
    /// In the order in which they came.
    all: Vec<Arc<Topic>>,
}

impl Default for TopicRegistry {
    fn default() -> Self {
        Self { table: ArcSwap::default(), unknown: watch::Sender::new(None) }
    }
}

impl TopicRegistry {
    /// The topic at a path, compared byte for byte.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Arc<Topic>> {
        self.table.load().by_path.get(path).map(Arc::clone)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Topic>> {
        self.table.load().all.clone()
    }

    /// Serves these from now on, at the paths that they have now. Their paths are distinct.
    pub fn replace(&self, all: Vec<Arc<Topic>>) {
        let by_path = all.iter().map(|topic| (topic.config().path.as_str().into(), Arc::clone(topic)));
        self.table.store(Arc::new(Table { by_path: by_path.collect(), all }));
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
}
