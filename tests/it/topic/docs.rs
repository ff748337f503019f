//! The lines of docs/topics.md, as they stand but for ports.

use std::process::Stdio;

use tokio::process::Command;

use crate::server::{STEP, Server, until};

/// The blocks of the page that a shell runs.
fn blocks() -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/topics.md")).expect("the page");
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix("sh\n")).map(str::to_owned).collect()
}

/// A bash that runs these lines, where `server` has the port that the page names.
fn bash(lines: &str, server: &Server) -> Command {
    let mut bash = Command::new("bash");
    let lines = lines.replace("127.0.0.1:8480", &server.listen.to_string());
    bash.args(["-ec", &lines]).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped());
    bash
}

#[tokio::test]
async fn the_lines_of_the_page_do_what_it_says() {
    let server = super::start(&[]).await;
    let [serve, stream, publish, poll] = <[String; 4]>::try_from(blocks()).expect("four blocks");
    assert_eq!(serve.trim(), "tidewait serve --topic /chat");
    let mut reader = bash(&stream, &server).spawn().expect("bash");
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 1.0).await;
    let said = tokio::time::timeout(STEP, bash(&publish, &server).output()).await.expect("in time").expect("it ends");
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).starts_with("{\"id\":"), "{said:?}");
    // It asks once, and then waits, again and again.
    let mut polling = bash(&poll, &server).stderr(Stdio::piped()).spawn().expect("bash");
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 2.0).await;
    shows(&mut polling.stderr.take().expect("piped"), &["\"hello\""]).await;
    let mut pages = polling.stdout.take().expect("piped");
    super::say(&server, "later").await;
    shows(&mut pages, &["\"later\""]).await;
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 2.0).await;
    super::say(&server, "last").await;
    shows(&mut pages, &["\"last\""]).await;
    shows(&mut reader.stdout.take().expect("piped"), &["data: hello", "data: later", "data: last"]).await;
}

/// Reads until all of these are there.
async fn shows(from: &mut (impl tokio::io::AsyncRead + Unpin), expected: &[&str]) {
    let mut text = String::new();
    until("what is printed", async || {
        let mut bytes = [0; 4096];
        let count = tokio::io::AsyncReadExt::read(from, &mut bytes).await.expect("read");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        expected.iter().all(|expected| text.contains(expected)).then_some(())
    })
    .await;
}
