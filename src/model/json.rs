//! JSON text to a tree. `serde_json` reads it; this file keeps what a `serde_json::Value` loses:
//! the spelling of numbers and that a key stood twice. Each level reads its children as raw
//! text, one after the other, so the cost is the text's length times its depth, nothing is held but the
//! tree, and the stack is bounded by the depth check alone.

use std::fmt;

use serde::de::{Deserializer as _, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::invalid::{Invalid, Path};
use super::members::Member;
use super::runs::Builder;
use super::tree::Node;

/// Reads one JSON text.
pub(super) fn read(text: &str, mut path: Path) -> Result<Node, Invalid> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(&error, None))?;
    node(raw, &mut path)
}

fn node(raw: &RawValue, path: &mut Path) -> Result<Node, Invalid> {
    path.count()?;
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{' | b'[') => container(text, path),
        // Without an escape, a string's text is its canonical text.
        Some(b'"') if text.contains('\\') => {
            let string: String = serde_json::from_str(text).map_err(|error| syntax(&error, Some(path)))?;
            Ok(Node::string(&string))
        }
        Some(_) | None => Ok(Node::Scalar(text.into())),
    }
}

fn container(text: &str, path: &mut Path) -> Result<Node, Invalid> {
    let mut refused = None;
    let visitor = Container { path: &mut *path, refused: &mut refused };
    let read = serde_json::Deserializer::from_str(text).deserialize_any(visitor);
    read.map_err(|error| refused.unwrap_or_else(|| syntax(&error, Some(path))))
}

/// Reads a container: an array's items or an object's members as they stand.
struct Container<'p> {
    path: &'p mut Path,
    /// Why it is refused, where the text is not to blame.
    refused: &'p mut Option<Invalid>,
}

impl<'de> Visitor<'de> for Container<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Builder::default();
        let mut index = 0_usize;
        while let Some(raw) = seq.next_element()? {
            let item = child(&index.to_string(), raw, self.path);
            items.push(self.good(item)?);
            index += 1;
        }
        Ok(Node::of_items(items.finish()))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Node, A::Error> {
        let mut members: Vec<Member> = Vec::new();
        while let Some((key, raw)) = map.next_entry::<SmolStr, _>()? {
            let value = child(&key, raw, self.path);
            members.push((key, self.good(value)?));
        }
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        if let Some([(key, _), _]) = members.array_windows().find(|[(a, _), (b, _)]| a == b) {
            let twice = Invalid::DuplicateKey { key: key.to_string(), at: self.path.to_string() };
            return self.good(Err(twice));
        }
        Ok(Node::object(members))
    }
}

impl Container<'_> {
    /// What was read, or the error that keeps why it is refused.
    fn good<E: Error>(&mut self, read: Result<Node, Invalid>) -> Result<Node, E> {
        read.map_err(|why| {
            *self.refused = Some(why);
            E::custom("refused")
        })
    }
}

fn child(token: &str, raw: &RawValue, path: &mut Path) -> Result<Node, Invalid> {
    match raw.get().as_bytes().first() {
        Some(b'{' | b'[') => {
            path.enter(token)?;
            let node = node(raw, path);
            path.leave();
            node
        }
        // A scalar adds no level; its place is named only when it is wrong.
        Some(_) | None => node(raw, path).map_err(|error| named(error, token)),
    }
}

fn named(error: Invalid, token: &str) -> Invalid {
    match error {
        Invalid::Syntax { format, message } => {
            let message = message.replacen("at ", "", 1);
            let (place, rest) = message.split_once(": ").unwrap_or(("", &message));
            let place = if place == "the top level" { "" } else { place };
            Invalid::Syntax { format, message: format!("at {place}/{token}: {rest}") }
        }
        Invalid::Empty
        | Invalid::NotUtf8(_)
        | Invalid::DuplicateKey { .. }
        | Invalid::TooDeep { .. }
        | Invalid::TooManyNodes { .. }
        | Invalid::Yaml(_) => error,
    }
}

fn syntax(error: &serde_json::Error, at: Option<&Path>) -> Invalid {
    let message = at.map_or_else(
        || error.to_string(),
        |path| match path.to_string().as_str() {
            "" => format!("at the top level: {error}"),
            path => format!("at {path}: {error}"),
        },
    );
    Invalid::Syntax { format: "JSON", message }
}
