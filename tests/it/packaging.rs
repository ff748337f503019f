//! What people install: the unit for systemd and what it promises, and the recipes of deploy/agent, as they stand.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::server::until;

mod daemonset; // the manifest, and the real API server
mod notify; // what the built binary says to a socket of systemd's
mod recipes; // nftables, nginx, a script
mod relay; // the manifest of relays
mod unit; // the unit, and systemd's own judgement of it
mod worker; // the same for workers

/// A file of the folder deploy.
fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// Sees to it that the programs of Debian packages are there; installed on first use.
pub(crate) async fn installed() {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packaging/install");
    let output = Command::new(SCRIPT).stdin(Stdio::null()).output().await.expect("the script runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// What a program printed that has to succeed.
async fn printed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().await.expect("it starts");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}
