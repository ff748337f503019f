//! Thousands of clients that share HTTP/2 connections without TLS, with wide windows or those that a client has by default.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::clients::{Again, Clients, Expected, PATIENCE, Request};
use crate::counts::Counts;
use crate::measure::http2::Shared;
use crate::outcome::{Outcome, because};

/// Clients that are opened and not yet answered.
const OPENING: usize = 1000;

/// The clients.
pub(crate) struct Streams {
    runtime: Runtime,
    address: SocketAddr,
    shared: Shared,
    last: Option<SendRequest<Bytes>>,
    clients: usize,
    board: Arc<Board>,
}

/// What the clients have in common.
struct Board {
    state: Mutex<State>,
    /// Moves when those that were told are to poll again.
    turn: watch::Sender<u64>,
    /// The goal is reached, or something is strange.
    noticed: Notify,
}

struct State {
    counts: Counts,
    expected: Expected,
    again: Again,
    last_told: Instant,
    goal: usize,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    /// No client yet.
    pub(crate) fn new(address: SocketAddr, shared: Shared, expected: Expected) -> Outcome<Self> {
        let state = State {
            counts: Counts::default(),
            expected,
            again: Again::AtOnce,
            last_told: Instant::now(),
            goal: usize::MAX,
        };
        let board = Board { state: Mutex::new(state), turn: watch::Sender::new(0), noticed: Notify::new() };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, address, shared, last: None, clients: 0, board: Arc::new(board) })
    }

    fn open(&mut self) -> Outcome<()> {
        let sender = match self.last.take().filter(|_| !self.clients.is_multiple_of(self.shared.sharing)) {
            Some(sender) => sender,
            None => self.runtime.block_on(connect(self.address, self.shared.window, Arc::clone(&self.board)))?,
        };
        self.last = Some(sender.clone());
        let (board, client) = (Arc::clone(&self.board), self.clients);
        self.clients += 1;
        self.runtime.spawn(async move {
            if let Err(error) = follow(client, sender, &board).await {
                board.state().counts.lost(&error.to_string());
                board.noticed.notify_one();
            }
        });
        Ok(())
    }
}

async fn connect(address: SocketAddr, window: Option<u32>, board: Arc<Board>) -> Outcome<SendRequest<Bytes>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut builder = h2::client::Builder::new();
    window.map(|window| builder.initial_connection_window_size(window));
    let (sender, connection) = builder.handshake(stream).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            board.state().counts.lost(&error.to_string());
            board.noticed.notify_one();
        }
    });
    Ok(sender)
}

/// One client: polls until its connection ends.
async fn follow(client: usize, mut sender: SendRequest<Bytes>, board: &Board) -> Outcome<()> {
    let mut turn = board.turn.subscribe();
    let mut since = String::new();
    loop {
        let mut target = "http://bench".to_owned();
        Request::Whole.target(client, &since, &mut target);
        sender = sender.ready().await?;
        let request = http::Request::get(target).body(())?;
        let (response, _) = sender.send_request(request, true)?;
        let (head, mut body) = response.await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            bytes.extend_from_slice(&data);
        }
        since.clear();
        since.push_str(head.headers.get("state-id").ok_or_else(|| because("no State-Id"))?.to_str()?);
        let current = *turn.borrow();
        let again = {
            let mut state = board.state();
            match head.status.as_u16() {
                200 if state.expected.is(client, &bytes) => {
                    state.counts.count_told();
                    state.last_told = Instant::now();
                }
                200 => state.counts.wrong(&String::from_utf8_lossy(&bytes)),
                204 | 304 => state.counts.unchanged(),
                status => state.counts.refused(status),
            }
            if state.counts.told() >= state.goal || state.counts.must_be_clean().is_err() {
                board.noticed.notify_one();
            }
            state.again
        };
        if again == Again::WhenAsked {
            turn.wait_for(|turn| *turn > current).await?;
        }
    }
}

impl Clients for Streams {
    fn len(&self) -> usize {
        self.clients
    }

    fn expect(&mut self, expected: Expected, again: Again) {
        let mut state = self.board.state();
        state.expected = expected;
        state.again = again;
        state.counts = Counts::default();
    }

    fn grow(&mut self, clients: usize) -> Outcome<()> {
        let before = self.clients;
        let expected = self.board.state().expected.clone();
        self.expect(expected, Again::AtOnce);
        while self.clients < clients {
            let next = clients.min(self.clients + OPENING);
            while self.clients < next {
                self.open()?;
            }
            self.until_told(self.clients - before)?;
        }
        Ok(())
    }

    fn until_told(&mut self, clients: usize) -> Outcome<Instant> {
        self.board.state().goal = clients;
        loop {
            {
                let state = self.board.state();
                state.counts.must_be_clean()?;
                if state.counts.told() >= clients {
                    return Ok(state.last_told);
                }
            }
            let noticed = self.runtime.block_on(async { timeout(PATIENCE, self.board.noticed.notified()).await });
            if noticed.is_err() {
                return Err(because(format!("not told for {PATIENCE:?}: {}", self.board.state().counts)));
            }
        }
    }

    fn poll_again(&mut self) -> Outcome<()> {
        self.board.turn.send_modify(|turn| *turn += 1);
        self.rest(Duration::from_millis(1))
    }

    fn rest(&mut self, time: Duration) -> Outcome<()> {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
        self.board.state().counts.must_be_clean()
    }

    fn verdict(&self, told: usize) -> Outcome<()> {
        self.board.state().counts.must_be(told)
    }
}
