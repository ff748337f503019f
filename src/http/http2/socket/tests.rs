//! The bytes alone, as h2 would read them.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, timeout};

use super::*;
use crate::access::{Connection, Scheme};
use crate::bounds::IDLE_CONNECTION;
use crate::http::http2::PREFACE;

fn socket() -> (DuplexStream, Socket<DuplexStream>, Arc<ConnectionState>) {
    let (client, server) = tokio::io::duplex(1024);
    let connection = Arc::new(Connection::new(([192, 0, 2, 1], 4711).into(), Scheme::Http));
    let connection = Arc::new(ConnectionState::new(connection));
    (client, Socket::new(server, PREFACE.to_vec(), Arc::default(), Arc::clone(&connection)), connection)
}

#[tokio::test(start_paused = true)]
async fn what_was_read_comes_first_and_silence_is_no_end() {
    let (mut client, mut socket, _) = socket();
    let mut buf = [0; 64];
    assert_eq!(socket.read(&mut buf[..20]).await.expect("some"), 20);
    assert_eq!(socket.read(&mut buf).await.expect("the rest"), PREFACE.len() - 20);
    client.write_all(b"frames").await.expect("room");
    assert_eq!(socket.read(&mut buf).await.expect("frames"), 6);
    assert!(timeout(IDLE_CONNECTION * 2, socket.read(&mut buf)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_client_is_told_at_once_and_read_once_all_is_answered() {
    let (mut client, mut socket, connection) = socket();
    let mut buf = [0; 64];
    assert_eq!(socket.read(&mut buf).await.expect("all of it"), PREFACE.len());
    let mut answering = connection.begin();
    client.shutdown().await.expect("a FIN");
    tokio::select! {
        _ = socket.read(&mut buf) => panic!("a request is being answered"),
        () = connection.half_closed() => {}
    }
    answering.answered();
    drop(answering);
    socket.write_all(b"an answer").await.expect("room");
    socket.flush().await.expect("room");
    assert_eq!(socket.read(&mut buf).await.expect("the end"), 0);
}

/// It cannot say any more that it has room.
#[tokio::test(start_paused = true)]
async fn what_a_client_that_has_ended_has_no_room_for_is_given_up_in_time() {
    let (mut client, mut socket, connection) = socket();
    let mut buf = [0; 64];
    assert_eq!(socket.read(&mut buf).await.expect("all of it"), PREFACE.len());
    let mut answering = connection.begin();
    answering.answered();
    client.shutdown().await.expect("a FIN");
    let start = Instant::now();
    assert_eq!(socket.read(&mut buf).await.expect("the end"), 0);
    assert!(start.elapsed() >= LINGER && start.elapsed() < LINGER + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_held_in_a_turn_and_comes_in_order() {
    let (mut client, mut socket, _) = socket();
    let turn = Arc::clone(&socket.turn);
    let mut buf = [0; 64];
    for pieces in [&["one ", "two "][..], &["three"]] {
        turn.begin(true);
        for piece in pieces {
            socket.write_all(piece.as_bytes()).await.expect("room");
            socket.flush().await.expect("nothing to do");
        }
        assert!(timeout(Duration::from_secs(1), client.read(&mut buf)).await.is_err(), "it is held");
        assert!(turn.uncork());
        socket.flush().await.expect("room");
        let read = client.read(&mut buf).await.expect("some");
        assert_eq!(&buf[..read], pieces.concat().as_bytes());
        assert!(!turn.uncork(), "nothing is left");
    }
    turn.begin(true);
    socket.write_all(b"small").await.expect("room");
    let large = vec![b'x'; HTTP2_HELD + 1];
    let mut seen = vec![0; 5 + large.len()];
    let (read, ()) = tokio::join!(client.read_exact(&mut seen), async {
        socket.write_all(&large).await.expect("room");
        assert!(turn.uncork(), "its end");
        socket.flush().await.expect("room");
    });
    read.expect("all of it");
    assert!(seen.starts_with(b"smallx") && seen.ends_with(b"x"));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_reads_few_bytes_is_cut_where_there_are_more() {
    let (mut client, mut socket, _) = socket();
    let turn = Arc::clone(&socket.turn);
    let mut buf = [0; 2 * FEW_BYTES];
    turn.begin(true);
    assert_eq!(socket.read(&mut buf).await.expect("all of it"), PREFACE.len());
    client.write_all(&[b'x'; FEW_BYTES]).await.expect("room");
    let nothing = timeout(Duration::from_secs(1), socket.read(&mut buf)).await;
    assert!(nothing.is_err() && turn.was_cut());
    turn.begin(true);
    assert_eq!(socket.read(&mut buf).await.expect("as much as there may be"), FEW_BYTES);
    turn.begin(true);
    let nothing = timeout(Duration::from_secs(1), socket.read(&mut buf)).await;
    assert!(nothing.is_err() && !turn.was_cut());
    turn.begin(false);
    for _ in 0..2 {
        client.write_all(&[b'x'; 10]).await.expect("room");
        assert_eq!(socket.read(&mut buf).await.expect("some"), 10);
    }
}
