//! A client (tests/client) is built of what it shares with the server, and of none of the crates that only the server
//! needs.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::process::Command;

const CLIENT: &str = "tidewait-client-example";

/// What cargo prints.
async fn cargo(arguments: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    // A folder of its own: a build that runs beside this test has the other one locked.
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("client"));
    // A warning is an error, in what is compiled from here.
    cargo.env("RUSTFLAGS", "-D warnings");
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).args(["--locked", "--offline", "--package", CLIENT]);
    let output = cargo.output().await.expect("cargo runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test]
async fn a_client_is_built_of_nothing_that_only_the_server_needs() {
    let tree = cargo(&["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]).await;
    let built_of: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(built_of.contains("tidewait") && built_of.contains(CLIENT), "{tree}");

    let manifest =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("it is there");
    let of_the_server: BTreeSet<_> =
        manifest.lines().filter_map(|line| line.trim().strip_prefix("\"dep:")?.strip_suffix("\",")).collect();
    let known =
        ["kube", "k8s-openapi", "prometheus", "hyper", "hyper-util", "h2", "clap", "tokio", "rustls", "tracing"];
    let missing: Vec<_> = known.iter().filter(|name| !of_the_server.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not behind the feature `server`");
    let wrong: Vec<_> = built_of.intersection(&of_the_server).collect();
    assert!(wrong.is_empty(), "{wrong:?} are what only the server needs:\n{tree}");
}

#[tokio::test]
async fn a_client_compiles_without_a_warning() {
    cargo(&["check", "--quiet"]).await;
}
