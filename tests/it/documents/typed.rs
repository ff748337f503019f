//! The commands that the README and the pages show, typed as they stand against the example model, give the output that
//! they show.

use serde_json::Value;
use tokio::process::Command;

use super::{read, split};
use crate::model_file::ModelFile;
use crate::server::{STEP, Server};

/// A command, and the lines that a page shows under it.
#[derive(Debug)]
struct Shown {
    command: String,
    lines: Vec<String>,
}

/// The commands of a page that begin with `$ curl`.
fn shown(page: &str) -> Vec<Shown> {
    let text = read(page);
    let mut found: Vec<Shown> = Vec::new();
    let mut goes_on = false;
    for line in split(&text).1.into_iter().filter(|block| block.starts_with("\n$ curl")).flat_map(str::lines).skip(1) {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push(Shown { command: command.to_owned(), lines: Vec::new() }),
            (None, Some(last)) if goes_on => last.command += &format!("\n{line}"),
            (None, Some(last)) => last.lines.extend((!line.is_empty()).then(|| line.to_owned())),
            (None, None) => {}
        }
        goes_on = line.ends_with('\\');
    }
    found
}

impl Shown {
    /// What bash makes of it, where `server` has the ports that the page names.
    fn typed(&self, server: &Server, before: &str) -> Command {
        let command = self.command.replace("127.0.0.1:8480", &server.listen.to_string());
        let command = command.replace("127.0.0.1:8481", &server.admin.to_string());
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("{before}\n{command}")]).kill_on_drop(true);
        bash
    }

    /// Types it, and gives its output as lines.
    async fn output(&self, server: &Server) -> Vec<String> {
        let output = tokio::time::timeout(STEP, self.typed(server, "").output()).await.expect("it ends in time");
        let output = output.expect("bash and curl, on which the pages rely, are there");
        String::from_utf8(output.stdout).expect("text").lines().map(|line| line.trim_end().to_owned()).collect()
    }

    #[track_caller]
    fn is(&self, lines: &[String]) {
        assert!(shows(&self.lines, lines), "{self:#?} but:\n{}", lines.join("\n"));
    }
}

/// Whether lines are as shown, where "..." stands for any number of them. The empty line between head and body is not
/// shown.
fn shows(shown: &[String], lines: &[String]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((dots, rest)) if dots == "..." => (0..=lines.len()).any(|skip| shows(rest, &lines[skip..])),
        Some((first, rest)) => lines.split_first().is_some_and(|(line, lines)| first == line && shows(rest, lines)),
    }
}

#[tokio::test]
async fn the_curl_lines_give_the_output_that_they_show() {
    let network = read("deploy/examples/network.json");
    let file = ModelFile::new(&network);
    let mut server = Server::start(&["--file", file.arg()]).await;
    server.ready().await;
    let [first, poll]: [Shown; 2] = shown("README.md").try_into().expect("two commands");
    let [select, delta, reject]: [Shown; 3] = shown("docs/clients.md").try_into().expect("three commands");
    let [agents, metrics]: [Shown; 2] = shown("docs/operating.md").try_into().expect("two commands");
    first.is(&first.output(&server).await);
    select.is(&select.output(&server).await);

    let parked = poll.typed(&server, "").stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    server.metric_becomes(r#"tidewait_parked_requests{operation="describe"}"#, 1.0).await;
    // As the sed of the README does.
    file.replace(&network.replace("\"mtu\": 1450", "\"mtu\": 1400"));
    let answer = tokio::time::timeout(STEP, parked.wait_with_output()).await.expect("it is released").expect("it ends");
    assert!(answer.stdout.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer.stdout));
    delta.is(&delta.output(&server).await);

    let field = |name: &str| delta.lines.iter().find_map(|line| line.strip_prefix(name)).expect("a field").to_owned();
    let ids = format!("held={} given={}", field("delta-base: "), field("state-id: "));
    let rejecting = reject.typed(&server, &ids).spawn().expect("it starts");
    server.metric_becomes(r#"tidewait_agents{operation="describe",state="rejecting"}"#, 1.0).await;
    let page: Value = serde_json::from_str(&agents.lines.join("\n")).expect("JSON");
    let there: Value = serde_json::from_slice(&server.admin("/agents?state=rejecting").await.body).expect("JSON");
    drop(rejecting);
    assert_eq!(steady(page), steady(there));
    for line in &metrics.lines {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        assert!(server.metric(series).await >= 0.0);
        let text = String::from_utf8(server.admin("/metrics").await.body).expect("text");
        assert!(text.contains(&format!("\n{series} ")), "{series}");
    }
}

/// An answer of /agents without what differs each time.
fn steady(mut page: Value) -> Value {
    for agent in page["agents"].as_array_mut().expect("a list") {
        for varies in ["peer", "laggingSeconds", "lastSeenSeconds", "rejectingSeconds"] {
            assert!(agent[varies].take() != Value::Null, "{varies}");
        }
    }
    page
}
