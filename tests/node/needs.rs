//! What the machine lacks is installed once, however many nodes are brought up side by side.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::node::folder;

/// As apt-get is: one that runs while another does fails, and an installation takes a moment.
const APT_GET: &str = r#"#!/usr/bin/env bash
set -euo pipefail
printf '%s\n' "$*" >>"$FAKE/calls"
exec 7>"$FAKE/dpkg.lock"
flock --nonblock 7 || { echo "E: Could not get lock" >&2; exit 100; }
sleep 1
printf '#!/bin/sh\n' >"$FAKE/bin/tidewait-test-tool"
chmod +x "$FAKE/bin/tidewait-test-tool"
"#;

/// The scripts of the node, on a machine that lacks one program.
const INSTALL: &str = r#"
set -euo pipefail
. "$1/lib.sh"
. "$1/needs.sh"
needs() { echo tidewait-test-tool tidewait-test-package; }
install_missing
"#;

#[test]
fn two_that_bring_up_a_node_at_once_install_what_is_missing_once() {
    let fake = tempfile::tempdir().expect("a folder");
    let bin = fake.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    fs::write(bin.join("apt-get"), APT_GET).expect("it can be written");
    fs::set_permissions(bin.join("apt-get"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH is set"));
    let run = || {
        let mut command = Command::new("bash");
        command.args(["-c", INSTALL, "install"]).arg(folder()).env("PATH", &path).env("FAKE", fake.path());
        command.env("XDG_CACHE_HOME", fake.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("bash runs")
    };
    for run in [run(), run(), run()] {
        let output = run.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let calls = fs::read_to_string(fake.path().join("calls")).expect("it was called");
    assert_eq!(calls.lines().count(), 1, "{calls}");
    assert!(calls.contains("DPkg::Lock::Timeout="), "it waits where somebody else holds the lock: {calls}");
}
