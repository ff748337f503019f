//! The agent's admin port: what it says while states come, are rejected and fail, and while the server is away.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Signal;

use super::{Agent, Rig, until};
use crate::server::{Client, Reply, tidewait};

/// An agent with an admin port, and where that is.
async fn start(rig: &Rig, url: &str, more: &[&str]) -> (Agent, SocketAddr) {
    let out = rig.path("out");
    let arguments = [&["--admin=127.0.0.1:0", "--out", &out], more].concat();
    let mut agent = Agent::spawn(rig.command_at(url, "a", &arguments));
    let line: serde_json::Value = serde_json::from_str(&agent.logged("\"listening\"").await).expect("JSON");
    let admin = line["admin"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    (agent, admin)
}

async fn get(admin: SocketAddr, path: &str) -> Reply {
    Client::connect(admin).await.get(path, &[]).await
}

/// The status of a path and its body.
async fn said(admin: SocketAddr, path: &str) -> (u16, String) {
    let reply = get(admin, path).await;
    (reply.status, String::from_utf8(reply.body).expect("text"))
}

/// Waits until a metric has this value.
async fn becomes(admin: SocketAddr, series: &str, value: &str) {
    let line = format!("{series} {value}");
    until(&line, async || said(admin, "/metrics").await.1.lines().any(|one| one == line).then_some(())).await;
}

/// What `tidewait agent status` prints, and its exit code.
async fn status(more: &[&str]) -> (Option<i32>, String) {
    let output = tidewait(&[&["agent", "status"], more].concat()).output().await.expect("it runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

fn url(rig: &Rig) -> String {
    format!("http://{}", rig.server.listen)
}

fn fault(word: &str) -> String {
    format!("tidewait_agent_fault{{fault=\"{word}\"}}")
}

#[tokio::test]
async fn it_says_what_is_held_rejected_and_put_right() {
    let rig = Rig::new().await;
    rig.write("check", "case $(cat $TIDEWAIT_FILE) in *:2*) echo mtu >&2; exit 1;; esac");
    rig.write("exec", "[ ! -e FOLDER/again ] || exit 75".replace("FOLDER", &rig.path("")).as_str());
    let (check, exec) = (rig.hook("check"), rig.hook("exec"));
    let (agent, admin) = start(&rig, &url(&rig), &["--check", &check, "--exec", &exec]).await;
    rig.holds("a", 1).await;
    until("it is ready", async || (said(admin, "/readyz").await == (200, "ok\n".to_owned())).then_some(())).await;
    assert_eq!(said(admin, "/livez").await, (200, "ok\n".to_owned()));
    let first = rig.id_of(1).await;
    let held = format!("tidewait_agent_state_info{{stage=\"held\",id=\"{first}\"}}");
    for (series, value) in [
        (&*held, "1"),
        ("tidewait_agent_output_whole", "1"),
        ("tidewait_agent_lag_seconds", "0"),
        ("tidewait_agent_state_age_seconds", "0"),
        ("tidewait_agent_command_succeeded{command=\"check\"}", "1"),
        ("tidewait_agent_commands_total{command=\"exec\",result=\"done\"}", "1"),
        ("tidewait_agent_polls_total{result=\"state\"}", "1"),
        ("tidewait_agent_received_bytes_total", "7"),
        (&fault("rejected"), "0"),
    ] {
        becomes(admin, series, value).await;
    }
    assert!(said(admin, "/state").await.1.contains("\"applies\": null"), "it is held, and no longer applied");
    // What is rejected lags, and what is out stays whole.
    rig.change(2).await;
    rig.rejects("a", 2).await;
    becomes(admin, &fault("rejected"), "1").await;
    becomes(admin, "tidewait_agent_command_succeeded{command=\"check\"}", "0").await;
    let (code, words) = said(admin, "/readyz").await;
    assert_eq!((code, &*words), (200, "ok, but the newest state is rejected: mtu\n"));
    let metrics = said(admin, "/metrics").await.1;
    assert!(!metrics.contains("tidewait_agent_lag_seconds 0\n"), "{metrics}");
    // The same is said by the port and by the file, and by exit codes.
    let (by_file, port) = (rig.path("state-a"), format!("http://{admin}"));
    assert_eq!(said(admin, "/state").await.1, rig.read("state-a/status.json"));
    for more in [&[][..], &["--json"], &["--fail-if=denied"]] {
        let of_port = status(&[&["--admin", &port], more].concat()).await;
        assert_eq!(of_port, status(&[&["--state-dir", &by_file], more].concat()).await);
        assert_eq!(of_port.0, Some(if more == ["--fail-if=denied"] { 0 } else { 3 }), "{}", of_port.1);
    }
    // A command that asks for another attempt.
    rig.write("again", "");
    rig.change(3).await;
    becomes(admin, "tidewait_agent_commands_total{command=\"exec\",result=\"try-again\"}", "1").await;
    until("it applies", async || said(admin, "/state").await.1.contains("\"retries\": \"").then_some(())).await;
    std::fs::remove_file(rig.path("again")).expect("it is there");
    agent.signal(Signal::HUP);
    rig.holds("a", 3).await;
    becomes(admin, "tidewait_agent_lag_seconds", "0").await;
    // Somebody else writes to the output.
    rig.write("out", "mine");
    agent.signal(Signal::HUP);
    becomes(admin, "tidewait_agent_corrections_total", "1").await;
    becomes(admin, "tidewait_agent_retries_total", "1").await;
}

#[tokio::test]
async fn it_is_ready_with_the_last_good_output_and_alive_without_a_server() {
    let rig = Rig::new().await;
    let nowhere = format!("http://127.0.0.1:{}", crate::control_plane::free_port());
    let gate = rig.gate("gate");
    // Nothing yet.
    let (mut agent, admin) = start(&rig, &nowhere, &[]).await;
    until("it cannot be ready", async || {
        let (code, words) = said(admin, "/readyz").await;
        (code == 503 && words.starts_with("nothing is held yet; no state comes: ")).then_some(())
    })
    .await;
    assert_eq!(said(admin, "/livez").await.0, 200);
    assert_eq!(status(&["--admin", &admin.to_string(), "--fail-if=empty"]).await.0, Some(5));
    agent.kill().await;
    let (code, told) = status(&["--admin", &admin.to_string()]).await;
    assert_eq!((code, told.contains(&format!("no agent listens at {admin}"))), (Some(1), true), "{told}");
    // While the first state is applied it is alive, and says so.
    rig.write("exec", &format!("read line < {gate}"));
    let exec = rig.hook("exec");
    let (mut agent, admin) = start(&rig, &url(&rig), &["--exec", &exec]).await;
    rig.called("exec apply 1 {\"n\":1}").await;
    let id = rig.id_of(1).await;
    becomes(admin, &format!("tidewait_agent_state_info{{stage=\"applying\",id=\"{id}\"}}"), "1").await;
    assert_eq!(said(admin, "/readyz").await, (503, "nothing is held yet\n".to_owned()));
    assert_eq!(said(admin, "/livez").await.0, 200);
    rig.open("gate").await;
    rig.holds("a", 1).await;
    until("it is ready", async || (said(admin, "/readyz").await.0 == 200).then_some(())).await;
    agent.kill().await;
    // The last good one, at once; a command that hangs changes nothing of that.
    std::fs::remove_file(rig.path("out")).expect("it is there");
    let (mut agent, admin) = start(&rig, &nowhere, &["--exec", &exec]).await;
    until("it is ready", async || (said(admin, "/readyz").await.0 == 200).then_some(())).await;
    assert_eq!(rig.read("out"), "{\"n\":1}");
    becomes(admin, &fault("stale"), "1").await;
    let (_, words) = said(admin, "/readyz").await;
    assert!(words.starts_with("ok, but no state comes: "), "{words}");
    assert_eq!(said(admin, "/livez").await.0, 200);
    agent.kill().await;
}

#[tokio::test]
async fn an_output_that_cannot_be_put_right_is_not_ready() {
    let rig = Rig::new().await;
    let (mut agent, admin) = start(&rig, &url(&rig), &[]).await;
    rig.holds("a", 1).await;
    std::fs::remove_file(rig.path("out")).expect("it is there");
    std::fs::create_dir(rig.path("out")).expect("a folder in its place");
    agent.signal(Signal::HUP);
    agent.logged("the output cannot be put right").await;
    until("it is not ready", async || {
        let (code, words) = said(admin, "/readyz").await;
        (code == 503 && words.starts_with("the output is not what is held: ")).then_some(())
    })
    .await;
    becomes(admin, "tidewait_agent_output_whole", "0").await;
    becomes(admin, &fault("failed"), "1").await;
    std::fs::remove_dir(rig.path("out")).expect("it is empty");
    agent.signal(Signal::HUP);
    becomes(admin, "tidewait_agent_output_whole", "1").await;
    assert_eq!(said(admin, "/readyz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn it_answers_what_it_knows_and_changes_nothing() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let (_agent, admin) = start(&rig, &url(&rig), &["--check", &exec, "--exec", &exec, "--verify", &exec]).await;
    rig.holds("a", 1).await;
    for (method, path, code) in
        [("HEAD", "/state", 200), ("POST", "/state", 405), ("PUT", "/readyz", 405), ("GET", "/drain", 404)]
    {
        let mut client = Client::connect(admin).await;
        client.send(method, path, &[]).await;
        let mut line = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut client.stream, &mut line).await.expect("an answer");
        assert!(line.starts_with(&format!("HTTP/1.1 {code} ")), "{method} {path}: {line}");
    }
    let (_, told) = said(admin, "/drain").await;
    assert!(told.contains("try /livez /readyz /metrics /state"), "{told}");
    // The port of a server is none of an agent.
    let output = tidewait(&["agent", "status", "--admin", &rig.server.admin.to_string()]).output().await;
    let told = String::from_utf8(output.expect("it runs").stdout).expect("text");
    assert!(told.ends_with("this is the admin port of no agent: give the address of its --admin\n"), "{told}");
    let output =
        tidewait(&["agent", "--endpoint", &url(&rig), "--state-dir", &rig.path("b"), "--out", &rig.path("b.json")])
            .args(["--admin", &admin.to_string()])
            .output()
            .await
            .expect("it runs");
    let told = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("cannot listen on {admin} (--admin): Address already in use")), "{told}");
}

#[tokio::test]
async fn what_is_older_than_max_age_is_stale_in_all_places_also_while_a_command_runs() {
    let mut rig = Rig::new().await;
    let (exec, gate) = (rig.hook("exec"), rig.gate("gate"));
    let (agent, admin) = start(&rig, &url(&rig), &["--exec", &exec, "--max-age=2s"]).await;
    rig.holds("a", 1).await;
    becomes(admin, &fault("stale"), "0").await;
    rig.write("exec", &format!("read line < {gate}"));
    agent.signal(Signal::USR1);
    rig.called("exec again 1 {\"n\":1}").await;
    rig.server.child.kill().await.expect("SIGKILL");
    becomes(admin, &fault("stale"), "1").await;
    let (code, words) = said(admin, "/readyz").await;
    assert!(code == 200 && words.starts_with("ok, but what is held is older than --max-age"), "{code} {words}");
    rig.open("gate").await;
    let by_file = rig.path("state-a");
    for place in [["--admin", &admin.to_string()], ["--state-dir", &by_file]] {
        until("it is stale", async || {
            let (code, told) = status(&[&place[..], &["--fail-if=stale"]].concat()).await;
            (code == Some(4) && told.contains("what is held is older than --max-age")).then_some(())
        })
        .await;
    }
}

/// What the port shows is what the code names, which is what docs/operating.md lists (tests/it/documents.rs).
#[tokio::test]
async fn it_shows_every_metric_that_there_is() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let (_agent, admin) = start(&rig, &url(&rig), &["--exec", &exec]).await;
    rig.holds("a", 1).await;
    let text = said(admin, "/metrics").await.1;
    crate::process::promtool(&text).await;
    let shown: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect();
    let code = crate::chart::texts(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agent"));
    let named: BTreeSet<_> = code.split('"').filter(|word| word.starts_with("tidewait_")).map(str::to_owned).collect();
    assert_eq!(shown, named);
    assert!(shown.len() >= 15, "{shown:?}");
}
