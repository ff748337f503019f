//! Random schedules of one writer and several readers, in paused time.

use std::time::Duration;

use futures::future::join_all;
use http_body::Body as _;
use proptest::prelude::*;
use tokio::time::sleep;

use super::*;

/// What a reader does.
#[derive(Debug, Clone)]
struct Reads {
    /// It comes after so many milliseconds.
    comes: u64,
    /// It takes a piece each so many milliseconds.
    pace: u64,
    /// It stops after so many pieces, and stays there or leaves.
    stops: Option<(usize, bool)>,
}

#[derive(Debug, Clone)]
struct Writes {
    pieces: Vec<usize>,
    pace: u64,
    is_whole: bool,
    trailers: bool,
    window: usize,
    keep: Option<usize>,
    budget: usize,
}

/// What became of a reader.
#[derive(Debug)]
enum Read {
    TooLate,
    Left,
    Whole(Vec<u8>, bool),
    Broken(Vec<u8>),
}

/// The slowest that a reader is that does not stall.
const SLOW: u64 = 5000;

fn any_reader() -> impl Strategy<Value = Reads> {
    let pace = || prop_oneof![3 => Just(0), 1 => 1..SLOW];
    let comes = prop_oneof![3 => Just(0), 1 => 0_u64..60_000];
    (comes, pace(), prop::option::weighted(0.4, (0_usize..6, any::<bool>()))).prop_map(|(comes, pace, stops)| Reads {
        comes,
        pace,
        stops,
    })
}

fn any_writer() -> impl Strategy<Value = Writes> {
    let pace = prop_oneof![2 => Just(0), 1 => 1_u64..30_000];
    let keep = prop::option::of(0_usize..100);
    let budget = prop_oneof![2 => Just(1000_usize), 1 => 0_usize..60];
    (prop::collection::vec(0_usize..12, 0..12), pace, any::<bool>(), any::<bool>(), 1_usize..40, keep, budget).prop_map(
        |(pieces, pace, is_whole, trailers, window, keep, budget)| Writes {
            pieces,
            pace,
            is_whole,
            trailers,
            window,
            keep,
            budget,
        },
    )
}

async fn read(buffer: Arc<Buffer>, reads: Reads) -> Read {
    sleep(Duration::from_millis(reads.comes)).await;
    let Some(mut reader) = buffer.read() else { return Read::TooLate };
    let (mut bytes, mut has_trailers, mut pieces) = (Vec::new(), false, 0);
    loop {
        if let Some((_, stays)) = reads.stops.filter(|(after, _)| *after == pieces) {
            sleep(if stays { 1000 * EXCHANGE_STALLED } else { Duration::ZERO }).await;
            if !stays {
                return Read::Left;
            }
        }
        pieces += 1;
        let exact = reader.size_hint().exact();
        // As servers do, which do not ask for the end of what they know to be over.
        let frame = if reader.is_end_stream() { None } else { reader.frame().await };
        match frame {
            None => {
                assert!(exact.is_none_or(|left| left == 0), "more was promised");
                return Read::Whole(bytes, has_trailers);
            }
            Some(Err(CutOff)) => return Read::Broken(bytes),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(_) => has_trailers = true,
            },
        }
        sleep(Duration::from_millis(reads.pace)).await;
    }
}

/// The longest that it waited for room; whether it wrote all.
async fn write(buffer: Arc<Buffer>, writes: Writes, bytes: Vec<u8>) -> (Duration, bool) {
    let (mut longest, mut rest) = (Duration::ZERO, Bytes::from(bytes));
    for length in &writes.pieces {
        sleep(Duration::from_millis(writes.pace)).await;
        let begun = Instant::now();
        let written = buffer.write(rest.split_to(*length)).await;
        longest = longest.max(begun.elapsed());
        if written.is_err() {
            buffer.cut();
            return (longest, false);
        }
    }
    if writes.is_whole {
        buffer.finish(writes.trailers.then(HeaderMap::new));
    } else {
        buffer.cut();
    }
    (longest, writes.is_whole)
}

proptest! {
    #[test]
    fn a_reader_gets_exactly_what_was_written_or_an_error(
        writes in any_writer(),
        readers in prop::collection::vec(any_reader(), 0..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let length: usize = writes.pieces.iter().sum();
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).expect("small")).collect();
            let budget = Budget::new(writes.budget);
            let buffer = Buffer::new(Arc::clone(&budget), writes.window, writes.keep);
            let all = join_all(readers.iter().map(|reads| read(Arc::clone(&buffer), reads.clone())));
            let lingers = async {
                let (longest, is_written) = write(Arc::clone(&buffer), writes.clone(), bytes.clone()).await;
                let begun = Instant::now();
                if let Some(drained) = buffer.drained() {
                    drained.await;
                }
                (longest, is_written, begun.elapsed())
            };
            let (read, (longest, is_written, drained)) = tokio::join!(all, lingers);
            // Who is slow, or comes later, is waited for as long as it moves. Timers are exact to a millisecond or two.
            let moves = readers.iter().map(|reads| reads.comes + reads.pace * writes.pieces.len() as u64).max();
            let patience = EXCHANGE_STALLED + Duration::from_millis(moves.unwrap_or(0) + 10);
            prop_assert!(longest <= patience, "the writer waited for {longest:?}");
            prop_assert!(drained <= patience, "the rest was read for {drained:?}");
            for (reads, read) in readers.iter().zip(&read) {
                match read {
                    Read::Whole(read, has_trailers) => {
                        prop_assert_eq!(read, &bytes);
                        prop_assert!(is_written && (!has_trailers || writes.trailers));
                    }
                    Read::Broken(read) => {
                        prop_assert!(bytes.starts_with(read));
                        prop_assert!(!is_written || reads.stops.is_some(), "{:?} reads, and was cut off", reads);
                    }
                    Read::TooLate => prop_assert!(reads.comes > 0 && budget.held() == 0 || writes.keep.is_none_or(|keep| length > keep) || writes.budget < length),
                    Read::Left => {}
                }
            }
            let kept = buffer.state().keeps;
            prop_assert_eq!(budget.held(), if kept { buffer.state().held() } else { 0 });
            prop_assert!(!kept || buffer.state().held() <= writes.keep.unwrap_or(0));
            prop_assert!(buffer.state().readers.is_empty());
            drop(buffer);
            prop_assert_eq!(budget.held(), 0);
            Ok(())
        })?;
    }
}
