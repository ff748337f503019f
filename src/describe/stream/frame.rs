//! PURE. Frames of WebSocket as a server sends them (RFC 6455, section 5): without a mask, so that all clients share their bytes.

use crate::bounds::{WEBSOCKET_CONTROL, WEBSOCKET_FRAGMENT};
use crate::protocol::websocket::CloseCode;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Close = 0x8,
    Ping = 0x9,
}

/// Bit of the last frame of a message.
const FINAL: u8 = 0x80;

/// Writes a text message, in fragments where it is long, so that control frames pass between.
pub fn text(payload: &[u8], out: &mut Vec<u8>) {
    let mut fragments = payload.chunks(WEBSOCKET_FRAGMENT).peekable();
    let mut opcode = Opcode::Text;
    loop {
        let fragment = fragments.next().unwrap_or_default();
        let is_final = fragments.peek().is_none();
        header(opcode, is_final, fragment.len(), out);
        out.extend_from_slice(fragment);
        if is_final {
            return;
        }
        opcode = Opcode::Continuation;
    }
}

/// Writes the head of a text message of this length that has one frame, or of a fragment of one.
pub fn text_header((is_first, is_final): (bool, bool), length: usize, out: &mut Vec<u8>) {
    header(if is_first { Opcode::Text } else { Opcode::Continuation }, is_final, length, out);
}

/// Writes a ping.
pub fn ping(out: &mut Vec<u8>) {
    header(Opcode::Ping, true, 0, out);
}

/// Writes that the connection is closed. The reason is cut to what fits.
pub fn close(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(WEBSOCKET_CONTROL - 2)];
    header(Opcode::Close, true, 2 + reason.len(), out);
    out.extend_from_slice(&code.code().to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

fn header(opcode: Opcode, is_final: bool, length: usize, out: &mut Vec<u8>) {
    out.push(opcode as u8 | if is_final { FINAL } else { 0 });
    match length {
        0..=125 => out.push(u8::try_from(length).unwrap_or(125)),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// How many bytes the frame has that these bytes, which we wrote, begin with; and whether it closes the connection.
#[must_use]
pub fn first(bytes: &[u8]) -> (usize, bool) {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number: usize, byte| number << 8 | usize::from(*byte));
    let length = match bytes.get(1) {
        Some(126) => 4 + number(bytes.get(2..4).unwrap_or_default()),
        Some(127) => 10 + number(bytes.get(2..10).unwrap_or_default()),
        Some(length) => 2 + usize::from(*length),
        None => bytes.len(),
    };
    (length.min(bytes.len()), bytes.first() == Some(&(Opcode::Close as u8 | FINAL)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(mut bytes: &[u8]) -> Vec<(u8, usize)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (length, _) = first(bytes);
            found.push((bytes[0], length));
            bytes = &bytes[length..];
        }
        found
    }

    #[test]
    fn the_length_of_a_message_has_three_forms() {
        for (length, header) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (WEBSOCKET_FRAGMENT, 10)] {
            let mut out = Vec::new();
            text(&vec![b'x'; length], &mut out);
            assert_eq!(frames(&out), [(0x81, header + length)], "{length}");
        }
    }

    #[test]
    fn a_long_message_has_fragments() {
        let mut out = Vec::new();
        text(&vec![b'x'; 2 * WEBSOCKET_FRAGMENT + 1], &mut out);
        let whole = 10 + WEBSOCKET_FRAGMENT;
        assert_eq!(frames(&out), [(0x01, whole), (0x00, whole), (0x80, 3)]);
    }

    #[test]
    fn golden_bytes_of_control_frames() {
        let mut out = Vec::new();
        ping(&mut out);
        close(CloseCode::Moved, "x", &mut out);
        assert_eq!(out, b"\x89\x00\x88\x03\x03\xf4x");
        assert_eq!(first(&out), (2, false));
        assert_eq!(first(&out[2..]), (5, true));
        out.clear();
        close(CloseCode::Limits, &"\u{e4}".repeat(100), &mut out);
        assert_eq!(out.len(), 2 + 2 + 122, "the reason is cut between two characters");
    }
}
