//! PURE. Why an exchange cannot stand beside what is there already: the same for those of a configuration file and for
//! custom resources.

use super::Exchange;
use crate::config::problem::quote;

/// Why an exchange cannot stand beside another, or beside an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The field that is to be changed.
    pub field: ConflictField,
    /// Its value, what else has it, and the remedy.
    pub message: String,
}

/// A field that two exchanges cannot share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictField {
    /// The name.
    Name,
    /// The path of consumers.
    Path,
    /// Where workers go.
    Endpoint,
}

impl ConflictField {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Path => "path",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Whether a path is this endpoint, or below it.
fn is_below(path: &str, endpoint: &str) -> bool {
    path.strip_prefix(endpoint).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Exchange {
    /// Whether requests for this path are the exchange's, be it of consumers or of workers.
    #[must_use]
    pub fn takes(&self, path: &str) -> bool {
        self.path.matches(path).is_some() || is_below(path, &self.endpoint)
    }

    /// Whether the endpoint takes requests that are for the path of an exchange.
    fn covers(&self, other: &Self) -> bool {
        is_below(other.path.as_str(), &self.endpoint) || other.path.matches(&self.endpoint).is_some()
    }

    /// Why it cannot stand beside `other`, which messages call `whose`.
    #[must_use]
    pub fn conflict(&self, other: &Self, whose: &str) -> Option<Conflict> {
        let (name, path, endpoint) = (quote(&self.name), quote(self.path.as_str()), quote(&self.endpoint));
        let (field, message) = if self.name == other.name {
            (ConflictField::Name, format!("{name} is also the name of {whose}: give each exchange its own"))
        } else if self.endpoint == other.endpoint {
            (ConflictField::Endpoint, format!("{endpoint} is also the endpoint of {whose}: give each its own"))
        } else if is_below(&self.endpoint, &other.endpoint) || is_below(&other.endpoint, &self.endpoint) {
            let message = format!("{endpoint} and the endpoint of {whose} are one below the other: tell them apart");
            (ConflictField::Endpoint, message)
        } else if self.path.overlaps(&other.path) {
            (ConflictField::Path, format!("{path} and the path of {whose} have paths in common: tell them apart"))
        } else if self.covers(other) {
            (ConflictField::Endpoint, format!("{endpoint} is at or above the path of {whose}: choose another"))
        } else if other.covers(self) {
            (ConflictField::Path, format!("{path} is at or below the endpoint of {whose}: choose another"))
        } else {
            return None;
        };
        Some(Conflict { field, message })
    }

    /// Why it cannot stand beside the operation of this name and path.
    #[must_use]
    pub fn conflict_with_operation(&self, name: &str, path: &str) -> Option<Conflict> {
        let (field, taker) = if self.path.matches(path).is_some() {
            (ConflictField::Path, self.path.as_str())
        } else if is_below(path, &self.endpoint) {
            (ConflictField::Endpoint, self.endpoint.as_str())
        } else {
            return None;
        };
        let message = format!("{} takes the path {} of operation {name}: choose another", quote(taker), quote(path));
        Some(Conflict { field, message })
    }

    /// Why its own endpoint cannot be where it is.
    #[must_use]
    pub fn conflict_with_itself(&self) -> Option<Conflict> {
        let (endpoint, path) = (quote(&self.endpoint), quote(self.path.as_str()));
        let message = || format!("{endpoint} is at or above its own path, {path}: choose another");
        self.covers(self).then(|| Conflict { field: ConflictField::Endpoint, message: message() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PathPattern;

    fn exchange(name: &str, path: &str, endpoint: &str) -> Exchange {
        let path = PathPattern::parse(path).expect("a pattern");
        Exchange { path, endpoint: endpoint.to_owned(), ..Exchange::example(name) }
    }

    #[test]
    fn who_cannot_stand_beside_each_other_is_told_the_field() {
        let there = exchange("cameras", "/cameras/{key}/logs", "/exchange/cameras");
        for (name, path, endpoint, expected) in [
            ("cameras", "/a", "/x", "name: \"cameras\" is also the name of X: give each exchange its own"),
            ("a", "/a", "/exchange/cameras", "endpoint: \"/exchange/cameras\" is also the endpoint of X"),
            ("a", "/a", "/exchange/cameras/b", "endpoint: \"/exchange/cameras/b\" and the endpoint of X are one below"),
            ("a", "/a", "/exchange", "endpoint: \"/exchange\" and the endpoint of X are one below the other"),
            ("a", "/cameras/7/logs", "/x", "path: \"/cameras/7/logs\" and the path of X have paths in common"),
            ("a", "/a", "/cameras", "endpoint: \"/cameras\" is at or above the path of X: choose another"),
            ("a", "/exchange/cameras/claims", "/x", "path: \"/exchange/cameras/claims\" is at or below the endpoint"),
            ("a", "/a", "/exchange/cameras-2", ""),
        ] {
            let told = exchange(name, path, endpoint).conflict(&there, "X");
            let told = told.map_or(String::new(), |told| format!("{}: {}", told.field.as_str(), told.message));
            assert!(told.starts_with(expected) && told.is_empty() == expected.is_empty(), "{expected}: {told}");
        }
        let told = |path: &str| {
            let told = there.conflict_with_operation("o", path);
            told.map_or(String::new(), |told| format!("{}: {}", told.field.as_str(), told.message))
        };
        for (path, expected) in [
            (
                "/cameras/7/logs",
                "path: \"/cameras/{key}/logs\" takes the path \"/cameras/7/logs\" of operation o: choose another",
            ),
            (
                "/exchange/cameras/a",
                "endpoint: \"/exchange/cameras\" takes the path \"/exchange/cameras/a\" of operation o: choose another",
            ),
            ("/cameras", ""),
        ] {
            assert_eq!(told(path), expected);
        }
        assert_eq!(there.conflict_with_itself(), None);
        let told = exchange("a", "/x/work", "/x").conflict_with_itself().map(|told| told.message);
        assert_eq!(told.as_deref(), Some("\"/x\" is at or above its own path, \"/x/work\": choose another"));
    }
}
