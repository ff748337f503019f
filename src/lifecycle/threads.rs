//! Threads that the process cannot do without. Where the runtime cannot have one it panics, or goes on without it and
//! never answers; so they are asked for before it starts, and their lack is an error with a remedy.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, available_parallelism, scope};

use crate::bounds::SPARE_THREADS;

/// Too few threads can be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot start {count} threads: allow more processes (ulimit -u, the pids limit of the pod) or more memory (ulimit -v)"
)]
pub struct TooFew {
    count: usize,
    #[source]
    source: io::Error,
}

/// How many threads carry the work of the process.
#[must_use]
pub fn workers() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Whether the threads that the process needs can be had: starts that many at once, and ends them.
pub fn check() -> Result<(), TooFew> {
    // The workers of the runtime, and the event loops.
    let count = 2 * workers() + SPARE_THREADS;
    let gate = Mutex::new(());
    scope(|scope| {
        let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..count {
            let waits = || drop(gate.lock());
            Builder::new().spawn_scoped(scope, waits).map_err(|source| TooFew { count, source })?;
        }
        drop(closed);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_runs_tests_has_enough() {
        check().expect("threads");
    }
}
