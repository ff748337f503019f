//! Answers that nobody reads: memory is bounded, the worker is stopped, and after a while both are cut.

use tokio::io::AsyncWriteExt as _;

use super::super::{ask, send};
use super::{CLAIMS, LINKS, Rig, Worker};
use crate::server::{Client, Server};

/// The most memory that a server has had, in KiB (`VmHWM` of `proc_pid_status(5)`).
pub(super) fn peak_kib(server: &Server) -> u64 {
    let status = format!("/proc/{}/status", server.child.id().expect("it runs"));
    let status = std::fs::read_to_string(status).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// Sends ten gigabytes, or as much as is taken until the connection or the stream ends: how much that was.
async fn pour(worker: &mut Worker) -> u64 {
    const LENGTH: u64 = 10_000_000_000;
    let piece = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    match worker {
        Worker::Text(dialled) => {
            dialled.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
            while sent < LENGTH && dialled.stream.write_all(&piece).await.is_ok() {
                sent += piece.len() as u64;
            }
        }
        Worker::Streams(streams) => {
            let (_request, mut respond) = streams.open.remove(0);
            let mut stream = respond.send_response(http::Response::new(()), false).expect("open");
            while sent < LENGTH {
                stream.reserve_capacity(piece.len());
                let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
                if stream.send_data(vec![b'x'; room].into(), false).is_err() {
                    break;
                }
                sent += room as u64;
            }
        }
    }
    sent
}

#[tokio::test]
async fn what_no_consumer_reads_stops_its_worker_and_is_cut() {
    const MOST: u64 = 32 * 1024 * 1024;
    let rig = Rig::start().await;
    let mut consumers = Vec::new();
    let mut pouring = Vec::new();
    for link in LINKS {
        let mut worker = rig.dial(link).await;
        consumers.push(send(rig.server.listen, "GET", "/work", &[], "").await);
        worker.head().await;
        pouring.push(tokio::spawn(async move { pour(&mut worker).await }));
    }
    // The same by a poll: one that is held, and one whose consumer does not wait.
    for fields in [&[][..], &[("Prefer", "respond-async")]] {
        let mut consumer = send(rig.server.listen, "POST", "/work", fields, "").await;
        if !fields.is_empty() {
            assert_eq!(consumer.reply().await.status, 202);
        }
        consumers.push(consumer);
        let claim = ask(rig.server.listen, "POST", CLAIMS, &[], "").await;
        let mut post = Client::connect(rig.server.listen).await;
        post.send("POST", claim.field("location"), &[("Content-Length", "10000000000")]).await;
        pouring.push(tokio::spawn(async move {
            let piece = vec![b'x'; 64 * 1024];
            let mut sent = 0;
            let (read, mut write) = post.stream.get_mut().split();
            loop {
                // What comes after the answer is read by nobody but the kernel and who closes in peace.
                tokio::select! {
                    biased;
                    _ = read.readable() => return sent,
                    written = write.write_all(&piece) => match written {
                        Ok(()) => sent += piece.len() as u64,
                        Err(_) => return sent,
                    }
                }
            }
        }));
    }
    for pouring in pouring {
        let sent = pouring.await.expect("it ends");
        assert!((1..MOST).contains(&sent), "{sent}");
    }
    for (consumer, number) in consumers.iter_mut().zip(0..4) {
        assert!(consumer.try_reply().await.is_none(), "{number}: never a whole body");
    }
    rig.becomes(0.0, 0.0).await;
    let peak = peak_kib(&rig.server);
    assert!(peak < 96 * 1024, "{peak} KiB");
}
