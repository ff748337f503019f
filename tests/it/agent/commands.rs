//! What the exit codes of commands come to.

use super::{Rig, model, until};

/// What commands need to change what runs step by step.
#[tokio::test]
async fn commands_get_what_was_before_and_the_way_from_there() {
    let rig = Rig::new().await;
    let (check, exec) = (rig.hook("check"), rig.hook("exec"));
    let _agent = rig.agent(&["--check", &check, "--exec", &exec]);
    rig.holds("a", 1).await;
    let told = rig.path("told");
    let tell = format!("cat $TIDEWAIT_PREVIOUS_FILE $TIDEWAIT_PATCH_FILE >> {told}; echo >> {told}");
    rig.write("check", &tell);
    rig.write("exec", &tell);
    rig.change(2).await;
    rig.holds("a", 2).await;
    let line = r#"{"n":1}[{"op":"replace","path":"","value":{"n":2}}]"#;
    assert_eq!(rig.read("told"), format!("{line}\n{line}\n"));
    let left = std::fs::read_dir(rig.path("")).expect("a folder").flatten();
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("tidewait-")).collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
}

#[tokio::test]
async fn what_a_check_refuses_is_told_upstream_and_kept_out_of_the_way_until_a_newer_state() {
    let rig = Rig::new().await;
    rig.write("check", "case $(cat $TIDEWAIT_FILE) in *2*) echo 'two is too much' >&2; exit 1;; esac");
    let (check, exec) = (rig.hook("check"), rig.hook("exec"));
    let mut agent = rig.agent(&["--check", &check, "--exec", &exec]);
    rig.holds("a", 1).await;
    rig.change(2).await;
    assert_eq!(rig.rejects("a", 2).await, "two is too much");
    assert_eq!(rig.read("out"), model(1));
    assert!(rig.seen("a").await["holds"].as_str().is_some());
    // The next start knows it, too.
    agent.kill().await;
    let _agent = rig.agent(&["--check", &check, "--exec", &exec]);
    rig.server.metric_becomes(crate::process::PARKED, 1.0).await;
    rig.rejects("a", 2).await;
    rig.change(3).await;
    rig.holds("a", 3).await;
    let of = |n| [format!("check apply 1 {{\"n\":{n}}}"), format!("exec apply 1 {{\"n\":{n}}}")];
    let [one, three] = [of(1), of(3)];
    assert_eq!(rig.calls(), [&one[..], &["check apply 1 {\"n\":2}".to_owned()], &three[..]].concat());
    assert_eq!(rig.read("out"), model(3));
}

#[tokio::test]
async fn what_exec_or_verify_refuse_is_rolled_back() {
    let rig = Rig::new().await;
    let (exec, verify) = (rig.hook("exec"), rig.hook("verify"));
    let _agent = rig.agent(&["--exec", &exec, "--verify", &verify, "--verify-for=0"]);
    rig.holds("a", 1).await;
    rig.write("exec", "case $(cat $TIDEWAIT_FILE) in *2*) echo 'no route' >&2; exit 9;; esac");
    rig.write("verify", "case $(cat $TIDEWAIT_FILE) in *3*) echo 'no answer' >&2; exit 1;; esac");
    rig.change(2).await;
    assert_eq!(rig.rejects("a", 2).await, "no route");
    assert_eq!(rig.read("out"), model(1));
    rig.change(3).await;
    assert_eq!(rig.rejects("a", 3).await, "no answer");
    assert_eq!(rig.read("out"), model(1));
    rig.change(4).await;
    rig.holds("a", 4).await;
    let calls = [
        "exec apply 1 {\"n\":1}",
        "verify apply 1 {\"n\":1}",
        "exec apply 1 {\"n\":2}",
        "exec rollback 1 {\"n\":1}",
        "exec apply 1 {\"n\":3}",
        "verify apply 1 {\"n\":3}",
        "exec rollback 1 {\"n\":1}",
        "exec apply 1 {\"n\":4}",
        "verify apply 1 {\"n\":4}",
    ];
    assert_eq!(rig.calls(), calls);
}

#[tokio::test]
async fn exit_code_75_is_tried_again_with_the_same_bytes() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    // The first two times.
    let counts = format!("[ $(wc -l < {}) -gt 2 ] || exit 75", rig.path("calls"));
    rig.write("exec", &counts);
    let _agent = rig.agent(&["--exec", &exec]);
    rig.holds("a", 1).await;
    let calls = [1, 2, 3].map(|attempt| format!("exec apply {attempt} {{\"n\":1}}"));
    assert_eq!(rig.calls(), calls);
}

/// Nothing is left of a state that was put out, and was replaced by one that is refused before it is put out.
#[tokio::test]
async fn what_was_put_out_and_never_held_does_not_stay_where_a_newer_one_is_refused() {
    let rig = Rig::new().await;
    let (check, exec) = (rig.hook("check"), rig.hook("exec"));
    let _agent = rig.agent(&["--check", &check, "--exec", &exec]);
    rig.holds("a", 1).await;
    rig.write("exec", "case $(cat $TIDEWAIT_FILE) in *2*) exit 75;; esac");
    rig.write("check", "case $(cat $TIDEWAIT_FILE) in *3*) echo 'no three' >&2; exit 1;; esac");
    rig.change(2).await;
    rig.called("exec apply 1 {\"n\":2}").await;
    rig.change(3).await;
    assert_eq!(rig.rejects("a", 3).await, "no three");
    assert_eq!(rig.read("out"), model(1), "what is held");
    assert_eq!(rig.calls().last().expect("some"), "exec rollback 1 {\"n\":1}");
}

/// A time that is as long as the pause before the next attempt is time for one.
#[tokio::test]
async fn verify_is_asked_again_until_its_time_is_over() {
    let rig = Rig::new().await;
    let (exec, verify) = (rig.hook("exec"), rig.hook("verify"));
    rig.write("verify", "echo 'not yet' >&2; exit 1");
    let _agent = rig.agent(&["--exec", &exec, "--verify", &verify, "--verify-for=1s"]);
    assert_eq!(rig.rejects("a", 1).await, "not yet");
    assert_eq!(rig.calls().iter().filter(|call| call.starts_with("verify")).count(), 2);
}

/// Without a state before there is nothing to put back: the new file goes.
#[tokio::test]
async fn the_first_state_is_removed_where_it_fails() {
    let rig = Rig::new().await;
    rig.write("exec", "exit 1");
    let exec = rig.hook("exec");
    let _agent = rig.agent(&["--exec", &exec]);
    assert_eq!(rig.rejects("a", 1).await, "it ended with code 1, and nothing on standard error");
    assert!(!std::path::Path::new(&rig.path("out")).exists());
    assert_eq!(rig.calls().len(), 1);
}

/// What is tried again is not tried for ever: the server may go back to what is held.
#[tokio::test]
async fn a_state_that_the_server_takes_back_is_left() {
    let rig = Rig::new().await;
    let exec = rig.hook("exec");
    let out = rig.path("out");
    let mut agent = rig.agent_of("a", &["--out", &out, "--exec", &exec]);
    rig.holds("a", 1).await;
    rig.write("exec", "case $(cat $TIDEWAIT_FILE) in *2*) exit 75;; esac");
    rig.change(2).await;
    agent.logged("is tried again").await;
    assert_eq!(rig.read("out"), model(2));
    rig.change(1).await;
    rig.reads("out", &model(1)).await;
    rig.called("exec rollback 1 {\"n\":1}").await;
    until("converged", async || {
        let seen = rig.seen("a").await;
        (seen["applies"].is_null() && seen["holds"] == rig.id_of(1).await).then_some(())
    })
    .await;
}

/// `--rollback=false` keeps what failed for people to look at, but not against the server: once that has what is held again, the
/// output has it as well.
#[tokio::test]
async fn what_failed_and_stays_goes_once_the_server_has_what_is_held_again() {
    for fails in ["exit 1", "exit 75"] {
        let rig = Rig::new().await;
        let exec = rig.hook("exec");
        let mut agent = rig.agent(&["--exec", &exec, "--rollback=false"]);
        rig.holds("a", 1).await;
        rig.write("exec", &format!("case $(cat $TIDEWAIT_FILE) in *2*) {fails};; esac"));
        rig.change(2).await;
        let is_rejected = fails == "exit 1";
        if is_rejected {
            rig.rejects("a", 2).await;
        } else {
            agent.logged("is tried again").await;
        }
        assert_eq!(rig.read("out"), model(2), "{fails}");
        rig.change(1).await;
        rig.reads("out", &model(1)).await;
        until("the status has no rejected state", async || {
            let status: serde_json::Value = serde_json::from_str(&rig.read("state-a/status.json")).ok()?;
            (status["holds"] == rig.id_of(1).await && status["rejects"].is_null() && status["applies"].is_null())
                .then_some(())
        })
        .await;
    }
}
