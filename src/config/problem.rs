//! What is wrong with a configuration: one line for each mistake, and all of them at once, so
//! that nobody repairs one only to meet the next.

use std::fmt::{self, Write as _};

use crate::escape::Escaping;

/// Longest value that a message shows whole, in characters.
const SHOWN: usize = 80;

/// One mistake: where it was written, what is wrong and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// As the user wrote it: `--wait-max`, `TIDEWAIT_WAIT_MAX`, `tidewait.yaml: operations[0].wait.max`.
    pub origin: String,
    /// The value, what is wrong with it and what to write instead.
    pub message: String,
}

/// Every mistake of a configuration; displayed one a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a mistake, unless it is noted already.
    pub fn push(&mut self, origin: impl Into<String>, message: impl Into<String>) {
        let problem = Problem { origin: origin.into(), message: message.into() };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A reader's message or a file's name may hold a line break; a problem is one line.
        write!(Escaping(f), "{}: {}", self.origin, self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line_break = if index > 0 { "\n" } else { "" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value as messages show it: quoted, on one line, shortened, without a password.
pub(super) fn quote(text: &str) -> String {
    let text = match text.rsplit_once('@') {
        // Messages end up in logs that more people read than the configuration.
        Some((user, host)) if user.contains(':') => {
            let scheme = user.find("://").map_or("", |end| &user[..end + 3]);
            format!("{scheme}***@{host}")
        }
        _ => text.to_owned(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The name that is most like `key`, unless none is near.
pub(super) fn nearest<'a>(key: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer keys are nobody's slip, and the distance costs the product of the lengths.
    let key = Some(key.to_ascii_lowercase()).filter(|key| key.len() <= 64)?;
    let distances = names.into_iter().map(|name| (strsim::damerau_levenshtein(&key, &name.to_ascii_lowercase()), name));
    distances
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(2))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_one_line_and_told_once() {
        let mut problems = Problems::default();
        assert!(problems.is_empty());
        problems.push("--grace", "is\nodd");
        problems.push("a\rb.yaml", "cannot be read");
        problems.push("--grace", "is\nodd");
        assert_eq!(problems.to_string(), "--grace: is\\nodd\na\\rb.yaml: cannot be read");
        assert_eq!(problems.iter().count(), 2);
    }

    #[test]
    fn values_are_quoted_shortened_and_without_passwords() {
        for (text, shown) in [
            ("25", r#""25""#),
            ("a\nb\u{1b}", r#""a\nb\u{1b}""#),
            ("http://me:secret@app:80", r#""http://***@app:80""#),
            ("http://me:sec/r@t@app", r#""http://***@app""#),
            ("me:secret@app", r#""***@app""#),
            ("name@host", r#""name@host""#),
        ] {
            assert_eq!(quote(text), shown);
        }
        assert_eq!(quote(&"é".repeat(81)), format!("\"{}\"...", "é".repeat(80)));
    }
}
