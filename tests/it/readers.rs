//! Streams as the clients of others read them: Node.js (fetch, npm's `eventsource` and `ws`), Go (net/http and coder/websocket) and
//! Python (httpx-sse, sseclient-py, websockets), which `tests/streams/build.sh` brings.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::exchange::ask;
use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::{STEP, Server, collect};
use crate::topic::TEXT;

/// Each program, and what it reads with.
const READERS: [(&str, &str); 8] = [
    ("node", "fetch"),
    ("node", "eventsource"),
    ("node", "ws"),
    ("go", "events"),
    ("go", "ws"),
    ("python", "httpx"),
    ("python", "sseclient"),
    ("python", "ws"),
];

/// A state or a message, as a reader has it.
type Told = (String, Value);

/// The folder of `tests/streams/build.sh`, made on first use.
pub(crate) async fn tools() -> PathBuf {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/streams/build.sh");
    let output = Command::new(SCRIPT).stderr(Stdio::inherit()).output().await.expect("the script runs");
    assert!(output.status.success(), "tests/streams/build.sh failed: run it and see why");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
}

/// A client that reads so many events.
struct Reader {
    name: String,
    child: Child,
    said: watch::Receiver<Vec<String>>,
}

impl Reader {
    fn start((program, kind): (&str, &str), tools: &Path, url: &str, events: usize, last: Option<&str>) -> Self {
        let mut command = match program {
            "node" => Command::new("node"),
            "go" => Command::new(tools.join("read")),
            _ => Command::new("python3"),
        };
        match program {
            "node" => _ = command.arg(tools.join("node/read.js")),
            "python" => _ = command.arg(tools.join("read.py")).env("PYTHONPATH", tools.join("python")),
            _ => {}
        }
        command.args([kind, url, &events.to_string()]).args(last);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
        let said = collect(BufReader::new(child.stdout.take().expect("piped")).lines());
        Self { name: format!("{program} {kind} of {url}"), child, said }
    }

    /// Waits until it has printed so many events.
    async fn has_read(&mut self, events: usize) {
        let waited = tokio::time::timeout(STEP, self.said.wait_for(|said| said.len() >= events)).await;
        let is_there = waited.is_ok_and(|found| found.is_ok());
        assert!(is_there, "{} has read {:?}", self.name, self.said.borrow());
    }

    /// What it was told, once it has ended.
    async fn ended(mut self) -> Vec<Told> {
        let status = tokio::time::timeout(STEP, self.child.wait()).await.expect("in time").expect("it ends");
        assert!(status.success(), "{}: {status}", self.name);
        self.said.borrow().iter().map(|line| told(&self.name, line)).collect()
    }
}

/// What a line stands for. A message of WebSocket has in it what an event has beside it.
fn told(name: &str, line: &str) -> Told {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
    let data = event["data"].as_str().expect("data");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    if !name.contains(" ws ") {
        assert_eq!(event["event"], "message", "{name}: {line}");
        let data = serde_json::from_str(data).unwrap_or_else(|_| json!(data));
        return (text(&event["id"]), data);
    }
    let message: Value = serde_json::from_str(data).expect("JSON");
    if message["type"] == "state" {
        return (text(&message["id"]), message["model"].clone());
    }
    assert_eq!(message["type"], "message", "{name}: {line}");
    (text(&message["message"]["id"]), message["message"]["data"].clone())
}

/// Starts one of each, and has each told of all that `next` makes, one after the other; gives what it made.
async fn all_are_told(
    tools: &Path,
    url: &str,
    events: usize,
    last: Option<&str>,
    mut next: impl AsyncFnMut(usize) -> Told,
) -> Vec<Told> {
    let mut made = vec![next(0).await];
    let mut readers: Vec<_> =
        READERS.map(|reader| Reader::start(reader, tools, url, events, last)).into_iter().collect();
    for number in 1..=events {
        join_all(readers.iter_mut().map(|reader| reader.has_read(number))).await;
        if number < events {
            made.push(next(number).await);
        }
    }
    for reader in readers {
        let name = reader.name.clone();
        assert_eq!(reader.ended().await, made, "{name}");
    }
    made
}

/// The model has this, once it is served.
async fn changed(model: &ModelFile, server: &mut Server, state: Value) -> Told {
    model.replace(&state.to_string());
    let before = server.get("/describe").await;
    if before.json() == state {
        return (before.id().to_owned(), state);
    }
    let reply = server.get(&format!("/describe?since={}&wait=25", before.id())).await;
    assert_eq!(reply.json(), state);
    (reply.id().to_owned(), state)
}

#[tokio::test]
async fn clients_of_others_read_an_operation_and_go_on_where_they_were() {
    let (tools, model) = (tools().await, ModelFile::new(r#"{"n":0}"#));
    let mut server = serve(&model, &[]).await;
    server.ready().await;
    let url = format!("http://{}/describe", server.listen);
    let state = |number| json!({"n": number, "name": "\u{e4}\u{1f600}"});
    let told =
        all_are_told(&tools, &url, 3, None, async |number| changed(&model, &mut server, state(number)).await).await;
    let last = told.last().expect("three").0.clone();
    all_are_told(&tools, &url, 1, Some(&last), async |_| changed(&model, &mut server, state(9)).await).await;
}

#[tokio::test]
async fn clients_of_others_read_a_topic_and_go_on_where_they_were() {
    let (tools, server) = (tools().await, Server::start(&["--topic", "/chat"]).await);
    let url = format!("http://{}/chat", server.listen);
    let texts = ["one", "two\nlines \u{e4}\u{1f600}", " three", "four"];
    let publish = async |number: usize| {
        let reply = ask(server.listen, "POST", "/chat", &[TEXT], texts[number]).await;
        assert_eq!(reply.status, 201);
        (reply.json()["id"].as_str().expect("an id").to_owned(), json!(texts[number]))
    };
    let told = all_are_told(&tools, &url, 3, None, publish).await;
    let last = &told.last().expect("three").0;
    all_are_told(&tools, &url, 1, Some(last), async |_| publish(3).await).await;
}
