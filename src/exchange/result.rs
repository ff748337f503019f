//! The body of a worker's answer: one writer, and as many readers as consumers wait for it.
//!
//! It is kept for those who come later as long as it is short enough; else the writer waits for the slowest reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use slab::Slab;
use tokio::time::{Instant, timeout_at};

use crate::bounds::EXCHANGE_STALLED;

mod reader;

pub use reader::Reader;

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
    /// When a reader left last.
    left: Instant,
    /// Somebody waits until all readers have had it.
    drains: bool,
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
    /// When it took something last, or came.
    moved: Instant,
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
            left: Instant::now(),
            drains: false,
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
        let moved = Instant::now();
        let key = state.readers.insert(Place { at: 0, pieces: 0, moved, waker: None, is_cut: false });
        drop(state);
        Some(Reader { buffer: Arc::clone(self), key, ended: false })
    }

    /// All that has come; none: some of it is not here any more.
    #[must_use]
    pub fn bytes(&self) -> Option<Bytes> {
        let state = self.state();
        if state.start > 0 {
            return None;
        }
        let mut pieces = state.pieces.iter();
        Some(match (pieces.next(), state.pieces.len()) {
            (None, _) => Bytes::new(),
            (Some(one), 1) => one.clone(),
            (Some(_), _) => state.pieces.iter().flat_map(|piece| piece.iter().copied()).collect(),
        })
    }

    /// Whether all of it is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let state = self.state();
        state.start == 0 && matches!(state.ending, Some(Ending::Whole(_)))
    }

    /// Adds bytes, once there is room. Readers that stall for long are cut off; an error: none is left.
    pub async fn write(&self, data: Bytes) -> Result<(), Unread> {
        let begun = Instant::now();
        loop {
            let patience = self.state().patience(begun);
            let room = std::future::poll_fn(|cx| self.poll_room(cx));
            if timeout_at(patience, room).await.is_ok() {
                break;
            }
            if !self.cut_stalled(begun) {
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

    /// Waits until all readers have had it; those that stall are cut off. None: there is nobody to wait for, or somebody does so
    /// already, or more of it may come.
    pub fn drained(self: &Arc<Self>) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut state = self.state();
        if state.drains || state.ending.is_none() || state.slowest().is_none() {
            return None;
        }
        state.drains = true;
        let this = Arc::clone(self);
        Some(async move {
            let begun = Instant::now();
            loop {
                let patience = this.state().patience(begun);
                let drained = std::future::poll_fn(|cx| this.poll_drained(cx));
                if timeout_at(patience, drained).await.is_ok() {
                    return;
                }
                this.cut_stalled(begun);
            }
        })
    }

    fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.slowest().is_none() {
            state.drains = false;
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
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

    /// Cuts off the readers that have held the writer up for too long, since it waits; false: nobody reads it any more.
    fn cut_stalled(&self, begun: Instant) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        for place in state.slowest_places() {
            place.is_cut = stalled_at(place.moved, begun) <= now;
        }
        self.fit(&mut state);
        state.wake();
        let is_read = state.slowest().is_some();
        is_read || state.readers.is_empty() && now < stalled_at(state.left, begun)
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

    /// The readers that are the furthest behind.
    fn slowest_places(&mut self) -> impl Iterator<Item = &mut Place> {
        let slowest = self.slowest();
        self.readers.iter_mut().map(|(_, place)| place).filter(move |place| !place.is_cut && Some(place.at) == slowest)
    }

    /// How long a writer waits that began then: until those who hold it up have stalled for long, or nobody has come to read.
    fn patience(&mut self, begun: Instant) -> Instant {
        let stalls = self.slowest_places().map(|place| stalled_at(place.moved, begun)).min();
        stalls.unwrap_or_else(|| stalled_at(self.left, begun))
    }

    fn wake(&mut self) {
        for (_, place) in &mut self.readers {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

/// When a reader that moved last at this time stalls, for a writer that has waited since then.
fn stalled_at(moved: Instant, begun: Instant) -> Instant {
    moved.max(begun) + EXCHANGE_STALLED
}

#[cfg(test)]
mod tests;
