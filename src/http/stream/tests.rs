//! The stream alone, as hyper would read it.

use prometheus::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::Instant;

use super::*;
use crate::access::{Connection, Scheme};
use crate::bounds::LINGER;
use crate::http::access::{self, Access};
use crate::http::metrics::Metrics;
use crate::lifecycle::stop::Stop;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn router() -> Arc<Router> {
    let metrics = Metrics::register(&Registry::new()).expect("new names");
    let access = Access::open(access::Metrics::register(&Registry::new()).expect("new names"));
    let stop = Stop::new(Duration::ZERO).watch();
    Arc::new(Router::new(Arc::default(), Arc::new(access), None, stop, metrics, false))
}

/// A stream that was lent with this read of it.
fn stream(
    room: usize,
    first: &[u8],
) -> (DuplexStream, ClientStream<DuplexStream>, BackSlot<DuplexStream>, Arc<ConnectionState>) {
    let (client, server) = tokio::io::duplex(room);
    let connection = Arc::new(Connection::new(([192, 0, 2, 1], 4711).into(), Scheme::Http));
    let connection = Arc::new(ConnectionState::new(connection));
    let Verdict::Passes(passed) = Reader::default().judge(first) else { panic!("it passes") };
    let (stream, back) =
        ClientStream::http1(server, (first.to_vec(), passed), false, router(), Arc::clone(&connection));
    (client, stream, back, connection)
}

fn gone_back(back: &BackSlot<DuplexStream>) -> Option<(Vec<u8>, bool)> {
    back.lock().expect("no panic").take().map(|back| (back.held, back.half_closed))
}

#[tokio::test(start_paused = true)]
async fn a_head_is_kept_back_until_it_is_whole_and_its_turn_has_come() {
    let (mut client, mut stream, _, connection) = stream(1024, GET);
    let mut buf = [0; 256];
    client.write_all(&[GET, &GET[..9]].concat()).await.expect("room");
    assert_eq!(stream.read(&mut buf).await.expect("a head"), GET.len());
    let answering = connection.begin();
    let moment = HYPER_IDLE / 3;
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

/// Has its first request answered.
async fn answered(stream: &mut ClientStream<DuplexStream>, connection: &Arc<ConnectionState>) {
    let mut buf = [0; 256];
    assert_eq!(stream.read(&mut buf).await.expect("a head"), GET.len());
    drop(connection.begin());
    stream.flush().await.expect("nothing is left");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_refused_goes_back_with_all_that_follows() {
    let (mut client, mut stream, back, connection) = stream(1024, GET);
    let sent = b"HEAD /x#y HTTP/1.1\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n";
    client.write_all(sent).await.expect("room");
    answered(&mut stream, &connection).await;
    assert_eq!(stream.read(&mut [0; 256]).await.expect("the end"), 0);
    stream.shutdown().await.expect("nothing to do");
    drop(stream);
    client.write_all(b"it is still open").await.expect("room");
    assert_eq!(gone_back(&back), Some((sent.to_vec(), false)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_goes_back_when_it_is_idle_and_not_while_it_is_answered() {
    let (mut client, mut stream, back, connection) = stream(1024, GET);
    let mut buf = [0; 64];
    assert_eq!(stream.read(&mut buf).await.expect("a head"), GET.len());
    let answering = connection.begin();
    let answered = tokio::time::timeout(HYPER_IDLE * 6, stream.read(&mut buf)).await;
    assert!(answered.is_err(), "one that is being answered stays");
    drop(answering);
    stream.flush().await.expect("nothing is left");
    client.write_all(b"G").await.expect("room");
    let start = Instant::now();
    assert_eq!(stream.read(&mut buf).await.expect("the end"), 0);
    assert_eq!(start.elapsed().as_secs(), HYPER_IDLE.as_secs());
    assert_eq!(gone_back(&back), Some((b"G".to_vec(), false)));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_client_is_told_at_once_and_read_once_all_is_answered() {
    let (mut client, mut stream, back, connection) = stream(1024, GET);
    let mut buf = [0; 256];
    assert_eq!(stream.read(&mut buf).await.expect("all of it"), GET.len());
    let mut answering = connection.begin();
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
    assert_eq!(gone_back(&back), Some((Vec::new(), true)));
}

#[tokio::test(start_paused = true)]
async fn after_its_own_end_it_hears_the_client_for_a_moment() {
    for (sends, lasts) in [(true, LINGER), (false, Duration::ZERO)] {
        let (mut client, mut stream, ..) = stream(16, GET);
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
