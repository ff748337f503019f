//! An issuer that is away when the process starts, as its operator sees it.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant};

use super::{Port, serve, until};
use crate::model_file::ModelFile;
use crate::server::Client;

/// Answers both questions of a fetch: where the keys are, and which.
async fn publish(listener: TcpListener, url: String) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head"));
        }
        let is_discovery = head.starts_with(b"GET /.well-known/openid-configuration ");
        let body = if is_discovery {
            json!({"issuer": url, "jwks_uri": format!("{url}/jwks")})
        } else {
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})
        };
        let body = body.to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length";
        stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await.expect("it reads");
    }
}

#[tokio::test]
async fn an_issuer_that_is_away_delays_readiness_by_seconds_alone_and_the_state_says_so() {
    let model = ModelFile::new("{}");
    let file = model.beside("tokens");
    std::fs::write(&file, "# nobody\n").expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    drop(listener);
    let url = format!("http://{address}");
    let started = Instant::now();
    let issuer = ["--access-issuer", &url, "--access-issuer-audience", "tidewait", "--allow-anonymous"];
    let server = serve(&model, &[&issuer[..], &["--access-tokens", &file]].concat()).await;
    let waits = format!("waiting for the keys of: {url}\n");
    until("it waits for keys alone", &server, Port::Admin, "/readyz", |reply| reply.body == waits.as_bytes()).await;
    let ready = until("it is ready", &server, Port::Admin, "/readyz", |reply| reply.status == 200).await;
    assert_eq!(ready.body, format!("ok, but without the keys of: {url}\n").as_bytes());
    assert!(started.elapsed() >= Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(server.get("/describe").await.status, 200, "others are served");
    let bearer = "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.e30.AA";
    let answer = Client::connect(server.listen).await.get("/describe", &[("Authorization", bearer)]).await;
    assert_eq!(answer.status, 401, "it is of no issuer");

    let seen = server.admin("/state").await.json()["issuers"].take();
    assert_eq!(
        (&seen[0]["url"], &seen[0]["status"], &seen[0]["keys"], &seen[0]["fetchedSeconds"]),
        (&json!(url), &json!("lost"), &json!(0), &json!(null))
    );
    assert!(seen[0]["detail"].as_str().expect("why").contains("refused"), "{seen}");
    let keys = format!("tidewait_access_issuer_keys{{issuer=\"{url}\"}}");
    assert_eq!(server.metric(&keys).await.to_string(), "0");

    let listener = TcpListener::bind(address).await.expect("it is free");
    let issuer = tokio::spawn(publish(listener, url));
    server.metric_becomes(&keys, 1.0).await;
    assert_eq!(server.admin("/readyz").await.body, b"ok\n");
    let seen = server.admin("/state").await.json()["issuers"].take();
    assert_eq!((&seen[0]["status"], &seen[0]["detail"], &seen[0]["keys"]), (&json!("live"), &json!(null), &json!(1)));
    assert!(seen[0]["fetchedSeconds"].as_u64().expect("seconds") < 30, "{seen}");
    issuer.abort();
}
