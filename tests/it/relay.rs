//! Relays: a `tidewait serve` whose source is an operation of another one, and what their clients see.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::server::{Client, STEP, Server, until};

mod agent;
mod cut;
mod path;
mod policy;
mod tree;

/// A folder for the files of a test.
struct Rig {
    folder: TempDir,
}

/// The model with this version.
fn model(version: usize) -> String {
    let routes = "10.0.0.0/8 ".repeat(40);
    format!(r#"{{"a":{{"mtu":{version}}},"b":{{"zone":"north"}},"c":"{routes}","version":{version}}}"#)
}

impl Rig {
    /// With the model of version 1.
    fn new() -> Self {
        let rig = Self { folder: TempDir::new().expect("a folder for temporary files") };
        rig.change(1);
        rig
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder can be written");
    }

    fn change(&self, version: usize) {
        self.write("next", &model(version));
        fs::rename(self.path("next"), self.path("model.json")).expect("one folder");
    }

    /// A server with a configuration file of this name, of one operation with these fields, and of this much more.
    async fn serves(&self, name: &str, operation: &str, more: &str, flags: &[&str]) -> Server {
        Server::start(&[&["--config", &self.config(name, operation, more)], flags].concat()).await
    }

    /// The path of such a file.
    fn config(&self, name: &str, operation: &str, more: &str) -> String {
        let text = format!(
            "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n{more}\noperations:\n\
             - {{path: /describe, minInterval: 10ms, {operation}}}\n"
        );
        let file = format!("{name}.yaml");
        self.write(&file, &text);
        self.path(&file)
    }

    /// One whose source is the file.
    async fn root(&self) -> Server {
        let source = format!("versionFrom: /version, source: {{file: {{path: {}}}}}", self.path("model.json"));
        let mut root = self.serves("root", &source, "", &[]).await;
        root.ready().await;
        root
    }

    /// A relay of these servers that has a state.
    async fn relay(&self, name: &str, of: &[SocketAddr]) -> Server {
        let mut relay = self.serves(name, &source(of, ""), "", &[]).await;
        relay.ready().await;
        relay
    }
}

/// A source that is those servers, with these fields.
fn source(of: &[SocketAddr], more: &str) -> String {
    let urls: Vec<_> = of.iter().map(|address| format!("\"http://{address}/describe\"")).collect();
    format!("source: {{describe: {{urls: [{}], agentId: relay, wait: 2s{more}}}}}", urls.join(", "))
}

/// Waits until a server serves this version, and gives its id.
async fn serves(server: &Server, version: usize) -> String {
    let wanted = model(version);
    until("it is served", async || {
        let reply = server.get("/describe").await;
        (reply.body == wanted.as_bytes()).then(|| reply.id().to_owned())
    })
    .await
}

#[tokio::test]
async fn a_relay_serves_states_and_parts_of_them_with_the_ids_of_its_server() {
    let rig = Rig::new();
    let root = rig.root().await;
    let relay = rig.relay("relay", &[root.listen]).await;
    let below = rig.relay("below", &[relay.listen]).await;
    for version in 2..6 {
        let before = serves(&root, version - 1).await;
        let mut parked = Client::connect(below.listen).await;
        parked.send("GET", &format!("/describe?since={before}&wait=20"), &[]).await;
        let mut of_part = Client::connect(below.listen).await;
        let part = below.get("/describe?select=/a").await;
        of_part.send("GET", &format!("/describe?select=/a&since={}&wait=20", part.id()), &[]).await;
        rig.change(version);
        let reply = parked.reply().await;
        let id = serves(&root, version).await;
        assert_eq!((reply.status, reply.id(), &*reply.body), (200, &*id, model(version).as_bytes()));
        assert_eq!(reply.field("state-age"), "0");
        let reply = of_part.reply().await;
        let of_root = root.get("/describe?select=/a").await;
        assert_eq!((reply.id(), &reply.body), (of_root.id(), &of_root.body));
        // What a relay has served is patched from there on.
        let patch = [("Accept", "application/json-patch+json, application/json;q=0.5")];
        let reply = Client::connect(below.listen).await.get(&format!("/describe?since={before}"), &patch).await;
        assert_eq!((reply.field("delta-base"), reply.id()), (&*before, &*id));
    }
    // The server knows what the relay holds, by its own poll.
    let id = serves(&root, 5).await;
    until("the relay acknowledges", async || {
        let agents = root.admin("/agents").await.json();
        (agents["agents"][0]["name"] == "relay" && agents["agents"][0]["holds"] == id).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_changes_only_the_version_reaches_clients_of_the_relay() {
    let rig = Rig::new();
    // The version is no part of the selection that the relay holds.
    let root = rig.root().await;
    let mut relay = rig.serves("relay", &source(&[root.listen], ", select: [/b]"), "", &[]).await;
    relay.ready().await;
    rig.change(7);
    let of_root = serves(&root, 7).await;
    let version = of_root.split('.').nth(1).expect("a version");
    until("the version is served", async || {
        let reply = relay.get("/describe?select=/b").await;
        (reply.id().split('.').nth(1) == Some(version)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_relay_of_a_part_refuses_the_rest() {
    let rig = Rig::new();
    let root = rig.root().await;
    let mut relay = rig.serves("relay", &source(&[root.listen], ", select: [/a]"), "", &[]).await;
    relay.ready().await;
    for (target, status) in [
        ("/describe?select=/a", 200),
        ("/describe?select=/a/mtu", 200),
        ("/describe?select=/a/none", 200),
        ("/describe", 421),
        ("/describe?select=/b", 421),
        ("/describe?select=/a&select=/b", 421),
    ] {
        let (reply, of_root) = (relay.get(target).await, root.get(target).await);
        assert_eq!(reply.status, status, "{target}");
        if status == 200 {
            assert_eq!((reply.id(), &reply.body), (of_root.id(), &of_root.body), "{target}");
        } else {
            let problem = reply.json();
            assert_eq!(problem["type"], "https://tidewait.dev/problems/not-held");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("/a")), "{problem}");
        }
    }
}

#[tokio::test]
async fn settings_of_a_relay_that_cannot_be_used_are_told_with_their_remedy() {
    let rig = Rig::new();
    for (fields, expected) in [
        ("urls: []", "source.describe.urls: \"0\": name 1 to 64 URLs"),
        (
            "select: [/a]",
            "source.describe.urls: is missing: list the URLs of the operation, such as https://root:8480/describe",
        ),
        ("urls: [\"ftp://a\"]", "source.describe.urls: \"ftp://a\": begin it with https or http"),
        (
            "urls: [\"http://a/d\"], tokenFile: t",
            "or the token could be read on the way (allowClearCredentials allows that)",
        ),
        ("urls: [\"https://a/d\"], key: k", "source.describe.certificate: is missing: name the certificate of key"),
        ("urls: [\"https://a/d\"], wait: 0s", "source.describe.wait: \"0s\""),
        ("url: \"https://a/d\"", "source.describe.url: is no field: did you mean urls?"),
    ] {
        let text = format!(
            "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\noperations:\n- {{path: /d, source: {{describe: {{{fields}}}}}}}\n"
        );
        rig.write("wrong.yaml", &text);
        let checked = crate::server::tidewait(&["check", "--config", &rig.path("wrong.yaml")]).output();
        let output = tokio::time::timeout(STEP, checked).await.expect("in time").expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(expected), "{fields}: {told}");
    }
}
