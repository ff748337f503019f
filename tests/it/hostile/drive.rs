//! Sends a case and judges what came of it.

use std::collections::BTreeSet;

use tokio::io::{AsyncRead, AsyncWrite};

use super::make::frames::{self, GOAWAY, HEADERS, PREFACE, RST_STREAM};
use super::make::{After, Case};
use crate::server::STEP;
use crate::talk::{Talk, answers};

/// After what must leave the connection open: its answer names it.
const MARKER: &[u8] = b"GET /describe?marker HTTP/1.1\r\nHost: test\r\n\r\n";

/// A stream that no case uses.
const MARKER_STREAM: u32 = 0x00ff_ffff;

/// What came of a case.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// As in expect.txt.
    outcome: String,
    /// The connection ended, or did not serve the marker.
    closed: bool,
    /// Bytes that are no answer.
    rest: String,
}

/// Sends the case, `piece` bytes at a time; gives back what was not as it must be.
pub(crate) async fn check<S>(case: &Case, stream: S, piece: usize) -> Option<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk::new(stream, piece);
    talk.send(&case.raw);
    let http2 = case.raw.starts_with(PREFACE);
    let driven = async { if http2 { drive_frames(case, &mut talk).await } else { drive_lines(case, &mut talk).await } };
    let Ok(seen) = tokio::time::timeout(STEP, driven).await else {
        let text = String::from_utf8_lossy(&talk.seen).into_owned();
        return Some(format!("{}: nothing more came, want {:?}: {text:?}", case.name, case.outcomes));
    };
    let outcome = case.outcomes.iter().any(|allowed| allowed.replace("close", "none") == seen.outcome);
    let after = match case.after {
        After::Closed => seen.closed,
        After::Open => !seen.closed,
        After::Either => true,
    };
    (!outcome || !after || !seen.rest.is_empty())
        .then(|| format!("{}: {seen:?}, want {:?} {:?}", case.name, case.outcomes, case.after))
}

/// Whether as many answers are here as the table says at least, whatever they are.
pub(crate) fn is_answered(case: &Case, seen: &[u8]) -> bool {
    if case.raw.starts_with(PREFACE) {
        return events(seen).0 != "none";
    }
    answers(seen, case.raw.starts_with(b"HEAD ")).0.len() >= case.outcomes.iter().map(count).min().unwrap_or(0)
}

/// How many answers an outcome of HTTP/1.1 has.
fn count(outcome: &String) -> usize {
    if outcome == "close" { 0 } else { outcome.split('+').count() }
}

fn joined(words: impl IntoIterator<Item = String>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    if words.is_empty() { "none".to_owned() } else { words.join("+") }
}

async fn drive_lines<S>(case: &Case, talk: &mut Talk<S>) -> Seen
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let to_head = case.raw.starts_with(b"HEAD ");
    let most = case.outcomes.iter().map(count).max().unwrap_or(0);
    // Where the number of answers is open, the marker tells the last one.
    let enough = |count: usize| move |seen: &[u8]| answers(seen, to_head).0.len() >= count;
    talk.until(|seen| is_answered(case, seen)).await;
    if case.after == After::Closed {
        talk.until(|_| false).await;
    } else {
        talk.flushed().await;
        talk.send(MARKER);
        let marked =
            |seen: &[u8]| answers(seen, to_head).0.iter().any(|answer| answer.field("link").contains("marker"));
        talk.until(|seen| marked(seen) || enough(most + 1)(seen)).await;
    }
    let (found, rest) = answers(&talk.seen, to_head);
    let (marker, others): (Vec<_>, Vec<_>) = found.iter().partition(|answer| answer.field("link").contains("marker"));
    Seen {
        outcome: joined(others.iter().map(|answer| answer.status.to_string())),
        closed: marker.len() != 1,
        rest: String::from_utf8_lossy(rest).into_owned(),
    }
}

async fn drive_frames<S>(case: &Case, talk: &mut Talk<S>) -> Seen
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let silent = case.outcomes.iter().any(|allowed| allowed == "close" || allowed == "none");
    let allowed = |seen: &[u8]| silent || case.outcomes.contains(&events(seen).0);
    if case.after == After::Closed {
        talk.until(|_| false).await;
    } else {
        talk.until(allowed).await;
        let pairs = frames::get("/describe?marker");
        talk.send(&frames::frame(HEADERS, 5, MARKER_STREAM, &frames::fields(&pairs)));
        talk.until(|seen| events(seen).1).await;
        talk.until(allowed).await;
    }
    let (outcome, marked) = events(&talk.seen);
    Seen { outcome, closed: !marked, rest: String::new() }
}

/// What the frames say: statuses first, then `rst`, then `goaway`; and whether the marker was answered.
fn events(mut bytes: &[u8]) -> (String, bool) {
    let (mut words, mut marked) = (BTreeSet::new(), false);
    while bytes.len() >= 9 {
        let length = usize::try_from(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])).expect("24 bits");
        let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
        let Some(payload) = bytes.get(9..9 + length) else { break };
        match (bytes[3], stream) {
            (HEADERS, MARKER_STREAM) => marked = true,
            (HEADERS, _) => drop(words.insert((0, status(payload)))),
            (RST_STREAM, _) => drop(words.insert((1, "rst".to_owned()))),
            // A GOAWAY without an error is how a connection ends in order.
            (GOAWAY, _) if payload[4..8] != [0; 4] => drop(words.insert((2, "goaway".to_owned()))),
            _ => {}
        }
        bytes = &bytes[9 + length..];
    }
    (joined(words.into_iter().map(|(_, word)| word)), marked)
}

/// `:status` is the first field; hyper writes it from the static table, or as a literal in Huffman code.
fn status(block: &[u8]) -> String {
    // A dynamic table that shrinks says so before.
    let block = &block[block.iter().take_while(|byte| **byte & 0xe0 == 0x20).count()..];
    match block[0] {
        at @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(at - 0x88)].to_string(),
        0x48 | 0x08 if block[1] & 0x80 != 0 => {
            let bits = block[2..].iter().take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << 8;
            huffman_digits(bits)
        }
        0x48 | 0x08 => String::from_utf8_lossy(&block[2..5]).into_owned(),
        other => format!("indexed {other:#x}"),
    }
}

/// Three digits in the code of RFC 7541, appendix B: 0, 1 and 2 have five bits, the others six.
fn huffman_digits(mut bits: u32) -> String {
    let mut digits = String::new();
    for _ in 0..3 {
        let (digit, length) = match bits >> 27 {
            short @ 0..=2 => (short, 5),
            _ => ((bits >> 26).wrapping_sub(0x19).wrapping_add(3), 6),
        };
        digits += &digit.to_string();
        bits <<= length;
    }
    digits
}

#[test]
fn huffman_digits_are_read() {
    // 405: 011010 00000 011011, 431: 011010 011001 00001.
    assert_eq!(huffman_digits(0b0110_1000_0000_1101_1000_0000_0000_0000), "405");
    assert_eq!(huffman_digits(0b0110_1001_1001_0000_1000_0000_0000_0000), "431");
}
