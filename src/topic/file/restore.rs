//! Reads what a former process has left: which messages there are, and whether some are lost.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

use super::record::{HEADER, Header, Record, Unread};
use super::segments::Segment;
use crate::files::{FileError, failed};
use crate::topic::id::Epoch;

/// No offset is as large, whatever a file says.
const MOST: u64 = u64::MAX / 2;

/// What the segments hold.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// None: no segment says it.
    pub(super) epoch: Option<Epoch>,
    /// The offset of the newest message; 0: there was none.
    pub(super) last: u64,
    pub(super) segments: VecDeque<Segment>,
    /// In the order of their offsets.
    pub(super) records: Vec<Record>,
    pub(super) lost: Vec<Lost>,
    /// What was not written to its end: nobody was told that it is stored.
    pub(super) torn: Option<Lost>,
    /// Segments of a former history, with their numbers.
    pub(super) others: Vec<(u64, PathBuf)>,
}

/// What cannot be read any more, though it may have been stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}, from byte {at} on: {why}", .path.display())]
pub(super) struct Lost {
    pub(super) path: PathBuf,
    /// The first byte that is not read.
    pub(super) at: usize,
    pub(super) why: String,
}

/// A segment that is read as far as it can be.
struct Read {
    number: u64,
    path: PathBuf,
    header: Result<Header, Unread>,
    records: Vec<Record>,
    /// Bytes that are read.
    good: usize,
    /// Why no more of them are; none: there are no more.
    end: Option<Unread>,
}

/// Reads these segments, which are in the order of their numbers.
pub(super) fn restore(files: Vec<(u64, PathBuf)>) -> Result<Restored, FileError> {
    let mut all = Vec::with_capacity(files.len());
    for (number, path) in files {
        all.push(read(number, path)?);
    }
    let mut restored = Restored::default();
    let newest = all.iter().rev().find_map(|segment| segment.header.as_ref().ok());
    restored.epoch = newest.map(|header| header.epoch);
    let mut unread = None;
    for segment in all {
        let is_other = segment.header.as_ref().is_ok_and(|header| Some(header.epoch) != restored.epoch);
        if is_other {
            restored.others.push((segment.number, segment.path));
        } else {
            restored.add(segment, &mut unread);
        }
    }
    match unread {
        Some((lost, Unread::Torn)) => restored.torn = Some(lost),
        Some((lost, _)) => restored.lost.push(lost),
        None => {}
    }
    Ok(restored)
}

impl Restored {
    /// Adds the next segment. `unread`: what could not be read of the one before.
    fn add(&mut self, segment: Read, unread: &mut Option<(Lost, Unread)>) {
        let Read { number, path, header, records, good, end } = segment;
        let lost = |at, why: String| Lost { path: path.clone(), at, why };
        let first = match header {
            Ok(header) => header.first,
            Err(why) => {
                self.lost.push(lost(0, why.to_string()));
                self.segments.push_back(Segment { number, path, first: 0, last: 0, newest: i64::MIN, bytes: 0 });
                return;
            }
        };
        let before = unread.take();
        if self.segments.is_empty() {
            self.last = first - 1;
        } else if first > self.last + 1 {
            let missing = format!("messages {} to {} are missing", self.last + 1, first - 1);
            self.lost.push(match before {
                Some((lost, why)) => Lost { why: format!("{why}, and {missing}"), ..lost },
                None => lost(0, format!("{missing} before it")),
            });
        } else {
            self.records.truncate(self.records.partition_point(|record| record.offset < first));
        }
        let newest = records.iter().map(|record| record.at.as_millisecond()).max().unwrap_or(i64::MIN);
        self.last = first + records.len() as u64 - 1;
        if let Some(why) = end {
            *unread = Some((lost(good, why.to_string()), why));
        }
        self.records.extend(records);
        self.segments.push_back(Segment { number, path, first, last: self.last, newest, bytes: good as u64 });
    }
}

fn read(number: u64, path: PathBuf) -> Result<Read, FileError> {
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    let header = match Header::read(&bytes) {
        Ok(header) if header.first == 0 || header.first > MOST => Err(Unread::Damaged("its first offset is none")),
        Ok(header) => Ok(header),
        // Its header is on the disk before it has its name.
        Err(Unread::Torn) => Err(Unread::Damaged("its header is cut off")),
        Err(why) => Err(why),
    };
    let (mut records, mut good, mut end) = (Vec::new(), HEADER, None);
    if let Ok(Header { first, .. }) = header {
        while good < bytes.len() && end.is_none() {
            match Record::read(&bytes[good..]) {
                Ok((record, _)) if record.offset != first + records.len() as u64 => {
                    end = Some(Unread::Damaged("a record has the offset of another one"));
                }
                Ok((record, length)) => {
                    records.push(record);
                    good += length;
                }
                Err(why) => end = Some(why),
            }
        }
    }
    Ok(Read { number, path, header, records, good, end })
}
