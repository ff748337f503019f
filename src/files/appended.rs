//! A file that grows. What is appended is on the disk before it counts.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

#[cfg(test)]
use super::faults;
use super::{FileError, failed};

/// A file that grows.
#[derive(Debug)]
pub struct Appended {
    file: File,
    path: PathBuf,
    /// Bytes of it that are on the disk.
    length: u64,
}

impl Appended {
    /// Opens a file that is there, of which so many bytes count. What is behind them is cut off.
    pub fn open(path: PathBuf, length: u64) -> Result<Self, FileError> {
        let open = || {
            step!("open", &path);
            let file = OpenOptions::new().append(true).open(&path)?;
            if file.metadata()?.len() > length {
                cut(&path, &file, length)?;
                sync(&path, &file)?;
            }
            Ok(file)
        };
        let file = open().map_err(failed("append to", &path))?;
        Ok(Self { file, path, length })
    }

    /// Appends these bytes; they are on the disk then. After an error nothing more may be appended: what is behind
    /// [`Self::length`] is cut off, if that can be done.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let appended = write(&self.path, &mut self.file, bytes).and_then(|()| sync(&self.path, &self.file));
        if let Err(error) = appended {
            // The room may be what is missing. Whether what was written would come back after a crash nobody knows.
            let _ = cut(&self.path, &self.file, self.length);
            return Err(failed("append to", &self.path)(error));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of it that are on the disk.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}

#[cfg_attr(not(test), expect(unused_variables, reason = "faults are told of it"))]
fn write(path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    faults::write(path, file, bytes)?;
    file.write_all(bytes)
}

#[cfg_attr(not(test), expect(unused_variables, reason = "faults are told of it"))]
fn sync(path: &Path, file: &File) -> io::Result<()> {
    step!("sync", path);
    file.sync_data()
}

#[cfg_attr(not(test), expect(unused_variables, reason = "faults are told of it"))]
fn cut(path: &Path, file: &File, length: u64) -> io::Result<()> {
    step!("cut", path);
    file.set_len(length)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_not_on_the_disk_is_cut_off() {
        let folder = faults::folder();
        let path = folder.path().join("file");
        fs::write(&path, "whole, torn").expect("a file");
        let mut file = Appended::open(path.clone(), 5).expect("it can be written");
        file.append(b" and more").expect("there is room");
        for step in [0, 1] {
            let fault = faults::fail_at(step, rustix::io::Errno::NOSPC);
            let error = file.append(b"lost").expect_err("no room");
            assert!(fault.end() && error.source.raw_os_error() == Some(28), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("a file"), "whole and more", "at {step}");
        }
        assert_eq!(file.length(), 14);
        assert!(Appended::open(folder.path().join("none"), 0).is_err());
    }
}
