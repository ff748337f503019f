//! YAML text to a tree, by way of the reader's own value: that way duplicate keys, two documents
//! and integers over 64 bits are errors, and `no` or `017` stay strings (measured). What is left
//! to refuse here: numbers that JSON has not, keys that are no strings, tags.

use serde_yaml::Value;
use smol_str::SmolStr;

use super::document::{Invalid, Path};
use super::tree::Node;

/// Reads one YAML document.
pub(super) fn read(text: &str, mut path: Path) -> Result<Node, Invalid> {
    let value: Value =
        serde_yaml::from_str(text).map_err(|error| Invalid::Syntax { format: "YAML", message: error.to_string() })?;
    node(value, &mut path)
}

fn node(value: Value, path: &mut Path) -> Result<Node, Invalid> {
    path.count()?;
    match value {
        Value::Null => Ok(Node::Scalar("null".into())),
        Value::Bool(yes) => Ok(Node::Scalar(yes.to_string().into())),
        Value::Number(number) => scalar(&number, path),
        Value::String(text) => Ok(Node::string(&text)),
        Value::Sequence(items) => {
            let mut nodes = Vec::with_capacity(items.len());
            for (index, item) in items.into_iter().enumerate() {
                nodes.push(child(&index.to_string(), item, path)?);
            }
            Ok(Node::array(nodes))
        }
        Value::Mapping(mapping) => {
            let mut members = Vec::with_capacity(mapping.len());
            for (key, value) in mapping {
                let Value::String(key) = key else { return Err(not_a_string(&key, path)) };
                let value = child(&key, value, path)?;
                members.push((SmolStr::from(key), value));
            }
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok(Node::object(members))
        }
        Value::Tagged(tagged) => Err(Invalid::NotJson {
            what: format!("tag {}", tagged.tag),
            at: path.to_string(),
            remedy: "write the value without a tag",
        }),
    }
}

fn child(token: &str, value: Value, path: &mut Path) -> Result<Node, Invalid> {
    path.enter(token)?;
    let node = node(value, path);
    path.leave();
    node
}

fn scalar(number: &serde_yaml::Number, path: &Path) -> Result<Node, Invalid> {
    let text = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(integer), _, _) => integer.to_string(),
        (_, Some(integer), _) => integer.to_string(),
        (_, _, float) => match float.and_then(serde_json::Number::from_f64) {
            Some(float) => float.to_string(),
            None => {
                return Err(Invalid::NotJson {
                    what: number.to_string(),
                    at: path.to_string(),
                    remedy: "write a finite number, a string or null",
                });
            }
        },
    };
    Ok(Node::Scalar(text.into()))
}

fn not_a_string(key: &Value, path: &Path) -> Invalid {
    let key = serde_yaml::to_string(key).unwrap_or_default();
    Invalid::NotJson { what: format!("key {}", key.trim()), at: path.to_string(), remedy: "put the key in quotes" }
}
