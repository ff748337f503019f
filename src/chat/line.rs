//! PURE. A message as a line for people. What others wrote drives no terminal.

use serde::Deserialize;
use serde_json::Value;

use crate::escape::escape;

/// A message, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Message {
    /// Names it.
    pub(super) id: String,
    /// Who has published it.
    pub(super) by: Option<String>,
    data: Value,
}

impl Message {
    /// Its line, which ends with LF.
    pub(super) fn line(&self, is_coloured: bool) -> String {
        let data = match &self.data {
            Value::String(text) => escape(text).into_owned(),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                escape(&other.to_string()).into_owned()
            }
        };
        match self.by.as_deref().map(escape) {
            None => format!("{data}\n"),
            Some(by) if is_coloured => format!("\u{1b}[1;3{}m{by}\u{1b}[0m: {data}\n", color_of(&by)),
            Some(by) => format!("{by}: {data}\n"),
        }
    }
}

/// A colour for a name, which has the same one each time: red, green, yellow, blue, magenta or cyan.
fn color_of(name: &str) -> u32 {
    1 + name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_drives_no_terminal() {
        for (json, expected) in [
            (r#"{"id":"a.1","by":"ann","data":"hello"}"#, "ann: hello\n"),
            (r#"{"id":"a.1","by":null,"data":"one\ntwo\u001b[2J"}"#, "one\\ntwo\\u{1b}[2J\n"),
            (
                r#"{"id":"a.1","by":"\u0007x","data":{"a":[1,null]},"at":"T","type":"application/json"}"#,
                "\\u{7}x: {\"a\":[1,null]}\n",
            ),
        ] {
            let message: Message = serde_json::from_str(json).expect("a message");
            assert_eq!(message.line(false), expected);
        }
        let message: Message = serde_json::from_str(r#"{"id":"a.1","by":"ann","data":"x"}"#).expect("a message");
        let line = message.line(true);
        assert!(line.starts_with("\u{1b}[1;3") && line.ends_with("mann\u{1b}[0m: x\n"), "{line:?}");
    }
}
