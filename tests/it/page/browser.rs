//! Chromium, driven by the protocol of its developer tools: no driver is between it and the test. It comes from
//! `tests/browser/build.sh`.

use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::BufReader;
use tokio::process::{Child, Command};

use crate::server::{STEP, collect};
use crate::websocket::WebSocket;

const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--password-store=basic",
    "--hide-scrollbars",
    "--window-size=1280,900",
    "--remote-debugging-port=0",
    "about:blank",
];

/// A browser with one page; killed when dropped.
pub(super) struct Browser {
    socket: WebSocket,
    session: Option<String>,
    sent: u64,
    /// What the browser has logged as an error or a warning: of scripts, of the policy of the page, of its network.
    complaints: Vec<Value>,
    tools: PathBuf,
    _child: Child,
    _profile: TempDir,
}

/// The folder of `tests/browser/build.sh`, made on first use.
async fn tools() -> PathBuf {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/build.sh");
    let output = Command::new(SCRIPT).stderr(Stdio::inherit()).output().await.expect("the script runs");
    assert!(output.status.success(), "tests/browser/build.sh failed: run it and see why");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
}

impl Browser {
    pub(super) async fn start() -> Self {
        let (tools, profile) = (tools().await, tempfile::tempdir().expect("a folder"));
        let mut command = Command::new(tools.join("chromium"));
        command.args(FLAGS).arg(format!("--user-data-dir={}", profile.path().display())).kill_on_drop(true);
        command.env("HOME", profile.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("chromium starts");
        let lines = tokio::io::AsyncBufReadExt::lines(BufReader::new(child.stderr.take().expect("piped")));
        let mut log = collect(lines);
        let begin = "DevTools listening on ws://";
        let listens = |log: &Vec<String>| log.iter().any(|line| line.starts_with(begin));
        let waited = tokio::time::timeout(STEP, log.wait_for(listens)).await.map(|seen| seen.is_ok());
        let log = log.borrow().clone();
        assert!(matches!(waited, Ok(true)), "chromium does not start: {log:#?}");
        let url = log.iter().find_map(|line| line.strip_prefix(begin)).expect("seen before");
        let (address, path) = url.split_once('/').expect("a path");
        let socket = WebSocket::open(address.parse().expect("an address"), &format!("/{path}"), "").await;
        let mut browser =
            Self { socket, session: None, sent: 0, complaints: Vec::new(), tools, _child: child, _profile: profile };
        let target = browser.command("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.command("Target.attachToTarget", attach).await;
        browser.session = Some(attached["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            browser.command(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// Has the browser do something; gives what came of it.
    pub(super) async fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut command = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.socket.say(&command.to_string()).await;
        loop {
            let mut said = self.socket.json().await;
            if said["id"] == self.sent {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].take();
            }
            self.hear(&said);
        }
    }

    fn hear(&mut self, said: &Value) {
        let is_bad = |word: &Value| word == "error" || word == "warning" || word == "assert";
        let is_complaint = match said["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => is_bad(&said["params"]["type"]),
            Some("Log.entryAdded") => is_bad(&said["params"]["entry"]["level"]),
            _ => false,
        };
        if is_complaint {
            self.complaints.push(said["params"].clone());
        }
    }

    /// What was logged since the last call, but that this URL could not be reached.
    pub(super) async fn complaints(&mut self, unreachable: &str) -> Vec<Value> {
        // What was logged before this is answered is there then.
        self.eval("0").await;
        let is_known = |complaint: &Value| {
            let entry = &complaint["entry"];
            let url = entry["url"].as_str().unwrap_or_default();
            !unreachable.is_empty() && entry["source"] == "network" && url.starts_with(unreachable)
        };
        self.complaints.drain(..).filter(|complaint| !is_known(complaint)).collect()
    }

    pub(super) async fn open(&mut self, url: &str) {
        let opened = self.command("Page.navigate", json!({ "url": url })).await;
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
    }

    /// The value of an expression, or of what it promises.
    pub(super) async fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut result = self.command("Runtime.evaluate", parameters).await;
        assert!(result["exceptionDetails"].is_null(), "{result:#}");
        result["result"]["value"].take()
    }

    /// Waits until a condition holds in the page.
    pub(super) async fn becomes(&mut self, condition: &str) {
        let look = format!(
            "new Promise((resolve, reject) => {{
               const start = performance.now();
               const look = () => {{
                 let holds = false;
                 try {{ holds = Boolean({condition}); }} catch {{}}
                 if (holds) resolve(true);
                 else if (performance.now() - start > 20000) reject(new Error(document.body.innerText));
                 else setTimeout(look, 20);
               }};
               look();
             }})"
        );
        let parameters = json!({ "expression": look, "awaitPromise": true, "returnByValue": true });
        let result = self.command("Runtime.evaluate", parameters).await;
        let shown = result["exceptionDetails"]["exception"]["description"].as_str();
        assert!(result["exceptionDetails"].is_null(), "never {condition} in {}", shown.unwrap_or_default());
    }

    /// Presses a key, given by its name and number.
    pub(super) async fn press(&mut self, key: &str, code: u32) {
        for (kind, text) in [("keyDown", if key == "Enter" { "\r" } else { "" }), ("keyUp", "")] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.command("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Whoever looks prefers this: light or dark.
    pub(super) async fn prefer(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// The window is so many pixels wide.
    pub(super) async fn resize(&mut self, width: u32) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// What a keyboard or a screen reader meets as a barrier, as axe-core judges.
    pub(super) async fn barriers(&mut self) -> Value {
        let axe = std::fs::read_to_string(self.tools.join("axe.min.js")).expect("it was brought");
        self.eval(&format!("{axe};0")).await;
        let run = "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html)]))";
        self.eval(run).await
    }

    /// A picture of a part of the page.
    pub(super) async fn picture(&mut self, clip: Value) -> Vec<u8> {
        let parameters = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        let picture = self.command("Page.captureScreenshot", parameters).await;
        BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }
}
