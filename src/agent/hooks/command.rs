//! PURE. A command of the command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

/// What stands for the path of the bytes.
const PLACE: &[u8] = b"{}";

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// A program with its arguments, at least the program.
    Words(Vec<String>),
    /// A text for `sh`.
    Shell(String),
}

/// Why a text is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    /// Nothing is in it.
    #[error("it is empty: give a program and its arguments")]
    Empty,
    /// A quote that nothing ends.
    #[error("a quote in it has no end: write ' ' or \" \" around words with white space")]
    Quote,
    /// No text that can be handed over.
    #[error("it holds a NUL")]
    Nul,
    /// A path that depends on where the agent was started.
    #[error("its program is a relative path: give the whole path, or a name that is looked for in PATH")]
    Relative,
}

impl Command {
    /// Reads a command. Without a shell, words end at white space; `' '`, `" "` and `\` keep it, as in a shell, and nothing
    /// else has a meaning: no variables, no `|`, no `;`. `{}` is the path of the bytes. In a text for a shell it is the path
    /// in quotes, so it stands for itself there, outside of other quotes.
    pub fn parse(text: &str, shell: bool) -> Result<Self, InvalidCommand> {
        if text.contains('\0') {
            return Err(InvalidCommand::Nul);
        }
        if text.trim().is_empty() {
            return Err(InvalidCommand::Empty);
        }
        if shell {
            return Ok(Self(Form::Shell(text.to_owned())));
        }
        let words = words(text)?;
        match words.first() {
            Some(program) if program.is_empty() => Err(InvalidCommand::Empty),
            Some(program) if program.contains('/') && !program.starts_with('/') => Err(InvalidCommand::Relative),
            _ => Ok(Self(Form::Words(words))),
        }
    }

    /// The program, for messages.
    #[must_use]
    pub fn program(&self) -> &str {
        match &self.0 {
            Form::Words(words) => words.first().map(String::as_str).unwrap_or_default(),
            Form::Shell(_) => "/bin/sh",
        }
    }

    /// The program and its arguments for the bytes at a path.
    pub(super) fn arguments(&self, path: &Path) -> Vec<OsString> {
        let path = path.as_os_str();
        match &self.0 {
            Form::Words(words) => words.iter().map(|word| filled(word, path)).collect(),
            Form::Shell(text) => {
                vec!["/bin/sh".into(), "-c".into(), filled(text, OsStr::from_bytes(&quoted(path.as_bytes())))]
            }
        }
    }
}

/// A text with a path at each place for one.
fn filled(text: &str, path: &OsStr) -> OsString {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(byte) = rest.first() {
        if let Some(after) = rest.strip_prefix(PLACE) {
            out.extend(path.as_bytes());
            rest = after;
        } else {
            out.push(*byte);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    OsString::from_vec(out)
}

fn quoted(path: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in path {
        match byte {
            b'\'' => out.extend(br"'\''"),
            _ => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

fn words(text: &str) -> Result<Vec<String>, InvalidCommand> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(InvalidCommand::Quote)? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(InvalidCommand::Quote)? {
                        '"' => break,
                        '\\' => match chars.next().ok_or(InvalidCommand::Quote)? {
                            c @ ('"' | '\\') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or(InvalidCommand::Quote)?),
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str, shell: bool) -> Vec<String> {
        let command = Command::parse(text, shell).expect("a command");
        command.arguments(Path::new("/a 'b")).iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn words_are_those_of_a_shell_and_nothing_of_it_runs() {
        assert_eq!(
            arguments(r#"nginx -t  -c {} "x \" $y" '\'\ z '' a={}"#, false),
            ["nginx", "-t", "-c", "/a 'b", "x \" $y", "\\ z", "", "a=/a 'b"]
        );
        assert_eq!(arguments("nft -f {} && echo", true), ["/bin/sh", "-c", r"nft -f '/a '\''b' && echo"]);
        for (text, wrong) in [
            ("", InvalidCommand::Empty),
            (" \t", InvalidCommand::Empty),
            ("''", InvalidCommand::Empty),
            ("'a", InvalidCommand::Quote),
            ("\"a\\", InvalidCommand::Quote),
            ("a\\", InvalidCommand::Quote),
            ("a\0", InvalidCommand::Nul),
            ("./a", InvalidCommand::Relative),
        ] {
            assert_eq!(Command::parse(text, false), Err(wrong), "{text}");
        }
    }
}
