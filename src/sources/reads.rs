//! Consistent reads of a source: requests whose clients may hold a newer state ask for them, and
//! the source performs them.
//!
//! Reads are numbered as they begin. A request notes on arrival the number that the next read will
//! have: only that one or a later one began after it. Requests that ask meanwhile share it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::bounds::RELAY_EPOCHS;
use crate::model::Since;

/// The reads of one operation's source.
#[derive(Debug, Default)]
pub struct Reads {
    requested: watch::Sender<Requested>,
    completed: watch::Sender<Completed>,
}

/// The number of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Number(u64);

#[derive(Debug, Default)]
struct Requested {
    begun: Number,
    wanted: Number,
    reads: Reading,
    /// What the clients hold for whom the next read is, where it has to name that.
    held: Vec<Since>,
}

/// How the source reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Reading {
    /// There is none, or it cannot be read on demand.
    #[default]
    Never,
    /// Each read shows what it holds.
    Whole,
    /// A read names a state, and shows nothing older.
    ByState,
}

/// A read that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Its number.
    pub number: Number,
    /// What it has to name: of each history the newest state that a client holds.
    pub held: Vec<Since>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Completed {
    number: Number,
    confirmed: bool,
}

/// Waits until this read or a later one is completed.
async fn is_confirmed(mut completed: watch::Receiver<Completed>, number: Number) -> bool {
    // It fails only where nothing is read any more.
    completed.wait_for(|completed| completed.number >= number).await.is_ok_and(|completed| completed.confirmed)
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
        let requested = self.requested.borrow();
        (requested.reads != Reading::Never).then(|| requested.next())
    }

    /// Asks for this read, unless it has begun, and waits until it or a later one is completed. Returns
    /// whether the source then held what it had reported: published, or waiting for its turn.
    pub async fn ask(&self, number: Number) -> bool {
        let completed = self.completed.subscribe();
        self.requested.send_if_modified(|requested| requested.wants(number));
        is_confirmed(completed, number).await
    }

    /// The same for a client that holds `held`, by a read that names it where reads name states.
    pub async fn ask_for(&self, number: Number, held: &Since) -> bool {
        let completed = self.completed.subscribe();
        let mut number = Some(number);
        self.requested.send_if_modified(|requested| {
            if requested.reads == Reading::ByState {
                // One that has begun does not name it.
                number = requested.names(held).then(|| requested.next());
            }
            number.is_some_and(|number| requested.wants(number))
        });
        match number {
            Some(number) => is_confirmed(completed, number).await,
            None => false,
        }
    }

    /// The read is answered, and what it showed was reported: published, or waiting for its turn.
    pub fn complete(&self, number: Number, confirmed: bool) {
        self.completed.send_replace(Completed { number, confirmed });
    }

    /// The end for the one source that reads, until it is dropped.
    #[must_use]
    pub fn reader(self: &Arc<Self>) -> Reader {
        self.reader_of(Reading::Whole)
    }

    /// The same for a source whose reads name what the client holds.
    #[must_use]
    pub fn reader_by_state(self: &Arc<Self>) -> Reader {
        self.reader_of(Reading::ByState)
    }

    fn reader_of(self: &Arc<Self>, reading: Reading) -> Reader {
        self.requested.send_modify(|requested| requested.reads = reading);
        Reader { reads: Arc::clone(self), requested: self.requested.subscribe() }
    }
}

impl Reader {
    /// Whether a read is asked for that has not begun.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        let requested = self.requested.borrow();
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
        self.begin_read().number
    }

    /// A read that begins, with what it has to name: to be called before anything of it is sent.
    #[must_use]
    pub fn begin_read(&self) -> Read {
        let mut read = Read { number: Number::default(), held: Vec::new() };
        self.reads.requested.send_modify(|requested| {
            requested.begun.0 += 1;
            read = Read { number: requested.begun, held: std::mem::take(&mut requested.held) };
        });
        read
    }
}

impl Requested {
    fn next(&self) -> Number {
        Number(self.begun.0 + 1)
    }

    /// Whether that is news.
    fn wants(&mut self, number: Number) -> bool {
        let before = self.wanted;
        self.wanted = before.max(number);
        self.wanted > before
    }

    /// The next read names this state, or a newer one of its history. False: it names too many histories already.
    fn names(&mut self, held: &Since) -> bool {
        if let Some(same) = self.held.iter_mut().find(|same| same.epoch == held.epoch) {
            if same.version < held.version {
                *same = *held;
            }
            return true;
        }
        let has_room = self.held.len() < RELAY_EPOCHS;
        if has_room {
            self.held.push(*held);
        }
        has_room
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reads.requested.send_modify(|requested| (requested.reads, requested.held) = (Reading::Never, Vec::new()));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::model::{Content, Document, Epoch, Snapshot};

    fn held(epoch: &str, version: u64) -> Since {
        let content = Content::Json(Document::from_json(b"{}").expect("a document"));
        Snapshot::of(Epoch::of(&[epoch]), version, &content).id.into()
    }

    #[tokio::test]
    async fn a_read_by_state_names_the_newest_of_each_history_and_one_that_has_begun_names_nothing_more() {
        let reads = Arc::new(Reads::default());
        let reader = reads.reader_by_state();
        let early = reads.next().expect("a reader");
        let (two, three, other) = (held("a", 2), held("a", 3), held("b", 1));
        let mut waiting: Vec<_> = [&three, &two, &other].map(|held| Box::pin(reads.ask_for(early, held))).into();
        assert!(waiting.iter_mut().all(|ask| ask.as_mut().now_or_never().is_none()));
        let read = reader.begin_read();
        assert_eq!((read.number, read.held), (early, vec![three, other]));
        let four = held("a", 4);
        let mut late = Box::pin(reads.ask_for(early, &four));
        assert!(late.as_mut().now_or_never().is_none());
        reads.complete(early, true);
        assert!(late.as_mut().now_or_never().is_none(), "that read did not name it");
        for ask in waiting {
            assert_eq!(ask.now_or_never(), Some(true));
        }
        let read = reader.begin_read();
        reads.complete(read.number, true);
        assert_eq!((read.held, late.now_or_never()), (vec![four], Some(true)));
        let many: Vec<_> = (0..=RELAY_EPOCHS).map(|number| held(&format!("e{number}"), 1)).collect();
        let mut asking: Vec<_> = many.iter().map(|held| Box::pin(reads.ask_for(early, held))).collect();
        let answered = asking.iter_mut().filter_map(|ask| ask.as_mut().now_or_never()).collect::<Vec<_>>();
        assert_eq!(answered, [false], "one history more than a read names");
    }

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
