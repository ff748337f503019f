//! Where what it prints cannot be written, or nobody reads it.

use std::fs::OpenOptions;
use std::process::Stdio;

use rustix::process::Signal;

use super::serve;
use crate::model_file::ModelFile;
use crate::server::{Server, tidewait};

/// A device that is always full.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it").into()
}

/// A pipe that nobody reads any more.
fn closed() -> Stdio {
    std::io::pipe().expect("a pipe").1.into()
}

#[tokio::test]
async fn the_service_goes_on_without_its_greeting() {
    let model = ModelFile::new("{}");
    let arguments = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--file", model.arg()];
    let (_reader, stuck) = super::logs::full_pipe();
    for (what, stdout) in [("full", full()), ("closed", closed()), ("stuck", stuck.into())] {
        let mut server = Server::spawn_to(tidewait(&arguments), stdout).await;
        server.metric_becomes(super::CHANGES, 1.0).await;
        assert_eq!(server.get("/describe").await.status, 200, "{what}");
        server.signal(Signal::TERM);
        assert_eq!(server.ended().await, Some(0), "{what}");
    }
}

#[tokio::test]
async fn a_command_whose_answer_cannot_be_written_says_so_with_exit_code_1() {
    let model = ModelFile::new("{}");
    let server = serve(&model, &["--grace=1s"]).await;
    let admin = server.admin.to_string();
    for arguments in [
        &["check", "--file=m.json"][..],
        &["crd"],
        &["drain", "--admin", &admin],
        &["--help"],
        &["serve", "--help"],
        &["--version"],
    ] {
        for stdout in [full(), closed()] {
            let mut command = tidewait(arguments);
            let output = command.stdout(stdout).stderr(Stdio::piped()).spawn().expect("it runs").wait_with_output();
            let output = output.await.expect("it ends");
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
            assert!(error.starts_with("tidewait: standard output cannot be written: "), "{arguments:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
        }
    }
}

#[tokio::test]
async fn the_exit_code_stays_where_the_reason_cannot_be_written() {
    for stderr in [full, closed] {
        for (arguments, code) in [(&["check", "--wait-max=soon"][..], 2), (&["agent"], 2), (&["crd"], 0)] {
            let status = tidewait(arguments).stdout(Stdio::null()).stderr(stderr()).status().await.expect("it runs");
            assert_eq!(status.code(), Some(code), "{arguments:?}");
        }
        let gone = tidewait(&["drain", "--admin=127.0.0.1:1"]).stderr(stderr()).status().await.expect("it runs");
        assert_eq!(gone.code(), Some(1));
    }
}
