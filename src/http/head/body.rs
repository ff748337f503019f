//! Where a body ends, which is where the next head begins (RFC 9112, section 6).

use http::{Version, header};

use super::malformed;
use super::rules::{Head, text};
use crate::describe::Problem;

/// How a head says how long its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; zero also where the head has no framing field.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// A body on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(Left);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Left {
    Bytes(u64),
    Chunks(Chunks),
}

/// Where in a chunked body the bytes so far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunks {
    Size {
        size: u64,
        digits: bool,
    },
    /// White space or extensions behind a size.
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the first byte of a trailer's line.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

/// A chunked body that breaks the syntax: its end is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunks of the body break HTTP")]
pub struct BrokenChunks;

/// The framing of a head, which says it once and in one way.
pub(super) fn framing(head: &Head<'_>) -> Result<Framing, Problem> {
    let mut lengths = head.all(header::CONTENT_LENGTH.as_str());
    let (length, another) = (lengths.next(), lengths.next());
    let chunked = head.all(header::TRANSFER_ENCODING.as_str()).next().is_some();
    if another.is_some() {
        return Err(malformed("Content-Length stands twice: send it once"));
    }
    if chunked && length.is_some() {
        return Err(malformed("Content-Length stands beside Transfer-Encoding: send one of them"));
    }
    if chunked && head.version == Version::HTTP_10 {
        return Err(malformed("HTTP/1.0 has no Transfer-Encoding: send Content-Length, or HTTP/1.1"));
    }
    if chunked {
        return Ok(Framing::Chunked);
    }
    let Some(length) = length else { return Ok(Framing::Length(0)) };
    let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    // hyper keeps the last two numbers for itself.
    let number = text(length).parse().ok().filter(|number| digits && *number < u64::MAX - 1);
    let wrong = || malformed(format!("Content-Length is {:.64?}: send the number of bytes", text(length)));
    number.map(Framing::Length).ok_or_else(wrong)
}

impl Framing {
    /// The body, if there is one.
    #[must_use]
    pub fn body(self) -> Option<Body> {
        match self {
            Self::Length(0) => None,
            Self::Length(length) => Some(Body(Left::Bytes(length))),
            Self::Chunked => Some(Body(Left::Chunks(Chunks::Size { size: 0, digits: false }))),
        }
    }
}

impl Body {
    /// How many of these bytes are of the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, BrokenChunks> {
        match &mut self.0 {
            Left::Bytes(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(taken)
            }
            Left::Chunks(chunks) => {
                let mut at = 0;
                while at < bytes.len() && *chunks != Chunks::End {
                    if let Chunks::Data { left } = chunks {
                        let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                        *left -= taken as u64;
                        at += taken;
                        if *left == 0 {
                            *chunks = Chunks::DataCr;
                        }
                    } else {
                        *chunks = chunks.next(bytes[at])?;
                        at += 1;
                    }
                }
                Ok(at)
            }
        }
    }

    /// Whether all of it has come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.0, Left::Bytes(0) | Left::Chunks(Chunks::End))
    }
}

impl Chunks {
    fn next(self, byte: u8) -> Result<Self, BrokenChunks> {
        use Chunks::{Data, DataCr, DataLf, End, EndLf, Extension, Size, SizeLf, Trailer, TrailerLf, TrailerStart};
        Ok(match (self, byte) {
            (Size { size, .. }, digit) if digit.is_ascii_hexdigit() => {
                let digit = char::from(digit).to_digit(16).ok_or(BrokenChunks)?;
                let size = size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
                Size { size: size.ok_or(BrokenChunks)?, digits: true }
            }
            (Size { size, digits: true } | Extension { size }, b'\r') => SizeLf { size },
            (Size { size, digits: true }, b' ' | b'\t' | b';') => Extension { size },
            (Extension { size }, other) if other != b'\n' => Extension { size },
            (SizeLf { size: 0 } | TrailerLf, b'\n') => TrailerStart,
            (SizeLf { size }, b'\n') => Data { left: size },
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size { size: 0, digits: false },
            (TrailerStart, b'\r') => EndLf,
            (Trailer, b'\r') => TrailerLf,
            (TrailerStart | Trailer, other) if other != b'\n' => Trailer,
            (EndLf, b'\n') => End,
            _ => return Err(BrokenChunks),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes of a chunked body are taken, in pieces of every size.
    fn taken(sent: &str) -> Result<(usize, bool), BrokenChunks> {
        let results: Vec<_> = (1..=sent.len())
            .map(|piece| {
                let mut body = Framing::Chunked.body().expect("a body");
                let mut sum = 0;
                for piece in sent.as_bytes().chunks(piece) {
                    sum += body.feed(piece)?;
                    if body.is_whole() {
                        break;
                    }
                }
                Ok((sum, body.is_whole()))
            })
            .collect();
        assert!(results.iter().all(|result| *result == results[0]), "{sent:?}: {results:?}");
        results[0]
    }

    #[test]
    fn a_chunked_body_ends_where_it_says() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00005 ;a=\"b\"\r\n\r\n\n\0#\r\n0\r\n\r\n",
            "a\r\n0123456789\r\nA;x\r\n0123456789\r\n000\r\nX: y\r\nZ: \r\n\r\n",
        ] {
            assert_eq!(taken(&format!("{body}GET / HTTP/1.1\r\n")), Ok((body.len(), true)), "{body:?}");
            assert_eq!(taken(&body[..body.len() - 1]), Ok((body.len() - 1, false)));
        }
    }

    #[test]
    fn what_has_no_certain_end_is_broken() {
        for body in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "5\nhello",
            "5\rhello",
            " 5\r\n",
            "5\r\nhello\n",
            "5\r\nhello0",
            "5;a\nb\r\n",
            "10000000000000000\r\n",
            "0\r\nX: y\n\r\n",
            "0\n",
            "0\r\n\n",
        ] {
            assert_eq!(taken(body), Err(BrokenChunks), "{body:?}");
        }
    }
}
