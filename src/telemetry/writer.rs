//! Text for standard error or output, written by a thread of its own: a caller never waits for the reader.
//!
//! A pipe that is not read, a terminal that is stopped or a full disk would else hold up changes, requests, probes and
//! the end of the process. What does not fit into [`LOG_BYTES`] is dropped and counted, and a line says how much once
//! something can be written again.
//!
//! Our own, since the writer of tracing-appender panics where no thread can be had, bounds lines instead of bytes, and
//! prints to the same stuck pipe when it is dropped.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tracing_subscriber::fmt::MakeWriter;

use crate::bounds::LOG_BYTES;

/// Where text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Takes whole lines, and never waits.
#[derive(Debug, Clone)]
pub struct Writer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write, or nothing more will come.
    filled: Condvar,
    /// All is written.
    emptied: Condvar,
    dropped: IntCounter,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whole lines that wait.
    text: Vec<u8>,
    /// Bytes that the thread has taken and not written yet.
    taken: usize,
    /// The thread is at work.
    busy: bool,
    /// Lines dropped since the last line that reported a number of them.
    untold: u64,
    ended: bool,
}

impl Writer {
    /// Starts the thread.
    pub fn start(target: Target) -> io::Result<Self> {
        let dropped = IntCounter::new(
            "tidewait_log_lines_dropped_total",
            "Log lines that were dropped, since nobody read standard error or it could not be written.",
        );
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: dropped.map_err(io::Error::other)?,
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.run(target))?;
        Ok(Self(shared))
    }

    /// Takes lines, or drops all of them where there is no room.
    pub fn push(&self, lines: &[u8]) {
        let mut queue = self.0.lock();
        if queue.text.len() + queue.taken + lines.len() > LOG_BYTES {
            let dropped = count(lines);
            queue.untold += dropped;
            self.0.dropped.inc_by(dropped);
            return;
        }
        queue.text.extend_from_slice(lines);
        self.0.filled.notify_one();
    }

    /// Ends the thread, and waits until all is written, at most this long: a stuck reader must not keep the process.
    pub fn finish(&self, at_most: Duration) {
        let mut queue = self.0.lock();
        queue.ended = true;
        self.0.filled.notify_one();
        let waits = |queue: &mut Queue| queue.busy || !queue.text.is_empty();
        drop(self.0.emptied.wait_timeout_while(queue, at_most, waits));
    }

    /// Lines that were dropped.
    #[must_use]
    pub fn dropped(&self) -> IntCounter {
        self.0.dropped.clone()
    }
}

impl Shared {
    /// What holds this lock runs no code that could panic.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, target: Target) {
        while let Some(batch) = self.take() {
            let written = write_all(target, &batch);
            let untold = {
                let mut queue = self.lock();
                queue.taken = 0;
                match written {
                    Ok(()) => std::mem::take(&mut queue.untold),
                    // Reported once something can be written: until then this would only come back.
                    Err(unwritten) => {
                        let lost = count(&batch[batch.len() - unwritten..]);
                        queue.untold += lost;
                        self.dropped.inc_by(lost);
                        0
                    }
                }
            };
            if untold > 0 {
                tracing::warn!(lines = untold, "log lines were dropped: standard error was not read, or not writable");
            }
            let mut queue = self.lock();
            queue.busy = false;
            drop(queue);
            self.emptied.notify_all();
        }
    }

    /// Waits for lines; none when no more will come.
    fn take(&self) -> Option<Vec<u8>> {
        let waits = |queue: &mut Queue| queue.text.is_empty() && !queue.ended;
        let queue = self.filled.wait_while(self.lock(), waits);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        if queue.text.is_empty() {
            return None;
        }
        queue.taken = queue.text.len();
        queue.busy = true;
        Some(std::mem::take(&mut queue.text))
    }
}

/// Writes all, past the buffer and lock of the standard library, which whoever panics would wait for. Where that is
/// impossible, how many bytes are left.
fn write_all(target: Target, bytes: &[u8]) -> Result<(), usize> {
    let (output, error) = (io::stdout(), io::stderr());
    let file = match target {
        Target::Output => output.as_fd(),
        Target::Error => error.as_fd(),
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(file, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            // Another process that shares the descriptor made it so.
            Err(Errno::AGAIN) if writable(file) => {}
            Err(_) => return Err(rest.len()),
        }
    }
    Ok(())
}

/// Waits until a descriptor can be written.
fn writable(file: BorrowedFd<'_>) -> bool {
    matches!(poll(&mut [PollFd::new(&file, PollFlags::OUT)], None), Ok(_) | Err(Errno::INTR))
}

fn count(lines: &[u8]) -> u64 {
    // A last line without an end is one too.
    let lines = lines.split_inclusive(|byte| *byte == b'\n').count();
    u64::try_from(lines).unwrap_or(u64::MAX)
}

impl io::Write for Writer {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.push(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
