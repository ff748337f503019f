//! A real OpenID Connect issuer, oidc-provider on Node.js, on the loopback device.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::control_plane::{dies_with_its_thread, free_port};
use crate::proxy::harness::within;

pub(crate) const AUDIENCE: &str = "tidewait";

/// An issuer that may be stopped, and started again with other settings.
pub(crate) struct Provider {
    tools: PathBuf,
    dir: TempDir,
    /// Where it listens, and what it says that it is unless it is told otherwise.
    pub(crate) url: String,
    settings: Value,
    child: Option<Child>,
}

impl Provider {
    /// One that is not started yet; `tls`: with a certificate of its own authority.
    pub(crate) async fn new(tls: bool) -> Self {
        let tools = super::tools().await;
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let port = free_port();
        let url = format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" });
        let mut settings = json!({"port": port, "audience": AUDIENCE, "keys": [key(&tools, "first").await]});
        if tls {
            certificates(dir.path()).await;
            settings["tls"] = json!({"key": dir.path().join("issuer.key"), "cert": dir.path().join("issuer.crt")});
        }
        Self { tools, dir, url, settings, child: None }
    }

    /// The certificate of its authority.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Another value of a setting, from the next start on.
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.settings[name] = value;
    }

    /// Another key instead of the one that it has, from the next start on.
    pub(crate) async fn rotate(&mut self, name: &str) {
        self.settings["keys"] = json!([key(&self.tools, name).await]);
    }

    pub(crate) async fn start(&mut self) {
        let mut command = Command::from(dies_with_its_thread(Path::new("node")));
        command.arg(self.tools.join("oidc/server.js")).arg(self.settings.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("node starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let ready = within("the issuer listens", lines.next_line()).await.expect("its words are text");
        assert_eq!(ready.as_deref(), Some("ready"));
        self.child = Some(child);
    }

    pub(crate) async fn stop(&mut self) {
        self.child.take().expect("it runs").kill().await.expect("it was running");
    }

    /// The keys that it publishes.
    pub(crate) async fn jwks(&self) -> Vec<u8> {
        let mut command = Command::new("curl");
        command.args(["-sS", "--cacert"]).arg(self.ca()).arg(format!("{}/jwks", self.url));
        command.output().await.expect("curl runs").stdout
    }

    /// A token for the client "edge".
    pub(crate) async fn token(&self) -> String {
        let mut command = Command::new("curl");
        command.args(["-sS", "-u", "edge:secret", "-d", "grant_type=client_credentials&scope=poll"]);
        if self.url.starts_with("https:") {
            command.arg("--cacert").arg(self.ca());
        }
        let output = command.arg(format!("{}/token", self.url)).output().await.expect("curl runs");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

async fn key(tools: &Path, name: &str) -> Value {
    let output = Command::new("node").arg(tools.join("oidc/key.js")).arg(name).output().await.expect("node runs");
    serde_json::from_slice(&output.stdout).expect("a key")
}

/// An authority, and a certificate of it for 127.0.0.1.
async fn certificates(dir: &Path) {
    const NEW: &str = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1";
    for rest in [
        "-subj /CN=test-authority -keyout ca.key -out ca.crt",
        "-subj /CN=issuer -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
         -CA ca.crt -CAkey ca.key -keyout issuer.key -out issuer.crt",
    ] {
        let mut command = Command::new("openssl");
        command.current_dir(dir).args(NEW.split(' ')).args(rest.split_ascii_whitespace());
        let output = command.output().await.expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
