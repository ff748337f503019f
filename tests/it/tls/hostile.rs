//! Clients that are slow, many, gone or hostile, and the corpus of raw requests, which comes to the same as in the clear.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::{Authority, PARKED, Rig, config};
use crate::hostile::{WAIT_MAX, check_each, make};
use crate::model_file::ModelFile;
use crate::server::{Client, STEP};

/// The answers of a server in the clear are the same table.
#[tokio::test]
async fn every_case_of_the_corpus_comes_to_the_same_over_tls() {
    let model = ModelFile::new("{}");
    model.replace(std::str::from_utf8(make::MODEL.as_ref()).expect("UTF-8"));
    let rig = Rig::of(model, Authority::new("server-ca"), &["--wait-max", WAIT_MAX]).await;
    let rig = &rig;
    check_each(
        &make::corpus(),
        |_| usize::MAX,
        || async move { rig.shake_hands(config(&rig.authority, None)).await.expect("a good handshake") },
    )
    .await;
    rig.server.metric_becomes(PARKED, 0.0).await;
}

/// A stream whose writes take one byte each.
struct OneByte(TcpStream);

impl AsyncRead for OneByte {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for OneByte {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, &buf[..buf.len().min(1)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_hello_that_comes_byte_by_byte_is_taken() {
    let rig = Rig::new().await;
    let stream = TcpStream::connect(rig.server.listen).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let connector = TlsConnector::from(Arc::new(config(&rig.authority, None)));
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = Client::on(connector.connect(name, OneByte(stream)).await.expect("a good handshake"));
    client.send("GET", "/describe", &[]).await;
    client.stream.get_mut().flush().await.expect("it reads");
    assert_eq!(client.reply().await.status, 200);
}

#[tokio::test]
async fn handshakes_that_never_end_delay_no_other() {
    let rig = Rig::new().await;
    let mut idle = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(rig.server.listen).await.expect("it listens");
        if number % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.expect("room");
        }
        idle.push(stream);
    }
    rig.server.metric_becomes("tidewait_tls_handshakes_in_flight{port=\"clients\"}", 50.0).await;
    let start = Instant::now();
    assert_eq!(rig.connect().await.get("/describe", &[]).await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let cut = async {
        for stream in &mut idle {
            // With bytes that were not taken: a reset.
            assert!(matches!(stream.read(&mut [0; 10]).await, Ok(0) | Err(_)));
        }
    };
    tokio::time::timeout(STEP, cut).await.expect("their time is over");
    let failed = "tidewait_tls_handshake_failures_total{port=\"clients\",reason=\"timeout\"}";
    assert_eq!(rig.server.metric(failed).await.to_string(), "100");
}

#[tokio::test]
async fn who_verifies_by_another_authority_goes_and_is_counted() {
    let rig = Rig::new().await;
    let error = rig.shake_hands(config(&Authority::new("another"), None)).await.expect_err("it is not trusted");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    rig.server
        .metric_becomes("tidewait_tls_handshake_failures_total{port=\"clients\",reason=\"certificate\"}", 1.0)
        .await;
}

#[tokio::test]
async fn ends_are_announced_by_either_side() {
    let rig = Rig::new().await;
    // Ours: the client reads an end that is announced, or its library would say otherwise.
    let mut client = rig.connect().await;
    client.send("GET", "/describe", &[("Connection", "close")]).await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(client.stream.read(&mut [0; 10]).await.expect("an announced end"), 0);
    // The client's, while it waits: it is answered, as in the clear.
    let mut client = rig.connect().await;
    let id = client.get("/describe", &[]).await.id().to_owned();
    client.send("GET", &format!("/describe?since={id}&wait=50"), &[]).await;
    rig.server.metric_becomes(PARKED, 1.0).await;
    client.stream.get_mut().shutdown().await.expect("close_notify and FIN");
    assert_eq!(client.reply().await.status, 204);
    // And one that is not announced: nobody waits for its answer.
    let mut client = rig.connect().await;
    client.send("GET", &format!("/describe?since={id}&wait=50"), &[]).await;
    rig.server.metric_becomes(PARKED, 1.0).await;
    client.stream.get_mut().get_mut().0.shutdown().await.expect("FIN alone");
    rig.server.metric_becomes(PARKED, 0.0).await;
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_a_large_answer() {
    let rig = Rig::new().await;
    let mut client = rig.connect().await;
    let id = client.get("/describe", &[]).await.id().to_owned();
    client.send("GET", &format!("/describe?since={id}&wait=50"), &[("Accept-Encoding", "identity")]).await;
    rig.server.metric_becomes(PARKED, 1.0).await;
    // More than the kernel takes for a client that does not read.
    let model = format!("{{\"n\":\"{}\"}}", "0123456789abcdef".repeat(1024 * 1024));
    rig.model.replace(&model);
    rig.server.metric_becomes("tidewait_http_slow_readers", 1.0).await;
    let reply = client.reply().await;
    assert!(reply.body == model.as_bytes(), "{} of {} bytes", reply.body.len(), model.len());
    rig.server.metric_becomes("tidewait_http_slow_readers", 0.0).await;
    assert_eq!(client.get("/describe", &[]).await.status, 200);
}
