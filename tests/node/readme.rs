//! "Install with helm" of the README, typed as it stands, gives the output that it shows.

use std::fs;
use std::path::Path;

use crate::chart::{POD, combined_output};
use crate::node::{Node, until};

/// A command of the README, and the lines that it shows.
#[derive(Debug)]
struct Shown {
    command: String,
    lines: Vec<String>,
}

#[tokio::test]
async fn the_helm_section_gives_the_output_that_it_shows() {
    let node = &Node::start();
    node.load("load-tidewait");
    node.kubectl(&["create", "namespace", "shop"], None).await;
    let create = ["create", "deployment", "shop", "--namespace=shop", "--image=localhost/app:1", "--port=8080"];
    node.kubectl(&[&create[..], &["--", "/app", "serve", ":8080"]].concat(), None).await;
    let rollout = ["rollout", "status", "deployment", "shop", "--namespace=shop", "--timeout=100s"];
    node.kubectl(&rollout, None).await;
    let section = section();
    assert_eq!(section.len(), 9, "{section:#?}");
    for shown in section {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).display();
        let command = format!("cd {root} && {}", shown.command);
        let output = node.inside("bash", &["-c", &command], None).await;
        let output_text = combined_output(&output);
        assert!(shows(&shown.lines, &output_text.lines().collect::<Vec<_>>()), "{shown:#?} but:\n{output_text}");
        if shown.command.starts_with("helm install") {
            policy_acts(node).await;
        }
    }
}

/// Readers need longer than the API server for this.
async fn policy_acts(node: &Node) {
    let create = ["create", "--dry-run=server", "--output=yaml", "--namespace=shop", "--filename=-"];
    let pod = POD.replace("NAME", "probe");
    let wrong = pod.replace("metadata: {", "metadata: {annotations: {tidewait.dev/port: none}, ");
    for (manifest, answer) in [(pod, "tidewait-admin"), (wrong, "must be a port")] {
        let ask = async || combined_output(&node.inside("kubectl", &create, Some(&manifest)).await);
        until("the policies act", ask, |said| said.contains(answer)).await;
    }
}

fn section() -> Vec<Shown> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("text");
    let (_, section) = readme.split_once("\n## Install with helm\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("it ends");
    let mut found: Vec<Shown> = Vec::new();
    let mut goes_on = false;
    // Every second part is within a fence.
    for line in section.split("```\n").skip(1).step_by(2).flat_map(str::lines) {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push(Shown { command: command.to_owned(), lines: Vec::new() });
        } else {
            let last = found.last_mut().expect("a command is first");
            if goes_on { last.command += &format!("\n{line}") } else { last.lines.push(line.to_owned()) }
        }
        goes_on = line.ends_with('\\');
    }
    found
}

/// Whether lines are as shown, where "..." stands for any number of them.
fn shows(shown: &[String], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((dots, rest)) if dots == "..." => (0..=lines.len()).any(|skip| shows(rest, &lines[skip..])),
        Some((first, rest)) => lines.split_first().is_some_and(|(line, lines)| same(first, line) && shows(rest, lines)),
    }
}

/// Whether two lines differ in nothing but random names and ages.
fn same(shown: &str, line: &str) -> bool {
    let varies = |word: &str| {
        let age = word.strip_suffix('s').is_some_and(|number| number.parse::<u32>().is_ok());
        if age {
            "AGE".to_owned()
        } else if word.starts_with("shop-") {
            "shop-POD".to_owned()
        } else {
            word.to_owned()
        }
    };
    shown.split_whitespace().map(varies).eq(line.split_whitespace().map(varies))
}

#[test]
fn what_is_shown_is_told_from_what_is_not() {
    let shown = ["a".to_owned(), "...".to_owned(), "shop-1 2s".to_owned()];
    assert!(shows(&shown, &["a", "shop-2 3s"]) && shows(&shown, &["a", "b", "c", "shop-2 3s"]));
    assert!(
        !shows(&shown, &["a", "b"]) && !shows(&shown, &["b", "shop-2 3s"]) && !shows(&shown, &["a", "shop-2 3s", "d"])
    );
}
