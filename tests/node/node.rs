//! A test node: a real Kubernetes of one node on this machine, brought up by `tests/node/up`.
//!
//! Most tests take [`Node::shared`] and a namespace of their own in it. A node ends with this process, however that one
//! ends: a script outside of it waits for the end of a pipe from here, and then takes the node down.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};

/// How long one command inside may take, `kubectl wait` included.
const COMMAND_DEADLINE: Duration = Duration::from_secs(120);

/// How long a state may take to come about. Seconds on a machine that does nothing else.
const STATE_DEADLINE: Duration = Duration::from_secs(120);

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    // Its standard input is the pipe whose end takes the node down.
    keeper: Child,
}

impl Node {
    /// The node of all tests in this binary, with the images of the app and of tidewait, started by the first that asks.
    pub(crate) fn shared() -> &'static Self {
        // Never dropped: the end of the process takes it down. Where it cannot be had, one test waits for that.
        static SHARED: LazyLock<Node> = LazyLock::new(|| {
            let node = Node::start();
            node.load("load-tidewait");
            node
        });
        &SHARED
    }

    /// A node of the test's own, with the image `localhost/app:1`. It is taken down on drop.
    pub(crate) fn start() -> Self {
        let node = Self::named(&random_name());
        node.load("up");
        node.load("load-app");
        node
    }

    /// Runs one of the scripts that bring something into the node.
    pub(crate) fn load(&self, name: &str) {
        // Progress and the reason of a failure go to our standard error: the first build takes minutes.
        succeeded(name, script(name).arg(&self.name).stdin(Stdio::null()).stdout(Stdio::null()).status());
    }

    /// A name whose node, once somebody makes it, is taken down on drop.
    pub(crate) fn named(name: &str) -> Self {
        use std::os::unix::process::CommandExt as _;
        let mut keeper = script("down");
        // Not in our process group: an interrupt from the terminal is for the tests, and the node must still go.
        keeper.args(["--when-input-ends", name]).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let keeper = keeper.spawn().expect("tests/node/down runs");
        Self { name: name.to_owned(), keeper }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a namespace `<prefix>-<random>` in which pods can be created.
    pub(crate) async fn namespace(&self, prefix: &str) -> String {
        let name = format!("{prefix}-{}", random_name());
        self.kubectl(&["create", "namespace", &name], None).await;
        let account = ["wait", "--for=create", "serviceaccount/default", "--timeout=60s", "--namespace", &name];
        self.kubectl(&account, None).await;
        name
    }

    /// What the node's kubectl prints, which must succeed.
    pub(crate) async fn kubectl(&self, args: &[&str], stdin: Option<&str>) -> String {
        let output = self.inside("kubectl", args, stdin).await;
        printed(&format!("kubectl {}", args.join(" ")), &output)
    }

    /// What helm prints, which must succeed.
    pub(crate) async fn helm(&self, args: &[&str]) -> String {
        let output = self.inside("helm", args, None).await;
        printed(&format!("helm {}", args.join(" ")), &output)
    }

    /// Kills a container of a pod at once, as the kernel does where memory ends.
    pub(crate) async fn kill(&self, container: &str) {
        let args = [&self.name, "task", "kill", "--signal=SIGKILL", container];
        let output = tokio::process::Command::from(script("containers")).args(args).output().await;
        printed(&format!("ctr task kill {container}"), &output.expect("tests/node/containers runs"));
    }

    /// What curl prints, inside the node's network and with its DNS: Services and pods are reached.
    pub(crate) async fn curl(&self, args: &[&str]) -> Output {
        self.inside("curl", &[&["--silent", "--show-error", "--max-time", "10"], args].concat(), None).await
    }

    /// Runs any program inside the node's network, with `stdin` as its input.
    pub(crate) async fn inside(&self, program: &str, args: &[&str], stdin: Option<&str>) -> Output {
        let mut command = script("in");
        command.args([&self.name, "--", program]).args(args);
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("tests/node/in runs");
        let input = child.stdin.take().zip(stdin);
        let write = async {
            if let Some((mut pipe, text)) = input {
                // A program that ends without reading everything says why in its output.
                let _ = pipe.write_all(text.as_bytes()).await;
            }
        };
        let work = async { tokio::join!(write, child.wait_with_output()).1 };
        let output = timeout(COMMAND_DEADLINE, work).await;
        let output = output.unwrap_or_else(|_| panic!("{program} {args:?} did not end within {COMMAND_DEADLINE:?}"));
        output.unwrap_or_else(|error| panic!("{program} {args:?}: {error}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let status = self.keeper.wait();
        // A second panic would hide the test's own.
        if !std::thread::panicking() {
            succeeded("down", status);
        }
    }
}

/// A script of tests/node.
pub(crate) fn script(name: &str) -> Command {
    Command::new(folder().join(name))
}

/// Asks again until the answer is what was waited for; `what` says in words what that is.
pub(crate) async fn until<T: fmt::Debug>(what: &str, ask: impl AsyncFn() -> T, good: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + STATE_DEADLINE;
    loop {
        let answer = ask().await;
        if good(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {STATE_DEADLINE:?}: {what}; last seen: {answer:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// A name that no other node has.
pub(crate) fn random_name() -> String {
    (0..8).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect()
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node")
}

#[track_caller]
fn succeeded(name: &str, status: io::Result<ExitStatus>) {
    let status = status.unwrap_or_else(|error| panic!("tests/node/{name}: {error}"));
    assert!(status.success(), "tests/node/{name} ended with {status}; it says above why");
}

#[track_caller]
fn printed(what: &str, output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what} ended with {}: {err}{out}", output.status);
    out.into_owned()
}
