//! The test control plane: a real etcd and a real kube-apiserver on the loopback device, for integration tests.
//!
//! Most tests take [`ControlPlane::shared`] and a namespace of their own in it; tests that stop the server or compact
//! its history take [`ControlPlane::start`]. The programs come from `tests/control-plane/build.sh`, in the folder that
//! `TIDEWAIT_TEST_ASSETS` names, or built on first use. `TIDEWAIT_TEST_KUBECONFIG` makes another cluster the shared
//! one. Without a control plane tests fail with a sentence that says how to get one; they are never skipped.
//!
//! Nothing of this works in a runtime with paused time: deadlines would pass at once.

mod backup;
mod child;
mod self_test;
mod servers;
mod workdir;

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OnceCell;
use tokio::time::timeout;

pub(crate) use self::backup::Restore;
use self::child::variable;
pub(crate) use self::child::{Child, Failure, dies_with_its_thread, free_port};
use self::servers::Servers;
pub(crate) use self::workdir::WorkDir;

/// How long kubectl and etcdctl may take, `kubectl wait` included.
const TOOL_DEADLINE: Duration = Duration::from_secs(120);

/// A Kubernetes control plane and the means to speak to it.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    // Before the folder: fields are dropped in order, and the servers write into it.
    own: Option<Servers>,
    dir: WorkDir,
    assets: PathBuf,
    kubeconfig: PathBuf,
    server_url: String,
}

/// A namespace of one test. In a cluster that is not ours it is deleted on drop; our own vanishes as a whole.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    delete: Option<Command>,
}

impl ControlPlane {
    /// The control plane of all tests in this binary, started by the first that asks.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED
            .get_or_init(async || match variable("TIDEWAIT_TEST_KUBECONFIG") {
                Some(file) => Self::existing(Path::new(&file)).await,
                None => Self::start().await,
            })
            .await
    }

    /// A control plane of the test's own, with an empty etcd.
    pub(crate) async fn start() -> Self {
        let assets = tokio::task::spawn_blocking(assets)
            .await
            .expect("looking for the programs does not panic")
            .expect("no control plane for the tests");
        match Self::try_start(assets.clone()).await {
            // Another process took a port between our look and the server's bind: once more, with other ports.
            Err(failure) if failure.0.contains("address already in use") => Self::try_start(assets).await,
            other => other,
        }
        .expect("the test control plane does not start")
    }

    async fn try_start(assets: PathBuf) -> Result<Self, Failure> {
        let dir = WorkDir::new().map_err(|error| Failure(format!("no temporary folder: {error}")))?;
        let servers = Servers::start(&assets, &dir).await?;
        let (kubeconfig, server_url) = (servers.kubeconfig().to_owned(), servers.url());
        Ok(Self { own: Some(servers), dir, assets, kubeconfig, server_url })
    }

    async fn existing(kubeconfig: &Path) -> Self {
        let assets = tokio::task::spawn_blocking(assets)
            .await
            .expect("looking for the programs does not panic")
            .expect("no kubectl for the tests");
        let config =
            config(kubeconfig).await.expect("TIDEWAIT_TEST_KUBECONFIG names a kubeconfig with a current context");
        Self {
            own: None,
            dir: WorkDir::new().expect("a temporary folder can be made"),
            assets,
            kubeconfig: kubeconfig.to_owned(),
            server_url: config.cluster_url.to_string(),
        }
    }

    /// The kubeconfig file of an administrator.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The API server's address, `https://host:port`.
    pub(crate) fn server_url(&self) -> &str {
        &self.server_url
    }

    /// A new client for an administrator. It belongs to the current runtime, and a test has a runtime of its own: so
    /// each test makes its own.
    pub(crate) async fn client(&self) -> kube::Client {
        let config = config(&self.kubeconfig).await.expect("the fixture's kubeconfig is valid");
        kube::Client::try_from(config).expect("a client can be made from the fixture's kubeconfig")
    }

    /// Makes a namespace `<prefix>-<random>` that nobody else uses, with the service account that pods need.
    pub(crate) async fn namespace(&self, prefix: &str) -> Namespace {
        let random: String = (0..8).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect();
        let name = format!("{prefix}-{random}");
        self.kubectl_ok(&["create", "namespace", &name], None).await;
        // The controller manager's work, which does not run here; without it no pod can be created. Where it runs, this
        // comes before it or after it.
        let account = self.kubectl(&["create", "serviceaccount", "default", "--namespace", &name], None).await;
        let error = String::from_utf8_lossy(&account.stderr);
        assert!(account.status.success() || error.contains("AlreadyExists"), "no service account in {name}: {error}");
        if self.own.is_some() {
            return Namespace { name, delete: None };
        }
        let mut delete = self.kubectl_command(&["delete", "namespace", &name, "--wait=false"]);
        delete.stdin(Stdio::null()).stdout(Stdio::null());
        Namespace { name, delete: Some(delete) }
    }

    /// Runs the real kubectl against this control plane, with `stdin` as its input.
    pub(crate) async fn kubectl(&self, args: &[&str], stdin: Option<&str>) -> Output {
        let what = format!("kubectl {}", args.join(" "));
        run(&what, self.kubectl_command(args), stdin).await.expect("kubectl runs")
    }

    /// Like [`Self::kubectl`], for what must succeed; returns what it printed.
    pub(crate) async fn kubectl_ok(&self, args: &[&str], stdin: Option<&str>) -> String {
        let output = self.kubectl(args, stdin).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {} ended with {}: {err}{out}", args.join(" "), output.status);
        out.into_owned()
    }

    fn kubectl_command(&self, args: &[&str]) -> Command {
        // Killed with the thread that spawns it: a kubectl never needs to outlive its test.
        let mut command = dies_with_its_thread(&self.assets.join("kubectl"));
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(args)
            .env_remove("KUBECONFIG")
            // Neither the cache nor the preferences of the person who runs the tests.
            .env("KUBECACHEDIR", self.dir.join("kubectl-cache"))
            .env("KUBERC", "off");
        command
    }

    /// The program `name` of the test assets: kubectl, etcdctl, etcdutl, promtool.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.assets.join(name)
    }

    /// Kills the API server, as a crash does. Its port and data stay.
    pub(crate) fn stop_api_server(&self) {
        self.servers().stop_api_server();
    }

    /// Starts the API server again after [`Self::stop_api_server`], on the same port and data; returns when it is
    /// ready.
    pub(crate) async fn start_api_server(&self) {
        self.servers().start_api_server().await.expect("the API server starts again");
    }

    /// etcd's client address, `http://host:port`.
    pub(crate) fn etcd_url(&self) -> String {
        self.servers().etcd_url()
    }

    /// Runs etcdctl against this control plane's etcd.
    pub(crate) async fn etcdctl(&self, args: &[&str]) -> Output {
        let mut command = dies_with_its_thread(&self.program("etcdctl"));
        command.arg("--endpoints").arg(self.etcd_url()).args(args);
        // etcdctl refuses to run when a variable and a flag say different things.
        for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ETCDCTL_")) {
            command.env_remove(name);
        }
        let what = format!("etcdctl {}", args.join(" "));
        run(&what, command, None).await.expect("etcdctl runs")
    }

    /// Drops etcd's history up to now and returns the revision. The API server's own watch cache still serves watches
    /// from before it; see [`Self::forget_history`].
    pub(crate) async fn compact(&self) -> u64 {
        let status = self.etcdctl(&["endpoint", "status", "--write-out=json"]).await.stdout;
        let status: serde_json::Value = serde_json::from_slice(&status).expect("etcdctl prints the status in JSON");
        let revision = status[0]["Status"]["header"]["revision"].as_u64().expect("the status has a revision");
        let output = self.etcdctl(&["compact", "--physical", &revision.to_string()]).await;
        let error = String::from_utf8_lossy(&output.stderr);
        // Nothing was written since the last compaction: as wanted.
        let already = error.contains("required revision has been compacted");
        assert!(output.status.success() || already, "etcdctl compact {revision}: {error}");
        revision
    }

    /// Makes every watch that resumes at a version older than the newest fail with 410 (as an ERROR event): drops etcd's
    /// history and restarts the API server, whose watch cache would otherwise serve such a watch from memory.
    pub(crate) async fn forget_history(&self) {
        self.stop_api_server();
        self.compact().await;
        self.start_api_server().await;
    }

    fn servers(&self) -> &Servers {
        self.own.as_ref().expect("a test that breaks the server starts its own: ControlPlane::start()")
    }
}

impl Deref for Namespace {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl AsRef<OsStr> for Namespace {
    fn as_ref(&self) -> &OsStr {
        self.name.as_ref()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(mut delete) = self.delete.take() {
            // kubectl says itself why it could not, on standard error; a panic in drop would hide the test's own.
            let _ = delete.status();
        }
    }
}

/// The client configuration in a kubeconfig file, and nothing from the environment.
pub(crate) async fn config(kubeconfig: &Path) -> Result<kube::Config, kube::config::KubeconfigError> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    // kube takes HTTPS_PROXY from the environment; the loopback device is never behind a proxy.
    config.proxy_url = None;
    Ok(config)
}

/// The folder with the programs that tests run (promtool, nginx, ...), built if need be.
pub(crate) async fn tools() -> PathBuf {
    let assets = tokio::task::spawn_blocking(assets).await.expect("it does not panic");
    assets.unwrap_or_else(|failure| panic!("{failure:?}"))
}

/// The same, by a blocking call.
fn assets() -> Result<PathBuf, Failure> {
    const SCRIPT: &str = "tests/control-plane/build.sh";
    let folder = if let Some(folder) = variable("TIDEWAIT_TEST_ASSETS") {
        PathBuf::from(folder)
    } else {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT);
        // Its progress goes to our standard error: the first build takes minutes.
        let output = Command::new(script).stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| Failure(format!("{SCRIPT} cannot be run ({error}); run {SCRIPT}")))?;
        if !output.status.success() {
            return Err(Failure(format!("{SCRIPT} failed ({}); run {SCRIPT} and see why", output.status)));
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        PathBuf::from(stdout.trim_end())
    };
    let missing = ["etcd", "kube-apiserver", "kubectl", "etcdctl"].into_iter().find(|name| !folder.join(name).exists());
    missing.map_or(Ok(folder.clone()), |name| {
        let folder = folder.display();
        Err(Failure(format!("{name} is not in {folder}; run {SCRIPT} and set TIDEWAIT_TEST_ASSETS to what it prints")))
    })
}

/// Runs a tool to its end, within [`TOOL_DEADLINE`].
async fn run(what: &str, mut command: Command, stdin: Option<&str>) -> Result<Output, Failure> {
    let fail = |error: &dyn fmt::Display| Failure(format!("{what}: {error}"));
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(|error| fail(&error))?;
    let input = child.stdin.take().zip(stdin);
    let work = async {
        let write = async {
            if let Some((mut pipe, text)) = input {
                // A tool that ends without reading everything says why in its output.
                let _ = pipe.write_all(text.as_bytes()).await;
            }
        };
        tokio::join!(write, child.wait_with_output()).1
    };
    timeout(TOOL_DEADLINE, work)
        .await
        .map_err(|_| fail(&format!("it did not end within {TOOL_DEADLINE:?}")))?
        .map_err(|error| fail(&error))
}
