//! The two servers of a test control plane: how they are started, stopped and waited for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::child::{Child, Failure, free_port};
use super::workdir::{WorkDir, private_key_pem};

/// Ready after 3 s on a machine that does nothing else; compilers on every core make it many times that.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// A running etcd and a kube-apiserver that can be stopped and started.
#[derive(Debug)]
pub(crate) struct Servers {
    // Before etcd: fields are dropped in order, and an API server without its etcd fills the log with complaints.
    api_server: Mutex<Option<Child>>,
    etcd: Mutex<Option<Child>>,
    etcd_program: PathBuf,
    etcd_log: PathBuf,
    etcd_port: u16,
    api_port: u16,
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    kubeconfig: PathBuf,
}

impl Servers {
    /// Starts both with new data and returns when the API server is ready.
    pub(crate) async fn start(assets: &Path, dir: &WorkDir) -> Result<Self, Failure> {
        let (etcd_port, api_port) = (free_port(), free_port());
        let token = format!("{:032x}", fastrand::u128(..));
        let write = |name: &str, content: &str| dir.write(name, content).map_err(cannot_write);
        let key = write("service-account.key", &private_key_pem())?;
        let tokens = write("tokens.csv", &format!("{token},admin,1,\"system:masters\"\n"))?;
        let certificate = dir.join("certificates/apiserver.crt");
        let kubeconfig = write("kubeconfig", &kubeconfig(api_port, &certificate, &token))?;
        let servers = Self {
            api_server: Mutex::new(None),
            etcd: Mutex::new(None),
            etcd_program: assets.join("etcd"),
            etcd_log: dir.join("etcd.log"),
            etcd_port,
            api_port,
            program: assets.join("kube-apiserver"),
            args: api_server_args(etcd_port, api_port, dir, &key, &tokens),
            log: dir.join("kube-apiserver.log"),
            kubeconfig,
        };
        servers.start_etcd(&dir.join("etcd"))?;
        servers.start_api_server().await?;
        Ok(servers)
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    pub(crate) fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    /// Kills etcd. Its port stays.
    pub(crate) fn stop_etcd(&self) {
        drop(lock(&self.etcd).take());
    }

    /// Starts etcd with the data in a folder.
    pub(crate) fn start_etcd(&self, data: &Path) -> Result<(), Failure> {
        let args = etcd_args(self.etcd_port, data);
        *lock(&self.etcd) = Some(Child::start("etcd", &self.etcd_program, &args, &self.etcd_log)?);
        Ok(())
    }

    /// Kills the API server; nothing happens if it does not run.
    pub(crate) fn stop_api_server(&self) {
        drop(self.api_server().take());
    }

    /// Starts the API server if it does not run, and waits until it is ready.
    pub(crate) async fn start_api_server(&self) -> Result<(), Failure> {
        {
            let mut running = self.api_server();
            if running.is_none() {
                *running = Some(Child::start("kube-apiserver", &self.program, &self.args, &self.log)?);
            }
        }
        self.wait_until_ready().await
    }

    /// Waits until /readyz is ok. No event tells that, so it is asked again and again.
    pub(crate) async fn wait_until_ready(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_DEADLINE;
        let mut ticks = interval(Duration::from_millis(50));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A new client for each question: one that was made from a certificate file that the server had opened and
            // not yet written trusts nobody, for ever ("invalid peer certificate: UnknownIssuer").
            let cause = match self.probe().await {
                Some(client) => ready(&client).await.err(),
                None => Some("it has not written its certificate".into()),
            };
            // After the question: a server that lost its port to another run's must not pass for that one.
            self.check_running()?;
            let Some(cause) = cause else { return Ok(()) };
            if Instant::now() >= deadline {
                let log = self.api_server().as_ref().map(Child::last_words).unwrap_or_default();
                return Err(Failure(format!(
                    "kube-apiserver was not ready within {START_DEADLINE:?} ({cause}); the end of its log:\n{log}"
                )));
            }
        }
    }

    fn check_running(&self) -> Result<(), Failure> {
        lock(&self.etcd).as_mut().map_or(Ok(()), Child::check_running)?;
        self.api_server().as_mut().map_or(Ok(()), Child::check_running)
    }

    async fn probe(&self) -> Option<kube::Client> {
        let mut config = super::config(&self.kubeconfig).await.ok()?;
        config.default_retry = false;
        kube::Client::try_from(config).ok()
    }

    fn api_server(&self) -> MutexGuard<'_, Option<Child>> {
        lock(&self.api_server)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves a whole value: no guard is held over more than one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ready(client: &kube::Client) -> Result<(), String> {
    let request = http::Request::get("/readyz").body(Vec::new()).expect("a constant request is valid");
    // A server that has just opened its port may leave the first request without an answer.
    match timeout(Duration::from_secs(2), client.request_text(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("/readyz: {}", with_causes(&error))),
        Err(_) => Err("/readyz: no answer within 2 s".into()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err wants")]
fn cannot_write(error: io::Error) -> Failure {
    Failure(format!("the control plane's files cannot be written: {error}"))
}

/// An error and what it came from: the outermost says only that something failed.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn etcd_args(port: u16, data: &Path) -> Vec<String> {
    let url = format!("http://127.0.0.1:{port}");
    vec![
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        // There is no second member: any port does, and nobody is told which.
        "--listen-peer-urls=http://127.0.0.1:0".into(),
        // The data never outlives the run, so waiting for the disk is wasted.
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

fn api_server_args(etcd: u16, port: u16, dir: &WorkDir, key: &Path, tokens: &Path) -> Vec<String> {
    let (key, tokens) = (key.display(), tokens.display());
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".into(),
        // Said explicitly: the server would look for the address of a default route, which a machine may not have.
        "--advertise-address=127.0.0.1".into(),
        // An Endpoints object may not name a loopback address, and no pod of ours looks for one.
        "--endpoint-reconciler-type=none".into(),
        // The server signs its own certificate into this folder.
        format!("--cert-dir={}", dir.join("certificates").display()),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        "--authorization-mode=RBAC".into(),
        format!("--token-auth-file={tokens}"),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--allow-privileged=true".into(),
    ]
}

/// A kubeconfig in JSON, which is YAML too.
fn kubeconfig(port: u16, certificate: &Path, token: &str) -> String {
    let cluster = json!({ "server": format!("https://127.0.0.1:{port}"), "certificate-authority": certificate });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "admin" } }],
        "clusters": [{ "name": "test", "cluster": cluster }],
        "users": [{ "name": "admin", "user": { "token": token } }],
    })
    .to_string()
}
