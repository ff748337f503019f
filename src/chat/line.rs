//! PURE. A message as a line for people. What others wrote drives no terminal.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::escape::escape;

/// A message, as far as it is shown.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Message {
    /// Names it.
    pub(super) id: String,
    /// Who has published it.
    pub(super) by: Option<String>,
    /// As it came: what a number or a depth may be is for whoever uses it to say.
    data: Box<RawValue>,
}

impl Message {
    /// What it says, if that is a text.
    pub(super) fn text(&self) -> Option<String> {
        serde_json::from_str(self.data.get()).ok()
    }

    /// Its line, which ends with LF.
    pub(super) fn line(&self, is_coloured: bool) -> String {
        let text = self.text();
        let data = escape(text.as_deref().unwrap_or(self.data.get()));
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
        // What no program here could hold as a value is shown as it came.
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for data in [
            "1e400",
            "{\"b\":[1e400,123456789012345678901234567890]}",
            "{\"$serde_json::private::RawValue\":\"[1\"}",
            &deep,
        ] {
            let message: Message = serde_json::from_str(&format!("{{\"id\":\"a.1\",\"data\":{data}}}")).expect(data);
            assert_eq!(message.line(false), format!("{data}\n"));
        }
        let message: Message = serde_json::from_str(r#"{"id":"a.1","by":"ann","data":"x"}"#).expect("a message");
        let line = message.line(true);
        assert!(line.starts_with("\u{1b}[1;3") && line.ends_with("mann\u{1b}[0m: x\n"), "{line:?}");
    }
}
