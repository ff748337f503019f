//! PURE. A value of a model as the text of a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;

use crate::escape::escape;
use crate::model::{Document, Value};

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON on one line, without a line break at its end: the bytes that the digest of a state is of.
    Json,
    /// JSON, indented by two spaces.
    Pretty,
    /// YAML 1.2.
    Yaml,
    /// The text of a string, or a number or boolean as JSON writes it, and nothing else.
    Text,
    /// `NAME='value'` on lines, for `sh` and for systemd's `EnvironmentFile`: names of objects and places in arrays are
    /// joined by `_`, in capitals.
    Env,
}

/// Why a value cannot be written so: the model is at fault, not the machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A container or null, where a text is asked for.
    #[error("it is {0}, and the format string needs a string, a number or a boolean")]
    NotText(&'static str),
    /// No object or array, where names are asked for.
    #[error("it is {0}, and the format env needs an object")]
    NotNamed(&'static str),
    /// Two values of one name.
    #[error("{first} and {second} would both be {name} in the format env")]
    SameName {
        /// The name.
        name: String,
        /// Where the first one is.
        first: String,
        /// Where the second one is.
        second: String,
    },
    /// A text that no environment can hold.
    #[error("{0} holds a NUL, which the format env cannot write")]
    Nul(String),
}

impl Format {
    /// All formats, by name.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("json", Self::Json),
        ("pretty", Self::Pretty),
        ("yaml", Self::Yaml),
        ("string", Self::Text),
        ("env", Self::Env),
    ];

    /// The format of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, format)| format)
    }

    /// The format of a file: that of its extension, else what is given. JSON may be given as pretty.
    #[must_use]
    pub fn of(file: &Path, given: Option<Self>) -> Option<Self> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") if given == Some(Self::Pretty) => given,
            Some("json") => Some(Self::Json),
            Some("yaml" | "yml") => Some(Self::Yaml),
            Some("env") => Some(Self::Env),
            Some("txt") => Some(Self::Text),
            Some(_) | None => given,
        }
    }

    /// The bytes of a file with this value.
    pub fn write(self, value: &Document) -> Result<Bytes, Unfit> {
        let mut out = String::with_capacity(value.canonical_len());
        match self {
            Self::Json => return Ok(value.canonical()),
            Self::Pretty => {
                pretty(value, 0, &mut out);
                out.push('\n');
            }
            Self::Yaml => match value.value() {
                Value::Array(_) | Value::Object(_) if value_is_empty(value) => {
                    out.extend([flat(value), "\n".to_owned()]);
                }
                Value::Array(_) | Value::Object(_) => yaml(value, 0, true, &mut out),
                Value::Scalar(text) => out.extend([&*yaml_scalar(text), "\n"]),
            },
            Self::Text => match value.value() {
                Value::Scalar("null") => return Err(Unfit::NotText("null")),
                Value::Scalar(text) => out = plain(text),
                Value::Array(_) | Value::Object(_) => return Err(Unfit::NotText(kind(value))),
            },
            Self::Env => {
                let mut names = BTreeMap::new();
                if let Value::Scalar(_) = value.value() {
                    return Err(Unfit::NotNamed(kind(value)));
                }
                env(value, "", "", &mut names, &mut out)?;
            }
        }
        Ok(out.into())
    }
}

fn kind(value: &Document) -> &'static str {
    match value.value() {
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
        Value::Scalar("null") => "null",
        Value::Scalar("true" | "false") => "a boolean",
        Value::Scalar(text) if text.starts_with('"') => "a string",
        Value::Scalar(_) => "a number",
    }
}

/// A scalar's text: what a string says, everything else as JSON writes it.
fn plain(scalar: &str) -> String {
    serde_json::from_str(scalar).unwrap_or_else(|_| scalar.to_owned())
}

/// An empty container, or a scalar.
fn flat(value: &Document) -> String {
    match value.value() {
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        Value::Scalar(text) => text.to_owned(),
    }
}

/// Whether it has nothing below it.
fn value_is_empty(value: &Document) -> bool {
    match value.value() {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Scalar(_) => true,
    }
}

/// A text as a JSON string.
fn quoted(text: &str) -> String {
    flat(&Document::string(text))
}

fn indent(levels: usize, out: &mut String) {
    for _ in 0..levels {
        out.push_str("  ");
    }
}

fn pretty(value: &Document, level: usize, out: &mut String) {
    let (children, ends): (Vec<(Option<String>, Document)>, _) = match value.value() {
        Value::Array(items) if !items.is_empty() => (items.into_iter().map(|item| (None, item)).collect(), ['[', ']']),
        Value::Object(members) if !members.is_empty() => {
            (members.into_iter().map(|(key, value)| (Some(quoted(&key)), value)).collect(), ['{', '}'])
        }
        Value::Array(_) | Value::Object(_) | Value::Scalar(_) => return out.push_str(&flat(value)),
    };
    out.push(ends[0]);
    for (number, (key, child)) in children.iter().enumerate() {
        out.push_str(if number == 0 { "\n" } else { ",\n" });
        indent(level + 1, out);
        if let Some(key) = key {
            out.push_str(key);
            out.push_str(": ");
        }
        pretty(child, level + 1, out);
    }
    out.push('\n');
    indent(level, out);
    out.push(ends[1]);
}

/// Writes a container with something in it, on lines of its own; the first one may stand behind what is written already.
fn yaml(value: &Document, level: usize, mut inline: bool, out: &mut String) {
    let mut line = |out: &mut String| {
        if !std::mem::take(&mut inline) {
            indent(level, out);
        }
    };
    let below = |value: &Document, out: &mut String| match value.value() {
        Value::Scalar(text) => out.extend([" ", &yaml_scalar(text), "\n"]),
        Value::Array(_) | Value::Object(_) if value_is_empty(value) => out.extend([" ", &flat(value), "\n"]),
        Value::Array(_) | Value::Object(_) => {
            out.push('\n');
            yaml(value, level + 1, false, out);
        }
    };
    match value.value() {
        Value::Scalar(_) => {}
        Value::Array(items) => {
            for item in items {
                line(out);
                out.push('-');
                if value_is_empty(&item) {
                    below(&item, out);
                } else {
                    out.push(' ');
                    yaml(&item, level + 1, true, out);
                }
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                line(out);
                let key = yaml_scalar(&quoted(&key));
                // A longer key is only one where that is said (YAML 1.2.2, section 7.4.2).
                if key.chars().count() > YAML_KEY {
                    out.extend(["? ", &key, "\n"]);
                    indent(level, out);
                } else {
                    out.push_str(&key);
                }
                out.push(':');
                below(&value, out);
            }
        }
    }
}

/// Characters of a key that readers of YAML accept without further marks.
const YAML_KEY: usize = 1000;

/// A JSON scalar in YAML: a string without quotes where no reader, of whichever version, can take it for anything else.
fn yaml_scalar(scalar: &str) -> String {
    let Some(text) = scalar.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return scalar.to_owned();
    };
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && text.len() <= YAML_KEY
        && !words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_plain {
        return text.to_owned();
    }
    // What JSON has raw and YAML must not (YAML 1.2.2, section 5.1), or takes for a line break (YAML 1.1).
    let is_special =
        |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let mut out = String::with_capacity(scalar.len());
    for c in scalar.chars() {
        if is_special(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

fn env(
    value: &Document,
    prefix: &str,
    at: &str,
    names: &mut BTreeMap<String, String>,
    out: &mut String,
) -> Result<(), Unfit> {
    let children = match value.value() {
        Value::Array(items) => {
            items.into_iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect::<Vec<_>>()
        }
        Value::Object(members) => members.into_iter().map(|(key, value)| (key.to_string(), value)).collect(),
        Value::Scalar(text) => return env_line(text, prefix, at, names, out),
    };
    for (key, child) in children {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        let part: String =
            key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        let name = match prefix {
            // A name does not begin with a digit, and is not empty.
            "" if !part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => format!("_{part}"),
            "" => part,
            _ => format!("{prefix}_{part}"),
        };
        env(&child, &name, &at, names, out)?;
    }
    Ok(())
}

fn env_line(
    scalar: &str,
    name: &str,
    at: &str,
    names: &mut BTreeMap<String, String>,
    out: &mut String,
) -> Result<(), Unfit> {
    if let Some(first) = names.insert(name.to_owned(), at.to_owned()) {
        let (first, second) = (escape(&first).into_owned(), escape(at).into_owned());
        return Err(Unfit::SameName { name: name.to_owned(), first, second });
    }
    let text = if scalar == "null" { String::new() } else { plain(scalar) };
    if text.contains('\0') {
        return Err(Unfit::Nul(escape(at).into_owned()));
    }
    out.extend([name, "='", &text.replace('\'', r"'\''"), "'\n"]);
    Ok(())
}

#[cfg(test)]
mod tests;
