//! Processes that commands have left behind. As the reaper of its descendants (prctl(2), `PR_SET_CHILD_SUBREAPER`), or as
//! process 1 of a container, the agent is given those whose parent has ended, and they stay zombies until it looks.
//!
//! To look means to wait for any child, which would take the end of a command from who runs it. So nobody looks while a
//! command runs; what its end leaves is found right after it.

use std::io;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Commands that run. One process has one set of children, whoever started them.
static RUNNING: Mutex<usize> = Mutex::new(0);
/// Whether all other children are to be reaped here.
static IS_REAPER: AtomicBool = AtomicBool::new(false);
static REAPED: AtomicUsize = AtomicUsize::new(0);

/// What the process is given.
#[derive(Debug)]
pub struct Orphans {
    children: Signal,
}

/// Says that a command runs until it is dropped.
#[derive(Debug)]
pub(super) struct Running(());

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        *running = running.saturating_sub(1);
    }
}

impl Orphans {
    /// From here on the process is given what its descendants leave, and reaps it. It must have no other children than
    /// commands.
    pub fn adopt() -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        let children = signal(SignalKind::child())?;
        IS_REAPER.store(true, Ordering::Release);
        Ok(Self { children })
    }

    /// Waits until a child has ended, reaps what can be, and says how many orphans there were since the process started.
    pub async fn reaped(&mut self) -> usize {
        if self.children.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        reap();
        REAPED.load(Ordering::Relaxed)
    }
}

/// Starts a command.
pub(super) fn start(spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<(Child, Running)> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let child = spawn()?;
    *running += 1;
    Ok((child, Running(())))
}

/// Reaps all orphans, unless a command runs.
pub(super) fn reap() {
    if !IS_REAPER.load(Ordering::Acquire) {
        return;
    }
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if *running > 0 {
        return;
    }
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {
                REAPED.fetch_add(1, Ordering::Relaxed);
            }
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return,
        }
    }
}
