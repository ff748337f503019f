//! Sessions whose source answers each message with itself: the Autobahn suite against them, and a client that reads nothing.

mod autobahn;

use bytes::Bytes;
use prometheus::IntCounter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Duration, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::message::{ClientMessage, Rate};
use super::session::{self, Said, Source, Taken};
use super::socket::Payload;
use crate::bounds::{STREAM_STALLED, WEBSOCKET_DEAD, WEBSOCKET_MESSAGE, WEBSOCKET_READ, WEBSOCKET_REPLIES};
use crate::describe::stream::frame;

/// Says to its client what it has heard.
struct Echo;

impl Source for Echo {
    async fn next(&mut self) -> Said {
        std::future::pending().await
    }

    fn take(&mut self, _: ClientMessage) -> Taken {
        Taken::Done
    }

    fn receive(&mut self, received: Payload, _: &mut Rate) -> Taken {
        let mut frames = Vec::new();
        match received {
            Payload::Text(text) => frame::text(text.as_bytes(), &mut frames),
            Payload::Binary(bytes) => {
                frame::text(&bytes, &mut frames);
                // Nothing that is served is binary: what differs is the type in the first frame.
                frames[0] ^= 0b11;
            }
        }
        Taken::Later(Box::pin(std::future::ready(Bytes::from(frames))))
    }
}

/// A session, and its client. Each way has room for so many bytes.
fn session(room: usize) -> (DuplexStream, AbortOnDropHandle<()>, IntCounter) {
    let (client, server) = tokio::io::duplex(room);
    let cut = IntCounter::new("cut", "cut").expect("a name");
    #[allow(clippy::disallowed_methods, reason = "the test owns it")]
    let task = tokio::spawn(session::serve(server, Box::new(Echo), WEBSOCKET_MESSAGE, cut.clone()));
    (client, AbortOnDropHandle::new(task), cut)
}

/// A text message of so many bytes, of a client.
fn message(length: u8) -> Vec<u8> {
    let head = [0x81, 0x80 | length, 0, 0, 0, 0];
    [&head[..], &vec![b'x'; usize::from(length)]].concat()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_what_it_is_answered_is_not_read_from_and_is_cut() {
    const ROOM: usize = 1024;
    let (mut client, session, cut) = session(ROOM);
    let mut sent = 0;
    let message = message(100);
    let filling = async {
        loop {
            client.write_all(&message).await.expect("it is not closed yet");
            sent += message.len();
        }
    };
    assert!(timeout(Duration::from_secs(1), filling).await.is_err());
    let most = ROOM + WEBSOCKET_REPLIES + ROOM + WEBSOCKET_READ + 2 * message.len();
    assert!(sent <= most, "{sent} bytes were taken, {most} at most");
    timeout(STREAM_STALLED, session).await.expect("it is cut").expect("no panic");
    assert_eq!(cut.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_answered_however_long_that_takes() {
    let (mut client, _session, cut) = session(16);
    // Twice as many as fill it: it sends nothing of its own all that time, not even a pong.
    let messages = 2 * WEBSOCKET_REPLIES.div_ceil(102);
    let (mut reading, mut writing) = tokio::io::split(&mut client);
    let writes = async {
        for _ in 0..messages {
            writing.write_all(&message(100)).await.expect("taken");
        }
    };
    let began = tokio::time::Instant::now();
    let reads = async {
        let mut answers = 0;
        while answers < messages {
            let mut head = [0; 2];
            reading.read_exact(&mut head).await.expect("more");
            let mut text = vec![0; usize::from(head[1])];
            for part in text.chunks_mut(50) {
                tokio::time::sleep(Duration::from_secs(5)).await;
                reading.read_exact(part).await.expect("more");
            }
            match head {
                [0x81, 100] => answers += 1,
                head => assert_eq!(head, [0x89, 0], "a ping"),
            }
        }
    };
    tokio::join!(writes, reads);
    assert!(began.elapsed() > 2 * WEBSOCKET_DEAD);
    assert_eq!(cut.get(), 0);
}
