//! What `--state-dir` keeps over a restart.

use super::{CHANGES, Port, park, serve, until};
use crate::model_file::ModelFile;
use crate::server::{Reply, tidewait};

#[tokio::test]
async fn a_restart_without_the_file_serves_the_kept_state_with_its_age() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let state = model.beside("state");
    let mut server = serve(&model, &["--state-dir", &state]).await;
    server.ready().await;
    let first = server.get("/describe").await;
    server.child.kill().await.expect("SIGKILL");
    model.remove();

    let mut server = serve(&model, &["--state-dir", &state]).await;
    server.logged("serving the state kept on disk").await;
    let aged = |reply: &Reply| reply.field("state-age") != "0";
    let kept = until("State-Age grows", &server, Port::Clients, "/describe", aged).await;
    assert_eq!((kept.status, kept.id(), &*kept.body), (200, first.id(), &*first.body));
    assert_eq!(server.admin("/readyz").await.status, 200, "what it serves is what it has to serve");
    let mut client = park(&server, first.id(), "30").await;
    model.replace(r#"{"n":2}"#);
    assert_eq!(client.reply().await.json()["n"], 2);
    assert_eq!(server.get("/describe").await.field("state-age"), "0");
}

#[tokio::test]
async fn the_kept_state_is_not_given_to_who_holds_a_newer_one() {
    let model = ModelFile::new(r#"{"v":5}"#);
    let state = model.beside("state");
    let more = ["--state-dir", &state, "--version-from", "/v"];
    let mut server = serve(&model, &more).await;
    server.ready().await;
    let fifth = server.get("/describe").await.id().to_owned();
    server.child.kill().await.expect("SIGKILL");
    // Another process, as on another node, is ahead of what is kept here.
    model.replace(r#"{"v":6}"#);
    let mut ahead = serve(&model, &more[2..]).await;
    ahead.ready().await;
    let sixth = ahead.get("/describe").await.id().to_owned();
    model.remove();

    let mut server = serve(&model, &more).await;
    server.logged("it is not there").await;
    let behind = server.get(&format!("/describe?since={sixth}&wait=5")).await;
    assert_eq!(behind.status, 503, "{behind:?}");
    assert!(behind.field("retry-after").parse::<u32>().is_ok());
    assert_eq!(server.get("/describe").await.id(), fifth, "who holds nothing is given what there is");
    model.replace(r#"{"v":6}"#);
    server.metric_becomes(CHANGES, 1.0).await;
    let caught_up = server.get(&format!("/describe?since={sixth}&wait=0")).await;
    assert_eq!((caught_up.status, caught_up.id()), (204, &*sixth));
}

#[tokio::test]
async fn a_corrupt_state_is_set_aside_and_told() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let state = model.beside("state");
    let mut server = serve(&model, &["--state-dir", &state]).await;
    server.ready().await;
    server.child.kill().await.expect("SIGKILL");
    let kept = format!("{state}/describe.snapshot");
    let mut bytes = std::fs::read(&kept).expect("it is kept");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&kept, &bytes).expect("it can be written");
    model.remove();

    let mut server = serve(&model, &["--state-dir", &state]).await;
    let line = server.logged("the state on disk is not used").await;
    for part in [&*kept, "checksum", ".corrupt", "delete it"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert_eq!(std::fs::read(format!("{kept}.corrupt")).expect("set aside"), bytes);
    assert_eq!(server.get("/describe").await.status, 503);
    model.replace(r#"{"n":2}"#);
    server.ready().await;
    assert_eq!(server.get("/describe").await.json()["n"], 2);
}

#[tokio::test]
async fn two_processes_do_not_share_a_state_directory() {
    let model = ModelFile::new("{}");
    let state = model.beside("state");
    let mut server = serve(&model, &["--state-dir", &state]).await;
    server.ready().await;
    let second = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--file", model.arg(), "--state-dir", &state];
    let output = tidewait(&second).output().await.expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&state) && error.contains("give each process its own --state-dir"), "{error}");
}

#[tokio::test]
async fn a_start_without_any_state_says_that_there_is_none() {
    let model = ModelFile::new("{}");
    let state = model.beside("state");
    model.remove();
    let mut server = serve(&model, &["--state-dir", &state]).await;
    let line = server.logged("it is not there").await;
    assert!(line.contains("there is no state to serve") && !line.contains("serving the last good state"), "{line}");
    assert_eq!(server.get("/describe").await.status, 503);
    model.replace(r#"{"n":1}"#);
    server.ready().await;
    model.remove();
    server.logged("serving the last good state").await;
    assert_eq!(server.get("/describe").await.json()["n"], 1);
}

#[tokio::test]
async fn a_state_of_another_version_is_kept_for_that_version_and_told() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let state = model.beside("state");
    let mut server = serve(&model, &["--state-dir", &state]).await;
    server.ready().await;
    server.child.kill().await.expect("SIGKILL");
    let kept = format!("{state}/describe.snapshot");
    let ours = std::fs::read_to_string(&kept).expect("it is kept");
    let newer = ours.replace("\"tidewait\":2", "\"tidewait\":3,\"more\":true");
    std::fs::write(&kept, &newer).expect("it can be written");
    model.remove();

    let mut server = serve(&model, &["--state-dir", &state]).await;
    let line = server.logged("another version of tidewait").await;
    let aside = format!("{kept}.form-3");
    assert!(line.contains(&kept) && line.contains(&aside) && !line.contains("corrupt"), "{line}");
    assert_eq!(std::fs::read_to_string(&aside).expect("as it was"), newer);
    assert_eq!(server.get("/describe").await.status, 503);
}

/// A file system that does not answer, played by a FIFO that nobody reads: opening it to write waits.
#[tokio::test]
async fn a_state_directory_that_does_not_answer_keeps_nobody_from_the_model() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let state = model.beside("state");
    std::fs::create_dir(&state).expect("a folder of ours");
    let fifo = std::process::Command::new("mkfifo").arg(format!("{state}/describe.lock")).status();
    assert!(fifo.expect("mkfifo").success());
    let mut server = serve(&model, &["--state-dir", &state]).await;
    server.logged("has not answered").await;
    server.ready().await;
    model.replace(r#"{"n":2}"#);
    server.metric_becomes(CHANGES, 2.0).await;
    assert_eq!(server.get("/describe").await.json()["n"], 2);
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
}
