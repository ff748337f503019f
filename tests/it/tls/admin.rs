//! The admin port over TLS, with the pair that it has for itself.

use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use serde_json::json;
use tidewait::access::tokens::line;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Authority, MODEL, config, files, write};
use crate::model_file::ModelFile;
use crate::server::{Client, Reply, STEP, Server, far, tidewait};

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
    ask(server.admin, config, target, &[]).await
}

async fn ask(to: SocketAddr, config: rustls::ClientConfig, target: &str, fields: &[(&str, &str)]) -> Reply {
    let stream = TcpStream::connect(to).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let connecting = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream);
    let stream = tokio::time::timeout(STEP, connecting).await.expect("in time").expect("a good handshake");
    Client::on(stream).get(target, fields).await
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

/// Where owners of credentials are let in, a certificate is one, a token another; the name of each must be in a rule.
#[tokio::test]
async fn other_hosts_show_a_certificate_or_a_token_and_get_what_rules_allow() {
    let ip = far().expect("an address of this host that is not loopback");
    let rules = json!([
        {"subjects": ["user:prometheus"], "verbs": ["get"], "paths": ["/metrics"]},
        {"subjects": ["user:jane"], "verbs": ["get"], "paths": ["/state", "/metrics"]},
    ]);
    let clients = Authority::new("client-ca");
    let [prometheus, joe] = ["prometheus", "joe"].map(|name| clients.client(name, &[]));
    let (none, bearer, bad) = (&[][..], &[("Authorization", "Bearer t0ken")][..], &[("Authorization", "Bearer x")][..]);
    // With tokens, and with certificates alone, to which Authorization means nothing.
    for (with_tokens, table) in [
        (
            true,
            [
                (none, None, [200, 401, 401]),
                (none, Some(&prometheus), [200, 200, 403]),
                (none, Some(&joe), [200, 403, 403]),
                (bearer, None, [200, 200, 200]),
                (bearer, Some(&joe), [200, 200, 200]),
                (bad, Some(&prometheus), [200, 401, 401]),
            ],
        ),
        (
            false,
            [
                (none, None, [200, 403, 403]),
                (none, Some(&prometheus), [200, 200, 403]),
                (none, Some(&joe), [200, 403, 403]),
                (bearer, None, [200, 403, 403]),
                (bearer, Some(&joe), [200, 403, 403]),
                (bad, Some(&prometheus), [200, 200, 403]),
            ],
        ),
    ] {
        let (model, authority) = (ModelFile::new(MODEL), Authority::new("admin-ca"));
        let (ca, tokens, file) = (model.beside("clients.crt"), model.beside("tokens"), model.beside("config.yaml"));
        write(&ca, clients.certificate());
        write(&tokens, line("t0ken", "jane", &[]));
        let mut access = json!({"rules": rules});
        if with_tokens {
            access["tokens"] = tokens.into();
        }
        let config_file = json!({
            "apiVersion": "tidewait.dev/v1alpha1",
            "kind": "ServeConfig",
            "access": access,
            "operations": [{"name": "describe", "source": {"file": {"path": model.arg()}}}],
        });
        write(&file, config_file.to_string());
        let any = format!("{ip}:0");
        let mut command = tidewait(&["serve", "--listen=127.0.0.1:0", "--admin", &any, "--log-format=json"]);
        command.args(["--config", &file, "--admin-access", "--admin-tls-client-ca", &ca]);
        command.args(files(&model, &authority.server()).iter().map(|flag| flag.replace("--tls-", "--admin-tls-")));
        let mut server = Server::spawn(command).await;
        server.ready().await;
        for (fields, certificate, expected) in table {
            for (target, status) in ["/readyz", "/metrics", "/state"].into_iter().zip(expected) {
                let reply = ask(server.admin, config(&authority, certificate), target, fields).await;
                assert_eq!(reply.status, status, "{with_tokens} {fields:?} {target}: {reply:?}");
            }
        }
        // Whoever polls is asked by the other port, if tokens are on.
        assert_eq!(server.get("/describe").await.status, if with_tokens { 401 } else { 200 });
    }
}
