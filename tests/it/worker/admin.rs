//! What operators, the kubelet and systemd are told.

use tokio::net::UnixDatagram;

use super::{Port, found, head, soon, worker, write};
use crate::agent::Agent;
use crate::server::{Client, tidewait, until};

async fn get(address: &str, path: &str) -> (u16, String) {
    let reply = Client::connect(address.parse().expect("an address")).await.get(path, &[]).await;
    (reply.status, String::from_utf8(reply.body).expect("text"))
}

async fn metric(address: &str, series: &str, value: f64) {
    until(&format!("{series} is {value}"), async || {
        let text = get(address, "/metrics").await.1;
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
        (found == Some(value)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_admin_port_says_whether_it_is_connected_and_counts() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let mut worker = worker(&exchange, &server, &["--admin=127.0.0.1:0", "--slots=2"]);
    let line: serde_json::Value = serde_json::from_str(&worker.logged("\"--admin\"").await).expect("JSON");
    let admin = line["address"].as_str().or(line["fields"]["address"].as_str()).expect("it says").to_owned();
    assert_eq!(get(&admin, "/healthz").await, (200, "ok\n".to_owned()));
    let (status, why) = get(&admin, "/readyz").await;
    assert_eq!(status, 503, "{why}");
    assert_eq!(get(&admin, "/none").await.0, 404);
    found(&server).await;
    let mut hub = exchange.hub().await;
    until("ready", async || (get(&admin, "/readyz").await.0 == 200).then_some(())).await;
    metric(&admin, "tidewait_worker_connections", 1.0).await;
    metric(&admin, "tidewait_worker_server_up", 1.0).await;
    metric(&admin, r#"tidewait_worker_slots{state="open"}"#, 2.0).await;
    let response = hub.get("/job").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    metric(&admin, r#"tidewait_worker_slots{state="open"}"#, 1.0).await;
    metric(&admin, r#"tidewait_worker_slots{state="busy"}"#, 1.0).await;
    write(&mut app, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    soon("the answer", response).await.expect("one");
    metric(&admin, r#"tidewait_worker_slots{state="busy"}"#, 0.0).await;
    metric(&admin, r#"tidewait_worker_requests_total{result="answered"}"#, 1.0).await;
    let response = hub.get("/job").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    drop(response);
    metric(&admin, r#"tidewait_worker_requests_total{result="cancelled"}"#, 1.0).await;
    hub.driver.abort();
    drop(hub);
    metric(&admin, "tidewait_worker_connections", 0.0).await;
    metric(&admin, r#"tidewait_worker_slots{state="open"}"#, 0.0).await;
}

#[tokio::test]
async fn systemd_is_told_when_it_is_connected_that_it_lives_and_that_it_ends() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let url = format!("{}/exchange/work", exchange.url());
    let mut command = tidewait(&["worker", "--to", &server.url(), "--exchange", &url]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let mut worker = Agent::spawn(command);
    let says = async |text: &str| {
        let mut said = String::new();
        while !said.contains(text) {
            assert!(text == "READY=1" || !said.contains("READY=1"), "once");
            let mut bytes = [0; 4096];
            let length = soon(text, socket.recv(&mut bytes)).await.expect("a datagram");
            said = String::from_utf8_lossy(&bytes[..length]).into_owned();
        }
        said
    };
    says("WATCHDOG=1").await;
    found(&server).await;
    let _hub = exchange.hub().await;
    says("READY=1\nSTATUS=connected").await;
    says("WATCHDOG=1").await;
    worker.signal(rustix::process::Signal::TERM);
    assert!(says("STOPPING=1").await.contains("EXTEND_TIMEOUT_USEC=20000000"));
    assert_eq!(worker.ended().await, Some(0));
}
