//! The body of a worker's answer: one writer, and as many readers as consumers wait for it.
//!
//! It is kept for those who come later as long as it is short enough; else the writer waits for the slowest reader.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use slab::Slab;
use tokio::time::timeout;

use crate::bounds::EXCHANGE_STALLED;

/// How many bytes of answers an exchange keeps.
#[derive(Debug)]
pub struct Budget {
    held: AtomicUsize,
    most: usize,
}

/// A body that comes from a worker.
#[derive(Debug)]
pub struct Buffer {
    state: Mutex<State>,
    budget: Arc<Budget>,
    window: usize,
    /// It is kept if it has no more bytes.
    keep: usize,
}

#[derive(Debug)]
struct State {
    pieces: VecDeque<Bytes>,
    /// How many bytes, and how many pieces, came before the first piece that is still here.
    start: u64,
    dropped: usize,
    /// How many bytes have come.
    end: u64,
    keeps: bool,
    ending: Option<Ending>,
    readers: Slab<Place>,
    /// Counts what readers have taken.
    progress: u64,
    writer: Option<Waker>,
}

/// How it ends.
#[derive(Debug, Clone)]
enum Ending {
    Whole(Option<HeaderMap>),
    Cut,
}

/// Where a reader is.
#[derive(Debug)]
struct Place {
    /// How many bytes, and how many pieces, it has had.
    at: u64,
    pieces: usize,
    waker: Option<Waker>,
    is_cut: bool,
}

/// Nobody reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread;

/// Why a consumer gets a part alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer of the worker broke off, or was not read")]
pub struct CutOff;

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), most })
    }

    /// How many bytes are kept.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Buffer {
    /// A body of which nothing has come. It is kept if it has at most `keep` bytes; `window`: how many bytes wait for a reader.
    #[must_use]
    pub fn new(budget: Arc<Budget>, window: usize, keep: Option<usize>) -> Arc<Self> {
        let state = State {
            pieces: VecDeque::new(),
            start: 0,
            dropped: 0,
            end: 0,
            keeps: keep.is_some(),
            ending: None,
            readers: Slab::new(),
            progress: 0,
            writer: None,
        };
        Arc::new(Self { state: Mutex::new(state), budget, window, keep: keep.unwrap_or(0) })
    }

    /// A body that is here as a whole.
    #[must_use]
    pub fn whole(budget: Arc<Budget>, bytes: Bytes, keep: usize) -> Arc<Self> {
        let body = Self::new(budget, 0, Some(keep));
        let mut state = body.state();
        if !bytes.is_empty() {
            body.add(&mut state, bytes);
        }
        state.ending = Some(Ending::Whole(None));
        drop(state);
        body
    }

    /// Reads it from its start; none: that is not here any more.
    #[must_use]
    pub fn read(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.state();
        if state.start > 0 {
            return None;
        }
        let key = state.readers.insert(Place { at: 0, pieces: 0, waker: None, is_cut: false });
        drop(state);
        Some(Reader { buffer: Arc::clone(self), key, ended: false })
    }

    /// Whether all of it is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let state = self.state();
        state.start == 0 && matches!(state.ending, Some(Ending::Whole(_)))
    }

    /// Adds bytes, once there is room. Readers that stall for long are cut off; an error: none is left.
    pub async fn write(&self, data: Bytes) -> Result<(), Unread> {
        loop {
            let progress = self.state().progress;
            let room = std::future::poll_fn(|cx| self.poll_room(cx));
            if timeout(EXCHANGE_STALLED, room).await.is_ok() {
                break;
            }
            if self.state().progress == progress && !self.cut_slowest() {
                return Err(Unread);
            }
        }
        if data.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        self.add(&mut state, data);
        self.fit(&mut state);
        state.wake();
        Ok(())
    }

    fn add(&self, state: &mut State, data: Bytes) {
        state.end += data.len() as u64;
        if state.keeps {
            self.budget.held.fetch_add(data.len(), Ordering::Relaxed);
        }
        state.pieces.push_back(data);
    }

    /// All of it has come.
    pub fn finish(&self, trailers: Option<HeaderMap>) {
        self.end(Ending::Whole(trailers));
    }

    /// No more of it comes: its readers never take it for whole.
    pub fn cut(&self) {
        self.end(Ending::Cut);
    }

    fn end(&self, ending: Ending) {
        let mut state = self.state();
        if state.ending.is_none() {
            state.ending = Some(ending);
            state.wake();
        }
    }

    /// Waits until all readers have had it; those that stall are cut off.
    pub async fn drained(&self) {
        loop {
            let progress = self.state().progress;
            let drained = std::future::poll_fn(|cx| {
                let mut state = self.state();
                if state.readers.is_empty() {
                    return Poll::Ready(());
                }
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            });
            if timeout(EXCHANGE_STALLED, drained).await.is_ok() {
                return;
            }
            if self.state().progress == progress {
                let mut state = self.state();
                state.readers.iter_mut().for_each(|(_, place)| place.is_cut = true);
                state.wake();
                return;
            }
        }
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        self.fit(&mut state);
        let waiting = state.end - state.slowest().unwrap_or(state.start);
        if state.keeps || waiting < self.window as u64 {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Stops to keep a body that is too long, and drops what all readers have had.
    fn fit(&self, state: &mut State) {
        if state.keeps && (state.end > self.keep as u64 || self.budget.held() > self.budget.most) {
            state.keeps = false;
            self.budget.held.fetch_sub(state.held(), Ordering::Relaxed);
        }
        if state.keeps {
            return;
        }
        let Some(slowest) = state.slowest() else { return };
        while let Some(first) = state.pieces.front()
            && state.start + first.len() as u64 <= slowest
        {
            state.start += first.len() as u64;
            state.dropped += 1;
            state.pieces.pop_front();
        }
    }

    /// Cuts off the readers that hold the writer up; false: none is left.
    fn cut_slowest(&self) -> bool {
        let mut state = self.state();
        let slowest = state.slowest();
        for (_, place) in &mut state.readers {
            place.is_cut |= Some(place.at) == slowest;
        }
        self.fit(&mut state);
        state.wake();
        state.slowest().is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.keeps {
            self.budget.held.fetch_sub(state.held(), Ordering::Relaxed);
        }
    }
}

impl State {
    fn held(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn slowest(&self) -> Option<u64> {
        self.readers.iter().filter(|(_, place)| !place.is_cut).map(|(_, place)| place.at).min()
    }

    fn wake(&mut self) {
        for (_, place) in &mut self.readers {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    fn wake_writer(&mut self) {
        self.progress += 1;
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

/// A consumer reads a body.
#[derive(Debug)]
pub struct Reader {
    buffer: Arc<Buffer>,
    key: usize,
    ended: bool,
}

impl Body for Reader {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let mut guard = this.buffer.state();
        let state = &mut *guard;
        let place = &mut state.readers[this.key];
        if place.is_cut {
            this.ended = true;
            return Poll::Ready(Some(Err(CutOff)));
        }
        // What it has not had is still here.
        if let Some(piece) = place.pieces.checked_sub(state.dropped).and_then(|at| state.pieces.get(at)).cloned() {
            place.at += piece.len() as u64;
            place.pieces += 1;
            this.buffer.fit(state);
            state.wake_writer();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &state.ending {
            None => {
                state.readers[this.key].waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(Ending::Cut) => {
                this.ended = true;
                Poll::Ready(Some(Err(CutOff)))
            }
            Some(Ending::Whole(trailers)) => {
                this.ended = true;
                Poll::Ready(trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.buffer.state();
        let has_all = state.readers[self.key].at == state.end && !state.readers[self.key].is_cut;
        self.ended || has_all && matches!(state.ending, Some(Ending::Whole(None)))
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.buffer.state();
        let left = state.end - state.readers[self.key].at;
        match state.ending {
            Some(Ending::Whole(_)) => SizeHint::with_exact(left),
            Some(Ending::Cut) | None => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.buffer.state();
        state.readers.remove(self.key);
        state.wake_writer();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;

    use super::*;

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
}
