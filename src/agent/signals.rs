//! What people and service managers ask of the agent.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM or SIGINT: to end.
    Stop,
    /// SIGHUP: to poll now, and to try again what was rejected.
    PollNow,
    /// SIGUSR1: to run the commands again for what is held.
    Again,
}

/// The signals.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    /// From here on they do not end the process.
    pub fn new() -> io::Result<Self> {
        let of = signal;
        Ok(Self {
            terminate: of(SignalKind::terminate())?,
            interrupt: of(SignalKind::interrupt())?,
            hangup: of(SignalKind::hangup())?,
            user: of(SignalKind::user_defined1())?,
        })
    }

    /// What is asked next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::PollNow,
            _ = self.user.recv() => Asked::Again,
        }
    }
}
