//! The recipes of deploy/agent, as they stand: what is good is applied, what is bad is rejected with its reason, and what was
//! there stays.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{deployed, installed, printed, until};
use crate::control_plane::free_port;
use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::{Server, collect};

/// A server, a recipe that follows it, and a folder for both.
struct Followed {
    model: ModelFile,
    server: Server,
    log: watch::Receiver<Vec<String>>,
    _agent: Child,
}

impl Followed {
    /// Starts what `command` makes of the server's URL, with a `tidewait` and other programs found in `programs`.
    async fn start(first: &Value, programs: &Path, command: impl FnOnce(&ModelFile, String) -> Command) -> Self {
        let model = ModelFile::new(&first.to_string());
        let server = serve(&model, &[]).await;
        let ours = Path::new(env!("CARGO_BIN_EXE_tidewait")).parent().expect("a folder");
        let inherited = std::env::var("PATH").expect("there is one");
        let path = format!("{}:{}:{inherited}:/usr/sbin:/sbin", programs.display(), ours.display());
        let mut command = command(&model, format!("http://{}", server.listen));
        command.env("PATH", path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut agent = command.kill_on_drop(true).spawn().expect("it starts");
        let log = collect(BufReader::new(agent.stderr.take().expect("piped")).lines());
        Self { model, server, log, _agent: agent }
    }

    /// A recipe that is a shell script.
    async fn script(first: &Value, programs: &Path, name: &str, output: &str, file: &Path) -> Self {
        Self::start(first, programs, |model, url| {
            let mut command = Command::new(deployed(name));
            command.env("ENDPOINT", url).env("STATE_DIR", model.beside("agent")).env(output, file);
            command
        })
        .await
    }

    /// Changes the model; the one that the server has then is held, or rejected with this in its reason.
    async fn becomes(&self, model: &Value, rejected: Option<&str>) {
        let text = model.to_string();
        self.model.replace(&text);
        let id = until("it is served", async || {
            let reply = self.server.get("/describe").await;
            (reply.body == text.as_bytes()).then(|| reply.id().to_owned())
        })
        .await;
        let what = if rejected.is_some() { "rejects" } else { "holds" };
        let agent = until(what, async || {
            let agent = self.server.admin("/agents").await.json()["agents"][0].clone();
            // Whatever is wrong, its end tells why.
            let other = if rejected.is_some() { "holds" } else { "rejects" };
            assert!(agent[other] != id, "{agent} {:#?}", self.log.borrow());
            (agent[what] == id).then_some(agent)
        })
        .await;
        let reason = agent["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(rejected.unwrap_or_default()), "{agent} {:#?}", self.log.borrow());
    }
}

/// A namespace with a network of its own, in which its `nft` works; it ends with this.
struct Namespace {
    holder: Child,
    programs: tempfile::TempDir,
}

impl Namespace {
    async fn new() -> Self {
        let mut command = Command::new("unshare");
        // Whoever runs the tests is root in there.
        command.args(["--user", "--map-root-user", "--net", "sh", "-c", "echo ready; read end"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut holder = command.spawn().expect("unshare is there");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line).await.expect("a line");
        assert_eq!(line, "ready\n", "namespaces cannot be made here");
        let programs = tempfile::tempdir().expect("a folder for temporary files");
        let pid = holder.id().expect("it runs");
        let nft = printed(Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin:/sbin command -v nft"])).await;
        let text = format!(
            "#!/bin/sh\nexec nsenter --user --net --preserve-credentials --target {pid} {} \"$@\"\n",
            nft.trim_end()
        );
        let path = programs.path().join("nft");
        fs::write(&path, text).expect("the folder is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        Self { holder, programs }
    }

    async fn rules(&self) -> String {
        assert!(self.holder.id().is_some(), "it runs");
        printed(Command::new(self.programs.path().join("nft")).args(["list", "ruleset"])).await
    }
}

/// The script of a table that lets in these ports, and is the whole truth about it.
fn firewall(rules: &str) -> Value {
    let table = format!("table inet edge {{ chain input {{ type filter hook input priority filter; {rules}\n}}\n}}\n");
    json!({ "nftables": format!("table inet edge\ndelete table inet edge\n{table}") })
}

#[tokio::test]
async fn a_firewall_follows_and_keeps_the_last_good_rules() {
    installed().await;
    let namespace = Namespace::new().await;
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let rules = folder.path().join("edge.nft");
    let first = firewall("tcp dport 22 accept;");
    let followed = Followed::script(&first, namespace.programs.path(), "agent/nftables.sh", "RULES", &rules).await;
    followed.becomes(&first, None).await;
    assert!(namespace.rules().await.contains("tcp dport 22 accept"));
    followed.becomes(&firewall("tcp dport 443 accept;"), None).await;
    let good = namespace.rules().await;
    assert!(good.contains("tcp dport 443 accept") && !good.contains("dport 22"), "{good}");
    let written = fs::read(&rules).expect("it is out");
    assert_eq!(fs::metadata(&rules).expect("it is out").permissions().mode() & 0o777, 0o600);
    followed.becomes(&firewall("tcp dport 443 accpt;"), Some("Error: syntax error")).await;
    // nft takes this one, but the table is gone then: the one before is loaded again.
    let none = json!({ "nftables": "table inet edge\ndelete table inet edge\n" });
    followed.becomes(&none, Some("table inet edge is not there")).await;
    assert_eq!((namespace.rules().await, fs::read(&rules).expect("it is out")), (good, written));
    followed.becomes(&firewall("tcp dport 80 accept;"), None).await;
    assert!(namespace.rules().await.contains("tcp dport 80 accept"));
}

/// A running nginx. It ends its workers itself, so it is asked to end, and waited for.
struct Nginx(std::process::Child);

impl Nginx {
    fn start(programs: &Path, config: &Path) -> Self {
        let mut command = std::process::Command::new(programs.join("nginx"));
        command.args(["-e", "stderr", "-c"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().expect("nginx of the test tools starts"))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let id = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs, or was not waited for");
        self.0.wait().expect("it ends");
    }
}

/// A configuration whose only answer is this.
fn nginx(folder: &Path, port: u16, answer: &str) -> Value {
    let root = folder.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths.map(|name| format!("{name}_temp_path {root}/{name};")).concat();
    json!({ "nginx": format!(
        "daemon off; pid {root}/pid; error_log {root}/error.log; events {{}}\n\
         http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port}; location / {{ {answer} }} }} }}\n"
    ) })
}

async fn answers(port: u16, text: &str) {
    until(text, async || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.ends_with(text).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nginx_follows_and_keeps_the_last_good_configuration() {
    let programs = crate::control_plane::tools().await;
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let (config, port) = (folder.path().join("nginx.conf"), free_port());
    let model = |answer: &str| nginx(folder.path(), port, answer);
    let [one, two, three] = ["one", "two", "three"].map(|text| model(&format!("return 200 {text};")));
    // It runs before the agent does, as on a machine that had one.
    fs::write(&config, one["nginx"].as_str().expect("text")).expect("the folder is ours");
    let _nginx = Nginx::start(&programs, &config);
    answers(port, "\r\n\r\none").await;
    let followed = Followed::script(&one, &programs, "agent/nginx.sh", "CONFIG", &config).await;
    followed.becomes(&two, None).await;
    answers(port, "\r\n\r\ntwo").await;
    followed.becomes(&model("retrun 200 bad;"), Some("unknown directive \"retrun\"")).await;
    answers(port, "\r\n\r\ntwo").await;
    assert_eq!(fs::read_to_string(&config).expect("it is out"), two["nginx"].as_str().expect("text"));
    followed.becomes(&three, None).await;
    answers(port, "\r\n\r\nthree").await;
}

#[tokio::test]
async fn a_script_of_ones_own_follows_and_says_what_is_wrong() {
    installed().await;
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let [out, hosts] = ["model.json", "hosts"].map(|name| folder.path().join(name));
    let model = |address: &str| json!({ "hosts": { "a.edge": "10.0.0.1", "b": address } });
    let followed = Followed::start(&model("10.0.0.2"), &PathBuf::from("/usr/bin"), |model, url| {
        let mut command = Command::new("sh");
        command.args(["-c", &usage()]).env("HOSTS", &hosts);
        command.env("URL", url).env("STATE", model.beside("agent")).env("OUT", &out);
        command
    })
    .await;
    followed.becomes(&model("10.0.0.2"), None).await;
    assert_eq!(fs::read_to_string(&hosts).expect("it was written"), "10.0.0.1 a.edge\n10.0.0.2 b\n");
    followed.becomes(&model("10.0.0.300"), Some("'10.0.0.300' does not appear to be an IPv4 or IPv6 address")).await;
    for (odd, reason) in [
        (json!([1]), "the model is not {\"hosts\": {\"NAME\": \"ADDRESS\"}}"),
        (json!({ "hosts": ["a"] }), "the model is not {\"hosts\": {\"NAME\": \"ADDRESS\"}}"),
        (json!({ "hosts": { "a": 7 } }), "the address of 'a' is no text"),
    ] {
        followed.becomes(&odd, Some(reason)).await;
    }
    followed.becomes(&json!({ "hosts": { "a b": "::1" } }), Some("'a b' is no name of a host")).await;
    assert_eq!(fs::read_to_string(&hosts).expect("it stays"), "10.0.0.1 a.edge\n10.0.0.2 b\n");
    followed.becomes(&model("::2"), None).await;
    assert_eq!(fs::read_to_string(&hosts).expect("it was written"), "10.0.0.1 a.edge\n::2 b\n");
}

/// The command line that the script shows, with the places of this test.
fn usage() -> String {
    let text = fs::read_to_string(deployed("agent/hosts.py")).expect("it is there");
    let usage =
        text.split("usage: ").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("it shows how it is used");
    let places = [
        ("https://edge.example:8480", "\"$URL\""),
        ("/var/lib/tidewait-agent/hosts/state", "\"$STATE\""),
        ("/etc/edge/model.json", "\"$OUT\""),
    ];
    let usage = places.iter().fold(usage.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{text}");
        text.replace(old, new)
    });
    let script = deployed("agent/hosts.py");
    format!("exec {}", usage.replace("hosts.py", &script.display().to_string()))
}
