//! Notices of a model file that is replaced by a rename, for the candidates that are ours.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::outcome::{Outcome, because};

/// A descriptor that is readable when something was renamed in the folder of this file.
pub(crate) fn watch(file: &Path) -> Outcome<OwnedFd> {
    let folder = file.parent().ok_or_else(|| because("a file in a folder"))?;
    let notices = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    inotify::add_watch(&notices, folder, WatchFlags::MOVED_TO)?;
    Ok(notices)
}

/// Takes all notices; whether one is of this file.
pub(crate) fn drain(notices: impl AsFd, file: &Path) -> Outcome<bool> {
    let name = file.file_name().ok_or_else(|| because("a file with a name"))?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(notices, &mut buffer);
    let mut found = false;
    loop {
        match reader.next() {
            Ok(event) => found |= event.file_name().is_some_and(|it| it.to_bytes() == name.as_encoded_bytes()),
            Err(Errno::AGAIN) => return Ok(found),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until there is a notice.
pub(crate) fn wait(notices: &OwnedFd) -> Outcome<()> {
    poll(&mut [PollFd::new(notices, PollFlags::IN)], None)?;
    Ok(())
}
