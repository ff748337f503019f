//! Which topic a path belongs to. There are those of the configuration, and no others.

use std::collections::HashMap;
use std::sync::Arc;

use super::Topic;

/// All topics.
#[derive(Debug, Default)]
pub struct TopicRegistry {
    by_path: HashMap<Box<str>, Arc<Topic>>,
    /// In the order of the configuration.
    all: Vec<Arc<Topic>>,
}

impl TopicRegistry {
    /// These topics.
    #[must_use]
    pub fn new(all: Vec<Arc<Topic>>) -> Self {
        let by_path = all.iter().map(|topic| (topic.path().into(), Arc::clone(topic)));
        Self { by_path: by_path.collect(), all }
    }

    /// The topic at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Arc<Topic>> {
        self.by_path.get(path)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Arc<Topic>] {
        &self.all
    }
}
