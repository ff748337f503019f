//! One writer and several readers, case by case.

use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::*;

mod schedules;

fn buffer(window: usize, keep: Option<usize>) -> Arc<Buffer> {
    Buffer::new(Budget::new(1000), window, keep)
}

async fn all(reader: Reader) -> Result<Bytes, CutOff> {
    Ok(reader.collect().await?.to_bytes())
}

#[tokio::test(start_paused = true)]
async fn a_short_body_is_read_again_and_again_and_a_long_one_once() {
    let short = buffer(4, Some(10));
    for _ in 0..5 {
        short.write("ab".into()).await.expect("it is kept");
    }
    short.finish(None);
    for _ in 0..2 {
        assert_eq!(all(short.read().expect("its start")).await.expect("whole"), "ababababab");
    }
    assert_eq!(short.budget.held(), 10);
    let long = buffer(4, Some(3));
    let reader = long.read().expect("its start");
    let writer = async {
        for _ in 0..5 {
            long.write("ab".into()).await.expect("it is read");
        }
        long.finish(None);
    };
    let (read, ()) = tokio::join!(all(reader), writer);
    assert_eq!(read.expect("whole"), "ababababab");
    assert!(long.read().is_none());
    assert_eq!(long.budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_stops_the_writer_and_is_given_up_after_a_while() {
    let body = buffer(4, None);
    for _ in 0..2 {
        body.write("ab".into()).await.expect("room");
    }
    let begun = Instant::now();
    assert_eq!(body.write("ab".into()).await, Err(Unread));
    assert_eq!(begun.elapsed(), EXCHANGE_STALLED);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_is_cut_off_and_the_others_get_all() {
    let body = buffer(4, None);
    let (mut stalled, reader) = (body.read().expect("its start"), body.read().expect("its start"));
    let writer = async {
        for _ in 0..5 {
            body.write("ab".into()).await.expect("one reads");
        }
        body.finish(None);
    };
    let (read, ()) = tokio::join!(all(reader), writer);
    assert_eq!(read.expect("whole"), "ababababab");
    assert_eq!(stalled.frame().await.map(Result::err), Some(Some(CutOff)));
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_is_never_taken_for_whole() {
    let body = buffer(4, Some(10));
    body.write("ab".into()).await.expect("room");
    body.cut();
    body.finish(None);
    assert_eq!(all(body.read().expect("its start")).await, Err(CutOff));
    assert!(!body.is_whole());
}

#[tokio::test(start_paused = true)]
async fn where_too_much_is_kept_a_body_is_not() {
    let budget = Budget::new(5);
    let (one, two) = (Buffer::new(Arc::clone(&budget), 4, Some(10)), Buffer::new(Arc::clone(&budget), 4, Some(10)));
    one.write("abcd".into()).await.expect("room");
    two.write("abcd".into()).await.expect("room");
    assert_eq!(budget.held(), 4);
    drop(one);
    assert_eq!(budget.held(), 0);
}
