//! The folder of one control plane: data, certificates, logs, kubeconfig. It does not outlive the test run for long.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;

const PREFIX: &str = "tidewait-control-plane-";
const LOCK: &str = "owner.lock";

/// A temporary folder that is removed on drop, or else by the next run.
///
/// A control plane in a `static` is never dropped, and a killed run drops nothing. Therefore the owner holds a file
/// lock in the folder, which the kernel frees when the owner ends in any way, and whoever makes a new folder first
/// removes those that nobody holds. (A pid in the name would do the same, except for reused pids and for test runs
/// in containers that share the folder.)
#[derive(Debug)]
pub(crate) struct WorkDir {
    // Before the lock: fields are dropped in order, and the folder must be gone before it looks abandoned.
    dir: TempDir,
    _lock: File,
}

impl WorkDir {
    pub(crate) fn new() -> io::Result<Self> {
        remove_abandoned(&env::temp_dir());
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        let lock = File::create(dir.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { dir, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file that only the owner can read (tokens and keys are among them) and returns its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> io::Result<PathBuf> {
        // TempDir made the folder with mode 0700, which covers what is in it.
        let path = self.join(name);
        fs::write(&path, content)?;
        Ok(path)
    }
}

/// Removes the folders of ended runs. Best effort: what cannot be removed belongs to somebody else.
fn remove_abandoned(temp: &Path) {
    let Ok(entries) = fs::read_dir(temp) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_abandoned(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(dir: &Path) -> bool {
    // A young folder may have an owner that is just between making the lock file and locking it.
    let old = |file: &File| -> io::Result<bool> {
        let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
        Ok(age > Duration::from_secs(60))
    };
    File::open(dir.join(LOCK)).is_ok_and(|lock| old(&lock).unwrap_or(false) && lock.try_lock().is_ok())
}

/// A new P-256 private key in PEM, for service account tokens. Any 32 bytes below the group's order are such a key
/// and the reader computes the public half, so no key generator is needed.
pub(crate) fn private_key_pem() -> String {
    // SEC 1 ECPrivateKey: version 1, the 32 bytes, [0] the curve's name (1.2.840.10045.3.1.7).
    let mut der = vec![0x30, 49, 2, 1, 1, 4, 32];
    // The order begins with ff ff ff ff 00: a first byte below ff keeps the key below it.
    der.push(fastrand::u8(1..0xff));
    der.extend((0..31).map(|_| fastrand::u8(..)));
    der.extend([0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let body = BASE64_STANDARD.encode(der);
    let (first, rest) = body.split_at(64);
    format!("-----BEGIN EC PRIVATE KEY-----\n{first}\n{rest}\n-----END EC PRIVATE KEY-----\n")
}
