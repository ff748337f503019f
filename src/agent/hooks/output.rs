//! What a command prints: its beginning and its end are kept, however much there is between them.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::outcome::cut;
use crate::bounds::HOOK_OUTPUT;
use crate::escape::escape;

/// What was printed to one pipe.
#[derive(Debug, Clone, Default)]
pub struct Printed {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Printed {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (HOOK_OUTPUT / 2).saturating_sub(self.head.len());
        let (head, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend(head);
        // Of what is longer than the end that is kept, only that is looked at.
        let rest = rest.get(rest.len().saturating_sub(HOOK_OUTPUT / 2)..).unwrap_or_default();
        let excess = (self.tail.len() + rest.len()).saturating_sub(HOOK_OUTPUT / 2);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(rest);
    }

    /// How many bytes there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What is kept, with a line about what is not. Not yet safe to print.
    #[must_use]
    pub fn text(&self) -> String {
        let kept = (self.head.len() + self.tail.len()) as u64;
        let mut text = self.head.clone();
        if kept < self.total {
            text.extend(format!("\n[{} bytes are left out]\n", self.total - kept).bytes());
        }
        text.extend(&self.tail);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The last line with something in it, safe to print, and cut to the length of a `Rejected-Reason`.
    #[must_use]
    pub fn last_line(&self) -> Option<String> {
        let text = self.text();
        let line = text.split(['\n', '\r']).map(str::trim).rfind(|line| !line.is_empty())?;
        Some(cut(escape(line).into_owned()))
    }
}

/// The ends of a command's pipes.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Option<Sender>,
    pub(super) stdout: Option<Receiver>,
    pub(super) stderr: Option<Receiver>,
}

impl Pipes {
    /// Until all have ended. A command that reads no more of its input is none of ours to complain about.
    pub(super) async fn run(&mut self, stdout: &mut Printed, stderr: &mut Printed, input: Option<Bytes>) {
        let write = async {
            if let (Some(mut stdin), Some(input)) = (self.stdin.take(), input) {
                let _ = stdin.write_all(&input).await;
            }
        };
        tokio::join!(write, read(self.stdout.take(), stdout), read(self.stderr.take(), stderr));
    }
}

async fn read(pipe: Option<Receiver>, printed: &mut Printed) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = vec![0; 16 * 1024];
    loop {
        match pipe.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => printed.push(piece.get(..length).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        for piece in [1, 7, 1000, HOOK_OUTPUT, 5 * HOOK_OUTPUT] {
            let mut printed = Printed::default();
            let all: Vec<u8> = (0..5 * HOOK_OUTPUT).map(|at| b"0123456789abcde\n"[at % 16]).collect();
            all.chunks(piece).for_each(|piece| printed.push(piece));
            let text = printed.text();
            let half = HOOK_OUTPUT / 2;
            assert_eq!(&text.as_bytes()[..half], &all[..half], "in pieces of {piece}");
            assert_eq!(&text.as_bytes()[text.len() - half..], &all[all.len() - half..]);
            assert!(text.contains(&format!("\n[{} bytes are left out]\n", 4 * HOOK_OUTPUT)));
            assert!(printed.tail.len() <= half && printed.total() == all.len() as u64);
        }
        let mut printed = Printed::default();
        assert_eq!((printed.text(), printed.last_line()), (String::new(), None));
        printed.push(b"first\nlast \x1b[1m\xff\r\n \n");
        assert_eq!(printed.last_line().as_deref(), Some("last \\u{1b}[1m\u{fffd}"));
        printed.push("é".repeat(300).as_bytes());
        assert_eq!(printed.last_line(), Some("é".repeat(256)));
    }
}
