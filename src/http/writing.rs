//! PURE. Field lines and chunks, as they are written over HTTP/1.1 (RFC 9112, sections 5 and 7.1).

use bytes::BufMut;
use http::{HeaderName, HeaderValue};

/// The last chunk of a body, without trailers.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes a field line.
pub(super) fn field(name: &HeaderName, value: &HeaderValue, out: &mut impl BufMut) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

/// Writes bytes of a body as a chunk. Of no bytes there is none: it would be the last one.
pub(super) fn chunk(bytes: &[u8], out: &mut impl BufMut) {
    if !bytes.is_empty() {
        out.put_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.put_slice(bytes);
        out.put_slice(b"\r\n");
    }
}
