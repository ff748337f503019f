//! The threads of the event loops: one for each core, with a runtime of its own. So a loop, and the requests on connections
//! that it has lent, stay on one thread, and no event of a client wakes another.

use std::io;
use std::sync::Arc;
use std::thread;

use futures::future::select_all;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::epoll::Epoll;
use super::{EventLoop, Inbox};
use crate::bounds::LOOP_BLOCKING_THREADS;
use crate::http::Router;
use crate::lifecycle::{stop, threads};

/// The event loops. Their threads end when this is dropped.
#[derive(Debug)]
pub struct Threads {
    /// Of each loop.
    pub inboxes: Vec<Arc<Inbox<Epoll>>>,
    /// Tells of the end of each loop; an error: it has panicked.
    ended: Vec<oneshot::Receiver<()>>,
    first: Handle,
    _over: DropGuard,
}

impl Threads {
    /// Starts an event loop for each core.
    pub fn start(router: &Arc<Router>, stop: &stop::Watch, connections: &TaskTracker) -> io::Result<Self> {
        let over = CancellationToken::new();
        let (mut inboxes, mut ended, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..threads::workers() {
            let runtime =
                Builder::new_current_thread().enable_all().max_blocking_threads(LOOP_BLOCKING_THREADS).build()?;
            let epoll = {
                let _inside = runtime.enter();
                Epoll::new()?
            };
            let inbox = Inbox::new();
            let event_loop =
                EventLoop::new(Arc::clone(router), epoll, Arc::clone(&inbox), stop.clone(), connections.clone());
            handles.push(runtime.handle().clone());
            let (end, receiver) = oneshot::channel();
            // Who waits for the connections waits for the loop.
            let (served, over) = (connections.track_future(event_loop.run()), over.clone());
            thread::Builder::new().name(format!("event-loop-{number}")).spawn(move || {
                runtime.block_on(async {
                    served.await;
                    // Nobody listens where the process has ended.
                    let _ = end.send(());
                    // Tunnels, and what is left of uploads, run here as well.
                    over.cancelled().await;
                });
                runtime.shutdown_background();
            })?;
            inboxes.push(inbox);
            ended.push(receiver);
        }
        let first = handles.into_iter().next().ok_or_else(|| io::Error::other("no core for an event loop"))?;
        Ok(Self { inboxes, ended, first, _over: over.drop_guard() })
    }

    /// Runs a task beside the first event loop.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.first.spawn(task))
    }

    /// Waits until an event loop ends that nobody has asked to, and says why.
    pub async fn ended(&mut self) -> io::Error {
        match select_all(&mut self.ended).await.0 {
            Ok(()) => io::Error::other("an event loop ended though nobody asked it to"),
            Err(_) => io::Error::other("an event loop panicked"),
        }
    }

    /// Waits until the last connection has ended. No more are accepted.
    pub async fn finished(&mut self) -> io::Result<()> {
        for ended in &mut self.ended {
            ended.await.map_err(|_| io::Error::other("an event loop panicked"))?;
        }
        Ok(())
    }
}
