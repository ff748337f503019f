//! What is wrong with a YAML text, where, and what to do about it.

use std::fmt;

use super::Limit;

/// Why a text is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub wrong: Wrong,
    /// JSON Pointer of the value; empty for the top level.
    pub at: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is no YAML, or more than one document, or nobody can say what it means.
    Syntax(String),
    /// An object has a key twice.
    DuplicateKey(String),
    /// JSON cannot say it.
    NotJson {
        /// What was found.
        what: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// Nested deeper than so many levels.
    TooDeep(usize),
    /// It grows over a limit.
    TooLarge {
        /// What it has too many of.
        of: &'static str,
        /// Name of the limit.
        name: &'static str,
        /// The limit.
        most: usize,
    },
}

impl Wrong {
    pub(super) fn too_large(of: &'static str, Limit { name, most }: Limit) -> Self {
        Self::TooLarge { of, name, most }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wrong, at, line, column } = self;
        let place = if at.is_empty() { "the top level".into() } else { OneLine(at).to_string() };
        match wrong {
            Wrong::Syntax(message) => {
                let message = OneLine(message);
                write!(f, "YAML does not parse: {message} at line {line} column {column}: repair it there")
            }
            Wrong::DuplicateKey(key) => write!(
                f,
                "YAML does not parse: duplicate key {key:?} in {place} at line {line} column {column}: keep one"
            ),
            Wrong::NotJson { what, remedy } => {
                let what = OneLine(what);
                write!(f, "{what} at {place} has no JSON form, line {line} column {column}: {remedy}")
            }
            Wrong::TooDeep(most) => {
                write!(f, "nested deeper than {most} levels at {place}, line {line} column {column}: flatten it")
            }
            Wrong::TooLarge { of, name, most } => write!(
                f,
                "with what its aliases stand for it has more than {most} {of} ({name}), \
                 reached at line {line} column {column}: make it smaller or split it"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// A text in which what would begin another line, or move the cursor, is escaped.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_debug()) } else { fmt::Write::write_char(f, c) }
        })
    }
}
