//! `make demo`, as a new user runs it.

use std::process::Command;

use crate::node::{Node, folder, random_name};

#[test]
fn the_demo_shows_three_clients_that_follow_a_model_and_ends_clean() {
    let name = random_name();
    // Taken down also where the demo does not come to its end.
    let _node = Node::named(&name);
    let demo = folder().join("../../deploy/demo");
    let mut command = Command::new(demo);
    command.arg(&name).env_remove("TIDEWAIT_TEST_KUBECONFIG");
    let output = command.output().expect("it runs");
    let output_text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output_text}");
    for client in 1..=3 {
        for mtu in [1450, 1500, 1600, 1700] {
            let line = format!("client {client}: 200 {{\"mtu\":{mtu},");
            assert_eq!(output_text.matches(&line).count(), 1, "{line}: {output_text}");
        }
    }
    for line in ["networkmodel.tidewait.dev/zone-a condition met", "== Every client was given each of the 4 states"] {
        assert!(output_text.contains(line), "{line}: {output_text}");
    }
    assert!(!output_text.contains("again in a second"), "no client met an error: {output_text}");
    let again = Command::new(folder().join("in")).args([&name, "--", "true"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&again.stderr).contains("no node"), "it is down: {again:?}");
}
