//! Values as they were written, and where: what flags, the environment and the file have in
//! common. [`super::reader`] looks a setting up in several layers.

use std::collections::BTreeMap;

/// One value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// Where, as the user would look for it.
    pub(super) origin: String,
    /// What.
    pub(super) text: String,
}

/// What one place gives, by setting. A setting that is there without a value has been refused
/// already (or is an empty list): it counts as present, so that nobody also calls it missing.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// What messages about something missing name.
    pub(super) origin: String,
    values: BTreeMap<&'static str, Vec<Given>>,
    /// Lists of objects.
    objects: BTreeMap<&'static str, Vec<Layer>>,
}

impl Layer {
    pub(super) fn new(origin: impl Into<String>) -> Self {
        Self { origin: origin.into(), ..Self::default() }
    }

    /// Marks a setting as present.
    pub(super) fn mark(&mut self, setting: &'static str) -> &mut Vec<Given> {
        self.values.entry(setting).or_default()
    }

    pub(super) fn add(&mut self, setting: &'static str, origin: impl Into<String>, text: impl Into<String>) {
        self.mark(setting).push(Given { origin: origin.into(), text: text.into() });
    }

    pub(super) fn contains(&self, setting: &str) -> bool {
        self.values.contains_key(setting)
    }

    /// A list of objects; none: there is no such field.
    pub(super) fn objects(&self, setting: &str) -> Option<&[Layer]> {
        self.objects.get(setting).map(Vec::as_slice)
    }

    pub(super) fn set_objects(&mut self, setting: &'static str, objects: Vec<Layer>) {
        self.objects.insert(setting, objects);
    }

    pub(super) fn all(&self, setting: &str) -> &[Given] {
        self.values.get(setting).map_or(&[], Vec::as_slice)
    }
}
