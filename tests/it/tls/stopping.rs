//! A stop, and more connections than are allowed, over TLS.

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{PARKED, Rig};

#[tokio::test]
async fn a_stop_answers_who_is_parked_and_waits_for_no_handshake_that_never_ends() {
    // Less than a handshake may take, and enough for a slow machine to answer, close and look around.
    let mut rig = Rig::with(&["--grace", "9s"]).await;
    let mut client = rig.connect().await;
    let id = client.get("/describe", &[]).await.id().to_owned();
    client.send("GET", &format!("/describe?since={id}&wait=50"), &[]).await;
    let mut stuck = TcpStream::connect(rig.server.listen).await.expect("it listens");
    stuck.write_all(&[0x16, 3, 1]).await.expect("room");
    rig.server.metric_becomes(PARKED, 1.0).await;
    rig.server.metric_becomes("tidewait_tls_handshakes_in_flight{port=\"clients\"}", 1.0).await;
    rig.server.signal(Signal::TERM);
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.field("connection")), (204, "close"));
    assert_eq!(client.stream.read(&mut [0; 10]).await.expect("an announced end"), 0);
    drop(client);
    assert_eq!(rig.server.ended().await, Some(0));
    let log = rig.server.log.borrow().clone();
    assert!(!log.iter().any(|line| line.contains("what is left is cut")), "{log:#?}");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_by_an_alert() {
    let rig = Rig::with(&["--max-connections", "2"]).await;
    let clients = [rig.connect().await, rig.connect().await];
    let error = rig.shake_hands(super::config(&rig.authority, None)).await.expect_err("there is no place");
    assert!(error.to_string().contains("InternalError"), "{error}");
    drop(clients);
}
