//! The body of a request, read by one worker after another: byte for byte the same, or an error.

use std::time::Duration;

use futures::StreamExt as _;
use http::HeaderMap;
use http_body_util::StreamBody;
use proptest::prelude::*;
use tokio::time::{sleep, timeout};

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

#[derive(Debug, Clone)]
struct Sent {
    pieces: Vec<usize>,
    trailers: bool,
    breaks: bool,
    replay: usize,
}

/// What happens to it.
#[derive(Debug, Clone)]
enum Step {
    /// It is stored, for so many milliseconds, up to so many bytes.
    Store(u64, usize),
    /// Another worker reads it.
    Reader,
    /// A reader (counted back from the newest) asks for a frame, for so many milliseconds.
    Read(usize, u64),
}

#[derive(Debug)]
struct Had {
    reader: BodyReader,
    bytes: Vec<u8>,
    ended: Option<bool>,
}

fn coming(sent: &Sent, bytes: &[u8]) -> Arc<RequestBody> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut frames: Vec<Result<Frame<Bytes>, BodyError>> =
        sent.pieces.iter().map(|length| Ok(Frame::data(rest.split_to(*length)))).collect();
    if sent.breaks {
        frames.push(Err("it broke off".into()));
    } else if sent.trailers {
        frames.push(Ok(Frame::trailers(HeaderMap::new())));
    }
    let frames = futures::stream::iter(frames).then(|frame| async {
        sleep(10 * MILLISECOND).await;
        frame
    });
    Arc::new(RequestBody::coming(UnsyncBoxBody::new(StreamBody::new(Box::pin(frames))), sent.replay))
}

async fn read(had: &mut Had, patience: u64) {
    if had.ended.is_some() {
        return;
    }
    if had.reader.is_end_stream() {
        had.ended = Some(true);
        return;
    }
    match timeout(Duration::from_millis(patience), had.reader.frame()).await {
        Err(_) => {}
        Ok(None) => had.ended = Some(true),
        Ok(Some(Err(_))) => had.ended = Some(false),
        Ok(Some(Ok(frame))) => had.bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
    }
}

fn any_sent() -> impl Strategy<Value = Sent> {
    (prop::collection::vec(0_usize..20, 0..8), any::<bool>(), prop::bool::weighted(0.2), 0_usize..120)
        .prop_map(|(pieces, trailers, breaks, replay)| Sent { pieces, trailers, breaks, replay })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0_u64..60, 0_usize..120).prop_map(|(patience, most)| Step::Store(patience, most)),
        2 => Just(Step::Reader),
        8 => (prop_oneof![4 => Just(0_usize), 1 => 0_usize..3], 5_u64..30).prop_map(|(at, time)| Step::Read(at, time)),
    ]
}

proptest! {
    #[test]
    fn each_worker_reads_the_same_bytes_or_an_error(sent in any_sent(), steps in prop::collection::vec(any_step(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let length: usize = sent.pieces.iter().sum();
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).expect("small")).collect();
            let body = coming(&sent, &bytes);
            let mut readers: Vec<Had> = Vec::new();
            let new = |body: &Arc<RequestBody>| Had { reader: BodyReader::new(body), bytes: Vec::new(), ended: None };
            let mut stored = false;
            for step in steps {
                match step {
                    Step::Store(patience, most) => {
                        let storing = timeout(Duration::from_millis(patience), body.store(most)).await;
                        stored |= matches!(storing, Ok(Ok(()))) && readers.is_empty();
                    }
                    Step::Reader => readers.push(new(&body)),
                    Step::Read(back, patience) => {
                        let at = readers.len().checked_sub(back + 1);
                        if let Some(had) = at.and_then(|at| readers.get_mut(at)) {
                            read(had, patience).await;
                        }
                    }
                }
            }
            if stored {
                prop_assert_eq!(&body.bytes()[..], &bytes[..]);
                prop_assert!(!body.is_coming());
            }
            let can_be_read = body.is_replayable();
            readers.push(new(&body));
            for had in &mut readers {
                while had.ended.is_none() {
                    read(had, 1000).await;
                }
            }
            for had in &readers {
                prop_assert!(bytes.starts_with(&had.bytes));
                if had.ended == Some(true) {
                    prop_assert_eq!(&had.bytes, &bytes);
                    prop_assert!(!sent.breaks);
                }
            }
            let newest = readers.last().expect("one");
            prop_assert_eq!(newest.ended, Some(can_be_read && !sent.breaks));
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_more_learns_that_another_reads() {
    let sent = Sent { pieces: vec![1], trailers: false, breaks: false, replay: 10 };
    let body = coming(&sent, b"a");
    let mut older = BodyReader::new(&body);
    let newer = async {
        sleep(MILLISECOND).await;
        BodyReader::new(&body)
    };
    let begun = tokio::time::Instant::now();
    let older = async { (older.frame().await.expect("a frame"), begun.elapsed()) };
    let ((frame, time), newer) = tokio::join!(older, newer);
    assert!(frame.is_err() && time < 5 * MILLISECOND, "before the consumer sends more: {time:?}");
    assert_eq!(newer.collect().await.expect("all of it").to_bytes(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_a_part_was_not_kept_is_not_read_as_if_it_were_whole() {
    for pieces in [vec![8], vec![2, 8], vec![8, 2]] {
        let sent = Sent { replay: 4, trailers: false, breaks: false, pieces };
        let body = coming(&sent, b"0123456789");
        let mut first = BodyReader::new(&body);
        for _ in &sent.pieces {
            first.frame().await.expect("a frame").expect("it is sent");
        }
        let second = BodyReader::new(&body);
        assert!(!body.is_replayable() && !second.is_end_stream());
        assert!(second.collect().await.is_err(), "{sent:?}");
    }
}
