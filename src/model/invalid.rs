//! Why bytes are not a document, and where in it the reader is.

use std::fmt;

/// Why bytes are not a document. The text names the place and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Zero bytes, white space alone, or null.
    #[error("it is empty: write a model, {{}} for an empty one")]
    Empty,
    /// Not text.
    #[error("byte {0} is not UTF-8: save it as UTF-8")]
    NotUtf8(usize),
    /// The reader's message, with line and column where it knows them.
    #[error("{format} does not parse: {message}: repair it there")]
    Syntax {
        /// JSON or YAML.
        format: &'static str,
        /// What is wrong, and where.
        message: String,
    },
    /// An object has a key twice.
    #[error("key {key:?} stands twice in {}: keep one", Location(.at))]
    DuplicateKey {
        /// The key.
        key: String,
        /// JSON Pointer of the object.
        at: String,
    },
    /// Nested too deeply.
    #[error("nested deeper than {most} levels at {}: flatten it", Location(.at))]
    TooDeep {
        /// How deep it may be.
        most: usize,
        /// JSON Pointer of the value.
        at: String,
    },
    /// Too many values.
    #[error(
        "it has more than {most} values, each object, array, string, number, boolean and null counted: make it smaller or split it"
    )]
    TooManyNodes {
        /// How many it may have.
        most: usize,
    },
    /// Not read as YAML.
    #[error(transparent)]
    Yaml(#[from] crate::yaml::Error),
}

/// A JSON Pointer in a message: the empty one is "the top level".
struct Location<'a>(&'a str);

impl fmt::Display for Location<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "the top level" } else { self.0 })
    }
}

/// Where a reader is, as a JSON Pointer for messages, and how much it may still read.
#[derive(Debug)]
pub(super) struct Path {
    tokens: Vec<String>,
    /// Levels of nesting that are allowed.
    levels: usize,
    /// Values that are allowed.
    nodes: usize,
    /// Values that were read.
    read: usize,
}

impl Path {
    pub(super) fn new(levels: usize, nodes: usize) -> Self {
        Self { tokens: Vec::new(), levels, nodes, read: 0 }
    }

    /// Counts a value, before memory is taken for it.
    pub(super) fn count(&mut self) -> Result<(), Invalid> {
        self.read += 1;
        if self.read > self.nodes { Err(Invalid::TooManyNodes { most: self.nodes }) } else { Ok(()) }
    }

    /// Enters a container, which is one level below the one that it is in.
    pub(super) fn enter(&mut self, token: &str) -> Result<(), Invalid> {
        if self.tokens.len() + 1 >= self.levels {
            return Err(Invalid::TooDeep { most: self.levels, at: self.to_string() });
        }
        self.tokens.push(token.to_owned());
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.tokens.pop();
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tokens.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}
