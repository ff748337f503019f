//! Why a patch cannot be applied.

use super::super::Invalid;
use crate::bounds::{DOCUMENT_BYTES, DOCUMENT_DEPTH, PATCH_TAKEN};

/// Why a patch does not apply; the document is as it was. A client that was given such a patch asks for the full state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPatch {
    /// It is longer than any document.
    #[error("the patch has {bytes} bytes, more than {DOCUMENT_BYTES}: take the full state")]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// It is not JSON.
    #[error("the patch: {0}")]
    Json(Invalid),
    /// It is JSON of another kind.
    #[error("the patch is no array: give an array of operations")]
    NoArray,
    /// One of its operations cannot be done.
    #[error("operation {index} of the patch, at {path:?}: {why}: take the full state")]
    Operation {
        /// Its place among the operations, from 0.
        index: usize,
        /// Its `path`, the beginning of a long one; empty also where it has none.
        path: String,
        /// What is wrong with it.
        why: InvalidOperation,
    },
    /// All operations were done, and what they lead to is no document.
    #[error("what the patch leads to is refused: {0}")]
    Result(Invalid),
    /// All operations were done, and what they lead to is longer than a document may be.
    #[error("what the patch leads to has {bytes} bytes, more than {DOCUMENT_BYTES}: make the model smaller")]
    ResultTooLong {
        /// Its bytes.
        bytes: usize,
    },
}

/// Why an operation cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOperation {
    /// It is a value of another kind.
    #[error("it is no object")]
    NoObject,
    /// A member that it needs is absent, or no string.
    #[error("{0} is missing, or of a wrong kind")]
    Member(&'static str),
    /// Its `op` is none of RFC 6902.
    #[error("op {0:?} is none of add, remove, replace, move, copy and test")]
    Unknown(String),
    /// A member is no JSON Pointer.
    #[error("{member} is no JSON Pointer: {why}")]
    NoPointer {
        /// `path` or `from`.
        member: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Nothing is at `path`, or there is nothing that could have it.
    #[error("{0} leads to nothing")]
    Nothing(&'static str),
    /// A token that should be a place in an array is none, or is past its end.
    #[error("{0:?} is no place in the array there")]
    NoIndex(String),
    /// The whole document is to be removed.
    #[error("the whole document cannot be removed")]
    Whole,
    /// A value is to be moved into itself.
    #[error("from is moved into itself")]
    IntoItself,
    /// `test` finds another value.
    #[error("another value is there")]
    Differs,
    /// The value would be nested too deeply.
    #[error("nested deeper than {DOCUMENT_DEPTH} levels")]
    TooDeep,
    /// The moves, copies and tests take too many values in all.
    #[error("the patch moves, copies or tests more than {PATCH_TAKEN} values")]
    TooMany,
}

/// What an error shows of a text of the patch, which may be long.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(256).collect()
}
