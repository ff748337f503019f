//! The admin port over TLS, with the pair that it has for itself.

use std::net::{IpAddr, Ipv4Addr};

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Authority, MODEL, config, files, write};
use crate::model_file::ModelFile;
use crate::server::{Client, Reply, STEP, Server, tidewait};

/// A server whose admin port alone speaks TLS, and what its certificate is verified by.
async fn serve(model: &ModelFile, more: &[&str]) -> (Server, Authority) {
    let authority = Authority::new("admin-ca");
    let flags = files(model, &authority.server());
    let flags: Vec<_> = flags.iter().map(|flag| flag.replace("--tls-", "--admin-tls-")).collect();
    let flags = ["--file", model.arg()].into_iter().chain(flags.iter().map(String::as_str));
    let flags: Vec<_> = flags.chain(more.iter().copied()).collect();
    let mut server = Server::start(&flags).await;
    server.ready().await;
    (server, authority)
}

async fn get(server: &Server, config: rustls::ClientConfig, target: &str) -> Reply {
    let stream = TcpStream::connect(server.admin).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream);
    let stream = tokio::time::timeout(STEP, connecting).await.expect("in time").expect("a good handshake");
    Client::on(stream).get(target, &[]).await
}

#[tokio::test]
async fn operators_ask_over_tls_and_are_told_so_where_they_do_not() {
    let model = ModelFile::new(MODEL);
    let (server, authority) = serve(&model, &[]).await;
    for target in ["/readyz", "/state"] {
        assert_eq!(get(&server, config(&authority, None), target).await.status, 200);
    }
    let metrics = String::from_utf8(get(&server, config(&authority, None), "/metrics").await.body).expect("text");
    assert!(metrics.contains("tidewait_tls_certificate_good{port=\"admin\"} 1\n"), "{metrics}");
    let told = server.admin("/readyz").await;
    assert_eq!((told.status, &told.json()["type"]), (400, &"https://tidewait.dev/problems/https-only".into()));
    assert_eq!(server.get("/describe").await.status, 200, "the clients' port is another one");
}

#[tokio::test]
async fn drain_verifies_the_admin_port() {
    let model = ModelFile::new(MODEL);
    let (server, authority) = serve(&model, &[]).await;
    let certificate = model.beside("tls.crt");
    let (ca, other) = (model.beside("ca.crt"), model.beside("other.crt"));
    write(&ca, authority.certificate());
    write(&other, Authority::new("another").certificate());
    let admin = server.admin.to_string();
    for (file, is_good) in [(Some(&certificate), true), (Some(&ca), true), (Some(&other), false), (None, false)] {
        let file = file.map(|file| format!("--admin-ca={file}"));
        let mut command = tidewait(&["drain", "--admin", &admin]);
        let output = command.args(&file).output().await.expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(i32::from(!is_good)), "{file:?} {told}");
        if let (Some(_), false) = (&file, is_good) {
            assert!(told.contains("does not speak TLS with a certificate of --admin-ca"), "{told}");
        }
    }
}

/// An address of this host that is not loopback.
fn far() -> Option<IpAddr> {
    let probe = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Nothing is sent: the kernel chooses an address.
    probe.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(probe.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}

#[tokio::test]
async fn other_hosts_show_a_certificate_but_for_probes() {
    let Some(ip) = far() else { return };
    let (model, clients) = (ModelFile::new(MODEL), Authority::new("client-ca"));
    let path = model.beside("clients.crt");
    write(&path, clients.certificate());
    let any = format!("{ip}:0");
    let authority = Authority::new("admin-ca");
    let flags = files(&model, &authority.server());
    let mut command = tidewait(&["serve", "--listen", "127.0.0.1:0", "--admin", &any, "--log-format", "json"]);
    command.args(["--file", model.arg(), "--admin-tls-client-ca", &path]);
    command.args(flags.iter().map(|flag| flag.replace("--tls-", "--admin-tls-")));
    let mut server = Server::spawn(command).await;
    server.ready().await;
    let known = || config(&authority, Some(&clients.client("prometheus", &[])));
    for (target, without, with) in
        [("/readyz", 200, 200), ("/livez", 200, 200), ("/metrics", 403, 200), ("/state", 403, 200)]
    {
        assert_eq!(get(&server, config(&authority, None), target).await.status, without, "{target}");
        assert_eq!(get(&server, known(), target).await.status, with, "{target}");
    }
}
