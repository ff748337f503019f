//! `tidewait tail`, `publish` and `chat`, the built binary.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::{TEXT, configured, say, start};
use crate::exchange::ask;
use crate::server::{Client, STEP, Server, tidewait};

/// A command that runs, and the lines that it prints.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = tidewait(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    async fn next(&mut self) -> Option<String> {
        tokio::time::timeout(STEP, self.lines.next_line()).await.expect("in time").expect("text")
    }

    async fn code(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        tokio::time::timeout(STEP, self.child.wait()).await.expect("in time").expect("it ends").code()
    }
}

/// Runs a command to its end: its code, what it prints, and what it says.
async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(STEP, tidewait(arguments).stdin(Stdio::null()).output()).await;
    let output = output.expect("in time").expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn url(server: &Server) -> String {
    format!("http://{}/chat", server.listen)
}

#[tokio::test]
async fn readers_of_each_kind_print_what_a_bot_publishes() {
    let (_folder, server) = configured("[{path: /chat, publishRate: {perSecond: 1000, burst: 1000}}]", &[]).await;
    let url = url(&server);
    say(&server, "before").await;
    let modes: [&[&str]; 3] = [&["sse"], &["long-poll"], &["poll", "--interval", "100ms"]];
    let mut readers: Vec<_> =
        modes.iter().map(|mode| Running::start(&[&["tail", &url, "--tail", "0", "--mode"], *mode].concat())).collect();
    // One that streams, and one that is parked: who polls waits for nothing.
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 2.0).await;
    server.metric_becomes("tidewait_http_requests_total{code=\"200\",route=\"topic\"}", 3.0).await;
    let mut bot = Running::start(&["publish", &url, "--name", "superbot", "--ids"]);
    let mut input = bot.child.stdin.take().expect("piped");
    for number in 1..=20 {
        input.write_all(format!("{number}\n").as_bytes()).await.expect("sent");
        assert!(bot.next().await.expect("an id").ends_with(&format!(".{}", number + 1)));
    }
    drop(input);
    assert_eq!(bot.code().await, Some(0));
    for reader in &mut readers {
        for number in 1..=20 {
            assert_eq!(reader.next().await.as_deref(), Some(&*format!("superbot: {number}")));
        }
    }
    for reader in readers {
        let id = rustix::process::Pid::from_raw(reader.child.id().expect("it runs").try_into().expect("a pid"));
        rustix::process::kill_process(id.expect("a pid"), rustix::process::Signal::TERM).expect("it is there");
        assert_eq!(reader.code().await, Some(0), "told to end");
    }
}

#[tokio::test]
async fn who_chats_sees_others_and_not_itself() {
    let server = start(&[]).await;
    let url = url(&server);
    let mut ann = Running::start(&["chat", &url, "--name", "ann"]);
    let mut bob = Running::start(&["chat", &url, "--name", "bob"]);
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 2.0).await;
    for (number, line) in ["hello", "anybody?"].iter().enumerate() {
        let input = ann.child.stdin.as_mut().expect("piped");
        input.write_all(format!("{line}\n").as_bytes()).await.expect("sent");
        assert_eq!(bob.next().await.as_deref(), Some(&*format!("ann: {line}")), "{number}");
    }
    // Another one of the same name is another one, and the same line of somebody else is hidden once at most.
    for (by, line) in [("ann", "from elsewhere"), ("cat", "hello")] {
        let target = format!("/chat?name={by}");
        assert_eq!(ask(server.listen, "POST", &target, &[TEXT], line).await.status, 201);
        let expected = format!("{by}: {line}");
        assert_eq!(ann.next().await.as_deref(), Some(&*expected));
        assert_eq!(bob.next().await.as_deref(), Some(&*expected));
    }
    bob.child.stdin.as_mut().expect("piped").write_all(b"yes").await.expect("sent");
    assert_eq!(bob.code().await, Some(0), "at the end of its input, once all is stored");
    assert_eq!(ann.next().await.as_deref(), Some("bob: yes"));
    assert_eq!(ann.code().await, Some(0));
}

#[tokio::test]
async fn what_there_is_can_be_read_once_and_what_was_missed_is_said() {
    let (_folder, server) = configured("[{path: /chat, history: {messages: 2}}]", &[]).await;
    let url = url(&server);
    let published = run(&["publish", &url, "one", "two\nlines", "--json", "--", "-3"]).await;
    assert_eq!(published.0, Some(3), "the first is no JSON: {}", published.2);
    assert!(published.2.contains("message 1: ") && published.2.contains("is not JSON"), "{}", published.2);
    assert_eq!(run(&["publish", &url, "--ids", "one", "two\nlines", "--", "-3"]).await.0, Some(0));
    let (code, printed, said) = run(&["tail", &url, "--once"]).await;
    assert_eq!((code, &*printed, &*said), (Some(0), "two\\nlines\n-3\n", ""));
    let (_, json, _) = run(&["tail", &url, "--once", "--json", "--tail", "1"]).await;
    let message: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let first = super::at(message["id"].as_str().expect("an id"), 0);
    let (_, printed, said) = run(&["tail", &url, "--once", "--since", &first]).await;
    assert_eq!((printed.lines().count(), said.contains("1 messages were missed")), (2, true), "{said}");
    let mut stream = Running::start(&["tail", &url, "--since", &first, "--color", "never"]);
    assert_eq!(stream.next().await.as_deref(), Some("two\\nlines"));
}

/// Numbers that no float holds, depths that no parser follows, and names that mean something to one.
#[tokio::test]
async fn whatever_json_a_message_is_it_is_read() {
    let server = start(&[]).await;
    let url = url(&server);
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let odd = ["1e400", "{\"b\":[1e400]}", &deep, "{\"$serde_json::private::RawValue\":\"[1\"}", "null"];
    for body in odd {
        let published = ask(server.listen, "POST", "/chat", &[("Content-Type", "application/json")], body).await;
        assert_eq!(published.status, 201, "{body}");
    }
    for mode in ["poll", "long-poll", "sse", "ws"] {
        let mut reader = Running::start(&["tail", &url, "--mode", mode]);
        for body in odd {
            assert_eq!(reader.next().await.as_deref(), Some(body), "{mode}");
        }
    }
}

#[tokio::test]
async fn a_publisher_that_is_told_to_ends_with_0_and_give_up_holds_where_streams_are_refused() {
    let server = start(&[]).await;
    let mut publisher = Running::start(&["publish", &url(&server), "--ids"]);
    publisher.child.stdin.as_mut().expect("piped").write_all(b"one\n").await.expect("sent");
    // It waits for the next line then.
    publisher.next().await.expect("an id");
    let id = publisher.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).expect("it runs");
    kill_process(id, Signal::TERM).expect("it is there");
    assert_eq!(
        tokio::time::timeout(STEP, publisher.child.wait()).await.expect("in time").expect("ends").code(),
        Some(0)
    );
    // It stops for as long as somebody polls, and refuses streams meanwhile.
    let mut stopping = start(&["--grace", "50s"]).await;
    let next = stopping.get("/chat").await.json()["next"].as_str().expect("an id").to_owned();
    let mut parked = Client::connect(stopping.listen).await;
    parked.send("GET", &format!("/chat?since={next}&wait=50"), &[]).await;
    stopping.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 1.0).await;
    stopping.signal(Signal::TERM);
    stopping.logged("drain").await;
    let (code, _, said) = run(&["tail", &url(&stopping), "--mode", "ws", "--give-up", "1s"]).await;
    assert!(code == Some(1) && said.contains("--give-up"), "{said}");
}

/// Each stream ends within a second, before there is anything to read.
#[tokio::test]
async fn who_reads_from_the_latest_misses_nothing_between_two_streams() {
    let server = start(&[]).await;
    say(&server, "before").await;
    let mut reader = Running::start(&["tail", &format!("{}?life=1", url(&server)), "--from", "latest"]);
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 1.0).await;
    server.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 0.0).await;
    say(&server, "meanwhile").await;
    assert_eq!(reader.next().await.as_deref(), Some("meanwhile"));
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_refusals_end_it() {
    let server = start(&[]).await;
    let (there, nowhere) = (url(&server), format!("http://{}/none", server.listen));
    for arguments in [&["tail", &*nowhere][..], &["tail", &nowhere, "--mode", "poll"], &["publish", &nowhere, "x"]] {
        let (code, _, said) = run(arguments).await;
        assert!(code == Some(3) && said.contains("404 Not Found: nothing has this path"), "{arguments:?} {said}");
    }
    let admin = format!("http://{}/livez", server.admin);
    let (code, _, said) = run(&["tail", &admin]).await;
    assert!(code == Some(3) && said.contains("and no stream of events"), "{said}");
    let (code, _, said) = run(&["publish", &there, "x", "-H", "Content-Type: image/png"]).await;
    assert!(code == Some(3) && said.contains("415"), "{said}");
    let mut stream = Running::start(&["tail", &there]);
    say(&server, "one").await;
    assert_eq!(stream.next().await.as_deref(), Some("one"));
    let listen = server.listen.to_string();
    drop(server);
    // Back at the same port, with another history.
    let again = ["serve", "--topic", "/chat", "--listen", &listen, "--admin", "127.0.0.1:0"];
    let server = Server::spawn(tidewait(&again)).await;
    say(&server, "two").await;
    assert_eq!(stream.next().await.as_deref(), Some("two"));
    drop(server);
    for arguments in [&["tail", &*there, "--give-up", "1s"][..], &["publish", &there, "x", "--give-up", "1s"]] {
        let (code, _, said) = run(arguments).await;
        assert!(code == Some(1) && said.contains("Connection refused") && said.contains("--give-up"), "{said}");
    }
    assert_eq!(run(&["tail", "ftp://x"]).await.0, Some(2));
}
