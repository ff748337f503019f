//! PURE. The model that the objects of a selector are together, keyed by name: kept as it is from
//! one change to the next, so that one object's change costs that object.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::{Good, LastGood};
use crate::model::{Document, SourceRevisions};
use crate::sources::kubernetes::set::ObjectEntry;
use crate::sources::{SourceObject, SourceObjects};

/// What is known of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPart {
    /// What was read of it.
    pub held: LastGood,
    /// The same for those who write statuses.
    pub part: Arc<SourceObject>,
}

/// The objects, by name.
pub type Entries = BTreeMap<String, ObjectEntry<ModelPart>>;

/// The model that objects are together.
#[derive(Debug)]
pub struct Aggregate(Document);

impl Default for Aggregate {
    fn default() -> Self {
        Self(Document::object([]))
    }
}

impl Aggregate {
    /// The model.
    #[must_use]
    pub fn document(&self) -> &Document {
        &self.0
    }

    /// One object has changed or come.
    pub fn change(&mut self, name: &str, entries: &Entries) {
        let good = entries.get(name).and_then(|entry| entry.payload.held.good.as_ref());
        self.0 = match good {
            Some(good) => self.0.with_member(name, good.document.clone()),
            None => self.0.without_member(name),
        };
    }

    /// Any of them may have changed or gone.
    pub fn replace(&mut self, entries: &Entries) {
        let good = |(name, entry): (&String, &ObjectEntry<ModelPart>)| {
            Some((name.clone(), entry.payload.held.good.as_ref()?.document.clone()))
        };
        // In memory of the parts of before, or the next change would be compared with all of them.
        self.0 = Document::object(entries.iter().filter_map(good)).sharing(&self.0);
    }
}

/// Which versions of which objects the good contents are of.
#[must_use]
pub fn revisions(entries: &Entries) -> SourceRevisions {
    let good = entries.values().filter_map(|entry| entry.payload.held.good.as_ref());
    SourceRevisions::of(good.map(|Good { input, .. }| *input))
}

/// The objects, for those who write statuses.
#[must_use]
pub fn source_objects(entries: &Entries) -> SourceObjects {
    entries.values().map(|entry| Arc::clone(&entry.payload.part)).collect()
}
