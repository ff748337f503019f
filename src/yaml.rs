//! PURE. YAML 1.2 text to a value, for models and for the configuration file alike: one set of rules for numbers, keys,
//! tags, merge keys and aliases. Whatever other readers could take for something else is refused with its line.
//!
//! A parser gives events; [`read`] makes a value of them from the inside out, without recursion, and counts what it
//! makes: an alias of ten bytes can stand for a megabyte, so the length of the text bounds nothing.

use std::borrow::Cow;

use smol_str::SmolStr;

mod error;
mod reader;
mod scalar;

#[cfg(test)]
mod tests;

pub use error::{Error, Wrong};
pub use reader::read;

/// A value that is neither array nor object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// null, `~` or nothing at all.
    Null,
    /// true or false.
    Bool(bool),
    /// A number as JSON writes it: as it was spelt, where JSON can say that.
    Number(Cow<'a, str>),
    /// Text.
    Text(Cow<'a, str>),
}

/// A key with its value.
pub type Member<V> = (SmolStr, V);

/// How values are made.
pub trait Build {
    /// What is made.
    type Value: Clone;

    /// A value that is neither array nor object.
    fn scalar(scalar: &Scalar<'_>) -> Self::Value;
    /// An array.
    fn array(items: Vec<Self::Value>) -> Self::Value;
    /// An object; its keys are distinct, in the order of the text.
    fn object(members: Vec<Member<Self::Value>>) -> Self::Value;
    /// The members of a value that is an object.
    fn members(value: &Self::Value) -> Option<Vec<Member<Self::Value>>>;
}

/// How large the value may become.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Levels of nesting.
    pub depth: usize,
    /// Bytes that it has as JSON.
    pub bytes: Limit,
    /// Values in it, itself and its containers included.
    pub nodes: Limit,
}

/// A bound with the name that messages give it.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Its name.
    pub name: &'static str,
    /// The most that is allowed.
    pub most: usize,
}
