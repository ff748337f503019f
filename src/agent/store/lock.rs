//! The lock on a state directory: one agent at a time.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::thread::sleep;

use super::StoreError;
use crate::bounds::{AGENT_LOCK_PAUSE, AGENT_LOCK_TRIES};
use crate::files::{self, LockError};

/// Locks the directory and says in the file who did. [`is_locked`] has the lock for a moment: that is waited for.
pub(super) fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join("lock");
    let mut tries = 1;
    loop {
        match files::lock(&path) {
            Ok(mut lock) => {
                // For people and for the message of the next one: that it is locked does not depend on it.
                let _: io::Result<()> = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
                return Ok(lock);
            }
            Err(LockError::Held) if tries < AGENT_LOCK_TRIES => {
                tries += 1;
                sleep(AGENT_LOCK_PAUSE);
            }
            Err(LockError::Held) => {
                let holder = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(StoreError::Locked { directory: directory.to_owned(), holder });
            }
            Err(LockError::Io(error)) => return Err(error.into()),
        }
    }
}

/// Whether an agent runs with this state directory.
#[must_use]
pub fn is_locked(directory: &Path) -> bool {
    let path = directory.join("lock");
    path.exists() && matches!(files::lock(&path), Err(LockError::Held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_the_lock_keeps_no_agent_from_starting() {
        let folder = tempfile::tempdir().expect("a folder");
        let look = files::lock(&folder.path().join("lock")).expect("free");
        let start = std::thread::scope(|scope| {
            let start = scope.spawn(|| lock(folder.path()));
            // Whether it has tried already or not, it gets the lock once the look is over.
            drop(look);
            start.join().expect("no panic")
        });
        let start = start.expect("the look is over");
        assert!(is_locked(folder.path()));
        assert!(
            matches!(lock(folder.path()), Err(StoreError::Locked { holder: Some(pid), .. }) if pid == std::process::id())
        );
        drop(start);
        assert!(!is_locked(folder.path()));
    }
}
