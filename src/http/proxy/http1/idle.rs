//! The connections that wait for a request. The one that came back last is taken first, so that those
//! that are not needed grow old and end; among them first one that was used on this thread, whose
//! memory is still near this core.
//!
//! One task, the watcher, runs while there are any: it closes those that are idle for too long, and
//! finds those that the app has closed. They wake it, and not who used them last.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};

use futures::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::super::tasks::Tasks;
use super::connection::Connection;
use crate::bounds::{UPSTREAM_IDLE, UPSTREAM_IDLE_CONNECTIONS};

/// Connections that are idle.
#[derive(Debug)]
pub(super) struct Idle {
    state: Mutex<State>,
    /// One has come back.
    returned: Notify,
    bell: Arc<Bell>,
    tasks: Tasks,
}

#[derive(Default)]
struct State {
    /// The one that came back last is the last.
    connections: Vec<Waiting>,
    /// Whether the watcher runs.
    watched: bool,
}

struct Waiting {
    connection: Connection,
    until: Instant,
    /// Where it was used last.
    thread: ThreadId,
}

/// What an idle connection wakes: the watcher, whichever task that is.
#[derive(Debug, Default)]
struct Bell(AtomicWaker);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}

impl Idle {
    pub(super) fn new(tasks: Tasks) -> Self {
        Self { state: Mutex::default(), returned: Notify::new(), bell: Arc::default(), tasks }
    }

    /// Takes one that the app has not closed, as far as is known.
    pub(super) fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = self.state().next(thread::current().id())?.connection;
            // The watcher may not have come to it yet. Nobody needs to be woken: it is driven next by who takes it.
            connection.drive(&mut Context::from_waker(Waker::noop()));
            if connection.is_free() {
                return Some(connection);
            }
        }
    }

    /// Waits for one that comes back.
    pub(super) async fn returned(&self) -> Connection {
        loop {
            self.returned.notified().await;
            if let Some(connection) = self.take() {
                return connection;
            }
        }
    }

    /// Takes a connection back once it is free; until then, and while it is open, gives it back.
    pub(super) fn put_if_free(self: &Arc<Self>, connection: Connection) -> Option<Connection> {
        if connection.is_free() {
            self.put(connection);
            return None;
        }
        connection.is_open().then_some(connection)
    }

    /// Takes a connection back. Beyond the bound, and if the app has closed it, it is closed.
    pub(super) fn put(self: &Arc<Self>, mut connection: Connection) {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut state = self.state();
        if state.connections.len() >= UPSTREAM_IDLE_CONNECTIONS {
            return;
        }
        // With the lock held: whatever happens on it from now on, the watcher finds it.
        connection.drive(&mut Context::from_waker(&waker));
        if !connection.is_free() {
            return;
        }
        state.connections.push(Waiting {
            connection,
            until: Instant::now() + UPSTREAM_IDLE,
            thread: thread::current().id(),
        });
        let watched = std::mem::replace(&mut state.watched, true);
        drop(state);
        self.returned.notify_one();
        if !watched {
            self.tasks.spawn(watch(Watching(Arc::downgrade(self)), Arc::clone(&self.bell)));
        }
    }

    /// Ends those that are closed or whose time is over; gives the end of the time of the next.
    fn sweep(&self) -> Option<Instant> {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut cx = Context::from_waker(&waker);
        let now = Instant::now();
        let mut state = self.state();
        state.connections.retain_mut(|waiting| {
            waiting.connection.drive(&mut cx);
            waiting.connection.is_free() && waiting.until > now
        });
        let next = state.connections.first().map(|oldest| oldest.until);
        state.watched = next.is_some();
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The one to be used next on this thread.
    fn next(&mut self, here: ThreadId) -> Option<Waiting> {
        let near = self.connections.iter().rposition(|waiting| waiting.thread == here);
        let at = near.or_else(|| self.connections.len().checked_sub(1))?;
        Some(self.connections.remove(at))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // The watcher ends.
        self.bell.0.wake();
    }
}

/// The watcher's pool; when the watcher is stopped, the idle connections end with it.
struct Watching(Weak<Idle>);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(idle) = self.0.upgrade() {
            let mut state = idle.state();
            state.watched = false;
            let ended = std::mem::take(&mut state.connections);
            drop(state);
            drop(ended);
        }
    }
}

/// Looks after idle connections for as long as there are any.
async fn watch(mut pool: Watching, bell: Arc<Bell>) {
    let mut next = pin!(sleep_until(Instant::now() + UPSTREAM_IDLE));
    std::future::poll_fn(|cx| {
        bell.0.register(cx.waker());
        while let Some(until) = pool.0.upgrade().and_then(|idle| idle.sweep()) {
            if next.deadline() != until {
                next.as_mut().reset(until);
            }
            if next.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        // There are none: those that come back from now on have a watcher of their own.
        pool.0 = Weak::new();
        Poll::Ready(())
    })
    .await;
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("connections", &self.connections.len()).field("watched", &self.watched).finish()
    }
}
