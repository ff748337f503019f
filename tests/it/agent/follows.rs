//! What reaches the outputs, and what operators see of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Rig, until};
use crate::server::{Server, tidewait};

#[tokio::test]
async fn a_change_reaches_each_kind_of_output() {
    let rig = Rig::new().await;
    rig.model.replace(r#"{"a":{"x":1},"b":"one"}"#);
    let first = until("served", async || {
        let reply = rig.server.get("/describe").await;
        reply.body.starts_with(b"{\"a\"").then(|| reply.id().to_owned())
    })
    .await;
    let [out, part, text, tree] = ["out.json", "part.yaml", "b.txt", "tree"].map(|name| rig.path(name));
    let (part, text) = (format!("/a={part}"), format!("/b={text}"));
    let _agents = [
        rig.agent_of("file", &["--out", &out, "--mode=0640"]),
        rig.agent_of("parts", &["--out", &part, "--out", &text]),
        rig.agent_of("tree", &["--out-dir", &tree, "--out", "/a=a.json", "--out", "/b=b.txt"]),
    ];
    let converged = "tidewait_agents{operation=\"describe\",state=\"converged\"}";
    rig.server.metric_becomes(converged, 3.0).await;
    assert_eq!(rig.read("out.json"), r#"{"a":{"x":1},"b":"one"}"#);
    let mode = fs::metadata(&out).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!([rig.read("part.yaml").trim(), rig.read("b.txt").trim()], ["x: 1", "one"]);
    let link = || fs::read_link(rig.path("tree/current")).expect("a link").to_str().expect("UTF-8").to_owned();
    assert_eq!(link(), first);

    rig.model.replace(r#"{"a":{"x":2},"b":"two"}"#);
    for name in ["file", "parts", "tree"] {
        until("the newest one is held", async || {
            let (seen, newest) = (rig.seen(name).await, rig.server.get("/describe").await);
            (seen["holds"] == newest.id() && seen["holds"] != first).then_some(())
        })
        .await;
    }
    assert_eq!(rig.read("out.json"), r#"{"a":{"x":2},"b":"two"}"#);
    assert_eq!([rig.read("part.yaml").trim(), rig.read("b.txt").trim()], ["x: 2", "two"]);
    assert_eq!([rig.read("tree/current/a.json").trim(), rig.read("tree/current/b.txt").trim()], [r#"{"x":2}"#, "two"]);
    assert_ne!(link(), first);
    assert_eq!(rig.read(&format!("tree/{first}/b.txt")).trim(), "one", "readers may still have it open");
}

/// What came first is never put out.
#[tokio::test]
async fn a_state_is_left_until_it_has_settled_and_the_newest_is_applied() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let _agent = rig.agent(&["--exec", &exec, "--settle=5s:5s"]);
    rig.holds("a", 1).await;
    for n in 2..=4 {
        rig.change(n).await;
    }
    rig.holds("a", 4).await;
    let calls = [1, 4].map(|n| format!("exec apply 1 {{\"n\":{n}}}"));
    assert_eq!(rig.calls(), calls);
}

/// What settles is left, where the server has gone back to what is held.
#[tokio::test]
async fn a_state_that_settles_is_left_if_the_server_takes_it_back() {
    let rig = Rig::new().await;
    let mut agent = rig.agent(&["--settle=1h:1h"]);
    rig.holds("a", 1).await;
    let id = rig.change(2).await;
    until("it has come", async || (rig.seen("a").await["applies"] == id).then_some(())).await;
    rig.change(1).await;
    agent.logged("the state is left").await;
    assert_eq!(rig.read("out"), r#"{"n":1}"#);
}

#[tokio::test]
async fn what_no_server_confirms_is_stale_and_a_command_is_told() {
    let mut rig = Rig::new().await;
    let (exec, out, state) = (rig.hook("exec"), rig.path("out"), rig.path("state-a"));
    let mut agent = rig.agent(&["--exec", &exec, "--max-age=2s", "--on-stale=exec"]);
    rig.holds("a", 1).await;
    let well = tidewait(&["agent", "status", "--state-dir", &state]).output().await.expect("the binary starts");
    assert!(well.status.success(), "{well:?}");
    rig.write("exec", &format!("echo \"<$TIDEWAIT_STALE>\" >> {}; echo no >&2; exit 1", rig.path("told")));
    rig.server.child.kill().await.expect("SIGKILL");
    rig.called("exec stale 1 {\"n\":1}").await;
    agent.logged("what is held is older than --max-age").await;
    rig.reads("told", "<true>\n").await;
    let told = until("it is said", async || {
        let asked = tidewait(&["agent", "status", "--state-dir", &state, "--fail-if=stale"]).output().await;
        asked.ok().filter(|asked| asked.status.code() == Some(4))
    })
    .await;
    assert!(String::from_utf8_lossy(&told.stdout).contains("what is held is older than --max-age"), "{told:?}");
    assert_eq!((rig.calls().len(), fs::read_to_string(out).expect("it stays")), (2, r#"{"n":1}"#.to_owned()));
    // What was done about it is undone.
    rig.write("exec", "");
    let listen = rig.server.listen.to_string();
    let flags =
        ["serve", "--listen", &listen, "--admin", "127.0.0.1:0", "--log-format=json", "--file", rig.model.arg()];
    rig.server = Server::spawn(tidewait(&flags)).await;
    rig.called("exec again 1 {\"n\":1}").await;
    agent.logged("what is held is not older than --max-age any more").await;
    agent.signal(rustix::process::Signal::TERM);
    assert_eq!(agent.ended().await, Some(0));
}

#[tokio::test]
async fn the_newest_wins_while_a_command_runs_and_operators_see_it() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let _agent = rig.agent(&["--exec", &exec]);
    rig.holds("a", 1).await;
    let gate = rig.gate("gate");
    rig.write("exec", &format!("read line < {gate}"));
    rig.change(2).await;
    rig.called("exec apply 1 {\"n\":2}").await;
    for n in 3..=5 {
        let id = rig.change(n).await;
        until("it is told what the agent is busy with", async || {
            let seen = rig.seen("a").await;
            (seen["applies"] == id && seen["holds"] != id).then_some(())
        })
        .await;
    }
    fs::remove_file(rig.path("exec")).expect("it is there");
    rig.open("gate").await;
    rig.holds("a", 5).await;
    assert_eq!(rig.read("out"), r#"{"n":5}"#);
    let calls = [1, 2, 5].map(|n| format!("exec apply 1 {{\"n\":{n}}}"));
    assert_eq!(rig.calls(), calls);
}
