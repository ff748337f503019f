//! Polls over TLS, by curl and by a client of our own.

use tokio::process::Command;

use super::{MODEL, PARKED, Rig};
use crate::server::{Client, STEP};

/// What curl prints: the protocol that was spoken, and the body.
async fn curl(rig: &Rig, target: &str, more: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--cacert", &rig.ca(), "-w", "\n%{http_version} %{http_code}"]).args(more);
    curl.arg(format!("https://localhost:{}{target}", rig.port()));
    let output = tokio::time::timeout(STEP, curl.kill_on_drop(true).output()).await.expect("in time").expect("curl");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn curl_polls_by_either_protocol() {
    let rig = Rig::new().await;
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        assert_eq!(curl(&rig, "/describe", &[flag]).await, format!("{MODEL}\n{version} 200"));
        assert!(curl(&rig, "/other", &[flag]).await.ends_with(&format!("{version} 404")));
    }
    assert_eq!(
        rig.server.metric("tidewait_tls_handshakes_total{kind=\"full\",port=\"clients\"}").await.to_string(),
        "4"
    );
}

#[tokio::test]
async fn a_parked_poll_is_told_and_the_connection_goes_on() {
    let rig = Rig::new().await;
    let mut client = rig.connect().await;
    let mut id = client.get("/describe", &[]).await.id().to_owned();
    for n in 2..5 {
        client.send("GET", &format!("/describe?since={id}&wait=50"), &[]).await;
        rig.server.metric_becomes(PARKED, 1.0).await;
        let model = format!("{{\"n\":{n}}}");
        rig.model.replace(&model);
        let told = client.reply().await;
        assert_eq!(String::from_utf8_lossy(&told.body), model);
        told.id().clone_into(&mut id);
    }
}

#[tokio::test]
async fn http_in_the_clear_is_told_to_use_https() {
    let rig = Rig::new().await;
    let mut client = Client::connect(rig.server.listen).await;
    let told = client.get("/describe", &[]).await;
    assert_eq!((told.status, told.field("content-type")), (400, "application/problem+json"));
    assert_eq!((told.field("cache-control"), told.field("connection")), ("no-store", "close"));
    assert_eq!(told.json()["type"], "https://tidewait.dev/problems/https-only");
    assert!(told.json()["detail"].as_str().is_some_and(|detail| detail.contains("https")), "{told:?}");
    let failures = "tidewait_tls_handshake_failures_total{port=\"clients\",reason=\"clear\"}";
    assert_eq!(rig.server.metric(failures).await.to_string(), "1");
}
