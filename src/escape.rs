//! PURE. Text that others wrote (names and keys in models, fields of requests, answers of apps), made fit to be shown:
//! it cannot end a line, drive a terminal, or turn the direction of what is written after it. The one place for that:
//! logs, problems, statuses, Events, `/state`, `/agents` and what commands print all come here.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The text on one line: what is unsafe is written as `\n` or `\u{202e}`.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    let _ = Escaping(&mut escaped).write_str(text);
    Cow::Owned(escaped)
}

/// The same lines, each escaped: for text whose line breaks are ours.
#[must_use]
pub fn lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

/// JSON that means the same, and has what is unsafe within its strings as `\u202e`. Line breaks between values stay.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // JSON has no raw C0 controls within strings.
    let raw = |c: char| c >= '\u{7f}' && is_unsafe(c);
    if !text.contains(raw) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if raw(c) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Writes what [`escape`] gives.
#[derive(Debug)]
pub struct Escaping<W>(pub W);

impl<W: Write> Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            self.0.write_str(&rest[..at])?;
            match c {
                '\n' | '\r' | '\t' => write!(self.0, "{}", c.escape_default())?,
                _ => write!(self.0, "{}", c.escape_unicode())?,
            }
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// Controls (C0, DEL, C1), separators of lines and paragraphs, marks of direction, and marks that nobody sees. None is
/// beyond `\uffff`.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_forge_or_hide_is_escaped_and_all_else_stays() {
        for (text, expected) in [
            ("a plain \"text\" \\ ü 模 👩\u{200d}🚀", "a plain \"text\" \\ ü 模 👩\u{200d}🚀"),
            ("p\nFAKE LINE\r\t", r"p\nFAKE LINE\r\t"),
            ("\u{1b}[31m\u{7}\u{7f}\0", r"\u{1b}[31m\u{7}\u{7f}\u{0}"),
            ("\u{85}\u{9b}2J", r"\u{85}\u{9b}2J"),
            ("a\u{202e}b\u{2066}\u{200f}\u{61c}", r"a\u{202e}b\u{2066}\u{200f}\u{61c}"),
            ("\u{2028}\u{2029}\u{feff}", r"\u{2028}\u{2029}\u{feff}"),
        ] {
            assert_eq!(escape(text), expected);
            assert_eq!(escape(expected), expected, "twice is once");
            assert_eq!(matches!(escape(text), Cow::Borrowed(_)), text == expected, "copied only where it changes");
        }
        assert_eq!(lines("a\u{9b}\nb\r"), "a\\u{9b}\nb\\r");
    }

    #[test]
    fn json_means_the_same() {
        let value = serde_json::json!({ "a\u{202e}\nb": "\u{9b}\u{7f}\u{2028}ü" });
        let written = value.to_string() + "\n";
        let escaped = json(&written);
        assert_eq!(escaped, "{\"a\\u202e\\nb\":\"\\u009b\\u007f\\u2028ü\"}\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"), value);
        assert!(matches!(json("{\n  \"a\": 1\n}"), Cow::Borrowed(_)));
    }
}
