//! `--once`, and the exit codes of an agent.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Agent, Rig, model};

pub(super) async fn once(rig: &Rig, url: &str, more: &[&str]) -> (Option<i32>, Vec<String>) {
    let out = rig.path("out");
    let mut agent = Agent::spawn(rig.command_at(url, "a", &[&["--out", &out, "--once"], more].concat()));
    let code = agent.ended().await;
    let log = agent.log.borrow().clone();
    (code, log)
}

const SOON: &str = "--deadline=1s";

#[tokio::test]
async fn each_end_has_its_exit_code() {
    let mut rig = Rig::new().await;
    let url = format!("http://{}", rig.server.listen);
    rig.write("check", "case $(cat $TIDEWAIT_FILE) in *2*) echo 'no two' >&2; exit 1;; esac");
    let (nowhere, check) = (nowhere(), rig.hook("check"));
    // Nothing, and no server.
    assert_eq!(once(&rig, &nowhere, &[SOON]).await.0, Some(5));
    assert_eq!(once(&rig, &url, &[SOON]).await.0, Some(0));
    assert_eq!(rig.read("out"), model(1));
    // There is nothing newer.
    assert_eq!(once(&rig, &url, &[SOON]).await.0, Some(0));
    std::fs::remove_file(rig.path("out")).expect("it is there");
    assert_eq!(once(&rig, &nowhere, &[SOON]).await.0, Some(4));
    assert_eq!(rig.read("out"), model(1), "the last good one");
    rig.change(2).await;
    let (code, log) = once(&rig, &url, &["--check", &check, SOON]).await;
    assert_eq!((code, &*rig.read("out")), (Some(3), &*model(1)), "{log:?}");
    // It is still rejected.
    assert_eq!(once(&rig, &url, &["--check", &check, SOON]).await.0, Some(3));
    for status in ["401 Unauthorized", "403 Forbidden"] {
        assert_eq!(once(&rig, &refuses(status).await, &[SOON]).await.0, Some(6), "{status}");
    }
    rig.server.child.kill().await.expect("SIGKILL");
    for (wrong, told) in [
        (vec!["--verify=true"], "--verify is of no use without --exec"),
        (vec!["--exec=./x"], "give the whole path"),
        (vec!["--mode=9"], "--mode \"9\""),
        (vec!["--keep=x"], "--keep: \"x\""),
        (vec!["--select=a"], "--select is \"a\""),
    ] {
        let (code, log) = once(&rig, &url, &wrong).await;
        assert_eq!(code, Some(2), "{wrong:?}: {log:?}");
        assert!(log.iter().any(|line| line.contains(told)), "{wrong:?}: {log:?}");
    }
}

/// The newest state is held, and does not do what it should.
#[tokio::test]
async fn what_is_held_and_not_out_or_not_in_force_is_no_success() {
    let rig = Rig::new().await;
    let url = format!("http://{}", rig.server.listen);
    let exec = rig.hook("exec");
    let failed = || {
        let status: serde_json::Value = serde_json::from_str(&rig.read("state-a/status.json")).expect("JSON");
        [&status["failed"], &status["broken"]].map(|why| why.as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(once(&rig, &url, &["--exec", &exec]).await.0, Some(0));
    assert_eq!(failed(), ["", ""]);
    rig.write("exec", "echo 'no rules' >&2; exit 1");
    let (code, log) = once(&rig, &url, &["--exec", &exec, "--exec-on-start=always"]).await;
    assert_eq!((code, failed()[0].as_str()), (Some(1), "no rules"), "{log:?}");
    rig.write("exec", "");
    assert_eq!(once(&rig, &url, &["--exec", &exec]).await.0, Some(0), "it was run again");
    assert_eq!(rig.calls().iter().filter(|call| call.starts_with("exec start")).count(), 2);
    // Its folder goes.
    let (folder, out) = (rig.path("folder"), rig.path("folder/out"));
    let mut codes = Vec::new();
    for _ in 0..2 {
        std::fs::create_dir(&folder).or_else(|_| std::fs::remove_dir_all(&folder)).expect("made, or removed");
        let mut agent = Agent::spawn(rig.command_at(&url, "b", &["--out", &out, "--once"]));
        codes.push(agent.ended().await);
    }
    assert_eq!(codes, [Some(0), Some(1)]);
    assert!(rig.read("state-b/status.json").contains("\"broken\": \""));
}

/// What the process before had put out, and could not end, is not the newest of a server that is away.
#[tokio::test]
async fn what_was_under_way_is_finished_and_the_server_is_still_missed() {
    let rig = Rig::new().await;
    let (exec, gate) = (rig.hook("exec"), rig.gate("gate"));
    rig.write("exec", &format!("read line < {gate}"));
    let mut agent = rig.agent(&["--exec", &exec]);
    rig.called("exec apply 1 {\"n\":1}").await;
    agent.kill().await;
    rig.write("exec", "");
    let (code, log) = once(&rig, &nowhere(), &["--exec", &exec, "--deadline=4s"]).await;
    assert_eq!((code, rig.calls().len()), (Some(4), 2), "{log:?}");
}

/// An address at which nobody listens.
pub(super) fn nowhere() -> String {
    format!("http://127.0.0.1:{}", crate::control_plane::free_port())
}

/// A server that answers each request with this status.
async fn refuses(status: &str) -> String {
    answers(format!("{status}\r\nContent-Length: 0"), "").await
}

/// A server that answers each request with this.
pub(super) async fn answers(head: String, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}
