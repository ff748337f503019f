//! The way in: credentials, TLS, and what an exchange says of it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::{Port, found, head, soon, upgrade, worker, worker_at, write};

#[tokio::test]
async fn an_exchange_that_refuses_says_why_in_the_log_and_is_left_alone_as_long_as_it_asks() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let mut worker = worker(&exchange, &server, &[]);
    found(&server).await;
    let answers = [
        ("404 Not Found", "", "give the URL of the exchange's endpoint (--exchange)"),
        ("403 Forbidden", "", "give a credential that may work there (--token-file)"),
        ("200 OK", "ALPN: h2\r\n", "give the URL of an exchange's endpoint"),
        (
            "101 Switching Protocols",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            "asked for ptth over h2 and answers with nothing",
        ),
        ("503 Service Unavailable", "Retry-After: 2\r\n", "(many at work): tried again"),
    ];
    for (status, fields, expected) in answers {
        let mut stream = exchange.accept().await;
        head(&mut stream).await;
        let body = r#"{"detail":"many at work"}"#;
        let length =
            if status.starts_with("101") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let body = if length.is_empty() { "" } else { body };
        write(&mut stream, &format!("HTTP/1.1 {status}\r\n{fields}{length}\r\n{body}")).await;
        worker.logged(expected).await;
    }
    let since = Instant::now();
    let _hub = exchange.hub().await;
    assert!(since.elapsed() > Duration::from_millis(1800), "{:?}", since.elapsed());
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, Some(0));
}

#[tokio::test]
async fn over_tls_it_verifies_the_exchange_and_shows_its_token_as_the_file_has_it() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let folder = tempfile::tempdir().expect("a folder");
    let [ca, token] = ["ca.crt", "token"].map(|name| folder.path().join(name).to_str().expect("UTF-8").to_owned());
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    fs::write(&ca, made.cert.pem()).expect("written");
    fs::write(&token, "tw_first\n").expect("written");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).expect("its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let url = format!("https://{}", exchange.address);
    let mut worker = worker_at(&url, &server.url(), &["--protocol=http1", "--ca", &ca, "--token-file", &token]);
    found(&server).await;
    for shown in ["tw_first", "tw_second"] {
        let stream = exchange.accept().await;
        let mut stream = soon("TLS", acceptor.accept(stream)).await.expect("it trusts the certificate");
        let asked = upgrade(&mut stream, "http%2F1.1").await.to_ascii_lowercase();
        assert!(asked.contains(&format!("\r\nauthorization: bearer {shown}\r\n")), "{asked}");
        fs::write(&token, "tw_second\n").expect("written");
        write(&mut stream, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut app = server.accept().await;
        assert!(head(&mut app).await.starts_with("OPTIONS * HTTP/1.1\r\n"));
        write(&mut app, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 204 "));
    }
    worker.signal(Signal::TERM);
    worker.ended().await;
    assert!(!worker.log.borrow().iter().any(|line| line.contains("tw_")), "{:#?}", worker.log.borrow());
    let mut other = worker_at(&url, &server.url(), &[]);
    found(&server).await;
    // What was dialled before has its place in the backlog.
    let refused = async {
        while let Ok(stream) = acceptor.accept(exchange.accept().await).await {
            drop(stream);
        }
    };
    soon("an alert", refused).await;
    other.logged("that its authority is trusted (--ca)").await;
}
