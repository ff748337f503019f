//! Topics whose messages are kept in a state directory, over kills, damage and full disks.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{TEXT, at, id, said};
use crate::exchange::{ask, text};
use crate::server::{Client, Reply, Server, tidewait, until};

const PUBLISHERS: usize = 8;
/// Messages that are stored before the process is told to end.
const MESSAGES: usize = 1000;

/// A configuration with a topic, and its state directory.
struct Rig {
    folder: TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\ntopics:\n- name: chat\n  path: /chat\n  \
                    history: {messages: 100000, bytes: 64Mi}\n  publishRate: {perSecond: 100000, burst: 100000}\n";
        fs::write(folder.path().join("serve.yaml"), text).expect("written");
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).into_os_string().into_string().expect("UTF-8")
    }

    async fn start(&self) -> Server {
        Server::start(&["--config", &self.path("serve.yaml"), "--state-dir", &self.path("state")]).await
    }

    /// The first file of messages.
    fn segment(&self) -> PathBuf {
        self.folder.path().join("state/topics/chat/00000001.segment")
    }
}

/// Publishes a text by a key; none: the connection ended before the answer.
async fn publish(client: &mut Client, key: &str, body: &str) -> Option<Reply> {
    let length = body.len().to_string();
    let fields = [TEXT, ("Idempotency-Key", key), ("Content-Length", &length)];
    client.try_send("POST", "/chat", &fields).await.ok()?;
    client.stream.get_mut().write_all(body.as_bytes()).await.ok()?;
    client.try_reply().await
}

/// Publishes one message after the other until the process is gone: those that were stored, with their ids, and the one that got no
/// answer.
async fn publishes(
    server: Arc<Server>,
    number: usize,
    stored: watch::Sender<usize>,
) -> (Vec<(String, String)>, String) {
    let mut acknowledged = Vec::new();
    let mut client = Client::try_connect(server.listen).await;
    for count in 0_usize.. {
        let word = format!("{number}-{count}");
        if client.as_ref().is_none_or(|client| client.closed) {
            client = Client::try_connect(server.listen).await;
        }
        let reply = match &mut client {
            Some(client) => publish(client, &word, &word).await,
            None => None,
        };
        match reply {
            Some(reply) => {
                assert_eq!(reply.status, 201, "{}", text(&reply));
                acknowledged.push((word, id(&reply)));
                stored.send_modify(|stored| *stored += 1);
            }
            None => return (acknowledged, word),
        }
    }
    unreachable!("it does not count so far")
}

/// Reads until the process is gone; gives the id to go on with, and how much was read.
async fn reads(server: Arc<Server>) -> (String, usize) {
    let mut client = Client::connect(server.listen).await;
    let (mut next, mut count) = (String::new(), 0);
    loop {
        let target = if next.is_empty() { "/chat?from=earliest".to_owned() } else { format!("/chat?since={next}") };
        if client.try_send("GET", &target, &[]).await.is_err() {
            return (next, count);
        }
        match client.try_reply().await {
            Some(reply) if reply.status == 200 => {
                let page = reply.json();
                assert!(page["gap"].is_null(), "{}", page["gap"]);
                count += page["messages"].as_array().expect("messages").len();
                page["next"].as_str().expect("an id").clone_into(&mut next);
            }
            Some(reply) if reply.status == 204 && !client.closed => {}
            Some(_) | None => return (next, count),
        }
    }
}

/// All messages after this place, or all that are kept: ids and data.
async fn all(server: &Server, since: &str) -> Vec<(String, String)> {
    let mut client = Client::connect(server.listen).await;
    let mut target = if since.is_empty() {
        "/chat?from=earliest&limit=1000".to_owned()
    } else {
        format!("/chat?since={since}&wait=0")
    };
    let mut found = Vec::new();
    loop {
        let reply = client.get(&target, &[]).await;
        if reply.status == 204 {
            return found;
        }
        let page = reply.json();
        assert!(page["gap"].is_null(), "{}", page["gap"]);
        let of = |message: &Value, name: &str| message[name].as_str().expect("a text").to_owned();
        let messages = page["messages"].as_array().expect("messages");
        found.extend(messages.iter().map(|message| (of(message, "id"), of(message, "data"))));
        target = format!("/chat?since={}&wait=0&limit=1000", page["next"].as_str().expect("an id"));
    }
}

async fn nothing_is_lost_by(signal: Signal) {
    let rig = Rig::new();
    let server = Arc::new(rig.start().await);
    let (stored, mut seen) = watch::channel(0);
    let mut publishers = JoinSet::new();
    for number in 0..PUBLISHERS {
        publishers.spawn(publishes(Arc::clone(&server), number, stored.clone()));
    }
    let reader = tokio::spawn(reads(Arc::clone(&server)));
    seen.wait_for(|stored| *stored >= MESSAGES).await.expect("they publish");
    server.signal(signal);
    let ended = publishers.join_all().await;
    let (next, count) = reader.await.expect("it reads");
    let mut former = Arc::into_inner(server).expect("nobody else has it");
    former.ended().await;

    let server = rig.start().await;
    let found = all(&server, "").await;
    let epoch = found[0].0.clone();
    for (offset, (id, _)) in (1..).zip(&found) {
        assert_eq!(*id, at(&epoch, offset), "one after the other");
    }
    let acknowledged: Vec<_> = ended.iter().flat_map(|(acknowledged, _)| acknowledged).collect();
    assert!(acknowledged.len() >= MESSAGES && found.len() <= acknowledged.len() + PUBLISHERS, "{}", found.len());
    for (word, id) in &acknowledged {
        let times: Vec<_> = found.iter().filter(|(_, data)| data == word).map(|(id, _)| id).collect();
        assert_eq!(times, [id], "{word}");
    }
    assert_eq!(&all(&server, &next).await[..], &found[count..], "who comes back misses nothing");
    // Each message again: the last ones may have been stored without an answer.
    let mut client = Client::connect(server.listen).await;
    for (acknowledged, unanswered) in &ended {
        let (word, id) = acknowledged.last().expect("one at least");
        let again = publish(&mut client, word, word).await.expect("an answer");
        assert_eq!((again.status, again.field("idempotency-replayed")), (201, "true"));
        assert_eq!(&super::id(&again), id);
        let was_stored = found.iter().any(|(_, data)| data == unanswered);
        let again = publish(&mut client, unanswered, unanswered).await.expect("an answer");
        assert_eq!((again.status, again.field("idempotency-replayed") == "true"), (201, was_stored), "{unanswered}");
    }
    let new = id(&ask(server.listen, "POST", "/chat", &[TEXT], "new").await);
    let stored = acknowledged.len() + PUBLISHERS;
    assert_eq!(new, at(&epoch, stored as u64 + 1), "ids go on, and each message is there once");
}

#[tokio::test]
async fn each_message_with_a_201_is_there_once_after_a_kill() {
    nothing_is_lost_by(Signal::KILL).await;
}

#[tokio::test]
async fn each_message_with_a_201_is_there_once_after_a_stop() {
    nothing_is_lost_by(Signal::TERM).await;
}

#[tokio::test]
async fn damage_begins_another_history_of_what_can_be_read_and_is_told() {
    let rig = Rig::new();
    let mut server = rig.start().await;
    let mut last = String::new();
    for word in ["a", "b", "c"] {
        last = super::say(&server, word).await;
    }
    server.signal(Signal::TERM);
    server.ended().await;
    let mut bytes = fs::read(rig.segment()).expect("a file");
    *bytes.last_mut().expect("there are messages") ^= 1;
    fs::write(rig.segment(), bytes).expect("it can be written");

    let mut server = rig.start().await;
    let told = server.logged("messages of a topic are lost").await;
    assert!(told.contains("00000001.segment, from byte ") && told.contains("not what was written"), "{told}");
    let page = server.get(&format!("/chat?since={last}")).await.json();
    assert_eq!((&page["gap"]["since"], &page["gap"]["missed"]), (&last.as_str().into(), &Value::Null));
    assert_eq!(said(&page), ["a", "b"]);
    let next = super::say(&server, "d").await;
    assert!(next.ends_with(".3") && next != last, "{next}");
    server.signal(Signal::TERM);
    server.ended().await;
    let server = rig.start().await;
    assert_eq!(said(&server.get("/chat").await.json()), ["a", "b", "d"], "it is told once");
}

#[tokio::test]
async fn a_full_disk_refuses_publishers_alone_and_is_tried_again() {
    let rig = Rig::new();
    let state = rig.path("state");
    fs::create_dir(&state).expect("a folder");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"];
    let of_rig = ["--config", &rig.path("serve.yaml"), "--state-dir", &state];
    let serve = tidewait(&[&arguments[..], &of_rig].concat());
    let prepare = format!(
        "mount -t tmpfs -o size=256k none {state} && head -c 128k /dev/zero > {state}/ballast && exec \"$0\" \"$@\""
    );
    let mut command = tokio::process::Command::new("unshare");
    for (name, value) in serve.as_std().get_envs() {
        if value.is_none() {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true).args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", &prepare]);
    command.arg(serve.as_std().get_program()).args(serve.as_std().get_args());
    let mut server = Server::spawn(command).await;
    let long = "x".repeat(10_000);
    let mut stored = 0;
    let refused = loop {
        let reply = ask(server.listen, "POST", "/chat", &[TEXT], &long).await;
        if reply.status != 201 {
            break reply;
        }
        stored += 1;
        assert!(stored < 30, "it has no room for more");
    };
    assert_eq!((refused.status, &refused.json()["type"]), (503, &"https://tidewait.dev/problems/not-stored".into()));
    assert!(!refused.field("retry-after").is_empty());
    let told = server.logged("messages cannot be stored").await;
    assert!(told.contains("No space left on device") && told.contains("free space"), "{told}");
    assert!(server.metric("tidewait_topic_disk_errors_total{topic=\"chat\"}").await >= 1.0);
    assert_eq!(server.admin("/state").await.json()["topics"][0]["stores"], false);
    assert_eq!(
        server.get("/chat?from=earliest&limit=1000").await.json()["messages"].as_array().map(Vec::len),
        Some(stored)
    );
    let pid = server.child.id().expect("it runs");
    fs::remove_file(format!("/proc/{pid}/root{state}/ballast")).expect("it can be removed");
    let last = until("stored again", async || {
        let reply = ask(server.listen, "POST", "/chat", &[TEXT], &long).await;
        (reply.status == 201).then(|| id(&reply))
    });
    let last = last.await;
    assert!(last.ends_with(&format!(".{}", stored + 1)), "{last}");
    server.logged("messages can be stored again").await;
    assert_eq!(server.admin("/state").await.json()["topics"][0]["stores"], true);
    let lines = server.log.borrow().iter().filter(|line| line.contains("cannot be stored")).count();
    assert_eq!(lines, 1, "it is said once");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_used_is_refused_at_the_start() {
    let rig = Rig::new();
    let _server = rig.start().await;
    let (config, state) = (rig.path("serve.yaml"), rig.path("state"));
    for (state, expected) in [
        (state.as_str(), "another process keeps the messages of topic chat in "),
        ("/proc/none", "--state-dir /proc/none: cannot create /proc/none/topics/chat: No such file or directory"),
    ] {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config", &config];
        let output = tidewait(&[&arguments[..], &["--state-dir", state]].concat()).output().await.expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(expected) && told.contains("--state-dir"), "{told}");
    }
    for (flags, expected) in [
        (&[][..], "give --state-dir to keep messages over a restart"),
        (&["--state-dir", "kept"], "whose topics outlive a restart (in kept/topics)"),
    ] {
        let output = tidewait(&[&["check", "--config", &config], flags].concat()).output().await.expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && told.contains(expected), "{told}");
    }
}
