//! PURE. The bytes of a segment: a header, then a record for each message, in the order of their offsets. All numbers are little-endian.
//!
//! ```text
//! header:  "tidetopc"  form u32  epoch u64  first offset u64                                  crc u32 of these
//! record:  length u32  crc u32 of the payload  crc u32 of these two                           payload
//! payload: kind u8  what there is u8  offset u64  at u64 (ms)  [key 32  digest 32]  media type  [by]  data
//! ```
//! A media type and a name have their length before them (u32); the data are the rest. The length of a record has a checksum of its
//! own: so a record that was not written to its end (torn) is told from one that was changed since (damaged).

use flate2::Crc;
use jiff::Timestamp;

use crate::topic::core::{Digest, Key};
use crate::topic::id::Epoch;
use crate::topic::message::{By, Data, Draft};

/// Bytes of a header.
pub(super) const HEADER: usize = 32;
/// Bytes of a record before its payload.
const HEAD: usize = 12;
const MAGIC: [u8; 8] = *b"tidetopc";
/// The form that this version writes.
const FORM: u32 = 1;

const TEXT: u8 = 1;
const JSON: u8 = 2;

const HAS_KEY: u8 = 1;
const HAS_BY: u8 = 2;
const IS_PROVEN: u8 = 4;

/// Of which history a segment is, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) epoch: Epoch,
    /// The offset of its first record.
    pub(super) first: u64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) offset: u64,
    /// When it was published, in whole milliseconds.
    pub(super) at: Timestamp,
    pub(super) once: Option<(Key, Digest)>,
    pub(super) draft: Draft,
}

/// Why a header or a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    /// It was not written to its end.
    #[error("it was not written to its end")]
    Torn,
    /// It is not what was written.
    #[error("{0}")]
    Damaged(&'static str),
    /// Another version has written it.
    #[error("another version of tidewait has written it (form {0}, this one writes form {FORM})")]
    OtherForm(u32),
}

impl Header {
    pub(super) fn write(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORM.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.epoch.bits().to_le_bytes());
        bytes[20..28].copy_from_slice(&self.first.to_le_bytes());
        let check = crc(&bytes[..28]);
        bytes[28..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unread> {
        let mut rest = bytes.get(..HEADER).ok_or(Unread::Torn)?;
        let is_good = crc(&bytes[..HEADER - 4]).to_le_bytes() == bytes[HEADER - 4..HEADER];
        if !is_good || take(&mut rest) != Some(MAGIC) {
            return Err(Unread::Damaged("its first bytes are not those of a segment"));
        }
        let short = Unread::Damaged("its header is too short");
        let form = u32::from_le_bytes(take(&mut rest).ok_or(short.clone())?);
        if form != FORM {
            return Err(Unread::OtherForm(form));
        }
        let epoch = Epoch::of(number(&mut rest).ok_or(short.clone())?);
        Ok(Self { epoch, first: number(&mut rest).ok_or(short)? })
    }
}

impl Record {
    /// Writes it behind what is there.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write(self.offset, self.at, self.once.as_ref(), &self.draft, out);
    }

    /// Reads the record that these bytes begin with, and how many of them it has. There is one byte at least.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), Unread> {
        let head = bytes.get(..HEAD).ok_or(Unread::Torn)?;
        if crc(&head[..8]).to_le_bytes() != head[8..] {
            return Err(Unread::Damaged("the length of a record is not what was written"));
        }
        let mut rest = head;
        let torn = || Unread::Torn;
        let length = u32::from_le_bytes(take(&mut rest).ok_or_else(torn)?) as usize;
        let check: [u8; 4] = take(&mut rest).ok_or_else(torn)?;
        let end = HEAD.checked_add(length).ok_or_else(torn)?;
        let payload = bytes.get(HEAD..end).ok_or_else(torn)?;
        if crc(payload).to_le_bytes() != check {
            return Err(Unread::Damaged("a record is not what was written"));
        }
        let record = Self::of(payload).ok_or(Unread::Damaged("a record makes no sense, though nothing changed it"))?;
        Ok((record, end))
    }

    fn of(mut payload: &[u8]) -> Option<Self> {
        let rest = &mut payload;
        let [kind, has] = take(rest)?;
        let offset = number(rest)?;
        let at = Timestamp::from_millisecond(i64::from_le_bytes(take(rest)?)).ok()?;
        let once = if has & HAS_KEY == 0 { None } else { Some((Key(take(rest)?), take(rest)?)) };
        let media_type = text(rest)?;
        let is_proven = has & IS_PROVEN != 0;
        let by = if has & HAS_BY == 0 { None } else { Some(By { name: text(rest)?, is_proven }) };
        let data = match kind {
            TEXT => Data::Text(std::str::from_utf8(rest).ok()?.to_owned()),
            JSON => Data::Json(rest.to_vec().into()),
            _ => return None,
        };
        Some(Self { offset, at, once, draft: Draft { media_type, by, data } })
    }
}

/// Writes a record behind what is there.
pub(super) fn write(offset: u64, at: Timestamp, once: Option<&(Key, Digest)>, draft: &Draft, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let Draft { media_type, by, data } = draft;
    let (kind, data) = match data {
        Data::Text(text) => (TEXT, text.as_bytes()),
        Data::Json(json) => (JSON, &json[..]),
    };
    let has = if once.is_some() { HAS_KEY } else { 0 };
    let says = by.as_ref().map_or(0, |by| if by.is_proven { HAS_BY | IS_PROVEN } else { HAS_BY });
    out.extend_from_slice(&[kind, has | says]);
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&at.as_millisecond().to_le_bytes());
    if let Some((key, digest)) = once {
        out.extend_from_slice(&key.0);
        out.extend_from_slice(digest);
    }
    for text in [Some(media_type), by.as_ref().map(|by| &by.name)].into_iter().flatten() {
        out.extend_from_slice(&length(text.as_bytes()).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(data);
    let payload = &out[begin + HEAD..];
    let (length, check) = (length(payload).to_le_bytes(), crc(payload).to_le_bytes());
    let head = &mut out[begin..begin + HEAD];
    head[..4].copy_from_slice(&length);
    head[4..8].copy_from_slice(&check);
    let check = crc(&head[..8]);
    head[8..].copy_from_slice(&check.to_le_bytes());
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// No message has as many bytes as a number of 32 bits counts.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

fn text(rest: &mut &[u8]) -> Option<Box<str>> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(std::str::from_utf8(taken).ok()?.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let data = prop_oneof![
            any::<String>().prop_map(Data::Text),
            prop::collection::vec(any::<u8>(), 0..64).prop_map(|bytes| Data::Json(bytes.into())),
        ];
        let by = (any::<String>(), any::<bool>()).prop_map(|(name, is_proven)| By { name: name.into(), is_proven });
        let once = (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(key, digest)| (Key(key), digest));
        let of =
            (any::<u64>(), 0..253_402_207_200_000_i64, prop::option::of(once), any::<String>(), prop::option::of(by));
        (of, data).prop_map(|((offset, at, once, media_type, by), data)| Record {
            offset,
            at: Timestamp::from_millisecond(at).expect("within the years that it knows"),
            once,
            draft: Draft { media_type: media_type.into(), by, data },
        })
    }

    /// All records up to the first that cannot be read, and why not.
    fn read(mut bytes: &[u8]) -> (Vec<Record>, Option<Unread>) {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            match Record::read(bytes) {
                Ok((record, length)) => {
                    records.push(record);
                    bytes = &bytes[length..];
                }
                Err(unread) => return (records, Some(unread)),
            }
        }
        (records, None)
    }

    fn written(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for record in records {
            record.write(&mut bytes);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = Header { epoch: Epoch::of(0xab), first: 7 };
        let bytes = header.write();
        assert_eq!(Header::read(&bytes), Ok(header));
        assert_eq!(Header::read(&bytes[..HEADER - 1]), Err(Unread::Torn));
        for at in 0..HEADER {
            let mut changed = bytes;
            changed[at] ^= 0x10;
            assert!(matches!(Header::read(&changed), Err(Unread::Damaged(_))), "{at}");
        }
        let mut newer = bytes;
        newer[8] = 2;
        let check = crc(&newer[..28]);
        newer[28..].copy_from_slice(&check.to_le_bytes());
        assert_eq!(Header::read(&newer), Err(Unread::OtherForm(2)));
    }

    proptest! {
        /// What is before the place is read, and what is torn there is never taken for a record, nor for damage.
        #[test]
        fn a_torn_record_is_found(records in prop::collection::vec(record(), 0..6), cut in any::<prop::sample::Index>()) {
            let (bytes, ends) = written(&records);
            let cut = cut.index(bytes.len() + 1);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let is_between = cut == 0 || ends.contains(&cut);
            let (found, unread) = read(&bytes[..cut]);
            prop_assert_eq!(&found[..], &records[..whole]);
            prop_assert_eq!(unread, (!is_between).then_some(Unread::Torn));
        }

        #[test]
        fn a_changed_byte_is_found(
            records in prop::collection::vec(record(), 1..6),
            at in any::<prop::sample::Index>(),
            by in 1..=255_u8,
        ) {
            let (mut bytes, ends) = written(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            let whole = ends.iter().filter(|end| **end <= at).count();
            let (found, unread) = read(&bytes);
            prop_assert_eq!(&found[..], &records[..whole]);
            prop_assert!(matches!(unread, Some(Unread::Damaged(_))), "{:?}", unread);
        }

        /// Also bytes with good checksums.
        #[test]
        fn no_bytes_are_a_panic(payload in prop::collection::vec(any::<u8>(), 0..200), more in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = [length(&payload).to_le_bytes(), crc(&payload).to_le_bytes()].concat();
            let check = crc(&bytes);
            bytes.extend_from_slice(&check.to_le_bytes());
            bytes.extend_from_slice(&payload);
            let _ = read(&bytes);
            let _ = read(&more);
            let _ = Header::read(&more);
        }
    }
}
