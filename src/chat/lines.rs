//! The lines of standard input, each of at most so many bytes.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::bounds::PUBLISH_LINE_BYTES;

/// Lines, as they come.
#[derive(Debug)]
pub(super) struct Lines<R>(BufReader<R>);

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn of(input: R) -> Self {
        Self(BufReader::new(input))
    }

    /// The next one, without its end; none: there is no other. A last line without an end is one.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let bytes = self.0.fill_buf().await?;
            if bytes.is_empty() {
                return Ok((!line.is_empty()).then_some(line));
            }
            let (taken, is_whole) = match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end, true),
                None => (bytes.len(), false),
            };
            line.extend_from_slice(&bytes[..taken]);
            self.0.consume(taken + usize::from(is_whole));
            if line.len() > PUBLISH_LINE_BYTES {
                let text = format!("a line is longer than {PUBLISH_LINE_BYTES} bytes: send shorter messages");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            if is_whole {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_end_with_lf_or_crlf_or_the_input() {
        let mut lines = Lines::of(&b"a\n\nb\r\nc"[..]);
        for expected in [Some(b"a".to_vec()), Some(Vec::new()), Some(b"b".to_vec()), Some(b"c".to_vec()), None] {
            assert_eq!(lines.next().await.expect("short"), expected);
        }
        let long = vec![b'x'; PUBLISH_LINE_BYTES + 1];
        assert!(Lines::of(&long[..]).next().await.is_err());
    }
}
