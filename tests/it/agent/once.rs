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
    let in_state = rig.path("state-a/out");
    for (wrong, told) in [
        (vec!["--verify=true"], "--verify is of no use without --exec"),
        (vec!["--exec=./x"], "give the whole path"),
        (vec!["--mode=9"], "--mode \"9\""),
        (vec!["--mode=0"], "--mode \"0\""),
        (vec!["--endpoint=http://10.0.0.1:1", "--token-file=/dev/null"], "(--allow-clear-credentials allows that)"),
        (
            vec!["--endpoint=http://u:p@x:1"],
            "--endpoint is \"http://***@x:1\": leave user and password out: name a --token-file",
        ),
        (vec!["--env=A=B"], "--env: \"A=B\" is no name of a variable"),
        (vec!["--ca=/none/ca.pem"], "--ca /none/ca.pem: No such file or directory"),
        (vec!["--token-file=/none/token"], "--token-file /none/token: No such file or directory"),
        (vec!["--out", &*in_state], "it is in --state-dir"),
        (vec!["--keep=x"], "--keep: \"x\""),
        (vec!["--select=a"], "--select is \"a\""),
    ] {
        let (code, log) = once(&rig, &url, &wrong).await;
        assert_eq!(code, Some(2), "{wrong:?}: {log:?}");
        assert_eq!(log.iter().map(|line| line.matches(told).count()).sum::<usize>(), 1, "{wrong:?}: {log:?}");
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

/// Operators see it, though no agent is left that could tell them.
#[tokio::test]
async fn the_server_hears_what_once_came_to_before_it_ends() {
    let rig = Rig::new().await;
    let url = format!("http://{}", rig.server.listen);
    rig.write("check", "case $(cat $TIDEWAIT_FILE) in *2*) echo 'no two' >&2; exit 1;; esac");
    let check = rig.hook("check");
    let (code, log) = once(&rig, &url, &["--check", &check]).await;
    assert_eq!(code, Some(0), "{log:?}");
    assert_eq!(rig.seen("a").await["holds"], rig.id_of(1).await, "{log:?}");
    let id = rig.change(2).await;
    let (code, log) = once(&rig, &url, &["--check", &check]).await;
    assert_eq!(code, Some(3), "{log:?}");
    let seen = rig.seen("a").await;
    assert_eq!((&seen["rejects"], &seen["reason"]), (&id.into(), &"no two".into()), "{log:?}");
    // Also of what was rejected by the process before, and the log says why.
    let (code, log) = once(&rig, &url, &["--check", &check]).await;
    assert!(log.iter().any(|line| line.contains("was rejected before") && line.contains("no two")), "{log:?}");
    assert_eq!((code, rig.calls().len()), (Some(3), 2));
    // Another command is another chance.
    let better = format!("{check} again");
    assert_eq!(once(&rig, &url, &["--check", &better]).await.0, Some(3));
    assert_eq!(rig.calls().len(), 3);
    assert_eq!(once(&rig, &url, &[]).await.0, Some(0));
    assert_eq!(rig.read("out"), model(2));
}

/// A server that has answered is not one that is away.
#[tokio::test]
async fn the_exit_code_says_who_is_at_fault() {
    let mut rig = Rig::new().await;
    let url = format!("http://{}", rig.server.listen);
    let exec = rig.hook("exec");
    rig.write("exec", "echo 'busy' >&2; exit 75");
    let (code, log) = once(&rig, &url, &["--exec", &exec, "--deadline=2s"]).await;
    assert_eq!(code, Some(1));
    let told = "the state was not applied before --deadline";
    assert!(log.iter().any(|line| line.contains(told) && line.contains("busy")), "{log:?}");
    rig.server.child.kill().await.expect("SIGKILL");
    let gone = answers("404 Not Found\r\nContent-Length: 0".to_owned(), "").await;
    let mut agent = Agent::spawn(rig.command_at(&gone, "b", &["--out", &rig.path("b"), "--once", SOON]));
    assert_eq!(agent.ended().await, Some(5));
    let log = agent.log.borrow().clone();
    let told = "no state came before --deadline";
    assert!(log.iter().any(|line| line.contains(told) && line.contains("the operation is not there")), "{log:?}");
    // One refuses the agent, the other one is not there: that is for people to mend.
    let denies = refuses("401 Unauthorized").await;
    for (second, expected) in [(nowhere(), 6), (gone, 5)] {
        let more = ["--out", &rig.path("c"), "--endpoint", &second, "--once", "--deadline=5s"];
        let mut agent = Agent::spawn(rig.command_at(&denies, "c", &more));
        let code = agent.ended().await;
        assert_eq!(code, Some(expected), "{second}: {:?}", agent.log.borrow());
    }
    assert!(rig.read("state-c/status.json").contains("\"isDenied\": true"));
}

/// What is wrong with the command line is said before anything is touched.
#[tokio::test]
async fn a_wrong_option_leaves_what_is_kept_where_it_is() {
    let rig = Rig::new().await;
    let url = format!("http://{}", rig.server.listen);
    assert_eq!(once(&rig, &url, &[]).await.0, Some(0));
    let kept = || {
        let names = std::fs::read_dir(rig.path("state-a")).expect("a folder").flatten();
        names.map(|entry| entry.file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = kept();
    let (code, log) = once(&rig, "ftp://a", &["--operation=/other"]).await;
    assert_eq!(code, Some(2), "{log:?}");
    assert_eq!(kept(), before);
    rig.write("file", "");
    for (state, out, told) in [
        ("file", "x", "it is no folder"),
        ("file/below", "x", "it is no folder"),
        ("tree/state", "--out-dir", "are within each other"),
    ] {
        let (state, x, tree) = (rig.path(state), rig.path("x"), rig.path("tree"));
        let mut command = crate::server::tidewait(&["agent", "--endpoint", &url, "--once", "--state-dir", &state]);
        command.args(if out == "x" { ["--out", &x] } else { ["--out-dir", &tree] });
        let mut agent = Agent::spawn(command);
        assert_eq!(agent.ended().await, Some(2), "{told}");
        agent.logged(told).await;
    }
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
