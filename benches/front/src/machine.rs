//! What the figures were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::candidates::nginx;

/// One sentence.
pub(crate) fn describe(tidewait: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, it)| it);
    let kernel = rustix::system::uname();
    let mut words = vec![
        format!("{cores} cores ({})", processor.unwrap_or("unknown")),
        format!("Linux {}", kernel.release().to_string_lossy()),
        version_of(tidewait),
        format!("hyper {}", hyper().unwrap_or("1")),
    ];
    words.extend(nginx::version());
    words.join(", ")
}

/// The version that this program was built with.
fn hyper() -> Option<&'static str> {
    let lock = include_str!("../../../Cargo.lock");
    lock.split_once("name = \"hyper\"\nversion = \"")?.1.split('"').next()
}

fn version_of(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Today, as UTC has it.
pub(crate) fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
