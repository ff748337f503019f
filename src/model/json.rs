//! JSON text to a tree. `serde_json` reads it; this file keeps what a `serde_json::Value` loses:
//! the spelling of numbers and that a key stood twice. Each level reads its children as raw
//! text first, so the cost is the text's length times its depth, and the stack is bounded by
//! the depth check alone.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::document::{Invalid, Path};
use super::tree::Node;

/// An object's members as they stand.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Reads one JSON text.
pub(super) fn read(text: &str, levels: usize) -> Result<Node, Invalid> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(&error, None))?;
    node(raw, &mut Path::new(levels))
}

fn node(raw: &RawValue, path: &mut Path) -> Result<Node, Invalid> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => object(text, path),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| syntax(&error, Some(path)))?;
            let mut nodes = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                nodes.push(child(&index.to_string(), item, path)?);
            }
            Ok(Node::array(nodes))
        }
        // Without an escape, a string's text is its canonical text.
        Some(b'"') if text.contains('\\') => {
            let string: String = serde_json::from_str(text).map_err(|error| syntax(&error, Some(path)))?;
            Ok(Node::string(&string))
        }
        Some(_) | None => Ok(Node::Scalar(text.into())),
    }
}

fn object(text: &str, path: &mut Path) -> Result<Node, Invalid> {
    let Members(mut members) = serde_json::from_str(text).map_err(|error| syntax(&error, Some(path)))?;
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some([(key, _), _]) = members.array_windows().find(|[(a, _), (b, _)]| a == b) {
        return Err(Invalid::DuplicateKey { key: key.clone(), at: path.to_string() });
    }
    let mut nodes = Vec::with_capacity(members.len());
    for (key, value) in members {
        let value = child(&key, value, path)?;
        nodes.push((key.into_boxed_str(), value));
    }
    Ok(Node::object(nodes))
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
