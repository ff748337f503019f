//! Files that change while clients are connected, and files that are not good.

use std::os::unix::fs::symlink;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::made::{Made, params};
use super::{Authority, MODEL, PARKED, Rig, config, files, write};
use crate::model_file::ModelFile;
use crate::server::{Client, Server, tidewait};

const GOOD: &str = "tidewait_tls_certificate_good{port=\"clients\"}";

fn der(made: &Made) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(made.certificate.as_bytes()).expect("PEM")
}

/// The certificate that new connections see.
async fn shown(rig: &Rig) -> CertificateDer<'static> {
    let stream = rig.shake_hands(config(&rig.authority, None)).await.expect("a good handshake");
    stream.get_ref().1.peer_certificates().expect("verified")[0].clone()
}

/// Waits until new connections see this certificate.
async fn is_shown(rig: &Rig, made: &Made) {
    let wanted = der(made);
    let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
    let seen = async {
        while shown(rig).await != wanted {
            look.tick().await;
        }
    };
    tokio::time::timeout(crate::server::STEP, seen).await.expect("it is taken in time");
}

async fn parked(rig: &Rig, count: usize) -> Vec<Client<TlsStream<TcpStream>>> {
    let mut clients = Vec::new();
    let id = rig.connect().await.get("/describe", &[]).await.id().to_owned();
    for _ in 0..count {
        let mut client = rig.connect().await;
        client.send("GET", &format!("/describe?since={id}&wait=50"), &[]).await;
        clients.push(client);
    }
    rig.server.metric_becomes(PARKED, f64::from(u32::try_from(count).expect("few"))).await;
    clients
}

/// All of them are told of a change, on the connection that they had.
async fn are_told(rig: &Rig, clients: Vec<Client<TlsStream<TcpStream>>>) {
    rig.model.replace("{\"n\":2}");
    for mut client in clients {
        assert_eq!(client.reply().await.body, b"{\"n\":2}");
        assert_eq!(client.get("/describe", &[]).await.status, 200, "and the connection goes on");
    }
}

#[tokio::test]
async fn a_renamed_pair_is_taken_and_nobody_who_is_parked_is_reset() {
    let rig = Rig::new().await;
    let clients = parked(&rig, 500).await;
    let before = rig.server.metric("tidewait_tls_certificate_not_after_seconds{port=\"clients\"}").await;
    let next = rig.authority.issue(&{
        let mut params = params("server", &["localhost"]);
        params.not_after = rcgen::date_time_ymd(2199, 1, 1);
        params
    });
    // One after the other: between the two they do not belong together.
    files(&rig.model, &next);
    is_shown(&rig, &next).await;
    let after = rig.server.metric("tidewait_tls_certificate_not_after_seconds{port=\"clients\"}").await;
    assert!((after - 7_226_582_400.0).abs() < 1.0 && (before - after).abs() > 1.0, "{before} {after}");
    assert!((rig.server.metric(GOOD).await - 1.0).abs() < 0.1);
    assert!(!rig.server.log.borrow().iter().any(|line| line.contains("not good")), "two halves are no fault");
    are_told(&rig, clients).await;
}

/// As the kubelet writes a Secret: `tls.crt -> ..data/tls.crt`, `..data -> ..1`, and then `..data` is another one.
#[tokio::test]
async fn a_secret_that_is_mounted_is_followed() {
    let model = ModelFile::new(MODEL);
    let authority = Authority::new("server-ca");
    let folder = Path::new(&model.beside("secret")).to_owned();
    let version = |name: &str, made: &Made| {
        let version = folder.join(name);
        std::fs::create_dir_all(&version).expect("a folder");
        std::fs::write(version.join("tls.crt"), &made.certificate).expect("written");
        std::fs::write(version.join("tls.key"), &made.key).expect("written");
        symlink(name, folder.join("..next")).expect("a link");
        std::fs::rename(folder.join("..next"), folder.join("..data")).expect("swapped");
    };
    version("..1", &authority.server());
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(file), folder.join(file)).expect("a link");
    }
    let path = |file: &str| folder.join(file).to_str().expect("UTF-8").to_owned();
    let flags = ["--file", model.arg(), "--tls-certificate", &path("tls.crt"), "--tls-key", &path("tls.key")];
    let mut server = Server::start(&flags).await;
    server.ready().await;
    let rig = Rig { model, authority, server };
    let clients = parked(&rig, 3).await;
    let next = rig.authority.server();
    version("..2", &next);
    is_shown(&rig, &next).await;
    are_told(&rig, clients).await;
}

#[tokio::test]
async fn files_that_are_not_good_leave_the_last_good_pair() {
    let mut rig = Rig::new().await;
    let (certificate, key) = (rig.model.beside("tls.crt"), rig.model.beside("tls.key"));
    let first = shown(&rig).await;
    let next = rig.authority.server();
    for (path, bytes, why) in [
        (&key, "nonsense".to_owned(), "the key is no PEM file with a private key"),
        (&key, next.key.clone(), "the key is not that of the certificate"),
        (&certificate, "nonsense".to_owned(), "the certificate has no PEM section CERTIFICATE"),
        (&certificate, rig.authority.expired(params("server", &["localhost"])).certificate, "has expired"),
    ] {
        write(path, bytes);
        let logged = rig.server.logged(why).await;
        assert!(logged.contains("--tls-") && logged.contains("last good certificate"), "{logged}");
        assert!(!logged.contains("PRIVATE"), "{logged}");
        rig.server.metric_becomes(GOOD, 0.0).await;
        assert_eq!(shown(&rig).await, first);
        let state = rig.server.admin("/state").await.json()["files"][0].take();
        assert_eq!((&state["holds"], &state["status"]), (&json!("certificate of clients"), &json!("outdated")));
        assert!(state["detail"].as_str().expect("why").contains(why), "{state}");
        assert!(state["daysLeft"].as_f64().expect("days") > 1.0, "of the one that is in use: {state}");
    }
    std::fs::remove_file(&key).expect("it was there");
    rig.server.metric_becomes(GOOD, 0.0).await;
    assert_eq!(shown(&rig).await, first);
    files(&rig.model, &next);
    is_shown(&rig, &next).await;
    rig.server.metric_becomes(GOOD, 1.0).await;
    assert_eq!(rig.server.admin("/state").await.json()["files"][0]["status"], "current");
}

#[tokio::test]
async fn check_tells_every_mistake_in_files_of_credentials_and_tls() {
    let model = ModelFile::new(MODEL);
    let authority = Authority::new("server-ca");
    files(&model, &authority.server());
    let path = |name: &str| model.beside(name);
    for (name, text) in [
        ("tokens", "# nobody\nnonsense\r\n\nsha256:1 a".to_owned()),
        ("users", "edge:$1$old$hash\n".to_owned()),
        ("keys", "{}".to_owned()),
        ("ca.crt", "nothing".to_owned()),
        ("other.key", authority.server().key),
        ("nats.creds", "-----BEGIN NATS USER JWT-----\neyJ\n------END NATS USER JWT------\n".to_owned()),
    ] {
        write(&path(name), text);
    }
    let config = format!(
        "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\naccess: {{issuers: [{{url: 'https://a.example', audience: b, keys: {0}}}]}}\n\
         operations: [{{name: a, source: {{file: {{path: {1}}}}}}}]\n",
        path("keys"),
        model.arg()
    );
    write(&path("config.yaml"), config);
    let [tokens, users, ca, crt, key, other, config] =
        ["tokens", "users", "ca.crt", "tls.crt", "tls.key", "other.key", "config.yaml"].map(path);
    let bad = ["--access-tokens", &tokens, "--access-users", &users, "--tls-client-ca", &ca, "--tls-certificate", &crt];
    let creds = path("nats.creds");
    let nats = ["--nats", "tls://a", "--nats-credentials", &creds, "--nats-ca", &ca];
    let bad = [&bad[..], &["--tls-key", &other, "--admin-tls-certificate", "/nowhere", "--admin-tls-key", &key], &nats]
        .concat();
    let output = tidewait(&["check", "--config", &config]).args(bad).output().await.expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    let expected = [
        format!("--access-tokens: {tokens}: it is no file of tokens: line 2: it does not begin with 'sha256:'"),
        format!("--access-tokens: {tokens}: it is no file of tokens: line 4: what follows sha256: is not 64 digits"),
        format!("--access-users: {users}: it is no file of users: line 1: "),
        format!("access.issuers: {}: it is no file of keys of an issuer: is no JWK Set", path("keys")),
        format!("--tls-key {other}: the key is not that of the certificate"),
        format!("--tls-client-ca {ca}: the file with authorities has no PEM section"),
        "--admin-tls-certificate /nowhere: it cannot be read: name a file that can be".to_owned(),
        format!("--nats-ca: {ca}: it is no file of certificates that vouch for a server: "),
        format!(
            "--nats-credentials: {creds}: it is no file of NATS credentials: it has no user JWT and no seed after it"
        ),
    ];
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{told}");
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    let elsewhere = ["check", "--without-files", "--config", &config, "--access-tokens", "/nowhere"];
    let output = tidewait(&elsewhere).output().await.expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let seed = "\n-----BEGIN USER NKEY SEED-----\nSUA\n------END USER NKEY SEED------\n";
    write(&creds, std::fs::read_to_string(&creds).expect("it is there") + seed);
    let good = ["check", "--file", model.arg(), "--tls-certificate", &crt, "--tls-key", &key];
    let nats = ["--nats", "nats://a,nats://b:4223", "--nats-credentials", &creds, "--nats-ca", &crt];
    let output = tidewait(&good).args(nats).output().await.expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test]
async fn a_start_with_files_that_are_not_good_is_refused_with_the_remedy() {
    let model = ModelFile::new(MODEL);
    let authority = Authority::new("server-ca");
    let good = authority.server();
    let expired = authority.expired(params("server", &["localhost"]));
    let with = |certificate: &str, key: &str| Made { certificate: certificate.to_owned(), key: key.to_owned() };
    for (made, expected) in [
        (with("", &good.key), "--tls-certificate"),
        (with(&good.certificate, &good.certificate), "--tls-key"),
        (with(&good.certificate, &authority.server().key), "the two that were made together"),
        (expired, "has expired: renew it"),
    ] {
        let files = files(&model, &made);
        let mut command = tidewait(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let output = command.args(["--file", model.arg()]).args(&files).output().await.expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(expected) && !told.contains("PRIVATE"), "{expected}: {told}");
    }
    let missing = ["--tls-certificate", "/nowhere/tls.crt", "--tls-key", "/nowhere/tls.key"];
    let mut command = tidewait(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let output = command.args(["--file", model.arg()]).args(missing).output().await.expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("--tls-certificate /nowhere/tls.crt: it cannot be read: name a file that can be"), "{told}");
}
