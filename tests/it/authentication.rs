//! Credentials whose check takes time, beside the real programs that make them: htpasswd, and an OpenID Connect issuer.

mod answers;
mod issuer;
mod program;
mod provider;
mod users;

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The folder of `tests/authentication/build.sh`, made on first use.
async fn tools() -> PathBuf {
    tokio::task::spawn_blocking(|| {
        const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/authentication/build.sh");
        let output = Command::new(SCRIPT).stderr(Stdio::inherit()).output().expect("the script runs");
        assert!(output.status.success(), "tests/authentication/build.sh failed: run it and see why");
        PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
    })
    .await
    .expect("it does not panic")
}
