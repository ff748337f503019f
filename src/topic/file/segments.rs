//! The segments of a topic: files in one folder, which are read at the start and appended to. All here blocks, for as long as the
//! file system likes.
//!
//! A segment says which offset its first record has. So what an earlier one holds from there on does not count: it was written,
//! and was not known to be on the disk. What counts has one epoch, that of the newest segment.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::record::{HEADER, Header, Record};
use super::restore::{self, Lost};
use crate::bounds::{TOPIC_KEY_SEGMENTS, TOPIC_SEGMENT_BYTES};
use crate::files::appended::Appended;
use crate::files::{self, FileError, LockError, failed};
use crate::topic::id::Epoch;

/// What ends the name of a segment.
const SEGMENT: &str = "segment";
/// The same of one that is set aside.
const ASIDE: &str = "aside";

/// The segments of a topic.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    epoch: Epoch,
    /// The offset of the newest message; 0: there was none.
    last: u64,
    /// The oldest first.
    all: VecDeque<Segment>,
    /// The newest, if it can be appended to.
    open: Option<Appended>,
    /// Keeps other processes out.
    _lock: File,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// The offset of its first record, whether or not there is one.
    pub(super) first: u64,
    /// The offset of its last record; one less than the first: it has none.
    pub(super) last: u64,
    /// When the newest of its messages was published, in milliseconds.
    pub(super) newest: i64,
    pub(super) bytes: u64,
}

/// What a former process has left.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) segments: Segments,
    /// The messages, in the order of their offsets.
    pub(super) records: Vec<Record>,
    /// What is damaged: then the epoch is a new one.
    pub(super) lost: Vec<Lost>,
    /// What was not written to its end, and is cut off: nobody was told that it is stored.
    pub(super) torn: Option<Lost>,
}

impl Segments {
    /// Reads a folder, which is made where there is none. `fresh`: the epoch of a new history.
    pub(super) fn open(folder: &Path, fresh: Epoch) -> Result<Opened, LockError> {
        files::make_folder(folder, 0o700).map_err(failed("create", folder)).map_err(LockError::Io)?;
        // Their names are on the disk before a message is: that of the topic, and that of all topics.
        for new in [Some(folder), folder.parent()].into_iter().flatten() {
            files::sync_folder_of(new).map_err(LockError::Io)?;
        }
        let lock = files::lock(&folder.join("lock"))?;
        Self::read(folder, fresh, lock).map_err(LockError::Io)
    }

    fn read(folder: &Path, fresh: Epoch, lock: File) -> Result<Opened, FileError> {
        let restored = restore::restore(named(folder, SEGMENT)?)?;
        let restore::Restored { epoch, last, segments, mut records, lost, torn, others } = restored;
        set_aside(folder, &others)?;
        let (folder, epoch) = (folder.to_owned(), epoch.unwrap_or(fresh));
        let mut found = Self { folder, epoch, last, all: segments, open: None, _lock: lock };
        if lost.is_empty() {
            match found.all.back() {
                Some(newest) => found.open = Some(Appended::open(newest.path.clone(), newest.bytes)?),
                None => found.begin(1, &[])?,
            }
        } else {
            found.begin_anew(fresh, &mut records)?;
        }
        Ok(Opened { segments: found, records, lost, torn })
    }

    /// Begins another history with what was read of the last one, which is kept beside it.
    fn begin_anew(&mut self, fresh: Epoch, records: &mut [Record]) -> Result<(), FileError> {
        let mut bytes = Vec::new();
        for (offset, record) in (1..).zip(&mut *records) {
            record.offset = offset;
            record.write(&mut bytes);
        }
        for former in named(&self.folder, ASIDE)? {
            files::remove(&former.1).map_err(failed("remove", &former.1))?;
        }
        let former = std::mem::take(&mut self.all);
        let next = former.iter().map(|segment| segment.number).max().unwrap_or(0) + 1;
        (self.epoch, self.last) = (fresh, 0);
        self.begin(next, &bytes)?;
        self.has_grown(records.len() as u64, records.iter().map(|record| record.at.as_millisecond()).max());
        let former: Vec<_> = former.into_iter().map(|segment| (segment.number, segment.path)).collect();
        set_aside(&self.folder, &former)
    }

    /// The history that these are of.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The offset of the newest message; 0: there was none.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Bytes of all.
    pub(super) fn bytes(&self) -> u64 {
        self.all.iter().map(|segment| segment.bytes).sum()
    }

    /// Appends so many records, of which the newest was published then. They are on the disk afterwards, or do not count.
    pub(super) fn append(&mut self, bytes: &[u8], records: u64, newest: i64) -> Result<(), FileError> {
        if self.open.as_ref().is_none_or(|open| open.length() >= TOPIC_SEGMENT_BYTES) {
            self.open = None;
            // One without a record, in which nothing could be written, is written anew.
            let empty = self.all.pop_back_if(|newest| newest.last < newest.first);
            let number =
                empty.map_or_else(|| self.all.back().map_or(1, |newest| newest.number + 1), |empty| empty.number);
            self.begin(number, &[])?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Err(error) = open.append(bytes) {
            // After a sync that failed nobody knows what is on the disk: the next segment says where this one ends.
            self.open = None;
            return Err(error);
        }
        self.has_grown(records, Some(newest));
        Ok(())
    }

    /// The newest segment has so many records more.
    fn has_grown(&mut self, records: u64, newest: Option<i64>) {
        self.last += records;
        if let (Some(segment), Some(open)) = (self.all.back_mut(), &self.open) {
            segment.last = self.last;
            segment.bytes = open.length();
            segment.newest = newest.map_or(segment.newest, |newest| newest.max(segment.newest));
        }
    }

    /// Removes segments of which no message is kept, and no key is known: all were published before `keys`, in milliseconds.
    pub(super) fn drop_old(&mut self, first_kept: u64, keys: i64) -> Result<(), FileError> {
        while self.all.len() > 1
            && let Some(oldest) = self.all.front()
            && oldest.last < first_kept
        {
            let for_keys = self.all.iter().take_while(|segment| segment.last < first_kept).count();
            if oldest.newest >= keys && for_keys <= TOPIC_KEY_SEGMENTS {
                break;
            }
            // In this order also after a crash, or one between two would be missing.
            files::remove(&oldest.path).map_err(failed("remove", &oldest.path))?;
            files::sync_folder(&self.folder)?;
            self.all.pop_front();
        }
        Ok(())
    }

    /// Begins a segment of this number, with these records of the next offsets.
    fn begin(&mut self, number: u64, records: &[u8]) -> Result<(), FileError> {
        let path = self.folder.join(format!("{number:08}.{SEGMENT}"));
        let header = Header { epoch: self.epoch, first: self.last + 1 };
        files::replace(&path, &self.folder.join("segment.tmp"), &[&header.write(), records])?;
        let bytes = (HEADER + records.len()) as u64;
        self.open = Some(Appended::open(path.clone(), bytes)?);
        let (first, last) = (header.first, self.last);
        self.all.push_back(Segment { number, path, first, last, newest: i64::MIN, bytes });
        Ok(())
    }
}

/// The files of this kind in a folder, by their numbers.
fn named(folder: &Path, kind: &str) -> Result<Vec<(u64, PathBuf)>, FileError> {
    let list = || -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let (Some(number), true) = (number, path.extension().is_some_and(|extension| extension == kind)) {
                found.push((number, path));
            }
        }
        found.sort_unstable();
        Ok(found)
    };
    list().map_err(failed("read", folder))
}

/// Gives segments that do not count other names.
fn set_aside(folder: &Path, segments: &[(u64, PathBuf)]) -> Result<(), FileError> {
    for (_, path) in segments {
        files::rename(path, &path.with_extension(ASIDE)).map_err(failed("rename", path))?;
    }
    if segments.is_empty() { Ok(()) } else { files::sync_folder(folder) }
}

#[cfg(test)]
mod tests;
