//! Why a run ends early: a sentence, which is the last line that is printed.

use std::error::Error;

/// What can fail.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The failure that a sentence describes.
pub(crate) fn because(sentence: impl Into<String>) -> Box<dyn Error + Send + Sync> {
    sentence.into().into()
}
