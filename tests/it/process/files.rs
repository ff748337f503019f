//! What clients get while the model's file changes, breaks, vanishes and comes back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::Signal;

use super::{CHANGES, PARKED, Port, park, serve, until};
use crate::model_file::ModelFile;
use crate::server::{Client, Server};

#[tokio::test]
async fn a_rename_and_a_write_in_place_release_who_is_parked() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let mut server = serve(&model, &[]).await;
    server.ready().await;
    let first = server.get("/describe").await;
    assert_eq!((first.status, &*first.body), (200, br#"{"n":1}"#.as_slice()));
    let mut client = park(&server, first.id(), "30").await;
    model.replace(r#"{ "n": 2 }"#);
    let renamed = client.reply().await;
    assert_eq!((renamed.status, renamed.json()["n"].as_u64()), (200, Some(2)));
    assert_ne!(renamed.id(), first.id());
    let mut client = park(&server, renamed.id(), "30").await;
    model.write(r#"{ "n": 3 }"#);
    let written = client.reply().await;
    assert_eq!((written.status, written.json()["n"].as_u64()), (200, Some(3)), "never half a file, nor an empty one");
    let mut client = park(&server, written.id(), "0.3").await;
    let same = client.reply().await;
    assert_eq!((same.status, same.id()), (204, written.id()));
    server.metric_becomes(PARKED, 0.0).await;
}

/// As the kubelet changes a volume, without the second for which it keeps the old folder.
#[tokio::test]
async fn a_folder_that_is_swapped_and_removed_at_once_is_no_warning() {
    use std::os::unix::fs::symlink;
    let model = ModelFile::absent();
    let fill = |n: u32| {
        std::fs::create_dir(model.beside(&format!("..{n}"))).expect("a folder");
        std::fs::write(model.beside(&format!("..{n}/model.json")), format!("{{\"n\":{n}}}")).expect("written");
        symlink(format!("..{n}"), model.beside("..next")).expect("a link");
        std::fs::rename(model.beside("..next"), model.beside("..data")).expect("renamed");
    };
    fill(0);
    symlink("..data/model.json", &model.path).expect("a link");
    let mut server = serve(&model, &[]).await;
    server.ready().await;
    let before = server.log.borrow().len();
    for n in 1..=6 {
        fill(n);
        std::fs::remove_dir_all(model.beside(&format!("..{}", n - 1))).expect("removed");
        until("the next state", &server, Port::Clients, "/describe", |reply| reply.json()["n"] == n).await;
    }
    let log = server.log.borrow()[before..].to_vec();
    assert!(!log.iter().any(|line| line.contains("\"WARN\"")), "{log:#?}");
}

#[tokio::test]
async fn an_id_survives_kill_and_restart() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let mut server = serve(&model, &[]).await;
    server.ready().await;
    let id = server.get("/describe").await.id().to_owned();
    let mut parked = park(&server, &id, "30").await;
    server.child.kill().await.expect("SIGKILL");
    assert!(parked.try_reply().await.is_none(), "the connection is gone, nothing was answered");

    let mut server = serve(&model, &[]).await;
    server.ready().await;
    let mut client = park(&server, &id, "0.3").await;
    let same = client.reply().await;
    assert_eq!((same.status, same.id()), (204, &*id), "the new process knows the old one's id");
    let mut client = park(&server, &id, "30").await;
    model.replace(r#"{"n":2}"#);
    assert_eq!(client.reply().await.json()["n"], 2);
}

#[tokio::test]
async fn an_empty_object_is_a_state_and_an_empty_file_is_none() {
    let model = ModelFile::new("");
    let mut server = serve(&model, &[]).await;
    server.logged("source unusable").await;
    let none = server.get("/describe").await;
    assert_eq!(none.status, 503);
    assert!(none.field("retry-after").parse::<u32>().is_ok(), "{none:?}");
    assert_eq!(none.field("content-type"), "application/problem+json");
    let mut client = Client::connect(server.listen).await;
    let parked = client.get("/describe?since=abc&wait=30", &[]).await;
    assert_eq!(parked.status, 503, "nobody parks where there is nothing to wait on");
    let waiting = server.admin("/readyz").await;
    assert_eq!(waiting.status, 503);
    assert_eq!(String::from_utf8_lossy(&waiting.body), "waiting for a snapshot of: describe\n");

    model.replace("{}");
    let ready = until("ready", &server, Port::Admin, "/readyz", |reply| reply.status == 200).await;
    assert_eq!(&*ready.body, b"ok\n");
    let empty = server.get("/describe").await;
    assert_eq!((empty.status, &*empty.body), (200, b"{}".as_slice()));
    let mut client = park(&server, empty.id(), "30").await;
    model.replace(r#"{"n":1}"#);
    assert_eq!(client.reply().await.json()["n"], 1);
}

#[tokio::test]
async fn broken_json_keeps_the_last_good_state_and_says_where_and_what_to_do() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let mut server = serve(&model, &[]).await;
    server.ready().await;
    let good = server.get("/describe").await;
    assert_eq!(good.field("state-age"), "0");
    let mut client = park(&server, good.id(), "30").await;
    model.replace("{\"n\":1,\n \"m\": }");
    let line = server.logged("source unusable").await;
    for part in [model.arg(), "line 2 column 7", "JSON does not parse", "serving the last good state"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let aged = |reply: &crate::server::Reply| reply.field("state-age") != "0";
    let old = until("State-Age grows", &server, Port::Clients, "/describe", aged).await;
    assert_eq!((old.status, old.id(), &*old.body), (200, good.id(), br#"{"n":1}"#.as_slice()));
    let state = server.admin("/state").await.json();
    let source = &state["operations"][0]["source"];
    assert_eq!(source["status"], "invalid");
    let detail = source["detail"].as_str().expect("a text");
    assert!(detail.contains(model.arg()) && detail.contains("line 2 column 7"), "{detail}");
    assert!(detail.ends_with(": repair it there"), "the remedy: {detail}");
    assert_eq!(server.admin("/readyz").await.status, 200, "still ready: it serves");
    server.metric_becomes("tidewait_source_live{operation=\"describe\"}", 0.0).await;

    model.remove();
    server.logged("it is not there").await;
    model.replace(r#"{"n":2}"#);
    assert_eq!(client.reply().await.json()["n"], 2, "who was parked through all that gets the next state");
    assert_eq!(server.get("/describe").await.field("state-age"), "0");
}

#[tokio::test]
async fn a_version_in_the_model_orders_its_states() {
    let model = ModelFile::new(r#"{"meta":{"v":7},"n":1}"#);
    let mut server = serve(&model, &["--version-from", "/meta/v"]).await;
    server.ready().await;
    let first = server.get("/describe").await;
    let version =
        |id: &str| id.split('.').nth(1).and_then(|text| text.parse::<u64>().ok()).expect("epoch.version.digest");
    assert_eq!(version(first.id()), 7);
    model.replace(r#"{"meta":{"v":9},"n":1}"#);
    server.metric_becomes(CHANGES, 2.0).await;
    assert_eq!(version(server.get("/describe").await.id()), 9);

    model.replace(r#"{"meta":{"v":"nine"}}"#);
    let line = server.logged("versionFrom /meta/v").await;
    assert!(line.contains("must be an integer"), "{line}");
    assert_eq!(version(server.get("/describe").await.id()), 9, "the last good state stays");

    // A person put an older file back: that is what the source holds now.
    model.replace(r#"{"meta":{"v":8},"n":1}"#);
    server.metric_becomes("tidewait_source_restores_total{operation=\"describe\"}", 1.0).await;
    server.metric_becomes(CHANGES, 3.0).await;
    assert_eq!(version(server.get("/describe").await.id()), 8);
}

/// A version of a mounted ConfigMap: a folder of its own, to which `..data` leads in one step.
fn publish(mount: &Path, version: u64) {
    let folder = mount.join(format!("..{version}"));
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("model.json"), format!("{{\"n\":{version}}}")).expect("written");
    symlink(format!("..{version}"), mount.join("..data_tmp")).expect("a link");
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("renamed");
}

#[tokio::test]
async fn a_mounted_config_map_changes_without_a_warning() {
    let mount = tempfile::tempdir().expect("a folder");
    publish(mount.path(), 1);
    let path = mount.path().join("model.json");
    symlink("..data/model.json", &path).expect("a link");
    let mut server = Server::start(&["--file", path.to_str().expect("UTF-8")]).await;
    server.ready().await;
    for version in 2..10 {
        publish(mount.path(), version);
        // As the kubelet does, at once.
        fs::remove_dir_all(mount.path().join(format!("..{}", version - 1))).expect("removed");
        let is_new = |reply: &crate::server::Reply| reply.status == 200 && reply.json()["n"] == version;
        until("the new version", &server, Port::Clients, "/describe", is_new).await;
    }
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
    server.logged("\"stopped\"").await;
    // That this machine may have few descriptors is no matter here.
    let is_loud = |line: &&String| !line.contains("\"level\":\"INFO\"") && !line.contains("descriptor limit");
    let loud: Vec<_> = server.log.borrow().iter().filter(is_loud).cloned().collect();
    assert_eq!(loud, [""; 0], "nothing is wrong");
}
