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

/// What our library is built of directly, and all that the client is, with these features of its own.
async fn crates(features: &[&str]) -> (BTreeSet<String>, BTreeSet<String>) {
    // A line for each crate: how many steps away it is, its name and its version.
    let tree = ["tree", "--edges", "normal,build", "--prefix", "depth", "--format", " {p}"];
    let tree = cargo(&[&tree, features].concat()).await;
    let lines: Vec<_> = tree.lines().filter_map(|line| line.split_once(' ')).collect();
    let name = |package: &str| package.split(' ').next().unwrap_or_default().to_owned();
    let ours = lines.iter().skip_while(|(_, package)| name(package) != "tidewait").skip(1);
    let direct = ours.take_while(|(depth, _)| *depth != "1").filter(|(depth, _)| *depth == "2");
    let direct = direct.map(|(_, package)| name(package)).collect();
    (direct, lines.iter().map(|(_, package)| name(package)).collect())
}

/// Every client is built of these.
const SHARED: [&str; 11] = [
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

/// What a client that polls is built of beside them.
const POLLING: [&str; 13] = [
    "fastrand",
    "flate2",
    "http-body-util",
    "httpdate",
    "hyper",
    "hyper-util",
    "iri-string",
    "rustls",
    "rustls-native-certs",
    "socket2",
    "tokio",
    "tokio-rustls",
    "zstd",
];

/// Those of `names` that are among all crates.
fn among(all: &BTreeSet<String>, names: &[&'static str]) -> Vec<&'static str> {
    names.iter().copied().filter(|name| all.contains(*name)).collect()
}

#[tokio::test]
async fn a_client_is_built_of_nothing_that_only_the_server_needs() {
    let (direct, all) = crates(&[]).await;
    let expected = SHARED.map(str::to_owned).into();
    assert_eq!(direct, expected, "what only the server needs is optional, behind the feature `server`");
    let wrong =
        among(&all, &["kube", "k8s-openapi", "prometheus", "hyper", "hyper-util", "h2", "clap", "tokio", "rustls"]);
    assert!(wrong.is_empty(), "{wrong:?} are in {all:?}");
}

#[tokio::test]
async fn a_client_that_polls_is_built_without_a_server_and_without_kubernetes() {
    let (direct, all) = crates(&["--features", "client"]).await;
    let expected = SHARED.into_iter().chain(POLLING).map(str::to_owned).collect();
    assert_eq!(direct, expected, "what only the server needs is behind the feature `server`");
    let of_the_server = ["kube", "k8s-openapi", "prometheus", "h2", "clap", "x509-parser", "tracing-subscriber"];
    let wrong = among(&all, &of_the_server);
    assert!(wrong.is_empty(), "{wrong:?} are in {all:?}");
    // The crate is the same, with or without its server.
    let tree = ["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p} {f}", "--features", "client"];
    let tree = cargo(&tree).await;
    let of_hyper: Vec<_> = tree.lines().filter(|line| line.starts_with("hyper v")).collect();
    // Name, version, features; and a mark where it has come before.
    let features = |line: &str| line.split(' ').nth(2).unwrap_or_default().split(',').map(str::to_owned).collect();
    let all: Vec<BTreeSet<String>> = of_hyper.iter().map(|line| features(line)).collect();
    assert!(!all.is_empty() && all.iter().all(|features| features.contains("client")), "{of_hyper:?}");
    assert!(all.iter().all(|features| !features.contains("server")), "{of_hyper:?}");
}

#[tokio::test]
async fn clients_compile_without_a_warning() {
    cargo(&["check", "--quiet"]).await;
    cargo(&["check", "--quiet", "--features", "client"]).await;
}

/// What the pages show is compiled: it stands in tests/client, line by line.
#[test]
fn the_examples_of_the_pages_are_what_is_compiled() {
    let read = |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file");
    for page in ["docs/clients.md", "docs/fetch.md"] {
        let text = read(page);
        let example = text.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
        let indented: String = example
            .lines()
            .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") })
            .collect();
        assert!(read("tests/client/src/lib.rs").contains(&indented), "{page}: {indented}");
        assert!(example.lines().count() <= 15, "{page}: it is short");
    }
}
