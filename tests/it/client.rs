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
    // A line for each crate: how many steps away it is, its name and its version.
    let tree = cargo(&["tree", "--edges", "normal,build", "--prefix", "depth", "--format", " {p}"]).await;
    let lines: Vec<_> = tree.lines().filter_map(|line| line.split_once(' ')).collect();
    let name = |package: &str| package.split(' ').next().unwrap_or_default().to_owned();

    let ours = lines.iter().skip_while(|(_, package)| name(package) != "tidewait").skip(1);
    let direct = ours.take_while(|(depth, _)| *depth != "1").filter(|(depth, _)| *depth == "2");
    let direct: BTreeSet<_> = direct.map(|(_, package)| name(package)).collect();
    let expected = [
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
    ];
    let expected = expected.map(str::to_owned).into();
    assert_eq!(direct, expected, "what only the server needs is optional, behind the feature `server`");

    let of_the_server = ["kube", "k8s-openapi", "prometheus", "hyper", "hyper-util", "h2", "clap", "tokio", "rustls"];
    let all: BTreeSet<_> = lines.iter().map(|(_, package)| name(package)).collect();
    let wrong: Vec<_> = of_the_server.into_iter().filter(|name| all.contains(*name)).collect();
    assert!(wrong.is_empty(), "{wrong:?} are in {all:?}");
}

#[tokio::test]
async fn a_client_compiles_without_a_warning() {
    cargo(&["check", "--quiet"]).await;
}
