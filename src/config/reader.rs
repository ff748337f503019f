//! Looks a setting up in several layers, the strongest first.

use super::layer::{Given, Layer};
use super::problem::{Problems, quote};
use super::settings;

/// Reads settings from layers, the strongest first, and notes what is wrong in any of them: a
/// bad value that a stronger one hides today is a mistake all the same.
pub(super) struct Reader<'a> {
    pub(super) layers: Vec<&'a Layer>,
    pub(super) problems: &'a mut Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn contains(&self, setting: &str) -> bool {
        self.layers.iter().any(|layer| layer.contains(setting))
    }

    /// The value that counts, as it was written.
    pub(super) fn given(&self, setting: &str) -> Option<&'a Given> {
        self.layers.iter().find_map(|layer| layer.all(setting).first())
    }

    /// The value that counts; none where it was not given or is wrong (which is then noted).
    pub(super) fn optional<T>(&mut self, setting: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given: Vec<&Given> = self.layers.iter().filter_map(|layer| layer.all(setting).first()).collect();
        let values: Vec<_> = given.into_iter().map(|given| self.read(given, &parse)).collect();
        values.into_iter().next().flatten()
    }

    /// The value that counts, or else the default; none only where it is wrong.
    pub(super) fn setting<T>(&mut self, flag: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        if self.contains(flag) { self.optional(flag, parse) } else { parse(settings::default_of(flag)).ok() }
    }

    /// The value that counts. That an object of the file lacks it is noted, unless something in
    /// the object is wrong already.
    pub(super) fn required<T>(
        &mut self,
        setting: &str,
        (object, field): (&str, &str),
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.contains(setting) && self.given(object).is_some() {
            self.wrong_field(&format!("{object}.{field}"), "is missing: write it");
        }
        self.optional(setting, parse)
    }

    /// The list that counts, without its wrong items.
    pub(super) fn list<T>(&mut self, setting: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let given: Vec<&[Given]> =
            self.layers.iter().filter(|layer| layer.contains(setting)).map(|layer| layer.all(setting)).collect();
        let mut read = |list: &[Given]| list.iter().filter_map(|given| self.read(given, &parse)).collect();
        let lists: Vec<Vec<T>> = given.into_iter().map(&mut read).collect();
        lists.into_iter().next().unwrap_or_default()
    }

    /// Notes what is wrong with a value.
    pub(super) fn wrong(&mut self, given: &Given, message: &str) {
        self.problems.push(&given.origin, format!("{} {message}", quote(&given.text)));
    }

    /// Notes what is wrong with a field of an operation in the file.
    pub(super) fn wrong_field(&mut self, field: &str, message: &str) {
        let origin = self.layers.first().map_or("", |layer| layer.origin.as_str());
        self.problems.push(format!("{origin}.{field}"), message);
    }

    fn read<T>(&mut self, given: &Given, parse: &impl Fn(&str) -> Result<T, String>) -> Option<T> {
        parse(&given.text).map_err(|message| self.wrong(given, &message)).ok()
    }
}
