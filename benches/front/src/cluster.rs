//! A kube-apiserver with an etcd, on the loopback device: the programs that the tests use, in the folder that
//! `TIDEWAIT_TEST_ASSETS` names.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::ask;
use crate::outcome::{Outcome, because};
use crate::process::Process;

/// How long it may take until it is ready.
const READY: Duration = Duration::from_secs(60);
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The servers, and a way to them without TLS. Fields are ended in their order.
#[derive(Debug)]
pub(crate) struct Cluster {
    _way: Process,
    _api_server: Process,
    _etcd: Process,
    address: SocketAddr,
    pub(crate) kubeconfig: PathBuf,
}

/// Where the programs are, and where they are not, what to say.
pub(crate) fn installed() -> Result<PathBuf, &'static str> {
    let folder = std::env::var_os("TIDEWAIT_TEST_ASSETS").map(PathBuf::from);
    folder.filter(|folder| folder.join("kube-apiserver").exists()).ok_or(
        "the time from the API server is left out: TIDEWAIT_TEST_ASSETS names no folder that tests/control-plane/build.sh made",
    )
}

impl Cluster {
    /// Starts all, and waits until the API server is ready.
    pub(crate) fn start(programs: &Path, folder: &Path) -> Outcome<Self> {
        let data = folder.join("etcd");
        let _ = fs::remove_dir_all(&data);
        let [etcd, api, address] = ask::free()?;
        let url = format!("http://{etcd}");
        let mut command = Command::new(programs.join("etcd"));
        command.arg("--data-dir").arg(&data).args(["--unsafe-no-fsync", "--log-level=warn"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", "http://127.0.0.1:0"]);
        let etcd = Process::start(&mut command, &folder.join("etcd.log"), None)?;
        let kubeconfig = folder.join("kubeconfig");
        let mut command = api_server(&programs.join("kube-apiserver"), folder, &url, api, &kubeconfig)?;
        let mut api_server = Process::start(&mut command, &folder.join("kube-apiserver.log"), None)?;
        let start = Instant::now();
        loop {
            // A new process for each look: the certificate is written while the server starts.
            let mut look = Command::new(programs.join("kubectl"));
            look.arg("--kubeconfig").arg(&kubeconfig).args(["get", "--raw", "/readyz"]);
            if look.output()?.status.success() {
                break;
            }
            api_server.must_run()?;
            if start.elapsed() > READY {
                return Err(because(format!("kube-apiserver is not ready after {READY:?}")));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        let mut command = Command::new(programs.join("kubectl"));
        command.arg("--kubeconfig").arg(&kubeconfig).args(["proxy", "--address", "127.0.0.1", "--port"]);
        command.arg(address.port().to_string());
        let mut way = Process::start(&mut command, &folder.join("kubectl.log"), None)?;
        ask::until_answered(address, "/readyz", || way.must_run())?;
        Ok(Self { _way: way, _api_server: api_server, _etcd: etcd, address, kubeconfig })
    }

    /// Creates the `ConfigMap` `default/bench` with a model.
    pub(crate) fn create(&self, model: &[u8]) -> Outcome<()> {
        // The namespace is made by the API server itself, soon after it is ready.
        let start = Instant::now();
        while let Err(error) = ask::send(self.address, "POST", CONFIG_MAPS, &config_map(model)?) {
            if start.elapsed() > READY {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Writes the model into it.
    pub(crate) fn replace(&self, model: &[u8]) -> Outcome<()> {
        ask::send(self.address, "PUT", &format!("{CONFIG_MAPS}/bench"), &config_map(model)?)?;
        Ok(())
    }
}

/// The `ConfigMap` as JSON; the model must be ASCII.
fn config_map(model: &[u8]) -> Outcome<Vec<u8>> {
    let mut text = String::new();
    for character in std::str::from_utf8(model)?.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    Ok(format!(r#"{{"metadata":{{"name":"bench"}},"data":{{"model.json":"{text}"}}}}"#).into_bytes())
}

fn api_server(program: &Path, folder: &Path, etcd: &str, address: SocketAddr, kubeconfig: &Path) -> Outcome<Command> {
    let (key, tokens, certificates) =
        (folder.join("service-account.key"), folder.join("tokens.csv"), folder.join("certificates"));
    let _ = fs::remove_dir_all(&certificates);
    let token = random()?.iter().fold(String::new(), |mut token, byte| {
        let _ = write!(token, "{byte:02x}");
        token
    });
    fs::write(&key, private_key()?)?;
    fs::write(&tokens, format!("{token},admin,1,\"system:masters\"\n"))?;
    let certificate = certificates.join("apiserver.crt");
    let certificate = certificate.display();
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"Config","current-context":"bench",
"contexts":[{{"name":"bench","context":{{"cluster":"bench","user":"admin"}}}}],
"clusters":[{{"name":"bench","cluster":{{"server":"https://{address}","certificate-authority":"{certificate}"}}}}],
"users":[{{"name":"admin","user":{{"token":"{token}"}}}}]}}"#
    );
    fs::write(kubeconfig, text)?;
    let mut command = Command::new(program);
    command.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"]);
    command.args(["--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC"]);
    command.args(["--service-cluster-ip-range=10.96.0.0/16", "--secure-port", &address.port().to_string()]);
    command.args(["--etcd-servers", etcd, "--cert-dir"]).arg(certificates);
    command.arg("--service-account-key-file").arg(&key).arg("--service-account-signing-key-file").arg(&key);
    command.arg("--token-auth-file").arg(tokens);
    Ok(command)
}

/// A new P-256 key.
fn private_key() -> Outcome<String> {
    // SEC 1 ECPrivateKey: version 1, the 32 bytes, [0] the curve's name (1.2.840.10045.3.1.7).
    let mut der = vec![0x30, 49, 2, 1, 1, 4, 32];
    // Below the order of the curve, which begins with ff.
    der.push(1);
    der.extend_from_slice(random()?.get(..31).unwrap_or_default());
    der.extend([0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let body = BASE64_STANDARD.encode(der);
    Ok(format!("-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----\n"))
}

fn random() -> Outcome<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
