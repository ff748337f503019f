//! Values as they were written, and where: what flags, the environment and the file have in
//! common. [`super::reader`] looks a setting up in several layers.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::problem::Problems;

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

    /// What the environment gives of these settings, each with the name of its variable; in those of `lists`, items are separated by
    /// commas. What is empty is not set, as everywhere.
    pub(super) fn of_environment(
        environment: &[(String, OsString)],
        settings: impl IntoIterator<Item = (String, &'static str)>,
        lists: &[&str],
        problems: &mut Problems,
    ) -> Self {
        let mut layer = Self::new("");
        for (name, setting) in settings {
            let Some((_, value)) = environment.iter().find(|(given, _)| *given == name) else { continue };
            match value.to_str() {
                Some("") => {}
                Some(text) if lists.contains(&setting) => {
                    text.split(',').for_each(|text| layer.add(setting, &name, text));
                }
                Some(text) => layer.add(setting, &name, text),
                None => {
                    layer.mark(setting);
                    problems.push(&name, "is not UTF-8: write it as UTF-8");
                }
            }
        }
        layer
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
