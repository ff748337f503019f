//! Consistent reads of a source: requests whose clients may hold a newer state ask for them, and
//! the source performs them.
//!
//! Reads are numbered as they begin. A request notes on arrival the number that the next read will
//! have: only that one or a later one began after it. Requests that ask meanwhile share it.

use std::sync::Arc;

use tokio::sync::watch;

/// The reads of one operation's source.
#[derive(Debug, Default)]
pub struct Reads {
    requested: watch::Sender<Requested>,
    completed: watch::Sender<Completed>,
}

/// The number of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Number(u64);

#[derive(Debug, Clone, Copy, Default)]
struct Requested {
    begun: Number,
    wanted: Number,
    /// Whether a source is there that reads.
    reads: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Completed {
    number: Number,
    confirmed: bool,
}

/// The source's end.
#[derive(Debug)]
pub struct Reader {
    reads: Arc<Reads>,
    requested: watch::Receiver<Requested>,
}

impl Reads {
    /// The number of the next read, for a request that has just arrived; none where the source does
    /// not read, as a file.
    #[must_use]
    pub fn next(&self) -> Option<Number> {
        let requested = *self.requested.borrow();
        requested.reads.then_some(Number(requested.begun.0 + 1))
    }

    /// Asks for this read, unless it has begun, and waits until it or a later one is completed. Returns
    /// whether the source then held what it had reported: published, or waiting for its turn.
    pub async fn ask(&self, number: Number) -> bool {
        let mut completed = self.completed.subscribe();
        self.requested.send_if_modified(|requested| {
            let more = requested.wanted < number;
            requested.wanted = requested.wanted.max(number);
            more
        });
        match completed.wait_for(|completed| completed.number >= number).await {
            Ok(completed) => completed.confirmed,
            // Not while `self` lives.
            Err(_) => false,
        }
    }

    /// The read is answered, and what it showed was reported: published, or waiting for its turn.
    pub fn complete(&self, number: Number, confirmed: bool) {
        self.completed.send_replace(Completed { number, confirmed });
    }

    /// The end for the one source that reads, until it is dropped.
    #[must_use]
    pub fn reader(self: &Arc<Self>) -> Reader {
        self.requested.send_modify(|requested| requested.reads = true);
        Reader { reads: Arc::clone(self), requested: self.requested.subscribe() }
    }
}

impl Reader {
    /// Whether a read is asked for that has not begun.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        let requested = *self.requested.borrow();
        requested.wanted > requested.begun
    }

    /// Waits until a read is asked for that has not begun.
    pub async fn requested(&mut self) {
        // The sender lives in `reads`.
        let _ = self.requested.wait_for(|requested| requested.wanted > requested.begun).await;
    }

    /// The number of a read that begins: to be called before anything of it is sent.
    #[must_use]
    pub fn begin(&self) -> Number {
        let mut number = Number::default();
        self.reads.requested.send_modify(|requested| {
            requested.begun.0 += 1;
            number = requested.begun;
        });
        number
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reads.requested.send_modify(|requested| requested.reads = false);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_request_uses_only_a_read_that_began_after_it() {
        let reads = Arc::new(Reads::default());
        assert_eq!(reads.next(), None, "nobody reads");
        let mut reader = reads.reader();
        let early = reads.next().expect("a reader");
        assert!(!reader.is_requested(), "to know the number is not to ask");
        let mut first = Box::pin(reads.ask(early));
        assert!(first.as_mut().now_or_never().is_none());
        reader.requested().now_or_never().expect("asked for");
        let one = reader.begin();
        assert!(!reader.is_requested());
        // Arrived while it is under way: the next one is theirs, and shared.
        let late = reads.next().expect("a reader");
        assert!(late > one);
        let (mut second, mut third) = (Box::pin(reads.ask(late)), Box::pin(reads.ask(late)));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        reads.complete(one, true);
        assert_eq!(first.now_or_never(), Some(true));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        // One that failed is never completed; the next covers what it was for.
        let _ = reader.begin();
        let three = reader.begin();
        reads.complete(three, false);
        assert_eq!((second.now_or_never(), third.now_or_never()), (Some(false), Some(false)));
        drop(reader);
        assert_eq!(reads.next(), None);
    }

    #[tokio::test]
    async fn a_read_that_began_for_another_reason_is_used() {
        let reads = Arc::new(Reads::default());
        let reader = reads.reader();
        let number = reads.next().expect("a reader");
        assert_eq!(reader.begin(), number);
        let asking = reads.ask(number);
        assert!(!reader.is_requested());
        reads.complete(number, true);
        assert_eq!(asking.now_or_never(), Some(true));
    }
}
