//! h2spec, the suite of RFC 9113 and RFC 7541 for servers, which `tests/streams/build.sh` brings.

use std::process::Stdio;

use tokio::process::Command;

use super::{is_well, start};
use crate::readers;
use crate::server::STEP;

/// What fails: at a port that speaks HTTP/1.1 as well, other bytes than the preface are no HTTP/2, and are answered with 400.
const OTHER_PREFACE: &str = "2: Sends invalid connection preface";

#[tokio::test]
async fn h2spec_finds_nothing_wrong_but_that_the_port_speaks_http1_as_well() {
    let (mut server, _folder) = start(&[]).await;
    let port = server.listen.port().to_string();
    let mut suite = Command::new(readers::tools().await.join("h2spec"));
    suite.args(["-h", "127.0.0.1", "-p", &port, "-P", "/describe", "-o", "10"]);
    let suite = suite.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(STEP * 2, suite).await.expect("it ends").expect("it runs");
    let said = String::from_utf8(output.stdout).expect("text");
    // Each stands there twice: where it ran, and in the list of what failed.
    let (ran, failed) = said.split_once("Failures:").expect("a list");
    assert_eq!(ran.matches('\u{d7}').count(), 1, "{failed}");
    assert_eq!(failed.matches('\u{d7}').count(), 1, "{failed}");
    assert!(failed.contains(&format!("\u{d7} {OTHER_PREFACE}")), "{failed}");
    assert!(said.contains("145 tests, 144 passed, 0 skipped, 1 failed"), "{failed}");
    is_well(&mut server).await;
}
