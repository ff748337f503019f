//! One answer of HTTP/1.1, as far as a client of a measurement looks at it.

use std::mem::MaybeUninit;

use crate::outcome::{Outcome, because};

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// The values of `State-Id`, `ETag` and `Last-Modified`.
    pub(crate) state: Option<&'a [u8]>,
    pub(crate) etag: Option<&'a [u8]>,
    pub(crate) modified: Option<&'a [u8]>,
    pub(crate) body: &'a [u8],
    /// Bytes of head and body.
    pub(crate) length: usize,
}

impl<'a> Answer<'a> {
    /// `None`: its rest is still on its way.
    pub(crate) fn read(bytes: &'a [u8]) -> Outcome<Option<Self>> {
        let mut fields = [MaybeUninit::uninit(); 32];
        let mut head = httparse::Response::new(&mut []);
        let parsed =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, &mut fields)?;
        let httparse::Status::Complete(end) = parsed else { return Ok(None) };
        let field = |name: &str| {
            head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
        };
        let status = head.code.unwrap_or_default();
        let length = match field("content-length") {
            Some(digits) => std::str::from_utf8(digits)?.parse()?,
            None if matches!(status, 204 | 304) => 0,
            None => return Err(because(format!("no Content-Length: {}", String::from_utf8_lossy(&bytes[..end])))),
        };
        let Some(body) = bytes.get(end..end + length) else { return Ok(None) };
        let (state, etag, modified) = (field("state-id"), field("etag"), field("last-modified"));
        Ok(Some(Self { status, state, etag, modified, body, length: end + length }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let whole = b"HTTP/1.1 200 OK\r\nstate-id: a.1\r\nContent-Length: 3\r\n\r\nabc";
        for cut in 0..whole.len() {
            assert!(Answer::read(&whole[..cut]).expect("a head").is_none(), "{cut}");
        }
        let answer = Answer::read(whole).expect("a head").expect("complete");
        assert_eq!(
            (answer.status, answer.state, answer.body, answer.length),
            (200, Some(&b"a.1"[..]), &b"abc"[..], whole.len())
        );
        let empty = Answer::read(b"HTTP/1.1 204 No Content\r\n\r\n").expect("a head").expect("complete");
        assert_eq!((empty.status, empty.body), (204, &b""[..]));
        assert!(Answer::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err() && Answer::read(b"what\r\n\r\n").is_err());
    }
}
