//! Bodies: read within a bound and without waiting for ever, and decoded within the same bound.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout};

use super::failure::{Failure, FailureKind};
use crate::bounds::{CLIENT_BODY_PACE, CLIENT_BODY_SLOW, CLIENT_SKEW, CLIENT_ZSTD_WINDOW};
use crate::protocol::Coding;

/// Reads a body of at most so many bytes. `received`: how many have come, also where it is not read to its end.
pub(super) async fn read(mut body: Incoming, most: usize, received: &mut u64) -> Result<Bytes, Failure> {
    let began = Instant::now();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > most as u64) {
        return Err(too_large(&format!("Content-Length is {length}"), most));
    }
    let mut bytes = Vec::new();
    loop {
        let Ok(frame) = timeout(CLIENT_SKEW, body.frame()).await else {
            return Err(broken(&format!("nothing more has come for {CLIENT_SKEW:?}"), &bytes));
        };
        let Some(frame) = frame else { return Ok(bytes.into()) };
        let frame = frame.map_err(|error| broken(&format!("it ended early ({error})"), &bytes))?;
        let Ok(data) = frame.into_data() else { continue };
        *received += data.len() as u64;
        if bytes.len() + data.len() > most {
            return Err(too_large("it goes on", most));
        }
        bytes.extend_from_slice(&data);
        if is_too_slow(bytes.len() as u64, began.elapsed()) {
            return Err(broken(&format!("it comes with less than {CLIENT_BODY_PACE} bytes a second"), &bytes));
        }
    }
}

/// Reads as much as there is of a body, up to a bound: for people, so nothing of it has to be whole.
pub(super) async fn beginning(mut body: Incoming, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < most
        && let Ok(Some(Ok(frame))) = timeout(CLIENT_SKEW, body.frame()).await
    {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data[..data.len().min(most - bytes.len())]);
        }
        // Most are short, and whole at once.
        if body.is_end_stream() {
            break;
        }
    }
    bytes
}

fn is_too_slow(bytes: u64, took: Duration) -> bool {
    let late = took.saturating_sub(CLIENT_BODY_SLOW);
    bytes < CLIENT_BODY_PACE.saturating_mul(late.as_secs())
}

fn broken(how: &str, bytes: &[u8]) -> Failure {
    let text = format!("the answer broke off after {} bytes of its body, {how}: asked again", bytes.len());
    Failure::new(FailureKind::Lost, &text)
}

fn too_large(what: &str, most: usize) -> Failure {
    let text =
        format!("the body is over the limit of {most} bytes ({what}): raise the limit (max_bytes), or select less");
    Failure::untrue(&text)
}

/// The bytes without their coding: at most so many, and no more memory than that on the way.
pub(super) fn decode(coding: Coding, bytes: Bytes, most: usize) -> Result<Bytes, Failure> {
    let decoded = match coding {
        Coding::Identity => return Ok(bytes),
        Coding::Gzip => within(flate2::read::MultiGzDecoder::new(&*bytes), most),
        Coding::Zstd => zstd::stream::read::Decoder::with_buffer(&*bytes).and_then(|mut decoder| {
            decoder.window_log_max(CLIENT_ZSTD_WINDOW)?;
            within(decoder, most)
        }),
    };
    match decoded {
        Ok(Some(decoded)) => Ok(decoded),
        Ok(None) => Err(too_large(&format!("{} bytes of {} become more", bytes.len(), coding.name()), most)),
        Err(error) => {
            let name = coding.name();
            let text =
                format!("the body is not {name}, as Content-Encoding says ({error}): see what stands in between");
            Err(Failure::untrue(&text))
        }
    }
}

/// Reads to the end; none: there is more than `most`.
fn within(reader: impl Read, most: usize) -> io::Result<Option<Bytes>> {
    let mut decoded = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut decoded)?;
    Ok((decoded.len() <= most).then(|| decoded.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 19).expect("memory")
    }

    #[test]
    fn codings_are_undone_up_to_the_bound() {
        let text = b"state ".repeat(1000);
        for (coding, encoded) in [(Coding::Gzip, gzip(&text)), (Coding::Zstd, zstd(&text))] {
            let encoded = Bytes::from(encoded);
            assert_eq!(decode(coding, encoded.clone(), text.len()).expect("within the bound"), text);
            let over = decode(coding, encoded.clone(), text.len() - 1).expect_err("over the bound");
            assert_eq!(over.kind, FailureKind::Untrue);
            assert!(over.text.starts_with("the body is over the limit of 5999 bytes ("), "{}", over.text);
            let cut = encoded.slice(..encoded.len() - 3);
            let cut = decode(coding, cut, text.len()).expect_err("it is cut").text;
            assert!(
                cut.starts_with(&format!("the body is not {}, as Content-Encoding says (", coding.name())),
                "{cut}"
            );
            assert!(decode(coding, Bytes::from_static(b"{\"plain\":1}"), 100).is_err());
        }
        assert_eq!(decode(Coding::Identity, text.clone().into(), 1).expect("read within its bound"), text);
    }

    /// The decoder asks for no more memory than a few times the bound, whatever would come out.
    #[test]
    fn a_bomb_is_found_before_it_is_in_memory() {
        const MOST: usize = 1024 * 1024;
        for (coding, bomb) in [(Coding::Gzip, gzip(&vec![0; 256 * MOST])), (Coding::Zstd, zstd(&vec![0; 256 * MOST]))] {
            let bomb = Bytes::from(bomb);
            assert!(bomb.len() < MOST, "{}", bomb.len());
            let mut refused = false;
            let used = allocation_counter::measure(|| refused = decode(coding, bomb, MOST).is_err());
            assert!(refused && used.bytes_max < 16 * MOST as u64, "{coding:?} took {} bytes", used.bytes_max);
        }
    }

    #[test]
    fn a_zstd_window_over_the_bound_is_refused() {
        let mut writer = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("memory");
        writer.window_log(CLIENT_ZSTD_WINDOW + 2).expect("it is allowed to write one");
        writer.write_all(&vec![7; 64 * 1024 * 1024]).expect("memory");
        let body = writer.finish().expect("memory");
        let refused = decode(Coding::Zstd, body.into(), usize::MAX / 2).expect_err("its window is too large");
        assert!(refused.text.contains("too much memory"), "{}", refused.text);
    }

    #[test]
    fn a_slow_body_may_come_as_long_as_it_moves() {
        let secs = Duration::from_secs;
        assert!(!is_too_slow(0, secs(60)));
        assert!(is_too_slow(1023, secs(61)));
        // 2 MB at 50 kbit/s.
        assert!((0..330).all(|second| !is_too_slow(second * 6250, secs(second))));
        assert!(is_too_slow(3600, secs(3600)), "a byte a second");
    }
}
