//! A consumer reads the body of an answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{Buffer, CutOff, Ending};

/// A consumer reads a body.
#[derive(Debug)]
pub struct Reader {
    pub(super) buffer: Arc<Buffer>,
    pub(super) key: usize,
    pub(super) ended: bool,
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
            place.moved = Instant::now();
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
        state.left = Instant::now();
        self.buffer.fit(&mut state);
        state.wake_writer();
    }
}
