//! `--dry-run`: what would change is printed, and nothing does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::once::{answers, nowhere};
use super::{Rig, model, until};

/// All files below the folder of a rig, with their bytes.
fn all(rig: &Rig) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![rig.path("").into()]);
    while let Some(folder) = folders.pop() {
        let folder: std::path::PathBuf = folder;
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if entry.file_type().expect("known").is_dir() {
                folders.push(path);
            } else {
                found.insert(path.display().to_string(), fs::read(&path).unwrap_or_default());
            }
        }
    }
    found
}

async fn dry_run(rig: &Rig, url: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = rig.command_at(url, "a", more);
    let done = command.arg("--dry-run").env("TMPDIR", rig.path("")).output().await.expect("the binary starts");
    let [out, log] = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    (done.status.code(), out, log)
}

#[tokio::test]
async fn what_would_change_is_printed_and_nothing_does() {
    let rig = Rig::new().await;
    let url = format!("http://{}", rig.server.listen);
    let (out, check, exec) = (rig.path("out.yaml"), rig.hook("check"), rig.hook("exec"));
    let options = ["--out", &*out, "--check", &*check, "--exec", &*exec];
    rig.write("out.yaml", "\"n\": 0\n");
    let before = all(&rig);
    let (code, printed, log) = dry_run(&rig, &url, &options).await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(printed, format!("--- {out}\n+++ {out}\n@@ -1 +1 @@\n-\"n\": 0\n+\"n\": 1\n"));
    assert!(log.contains("the state would be applied"), "{log}");
    // The command of a test says that it has run, for the bytes of the copy.
    assert_eq!(rig.calls(), ["check apply 1 \"n\": 1"]);
    fs::remove_file(rig.path("calls")).expect("it is there");
    assert_eq!(all(&rig), before);
    let page = rig.server.admin("/agents").await.json();
    assert_eq!(page["agents"], serde_json::json!([]), "nobody has seen an agent");

    rig.write("check", "echo 'no ones' >&2; exit 1");
    let before = all(&rig);
    let (code, printed, log) = dry_run(&rig, &url, &options).await;
    assert_eq!((code, printed.contains("+\"n\": 1")), (Some(3), true), "{log}");
    assert!(log.contains("the state would be rejected") && log.contains("no ones"), "{log}");
    fs::remove_file(rig.path("calls")).expect("it is there");
    assert_eq!(all(&rig), before);

    rig.write("out.yaml", "\"n\": 1\n");
    let (code, printed, log) = dry_run(&rig, &url, &["--out", &out]).await;
    assert_eq!((code, &*printed), (Some(0), ""), "{log}");
    assert!(log.contains("nothing would change"), "{log}");
    // Elsewhere there is no copy to look at.
    let mut command = rig.command("a", &options);
    command.arg("--dry-run").env("TMPDIR", rig.path("none"));
    let done = command.output().await.expect("the binary starts");
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && log.contains("--check is not run"), "{log}");
}

#[tokio::test]
async fn a_tree_is_told_by_its_files() {
    let rig = Rig::with(r#"{"a":"new","b":"one"}"#, &[]).await;
    let url = format!("http://{}", rig.server.listen);
    let tree = rig.path("tree");
    fs::create_dir_all(rig.path("tree/old")).expect("a folder");
    std::os::unix::fs::symlink("old", rig.path("tree/current")).expect("a link");
    rig.write("tree/old/a.txt", "old\n");
    rig.write("tree/old/c.txt", "gone\n");
    let before = all(&rig);
    let (code, printed, log) =
        dry_run(&rig, &url, &["--out-dir", &tree, "--out", "/a=a.txt", "--out", "/b=b.txt"]).await;
    assert_eq!(code, Some(0), "{log}");
    for expected in ["-old\n+new", "+++ /dev/null\n@@ -1 +0,0 @@\n-gone", "--- /dev/null\n"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    assert_eq!(all(&rig), before);
    assert_eq!(fs::read_link(rig.path("tree/current")).expect("a link"), Path::new("old"));
}

#[tokio::test]
async fn its_exit_codes_are_those_of_once() {
    let rig = Rig::new().await;
    let (nowhere, out) = (nowhere(), rig.path("out"));
    let options = ["--out", &*out, "--deadline=1s"];
    assert_eq!(dry_run(&rig, &nowhere, &options).await.0, Some(5));
    let denies = answers("401 Unauthorized\r\nContent-Length: 0".to_owned(), "").await;
    assert_eq!(dry_run(&rig, &denies, &options).await.0, Some(6));
    let mut agent = rig.agent(&[]);
    rig.holds("a", 1).await;
    agent.kill().await;
    assert_eq!(dry_run(&rig, &nowhere, &options).await.0, Some(4));
    assert_eq!(rig.read("out"), model(1));
    let url = format!("http://{}", rig.server.listen);
    // Also beside an agent that runs.
    let _agent = rig.agent(&[]);
    until("it runs", async || (rig.seen("a").await["holds"].is_string()).then_some(())).await;
    assert_eq!(dry_run(&rig, &url, &options).await.0, Some(0));
    assert_eq!(dry_run(&rig, &url, &["--out", "/none=/dev/shm/none"]).await.0, Some(3), "there is no such part");
}
