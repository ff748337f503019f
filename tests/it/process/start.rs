//! How it starts: fast and small, or with a refusal that says what to change.

use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::{Duration, Instant};

use super::{CHANGES, serve};
use crate::model_file::ModelFile;
use crate::server::{Client, STEP, Server, tidewait};

#[tokio::test]
async fn who_needs_an_api_server_that_cannot_be_found_is_told_what_needs_it() {
    let model = ModelFile::new("{}");
    let tokens = model.beside("tokens");
    std::fs::write(&tokens, "# nobody").expect("written");
    for (settings, expected) in [
        (&["--access-kubernetes", "tidewait"][..], "--access-kubernetes"),
        (&["--access-authorization", "kubernetes", "--access-tokens", &tokens], "--access-authorization"),
        (&["--operations", "shop"], "--operations"),
    ] {
        let mut command = tidewait(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--kubeconfig", "/nowhere/config", "--file", model.arg()]).args(settings);
        let output = command.output().await.expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        let said = format!("the Kubernetes API server cannot be found, and {expected} needs it");
        assert!(told.contains(&said) && told.contains("/nowhere/config"), "{told}");
    }
}

#[tokio::test]
async fn every_configuration_mistake_is_told_at_once_with_exit_code_2() {
    let mut command = tidewait(&["serve", "--grace=20", "--log-level=inof", "--format=yamll"]);
    let output = command.env("TIDEWAIT_MAX_CONNECTIONS", "lots").output().await.expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    for part in ["--grace: ", "--log-level: ", "--format: ", "TIDEWAIT_MAX_CONNECTIONS: ", "name a model with --file"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let output = tidewait(&["check", "--file=m.json", "--wait-max=soon"]).output().await.expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let output = tidewait(&["check", "--file=m.json"]).output().await.expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// Variables that Kubernetes gives to every container beside a Service called tidewait.
const OF_KUBERNETES: [(&str, &str); 6] = [
    ("TIDEWAIT_SERVICE_HOST", "10.0.0.1"),
    ("TIDEWAIT_SERVICE_PORT_HTTP", "80"),
    ("TIDEWAIT_PORT", "tcp://10.0.0.1:80"),
    ("TIDEWAIT_PORT_80_TCP", "tcp://10.0.0.1:80"),
    ("TIDEWAIT_PORT_80_TCP_ADDR", "10.0.0.1"),
    ("TIDEWAIT_ADMIN_PORT", "tcp://10.0.0.2:80"),
];

#[tokio::test]
async fn a_misspelt_variable_is_warned_about_and_those_of_kubernetes_are_not() {
    let model = ModelFile::new("{}");
    let mut command = limited("true", &model, &[]);
    command.env("TIDEWAIT_UPSTREAMS", "http://127.0.0.1:1").envs(OF_KUBERNETES);
    let mut server = Server::spawn(command).await;
    let line = server.logged("TIDEWAIT_UPSTREAMS").await;
    assert!(line.contains("\"WARN\"") && line.contains("did you mean TIDEWAIT_UPSTREAM?"), "{line}");
    server.ready().await;
    assert_eq!(server.get("/nothing").await.status, 404, "nor are any of them settings");
    let log = server.log.borrow().clone();
    assert!(!log.iter().any(|line| OF_KUBERNETES.iter().any(|(name, _)| line.contains(name))), "{log:#?}");
    let mut check = tidewait(&["check", "--file=m.json"]);
    let output = check.env("TIDEWAIT_UPSTREAMS", "x").envs(OF_KUBERNETES).output().await.expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), error.lines().count()), (Some(0), 1), "{error}");
    assert!(error.contains("did you mean TIDEWAIT_UPSTREAM?"), "{error}");
}

/// The runtime panics without its first thread, and waits for ever for the others.
#[tokio::test]
async fn threads_that_cannot_be_had_are_a_sentence_and_exit_code_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |path: &std::path::Path| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("our own");
    };
    open(folder.path());
    // The limit holds for all processes of a user, and for root there is none: so a user of its own, who must be
    // able to read the binary.
    let binary = folder.path().join("tidewait");
    std::fs::copy(env!("CARGO_BIN_EXE_tidewait"), &binary).expect("copied");
    open(&binary);
    let user = (0x4000_0000 + std::process::id()).to_string();
    let is_root = rustix::process::getuid().is_root();
    for limit in 1..=3 {
        let mut command = Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        }
        // A shell's ulimit may not know this limit.
        command.arg("prlimit").arg(format!("--nproc={limit}")).arg(&binary);
        command.args(["serve", "--file=m.json", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]);
        let output = command.env_clear().env("PATH", "/usr/bin:/bin").kill_on_drop(true).output();
        let output = tokio::time::timeout(STEP, output).await.expect("it ends").expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{limit}: {error}");
        assert!(error.contains("cannot start") && error.contains("ulimit -u"), "{limit}: {error}");
        assert_eq!(error.lines().count(), 1, "{limit}: {error}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_refused_by_address_and_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    for (flag, other) in [("--listen", "--admin=127.0.0.1:0"), ("--admin", "--listen=127.0.0.1:0")] {
        let output = tidewait(&["serve", "--file=m.json", flag, &address, other]).output().await.expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("cannot listen on {address} ({flag})")), "{error}");
    }
}

#[tokio::test]
async fn it_answers_within_a_second_and_is_small() {
    let model = ModelFile::new(&crate::example::network().to_string());
    let mut best = Duration::MAX;
    // The machine may be busy with other tests: the best of a few is what it can do.
    for _ in 0..5 {
        let start = Instant::now();
        let mut server = serve(&model, &[]).await;
        server.ready().await;
        assert_eq!(server.get("/describe").await.status, 200);
        best = best.min(start.elapsed());
        let (resident, own) = (status(&server, "VmRSS:").await, status(&server, "RssAnon:").await);
        println!("first answer after {:?}, resident {resident} kB, of its own {own} kB", start.elapsed());
        assert!(own < 10 * 1024, "{own} kB beside the pages of the binary, with the example model");
        // The binary for debugging has 90 MB, of which the kernel maps a share.
        let most = if cfg!(debug_assertions) { 40 } else { 20 };
        assert!(resident < most * 1024, "{resident} kB resident with the example model");
    }
    assert!(best < Duration::from_secs(1), "{best:?} to the first answer");
}

#[tokio::test]
async fn the_limit_of_descriptors_is_raised() {
    let model = ModelFile::new("{}");
    let server = Server::spawn(limited("ulimit -Sn 256", &model, &[])).await;
    server.metric_becomes(CHANGES, 1.0).await;
    let id = server.child.id().expect("it runs");
    let limits = tokio::fs::read_to_string(format!("/proc/{id}/limits")).await.expect("readable");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("there");
    let columns: Vec<_> = line.split_whitespace().collect();
    assert_eq!(columns[3], columns[4], "soft is hard: {line}");
    assert!(!server.log.borrow().iter().any(|line| line.contains("could not raise")));

    let mut server = Server::spawn(limited("ulimit -n 300", &model, &[])).await;
    let line = server.logged("the descriptor limit is low").await;
    assert!(line.contains("\"descriptors\":300") && line.contains("ulimit -n"), "{line}");
}

/// All clients of a restarted server come back at the same time, while it is busy.
#[tokio::test]
async fn a_thousand_clients_that_connect_at_once_are_all_answered() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &[]).await;
    server.ready().await;
    server.stop_threads().await;
    let connecting = (0..1000).map(|_| Client::connect(server.listen));
    let connected = tokio::time::timeout(STEP, futures::future::join_all(connecting));
    let mut clients = connected.await.expect("the kernel completes them ahead of the process");
    for client in &mut clients {
        client.send("GET", "/describe", &[]).await;
    }
    server.signal(Signal::CONT);
    for client in &mut clients {
        assert_eq!(client.reply().await.status, 200);
    }
}

/// The server, started by a shell after it changed a limit.
pub(crate) fn limited(limit: &str, model: &ModelFile, more: &[&str]) -> Command {
    let serve = ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--log-format=json", "--file", model.arg()];
    let inner = tidewait(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(inner.as_std().get_program());
    command.args(serve).args(more).kill_on_drop(true);
    for (name, value) in inner.as_std().get_envs() {
        assert!(value.is_none(), "it only removes some");
        command.env_remove(name);
    }
    command
}

/// A number of `/proc/PID/status`, in its unit.
pub(crate) async fn status(server: &Server, field: &str) -> u64 {
    let id = server.child.id().expect("it runs");
    let read = tokio::fs::read_to_string(format!("/proc/{id}/status"));
    let text = tokio::time::timeout(STEP, read).await.expect("in time").expect("readable");
    let line = text.lines().find(|line| line.starts_with(field)).expect("there");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
