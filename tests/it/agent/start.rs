//! How an agent starts.

use std::fs;

use super::{Agent, Rig, model, until};

fn start(rig: &Rig, url: &str, more: &[&str]) -> Agent {
    let (out, exec) = (rig.path("out"), rig.hook("exec"));
    Agent::spawn(rig.command_at(url, "a", &[&["--out", &out, "--exec", &exec], more].concat()))
}

#[tokio::test]
async fn the_last_good_state_is_put_out_at_once_without_a_server() {
    let rig = Rig::new().await;
    let nowhere = format!("http://127.0.0.1:{}", crate::control_plane::free_port());
    let url = format!("http://{}", rig.server.listen);
    let mut agent = start(&rig, &url, &[]);
    rig.holds("a", 1).await;
    agent.kill().await;
    fs::remove_file(rig.path("out")).expect("it is there");
    let mut agent = start(&rig, &nowhere, &[]);
    rig.called("exec again 1 {\"n\":1}").await;
    assert_eq!(rig.read("out"), model(1));
    agent.logged("no state comes").await;
    agent.kill().await;
    let calls = || rig.calls().len();
    assert_eq!(calls(), 2);
    // In the same boot, with the same commands: not again, unless that is wanted.
    for (when, more) in [("auto", 0), ("never", 0), ("always", 1)] {
        let before = calls();
        let mut agent = start(&rig, &nowhere, &["--exec-on-start", when]);
        agent.logged("no state comes").await;
        if more == 1 {
            rig.called("exec start 1 {\"n\":1}").await;
        }
        agent.kill().await;
        assert_eq!(calls(), before + more, "{when}");
    }
    // With another command it is, though never if not.
    let mut agent = start(&rig, &nowhere, &["--exec-on-start=never", "--splay=1ms"]);
    agent.logged("no state comes").await;
    agent.kill().await;
    let before = calls();
    let mut agent = start(&rig, &url, &["--splay=2ms"]);
    until("it runs", async || (calls() == before + 1).then_some(())).await;
    rig.holds("a", 1).await;
    agent.kill().await;
}

/// An agent that holds the first model, and is killed while its command runs for the second one.
async fn killed_under_way(rig: &Rig, url: &str) {
    let mut agent = start(rig, url, &[]);
    rig.holds("a", 1).await;
    let gate = rig.gate("gate");
    rig.write("exec", &format!("read line < {gate}"));
    rig.change(2).await;
    rig.called("exec apply 1 {\"n\":2}").await;
    agent.kill().await;
    rig.write("exec", "");
}

/// What was under way is finished without a server, and is not done twice when there is one.
#[tokio::test]
async fn what_was_under_way_is_finished_without_a_server() {
    let rig = Rig::new().await;
    let nowhere = format!("http://127.0.0.1:{}", crate::control_plane::free_port());
    let url = format!("http://{}", rig.server.listen);
    killed_under_way(&rig, &url).await;
    let mut agent = start(&rig, &nowhere, &[]);
    agent.logged("the state is applied").await;
    assert_eq!((rig.calls().len(), rig.read("out")), (3, model(2)));
    agent.signal(rustix::process::Signal::USR1);
    rig.called("exec again 1 {\"n\":2}").await;
    agent.kill().await;
    // What it has kept is what it has put out.
    let mut agent = start(&rig, &nowhere, &[]);
    agent.logged("no state comes").await;
    agent.kill().await;
    fs::remove_file(rig.path("out")).expect("it is there");
    let mut agent = start(&rig, &nowhere, &[]);
    rig.reads("out", &model(2)).await;
    // What was put right is applied again.
    agent.logged("the command succeeded").await;
    agent.kill().await;
    let before = rig.calls().len();
    let _agent = start(&rig, &url, &[]);
    rig.holds("a", 2).await;
    assert_eq!(rig.calls().len(), before, "{:?}", rig.calls());
}

/// Nobody has given it to this process, and the server has gone back to what was held: it must hear of it, to say so.
#[tokio::test]
async fn what_was_under_way_and_was_taken_back_meanwhile_does_not_stay() {
    let rig = Rig::new().await;
    let url = format!("http://{}", rig.server.listen);
    killed_under_way(&rig, &url).await;
    rig.change(1).await;
    let mut agent = start(&rig, &url, &[]);
    agent.logged("the state is applied").await;
    rig.reads("out", &model(1)).await;
    rig.holds("a", 1).await;
}

#[tokio::test]
async fn settings_come_from_a_file_and_from_the_environment() {
    let rig = Rig::new().await;
    let [out, state, config] = ["out", "state", "agent.yaml"].map(|name| rig.path(name));
    let head = "apiVersion: tidewait.dev/v1alpha1\nkind: AgentConfig\n";
    let good = format!("{head}endpoints: [\"http://{}\"]\nout: [{out}]\nstateDir: /none\n", rig.server.listen);
    for (text, code, told) in [
        (good, 0, "the state is applied"),
        (format!("{head}endpoint: x\n"), 2, "endpoint: is no field: did you mean endpoints?"),
    ] {
        rig.write("agent.yaml", &text);
        let mut command = crate::server::tidewait(&["agent", "--once"]);
        command.env("TIDEWAIT_AGENT_CONFIG", &config).env("TIDEWAIT_AGENT_STATE_DIR", &state);
        let mut agent = Agent::spawn(command);
        assert_eq!(agent.ended().await, Some(code), "{:?}", agent.log.borrow());
        agent.logged(told).await;
    }
    assert_eq!(rig.read("out"), model(1));
}

/// The command of an agent that was killed is ended before another one is started.
#[tokio::test]
async fn no_two_commands_run_at_once() {
    let rig = Rig::new().await;
    let url = format!("http://{}", rig.server.listen);
    let gate = rig.gate("gate");
    let pids = rig.path("pids");
    rig.write("exec", &format!("trap '' TERM\necho $$ >> {pids}\nread line < {gate}"));
    let mut agent = start(&rig, &url, &[]);
    until("it runs", async || (rig.read("pids").lines().count() == 1).then_some(())).await;
    let pid = rig.read("pids");
    let runs = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    agent.kill().await;
    assert!(runs(), "nobody has ended it");
    rig.write("exec", &format!("cat /proc/{}/stat >> {}", pid.trim(), rig.path("seen")));
    let mut agent = start(&rig, &url, &["--kill-after=100ms"]);
    rig.holds("a", 1).await;
    assert!(!runs());
    let seen = rig.read("seen");
    assert!(seen.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')), "it still ran: {seen}");
    agent.logged("a command of an agent that was killed still ran, and is ended").await;
}

#[tokio::test]
async fn two_agents_do_not_share_a_state_directory() {
    let rig = Rig::new().await;
    let agent = rig.agent(&[]);
    rig.holds("a", 1).await;
    let mut second = rig.agent(&[]);
    assert_eq!(second.ended().await, Some(2));
    let pid = agent.child.id().expect("it runs");
    second.logged(&format!("another agent (process {pid}) keeps its state in ")).await;
    rig.change(2).await;
    rig.holds("a", 2).await;
}
