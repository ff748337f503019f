//! What people and service managers ask of a running agent.

use rustix::process::Signal;

use super::{Rig, model, until};

#[tokio::test]
async fn usr1_runs_the_command_again_and_hup_polls_and_tries_again_what_was_rejected() {
    let rig = Rig::new().await;
    let (exec, check) = (rig.hook("exec"), rig.hook("check"));
    let agent = rig.agent(&["--exec", &exec, "--check", &check]);
    rig.holds("a", 1).await;
    agent.signal(Signal::USR1);
    rig.called("exec again 1 {\"n\":1}").await;
    rig.write("check", "exit 1");
    rig.change(2).await;
    rig.rejects("a", 2).await;
    rig.write("check", "exit 0");
    agent.signal(Signal::HUP);
    rig.holds("a", 2).await;
    assert_eq!(rig.read("out"), model(2));
}

#[tokio::test]
async fn an_output_that_somebody_has_changed_is_put_right() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let mut agent = rig.agent(&["--exec", &exec]);
    rig.holds("a", 1).await;
    rig.write("out", "by hand");
    agent.signal(Signal::HUP);
    rig.called("exec again 1 {\"n\":1}").await;
    assert_eq!(rig.read("out"), model(1));
    agent.logged("put right").await;
}

/// Commands never get what somebody has written by hand.
#[tokio::test]
async fn usr1_puts_the_output_right_first() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let agent = rig.agent(&["--exec", &exec]);
    rig.holds("a", 1).await;
    rig.write("out", "by hand");
    agent.signal(Signal::USR1);
    until("it runs", async || (rig.calls().len() == 2).then_some(())).await;
    assert_eq!((&*rig.calls()[1], rig.read("out")), ("exec again 1 {\"n\":1}", model(1)));
}

#[tokio::test]
async fn term_lets_a_running_command_finish_and_what_it_did_is_kept() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let gate = rig.gate("gate");
    rig.write("exec", &format!("read line < {gate}"));
    let verify = rig.hook("verify");
    let mut agent = rig.agent(&["--exec", &exec, "--verify", &verify]);
    rig.called("exec apply 1 {\"n\":1}").await;
    agent.signal(Signal::TERM);
    until("it is seen", async || agent_stops(&agent).then_some(())).await;
    rig.open("gate").await;
    assert_eq!(agent.ended().await, Some(0));
    assert_eq!(rig.calls().len(), 1, "no further command was started");
    assert!(rig.seen("a").await["holds"].is_null(), "nothing is acknowledged that is not held");
    // The next one goes on where it ended.
    let _agent = rig.agent(&["--exec", &exec, "--verify", &verify]);
    rig.holds("a", 1).await;
    assert_eq!(rig.calls(), ["exec apply 1 {\"n\":1}", "verify apply 1 {\"n\":1}"]);
}

#[tokio::test]
async fn a_second_term_is_in_a_hurry() {
    let rig = Rig::new().await;
    let (exec, gate) = (rig.hook("exec"), rig.gate("gate"));
    // It does not hear the signal, and the agent does not wait for that.
    rig.write("exec", &format!("trap '' TERM\nread line < {gate}"));
    let mut agent = rig.agent(&["--exec", &exec, "--stop-timeout=1h", "--kill-after=10m"]);
    rig.called("exec apply 1 {\"n\":1}").await;
    agent.signal(Signal::TERM);
    // Two that come at once are one.
    until("the first one is seen", async || agent_stops(&agent).then_some(())).await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended().await, Some(0));
    rig.reads("out", &model(1)).await;
    rig.write("exec", "exit 0");
    let _agent = rig.agent(&["--exec", &exec]);
    rig.holds("a", 1).await;
}

fn agent_stops(agent: &super::Agent) -> bool {
    agent.log.borrow().iter().any(|line| line.contains("asked to end"))
}

/// Also while the commands run again for what is held.
#[tokio::test]
async fn term_is_heard_while_a_command_runs_again() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let mut agent = rig.agent(&["--exec", &exec]);
    rig.holds("a", 1).await;
    let gate = rig.gate("gate");
    rig.write("exec", &format!("read line < {gate}"));
    agent.signal(Signal::USR1);
    rig.called("exec again 1 {\"n\":1}").await;
    agent.signal(Signal::TERM);
    until("it is seen", async || agent_stops(&agent).then_some(())).await;
    rig.open("gate").await;
    assert_eq!(agent.ended().await, Some(0));
}
