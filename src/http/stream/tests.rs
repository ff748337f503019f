//! The stream alone, as hyper would read it.

use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::*;
use crate::access::{Connection, Scheme};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn stream(room: usize) -> (DuplexStream, ClientStream<DuplexStream>, Arc<ConnectionState>) {
    let (client, server) = tokio::io::duplex(room);
    let connection = Arc::new(ConnectionState::new(Connection::new(([192, 0, 2, 1], 4711).into(), Scheme::Http)));
    (client, ClientStream::new(server, Arc::clone(&connection)), connection)
}

#[tokio::test(start_paused = true)]
async fn how_a_client_begins_is_seen_and_read_again() {
    for (sent, expected) in
        [(GET, false), (b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n", false), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes", true)]
    {
        for piece in [1, 5, 100] {
            let (mut client, mut stream, _) = stream(7);
            let send = async {
                for piece in sent.chunks(piece) {
                    client.write_all(piece).await.expect("it reads");
                }
            };
            let receive = async {
                let is_http2 = stream.is_http2().await.expect("no limit passed");
                let mut again = vec![0; sent.len()];
                stream.read_exact(&mut again).await.expect("all of it");
                (is_http2, again)
            };
            let ((), received) = tokio::join!(send, receive);
            assert_eq!(received, (expected, sent.to_vec()), "in pieces of {piece}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_is_kept_back_until_it_is_whole_and_its_turn_has_come() {
    let (mut client, mut stream, connection) = stream(1024);
    let mut buf = [0; 256];
    client.write_all(&[GET, GET, &GET[..9]].concat()).await.expect("room");
    assert_eq!(stream.read(&mut buf).await.expect("a head"), GET.len());
    let (answering, refused) = connection.begin();
    assert_eq!(refused, None);
    let moment = Duration::from_secs(1);
    assert!(tokio::time::timeout(moment, stream.read(&mut buf)).await.is_err(), "the first is being answered");
    assert!(!connection.is_last());
    drop(answering);
    assert!(tokio::time::timeout(moment, stream.read(&mut buf)).await.is_err(), "and its answer is not written");
    stream.flush().await.expect("nothing is left");
    assert_eq!(stream.read(&mut buf).await.expect("the next"), GET.len());
    drop(connection.begin());
    stream.flush().await.expect("nothing is left");
    assert!(tokio::time::timeout(moment, stream.read(&mut buf)).await.is_err(), "the third is not whole");
    client.write_all(&GET[9..]).await.expect("room");
    assert_eq!(stream.read(&mut buf).await.expect("it is"), GET.len());
    assert_eq!(&buf[..GET.len()], GET);
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_is_replaced_whole() {
    let (mut client, mut stream, connection) = stream(1024);
    let mut buf = [0; 256];
    client.write_all(b"HEAD /x#y HTTP/1.1\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n").await.expect("room");
    let read = stream.read(&mut buf).await.expect("what stands for it");
    assert_eq!(&buf[..read], REFUSED_HEAD);
    let (_, refused) = connection.begin();
    assert_eq!(refused.and_then(|refused| refused.line), Some(("HEAD".to_owned(), "/x#y".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_head_has_a_time_limit_and_a_parked_or_idle_connection_another() {
    let (mut client, mut stream, connection) = stream(1024);
    let mut buf = [0; 64];
    client.write_all(GET).await.expect("room");
    assert_eq!(stream.read(&mut buf).await.expect("a head"), GET.len());
    let (answering, _) = connection.begin();
    let parked = tokio::time::timeout(IDLE_CONNECTION * 6, stream.read(&mut buf)).await;
    assert!(parked.is_err(), "a parked connection has none");
    drop(answering);
    stream.flush().await.expect("nothing is left");
    let idle = tokio::time::timeout(HEAD_READ * 6, stream.read(&mut buf)).await;
    assert!(idle.is_err(), "an idle one has a longer one");
    client.write_all(b"G").await.expect("room");
    let start = Instant::now();
    let slow = stream.read(&mut buf).await.expect_err("the rest never comes");
    assert_eq!((slow.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, HEAD_READ.as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed_and_frames_are_left_alone() {
    let (_client, mut silent, _) = stream(1024);
    assert_eq!(silent.is_http2().await.expect_err("nothing came").kind(), io::ErrorKind::TimedOut);

    let (mut client, mut frames, _) = stream(1024);
    client.write_all(PREFACE).await.expect("room");
    assert!(frames.is_http2().await.expect("it is"));
    let mut buf = [0; 64];
    assert_eq!(frames.read(&mut buf).await.expect("frames"), PREFACE.len());
    assert!(tokio::time::timeout(IDLE_CONNECTION * 6, frames.read(&mut buf)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_client_is_told_at_once_and_read_once_all_is_answered() {
    for http2 in [false, true] {
        let (mut client, mut stream, connection) = stream(1024);
        let mut buf = [0; 256];
        let first = if http2 { PREFACE } else { GET };
        client.write_all(first).await.expect("room");
        assert_eq!(stream.is_http2().await.expect("no limit passed"), http2);
        assert_eq!(stream.read(&mut buf).await.expect("all of it"), first.len());
        let (mut answering, _) = connection.begin();
        client.shutdown().await.expect("a FIN");
        tokio::select! {
            _ = stream.read(&mut buf) => panic!("a request is being answered"),
            () = connection.half_closed() => {}
        }
        answering.answered();
        drop(answering);
        stream.write_all(b"an answer").await.expect("room");
        stream.flush().await.expect("room");
        assert_eq!(stream.read(&mut buf).await.expect("the end"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn after_its_own_end_it_hears_the_client_for_a_moment() {
    for (sends, lasts) in [(true, LINGER), (false, Duration::ZERO)] {
        let (mut client, mut stream, _) = stream(16);
        let start = Instant::now();
        let (heard, ()) = tokio::join!(stream.shutdown(), async {
            let mut rest = Vec::new();
            assert_eq!(client.read_to_end(&mut rest).await.expect("a FIN"), 0);
            if sends {
                client.write_all(&[0; 1000]).await.expect("it is read and dropped");
            } else {
                client.shutdown().await.expect("a FIN");
            }
        });
        heard.expect("in order");
        let lasted = start.elapsed();
        assert!(lasted >= lasts && lasted <= lasts + Duration::from_millis(2), "{lasted:?}");
    }
}
