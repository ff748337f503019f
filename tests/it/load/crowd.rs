//! All clients of a test: what they do, what they were given, and the verdict over it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::CHANGES;
use super::client::{Answer, Connection, Dialect, connect, share};

/// Connections that are being opened at the same time: below the listener's backlog.
const OPENING: usize = 256;
/// Clients that share one HTTP/2 connection.
const SHARING: usize = 100;

/// The clients of a test.
pub(super) struct Crowd {
    clients: JoinSet<Story>,
    board: Arc<Board>,
}

/// What clients and test tell each other.
struct Board {
    address: SocketAddr,
    clients: usize,
    opening: Semaphore,
    /// How many clients were given each change.
    given: Vec<AtomicUsize>,
    /// The last change that everyone was given.
    reached: watch::Sender<u64>,
    /// The change that is about to happen; 0: all is over.
    coming: watch::Sender<u64>,
}

/// What one client went through.
#[derive(Debug, Default)]
struct Story {
    /// The change numbers of the models it was given.
    given: Vec<u64>,
    left: usize,
    unchanged: usize,
    /// Why it gave up.
    strange: Option<String>,
}

/// What a client is like.
struct Nature {
    /// It leaves now and then while it is parked.
    restless: bool,
    /// It leaves with a reset, not in order.
    abrupt: bool,
    dialect: Dialect,
    shared: Option<SendRequest<Empty<Bytes>>>,
}

impl Crowd {
    /// Starts them; each polls until the end.
    pub(super) async fn start(clients: usize, address: SocketAddr) -> Self {
        let board = Arc::new(Board {
            address,
            clients,
            opening: Semaphore::new(OPENING),
            given: (0..=CHANGES).map(|_| AtomicUsize::new(0)).collect(),
            reached: watch::Sender::new(0),
            coming: watch::Sender::new(1),
        });
        let mut tasks = JoinSet::new();
        let mut shared = None;
        for number in 0..clients {
            let kind = number % 10;
            if kind == 1 && (number / 10).is_multiple_of(SHARING) {
                shared = Some(share(address).await);
            }
            let nature = Nature {
                restless: kind == 0 || number % 40 == 1,
                abrupt: number % 100 != 0,
                dialect: match kind {
                    2 => Dialect::Gzip,
                    3 => Dialect::Zstd,
                    _ => Dialect::Plain,
                },
                shared: shared.clone().filter(|_| kind == 1),
            };
            tasks.spawn(live(nature, Arc::clone(&board)));
        }
        Self { clients: tasks, board }
    }

    /// A change comes: who is restless may leave now.
    pub(super) fn stir(&self, serial: u64) {
        self.board.coming.send_replace(serial);
    }

    /// Waits until everyone was given this change.
    pub(super) async fn all_hold(&mut self, serial: u64, within: Duration) {
        let mut reached = self.board.reached.subscribe();
        let waited = tokio::select! {
            waited = tokio::time::timeout(within, reached.wait_for(|reached| *reached >= serial)) => waited.is_ok(),
            Some(ended) = self.clients.join_next() => panic!("a client gave up: {ended:?}"),
        };
        let given = self.board.given[usize::try_from(serial).expect("small")].load(Ordering::Relaxed);
        assert!(waited, "{given} of {} clients were given change {serial} in {within:?}", self.board.clients);
    }

    /// Ends them; everyone holds the last change, and nobody was given an older one after a newer one.
    pub(super) async fn judge(mut self) -> String {
        self.board.coming.send_replace(0);
        let (mut answers, mut skipped, mut left, mut unchanged) = (0, 0, 0, 0);
        while let Some(story) = self.clients.join_next().await {
            let story = story.expect("no panic");
            assert!(story.strange.is_none(), "{story:?}");
            assert!(story.given.is_sorted(), "an older state after a newer one: {story:?}");
            assert_eq!(story.given.last(), Some(&CHANGES), "left behind: {story:?}");
            let mut distinct = story.given.clone();
            distinct.dedup();
            skipped += usize::try_from(CHANGES).expect("small") - distinct.len();
            answers += story.given.len();
            left += story.left;
            unchanged += story.unchanged;
        }
        format!(
            "{answers} states given, {skipped} skipped, {left} departures, {unchanged} waits ended without a change"
        )
    }
}

async fn live(nature: Nature, board: Arc<Board>) -> Story {
    let mut story = Story::default();
    let mut coming = board.coming.subscribe();
    let mut since = String::new();
    let mut connection = open(&nature, &board).await;
    loop {
        let leaves = if nature.restless { *coming.borrow() + fastrand::u64(1..6) } else { u64::MAX };
        tokio::select! {
            answer = connection.poll(&since) => match answer {
                Ok(answer) => match story.note(answer, &board) {
                    Some(id) => since = id,
                    None => return story,
                },
                Err(error) => {
                    story.strange = Some(error.to_string());
                    return story;
                }
            },
            is_over = reaches(&mut coming, leaves) => {
                if is_over {
                    return story;
                }
                story.left += 1;
                // Some forget what they had.
                if fastrand::u8(..4) == 0 {
                    since.clear();
                }
                // Gone before it is back.
                drop(connection);
                connection = open(&nature, &board).await;
            }
        }
    }
}

/// Waits for this change to come, or for the end, and tells which it was.
async fn reaches(coming: &mut watch::Receiver<u64>, change: u64) -> bool {
    let coming = coming.wait_for(|coming| *coming == 0 || *coming >= change).await;
    coming.is_ok_and(|coming| *coming == 0)
}

async fn open(nature: &Nature, board: &Board) -> Connection {
    if let Some(shared) = &nature.shared {
        return Connection::Shared(shared.clone());
    }
    let _turn = board.opening.acquire().await.expect("never closed");
    let stream = connect(board.address, nature.abrupt).await.expect("it listens");
    Connection::Own(stream, nature.dialect)
}

impl Story {
    /// Notes an answer and gives the id that it names; none for an answer that should not be.
    fn note(&mut self, Answer { status, id, serial }: Answer, board: &Board) -> Option<String> {
        match (status, serial) {
            (200, Some(serial)) => {
                if self.given.last() != Some(&serial) {
                    board.given(serial);
                }
                self.given.push(serial);
            }
            (204, None) => self.unchanged += 1,
            _ => {
                self.strange = Some(format!("status {status}"));
                return None;
            }
        }
        Some(id)
    }
}

impl Board {
    /// A client was given a change that it did not have.
    fn given(&self, serial: u64) {
        let given = &self.given[usize::try_from(serial).expect("small")];
        if given.fetch_add(1, Ordering::Relaxed) + 1 == self.clients {
            self.reached.send_if_modified(|reached| {
                *reached = (*reached).max(serial);
                true
            });
        }
    }
}
