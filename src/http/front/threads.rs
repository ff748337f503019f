//! The threads of the event loops: one for each core, which waits for the kernel and drives its loop. What is not a plain poll
//! runs on the runtime of the process.

use std::io;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use futures::future::select_all;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::epoll::Epoll;
use super::{EventLoop, Inbox};
use crate::http::Router;
use crate::lifecycle::{stop, threads};

/// Events that follow each other within this are so many that a pause pays: a wake-up for each costs more than the event.
const CLOSE: Duration = Duration::from_micros(200);

/// That pause. Linux adds as much to it by default (`timerslack_ns`).
const PAUSE: Duration = Duration::from_micros(50);

/// No pause follows so many events at once: they were gathered already.
const GATHERED: usize = 16;

/// Nor does one where a loop has fewer connections: a client that asks again at once would wait for it each time.
const MANY: usize = 64;

/// The event loops.
#[derive(Debug)]
pub struct Threads {
    /// Of each loop.
    pub inboxes: Vec<Arc<Inbox<Epoll>>>,
    /// Tells of the end of each loop; an error: it has panicked.
    ended: Vec<oneshot::Receiver<io::Result<()>>>,
}

impl Threads {
    /// Starts an event loop for each core. Tasks for connections run on the runtime that this is called on.
    pub fn start(router: &Arc<Router>, stop: &stop::Watch, connections: &TaskTracker) -> io::Result<Self> {
        let (mut inboxes, mut ended) = (Vec::new(), Vec::new());
        for number in 0..threads::workers() {
            let (inbox, epoll) = (Inbox::new(), Epoll::new()?);
            let waker = Waker::from(epoll.alarm());
            let event_loop = EventLoop::new(
                Arc::clone(router),
                epoll,
                Arc::clone(&inbox),
                stop.clone(),
                connections.clone(),
                Handle::current(),
            );
            // Who waits for the connections waits for the loop.
            let open = connections.token();
            let (end, receiver) = oneshot::channel();
            thread::Builder::new().name(format!("event-loop-{number}")).spawn(move || {
                // Nobody listens where the process has ended.
                let _ = end.send(run(event_loop, &waker));
                drop(open);
            })?;
            inboxes.push(inbox);
            ended.push(receiver);
        }
        Ok(Self { inboxes, ended })
    }

    /// Waits until an event loop ends that nobody has asked to, and says why.
    pub async fn ended(&mut self) -> io::Error {
        match select_all(&mut self.ended).await.0 {
            Ok(Ok(())) => io::Error::other("an event loop ended though nobody asked it to"),
            Ok(Err(error)) => error,
            Err(_) => io::Error::other("an event loop panicked"),
        }
    }

    /// Waits until the last connection has ended. No more are accepted.
    pub async fn finished(self) -> io::Result<()> {
        for ended in self.ended {
            ended.await.map_err(|_| io::Error::other("an event loop panicked"))??;
        }
        Ok(())
    }
}

/// Drives an event loop to its end.
fn run(mut event_loop: EventLoop<Epoll>, waker: &Waker) -> io::Result<()> {
    let mut ready = Vec::new();
    let mut last = now();
    while !event_loop.is_over() {
        let has_messages = event_loop.take_messages(&mut Context::from_waker(waker));
        let limit = if has_messages || event_loop.is_busy() {
            Some(Duration::ZERO)
        } else {
            event_loop.deadline().map(|deadline| deadline.saturating_duration_since(now()))
        };
        event_loop.poller.wait(limit, &mut ready)?;
        let (count, now) = (ready.len(), now());
        event_loop.step(&mut ready, now);
        let is_close = now.saturating_duration_since(std::mem::replace(&mut last, now)) < CLOSE;
        let is_few = (1..GATHERED).contains(&count) && !event_loop.is_busy();
        if is_close && is_few && event_loop.clients.len() >= MANY {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
