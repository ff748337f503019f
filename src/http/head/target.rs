//! The target of a request: bytes that browsers and curl send as they are, and `http::Uri` takes
//! for none of a URI, are percent-encoded, as a careful client would have done. No other byte changes.

use std::fmt::Write as _;

/// The longest method or target that is logged of a head that is refused, in characters.
const SHOWN: usize = 256;

/// The target with those bytes encoded; none where there are none.
fn encoded(target: &[u8]) -> Option<Vec<u8>> {
    // What comes before the path is a host, in which these bytes are wrong.
    let path = path_start(target)?;
    let query = target[path..].iter().position(|byte| *byte == b'?').map_or(target.len(), |at| path + at);
    let mut made = String::new();
    let mut changed = false;
    let mut at = 0;
    for chunk in target.utf8_chunks() {
        for c in chunk.valid().chars() {
            let refused = match c {
                '<' | '>' => at >= path,
                '`' => (path..query).contains(&at),
                '"' => at >= query,
                _ => false,
            };
            if refused {
                changed |= write!(made, "%{:02X}", u32::from(c)).is_ok();
            } else {
                made.push(c);
            }
            at += c.len_utf8();
        }
        for byte in chunk.invalid() {
            changed |= write!(made, "%{byte:02X}").is_ok();
            at += 1;
        }
    }
    changed.then(|| made.into_bytes())
}

/// Where the path begins, in origin form or absolute form (RFC 9112, section 3.2).
fn path_start(target: &[u8]) -> Option<usize> {
    if target.first() == Some(&b'/') {
        return Some(0);
    }
    let host = target.windows(3).position(|three| three == b"://")? + 3;
    target[host..].iter().position(|byte| matches!(byte, b'/' | b'?')).map(|at| host + at)
}

/// A head with those bytes of its target encoded; none where there are none.
pub(super) fn rewritten(head: &[u8]) -> Option<Vec<u8>> {
    let space = |from: usize| head[from..].iter().position(|byte| *byte == b' ').map(|at| from + at);
    let start = space(0)? + 1;
    let end = space(start)?;
    encoded(&head[start..end]).map(|target| [&head[..start], &target, &head[end..]].concat())
}

/// Method and target of a head for the log, as far as they can be read.
pub(super) fn request_line(head: &[u8]) -> Option<(String, String)> {
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let line = head[start..].split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_graphic);
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(SHOWN).collect();
    is_method.then(|| (shown(method), shown(target)))
}
