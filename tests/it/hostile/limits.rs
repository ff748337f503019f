//! Clients that are slow, too many, or gone while they are parked.

use std::process::Stdio;
use std::time::Duration;

use tidewait::bounds::HEAD_READ;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::Instant;

use super::{is_well, make, start};
use crate::server::{Client, STEP, Server};

const PARKED: &str = "tidewait_parked_requests{operation=\"describe\"}";

/// A head that trickles, a byte each tick; gives back how long it was suffered.
async fn trickle(server: std::net::SocketAddr, first: &'static [u8]) -> Duration {
    let mut stream = TcpStream::connect(server).await.expect("it listens");
    let started = Instant::now();
    stream.write_all(first).await.expect("it reads");
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let mut byte = [0];
    loop {
        tokio::select! {
            _ = tick.tick() => if stream.write_all(b"a").await.is_err() { break },
            read = stream.read(&mut byte) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            },
        }
    }
    started.elapsed()
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_off_while_others_are_served() {
    let (mut server, _folder) = start(&[]).await;
    let listen = server.listen;
    let starts: [&'static [u8]; 4] = [
        b"",
        b"GET /describe HTTP/1.1\r\nHost: test\r\nX: ",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        b"POST /describe HTTP/1.1\r\nX",
    ];
    let slow = futures::future::join_all(starts.iter().cycle().take(100).map(|first| trickle(listen, first)));
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut slow = std::pin::pin!(slow);
    let suffered = loop {
        tokio::select! {
            suffered = &mut slow => break suffered,
            _ = tick.tick() => {
                let asked = Instant::now();
                assert_eq!(server.get("/describe").await.status, 200);
                assert!(asked.elapsed() < Duration::from_secs(2), "others wait: {:?}", asked.elapsed());
            }
        }
    };
    for lasted in suffered {
        assert!(lasted < HEAD_READ + Duration::from_secs(1), "{lasted:?}");
    }
    is_well(&mut server).await;
}

/// More than a head may be: refused for that, whatever it asks for.
#[tokio::test]
async fn ten_thousand_pointers_and_a_query_of_a_megabyte_are_refused_while_others_are_served() {
    let (mut server, _folder) = start(&[]).await;
    let many = server.get(&format!("/describe?{}", "select=/a&".repeat(1500))).await;
    let detail = many.json()["detail"].as_str().expect("a detail").to_owned();
    assert_eq!(
        (many.status, &*detail),
        (400, "select names 1500 pointers: give at most 64, or one to what they have in common")
    );
    let deep = server.get(&format!("/describe?select={}", "/a".repeat(7000))).await;
    assert_eq!((deep.status, &*deep.body), (200, &b"{}"[..]));
    for query in ["select=/a&".repeat(10_000), format!("select=/{}", "a".repeat(1024 * 1024))] {
        let mut stream = TcpStream::connect(server.listen).await.expect("it listens");
        // It may close before it has read everything.
        let _ = stream.write_all(format!("GET /describe?{query} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await;
        let mut seen = Vec::new();
        let _ = stream.read_to_end(&mut seen).await;
        let seen = String::from_utf8_lossy(&seen);
        assert!(seen.is_empty() || seen.starts_with("HTTP/1.1 414 ") || seen.starts_with("HTTP/1.1 431 "), "{seen}");
        assert_eq!(server.get("/describe").await.status, 200);
    }
    is_well(&mut server).await;
}

#[tokio::test]
async fn a_second_head_that_trickles_is_cut_off_too() {
    let (mut server, _folder) = start(&[]).await;
    let lasted =
        trickle(server.listen, b"GET /describe HTTP/1.1\r\nHost: test\r\n\r\nGET /describe HTTP/1.1\r\nX: ").await;
    assert!(lasted < HEAD_READ + Duration::from_secs(1), "{lasted:?}");
    is_well(&mut server).await;
}

#[tokio::test]
async fn a_parked_client_that_pipelined_a_byte_and_left_is_forgotten_at_once() {
    let (mut server, _folder) = start(&[]).await;
    let mut client = Client::connect(server.listen).await;
    let target = format!("/describe?since={}", make::current());
    client.send("GET", &target, &[]).await;
    client.stream.get_mut().write_all(b"G").await.expect("it reads");
    server.metric_becomes(PARKED, 1.0).await;
    drop(client);
    server.metric_becomes(PARKED, 0.0).await;
    server.metric_becomes("tidewait_released_requests_total{operation=\"describe\",reason=\"abandoned\"}", 1.0).await;

    let mut client = Client::connect(server.listen).await;
    client.send("GET", &target, &[]).await;
    server.metric_becomes(PARKED, 1.0).await;
    drop(client);
    server.metric_becomes(PARKED, 0.0).await;
    is_well(&mut server).await;
}

#[tokio::test]
async fn one_connection_too_many_is_answered_503_at_once_and_the_admin_port_answers() {
    let (mut server, _folder) = start(&["--max-connections", "50"]).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(server.listen).await;
        assert_eq!(client.get("/describe", &[]).await.status, 200);
        clients.push(client);
    }
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let asked = Instant::now();
        let refused = Client::connect(server.listen).await.reply().await;
        let fields = ["content-type", "cache-control", "connection"].map(|name| refused.field(name).to_owned());
        assert_eq!((refused.status, fields.join(" ")), (503, "application/problem+json no-store close".to_owned()));
        assert_eq!(
            refused.json()["detail"],
            "50 connections are open (--max-connections): try again, or another endpoint"
        );
        times.insert(refused.field("retry-after").parse::<u32>().expect("whole seconds"));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        assert_eq!(server.get("/describe").await.status, 503, "also who has already asked");
    }
    assert!(times.len() > 1 && times.iter().all(|seconds| (2..=4).contains(seconds)), "with jitter: {times:?}");
    assert_eq!(server.admin("/livez").await.status, 200);
    server.metric_becomes("tidewait_http_refused_connections_total", 20.0).await;
    assert_eq!(clients[7].get("/describe", &[]).await.status, 200, "the others are served");
    drop(clients.split_off(25));
    server.metric_becomes("tidewait_http_connections", 25.0).await;
    is_well(&mut server).await;
}

#[tokio::test]
async fn out_of_descriptors_it_waits_and_serves_again_when_some_are_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.json");
    std::fs::write(&path, make::MODEL).expect("written");
    let mut command = Command::new("/bin/sh");
    // The settings of this process are not those of the server.
    command.env_clear().kill_on_drop(true).stdin(Stdio::null());
    command
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_tidewait"), "serve", "--file"])
        .arg(&path);
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]);
    let mut server = Server::spawn(command).await;
    server.ready().await;
    // The cap keeps clients from the descriptors of others, so it is the admin port that takes them all.
    let mut others = Vec::new();
    for _ in 0..64 {
        others.push(TcpStream::connect(server.admin).await.expect("it listens"));
    }
    server.logged("could not accept a connection to the admin port").await;
    let mut client = Client::connect(server.listen).await;
    client.send("GET", "/describe", &[]).await;
    server.logged("could not accept a connection\"").await;
    let freed = Instant::now();
    drop(others);
    assert_eq!(client.reply().await.status, 200);
    assert!(freed.elapsed() < STEP / 10, "{:?}", freed.elapsed());
    let errors = server.metric("tidewait_http_accept_errors_total").await;
    assert!((1.0..400.0).contains(&errors), "it does not spin: {errors}");
    drop(client);
    server.metric_becomes("tidewait_http_connections", 0.0).await;
    is_well(&mut server).await;
}
