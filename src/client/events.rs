//! PURE. Reads a stream of server-sent events (WHATWG HTML, section 9.2.6) as its bytes come.

use std::time::Duration;

use crate::bounds::EVENT_BYTES;

/// An event that has come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` where it has none.
    pub name: String,
    /// Its data, whose lines end with LF but for the last.
    pub data: String,
    /// The last id that the stream has named; empty: none.
    pub id: String,
}

/// What reads a stream, from its beginning.
#[derive(Debug, Default)]
pub struct Events {
    /// Bytes of a line that has not ended.
    line: Vec<u8>,
    /// The last byte was a CR, so an LF after it ends no further line.
    after_cr: bool,
    has_begun: bool,
    name: String,
    data: String,
    has_data: bool,
    id: String,
    retry: Option<Duration>,
    /// Bytes of the event so far.
    length: usize,
}

/// An event is longer than [`EVENT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {EVENT_BYTES} bytes")]
pub struct TooLong;

impl Events {
    /// Reads some more bytes; gives the events that are whole by them to `found`.
    pub fn feed(&mut self, bytes: &[u8], found: &mut Vec<Event>) -> Result<(), TooLong> {
        for byte in bytes {
            let ends_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if ends_cr => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    self.take(&line, found);
                }
                byte => {
                    self.line.push(*byte);
                    self.length += 1;
                    if self.length > EVENT_BYTES {
                        return Err(TooLong);
                    }
                }
            }
        }
        Ok(())
    }

    /// After which time the server wants a client back that has lost the stream; none: it has not said so.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn take(&mut self, line: &[u8], found: &mut Vec<Event>) {
        let line = String::from_utf8_lossy(line);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let line = if is_first { line.strip_prefix('\u{feff}').unwrap_or(&line) } else { &line };
        if line.is_empty() {
            self.length = 0;
            let (name, mut data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            if std::mem::take(&mut self.has_data) {
                data.pop();
                let name = if name.is_empty() { "message".to_owned() } else { name };
                found.push(Event { name, data, id: self.id.clone() });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
                self.has_data = true;
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], step: usize) -> (Vec<(String, String, String)>, Option<u64>) {
        let (mut events, mut found) = (Events::default(), Vec::new());
        for piece in text.chunks(step) {
            events.feed(piece, &mut found).expect("short");
        }
        let found = found.into_iter().map(|event| (event.name, event.data, event.id));
        (found.collect(), events.retry().map(|retry| retry.as_millis().try_into().expect("short")))
    }

    fn event(name: &str, data: &str, id: &str) -> (String, String, String) {
        (name.to_owned(), data.to_owned(), id.to_owned())
    }

    /// Cases of the web platform tests (eventsource/format-*), in pieces of every length.
    #[test]
    fn what_browsers_read_is_read() {
        for (text, expected, retry) in [
            ("data: a\n\n", vec![event("message", "a", "")], None),
            ("data: a\rdata: b\r\ndata: c\n\n", vec![event("message", "a\nb\nc", "")], None),
            (
                "\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n",
                vec![event("message", "a", ""), event("message", "c", "")],
                None,
            ),
            (":\n\n: x\ndata\n\ndata:\n\n", vec![event("message", "", ""), event("message", "", "")], None),
            (
                "event: x\ndata:a\ndata:  b\n\nevent: y\n\ndata: c\n\n",
                vec![event("x", "a\n b", ""), event("message", "c", "")],
                None,
            ),
            (
                "id: 1\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n",
                vec![
                    event("message", "a", "1"),
                    event("message", "b", "1"),
                    event("message", "c", "1"),
                    event("message", "d", ""),
                ],
                None,
            ),
            ("retry: 300\nretry: 5x\nretry:\ndata: a\n\n", vec![event("message", "a", "")], Some(300)),
            ("dat\u{61}: a\nunknown: x\nDATA: y\n\ndata: not whole\n", vec![event("message", "a", "")], None),
            ("data: ok…\n\n", vec![event("message", "ok…", "")], None),
        ] {
            for step in 1..=text.len() {
                assert_eq!(read(text.as_bytes(), step), (expected.clone(), retry), "{text:?} by {step}");
            }
        }
    }

    #[test]
    fn an_event_without_an_end_is_bounded() {
        let mut events = Events::default();
        let piece = vec![b'x'; 64 * 1024];
        let fed: Result<Vec<_>, _> =
            (0..=EVENT_BYTES / piece.len()).map(|_| events.feed(&piece, &mut Vec::new())).collect();
        assert_eq!(fed, Err(TooLong));
    }
}
