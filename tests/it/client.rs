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

/// Names of the crates that the client is built of, at most so many steps away.
async fn built_of(depth: &str) -> BTreeSet<String> {
    let tree = ["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}", "--depth", depth];
    cargo(&tree).await.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_client_is_built_of_nothing_that_only_the_server_needs() {
    let direct = [
        CLIENT,
        "base64",
        "blake3",
        "bytes",
        "granit-parser",
        "http",
        "percent-encoding",
        "serde",
        "serde_json",
        "sha2",
        "smol_str",
        "thiserror",
        "tidewait",
    ];
    let expected: BTreeSet<_> = direct.map(str::to_owned).into();
    assert_eq!(built_of("2").await, expected, "what only the server needs is optional, behind the feature `server`");

    let of_the_server = ["kube", "k8s-openapi", "prometheus", "hyper", "hyper-util", "h2", "clap", "tokio", "rustls"];
    let all = built_of("99").await;
    let wrong: Vec<_> = of_the_server.into_iter().filter(|name| all.contains(*name)).collect();
    assert!(wrong.is_empty(), "{wrong:?} are in {all:?}");
}

#[tokio::test]
async fn a_client_compiles_without_a_warning() {
    cargo(&["check", "--quiet"]).await;
}
