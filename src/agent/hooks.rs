//! Runs the commands of the operator (`--check`, `--exec`, `--verify`), whatever they do: each in a process group of its own,
//! with an environment that is exactly what is promised, for a limited time, with limited memory for what it prints.
//!
//! | a command | outcome |
//! |---|---|
//! | ends with 0 | [`Outcome::Done`] |
//! | ends with 75 (`EX_TEMPFAIL` of sysexits.h) | [`Outcome::TryAgain`], as often as it takes |
//! | ends with another code, or by a signal that is not ours | [`Outcome::Rejected`], with the last line of its standard error |
//! | runs for longer than `--exec-timeout` | SIGTERM to its group, SIGKILL after `--kill-after`; [`Outcome::TimedOut`] |
//! | cannot be started | [`Outcome::NotStarted`] |
//! | runs still when the agent has to end | the same signals; [`Outcome::Stopped`] |
//!
//! Both of its pipes are read until they end, or for a second after the command has: what it has started in the background
//! may hold them, and is left alone. A process that leaves the group (`setsid`) is nothing that a signal to the group
//! reaches: under systemd `KillMode=mixed` ends it with the agent.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use self::command::{Command, InvalidCommand};
pub use self::environment::{Action, Call, Environment, InvalidEnvironment};
pub use self::note::Note;
pub use self::orphans::Orphans;
pub use self::outcome::Outcome;
pub use self::output::Printed;
use self::process::{Process, Signal};
use crate::agent::deadline::at;
use crate::bounds::{HOOK_KILLED, HOOK_PIPES};

mod command;
mod environment;
mod note;
mod orphans;
mod outcome;
mod output;
mod process;

#[cfg(test)]
mod tests;

/// How long a command may run, and where it is noted that it does.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `--exec-timeout`; none: as long as it likes.
    pub timeout: Option<Duration>,
    /// `--kill-after`: from SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// Where it is noted.
    pub note: Note,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What that means.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// What it printed.
    pub stdout: Printed,
    /// The same of standard error.
    pub stderr: Printed,
    /// Something that it has started goes on, and holds its pipes.
    pub is_outlived: bool,
}

/// When commands that run are to end.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// They are ended as if their time were over.
    pub stop: CancellationToken,
    /// They are killed.
    pub kill: CancellationToken,
}

/// Why a command is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Early {
    TimedOut,
    Stopped,
}

/// Runs a command to its end, or until that is asked for. Dropping the future kills the group at once.
pub async fn run(
    command: &Command,
    environment: &Environment,
    call: &Call<'_>,
    stdin: Option<Bytes>,
    limits: &Limits,
    ends: &Ends,
) -> Ended {
    let started = Instant::now();
    let (mut stdout, mut stderr) = (Printed::default(), Printed::default());
    let mut process = match Process::start(command, environment, call, stdin.is_some()) {
        Ok(process) => process,
        Err(why) => {
            let outcome = Outcome::NotStarted(why);
            return Ended { outcome, took: started.elapsed(), stdout, stderr, is_outlived: false };
        }
    };
    process.noted(&limits.note);
    let mut pipes = process.pipes();
    let (early, status, have_pipes_ended) = {
        let mut reading = pin!(pipes.run(&mut stdout, &mut stderr, stdin));
        let (early, mut have_pipes_ended) = end(&mut process, reading.as_mut(), limits, started, ends).await;
        let status = process.reap();
        if !have_pipes_ended {
            have_pipes_ended = timeout(HOOK_PIPES, reading).await.is_ok();
        }
        (early, status, have_pipes_ended)
    };
    // Where the kernel does not let go of it, it stays.
    if process.is_reaped() {
        limits.note.clear();
    }
    let said = stderr.last_line();
    let outcome = match early {
        Some(Early::Stopped) => Outcome::Stopped,
        Some(Early::TimedOut) => Outcome::timed_out(limits.timeout.unwrap_or_default(), said),
        None => Outcome::of(status, said),
    };
    Ended { outcome, took: started.elapsed(), stdout, stderr, is_outlived: !have_pipes_ended }
}

/// Waits until a command has ended, and ends it where that is due. Why it was, and whether its pipes have ended.
async fn end(
    process: &mut Process,
    mut reading: Pin<&mut impl Future<Output = ()>>,
    limits: &Limits,
    started: Instant,
    ends: &Ends,
) -> (Option<Early>, bool) {
    let mut have_pipes_ended = false;
    let mut deadline = limits.timeout.map(|time| started + time);
    let (mut early, mut signal) = (None, None);
    loop {
        // What is sent next, and how long that has.
        let (next, time) = match signal {
            None => (Signal::TERM, limits.kill_after),
            Some(_) => (Signal::KILL, HOOK_KILLED),
        };
        tokio::select! {
            () = reading.as_mut(), if !have_pipes_ended => have_pipes_ended = true,
            () = process.exit(), if !process.has_exited() => {}
            () = ends.kill.cancelled(), if signal != Some(Signal::KILL) => {
                process.signal(Signal::KILL);
                early = early.or(Some(Early::Stopped));
                (signal, deadline) = (Some(Signal::KILL), Some(Instant::now() + HOOK_KILLED));
            }
            () = ends.stop.cancelled(), if early.is_none() => {
                process.signal(next);
                (early, signal, deadline) = (Some(Early::Stopped), Some(next), Some(Instant::now() + time));
            }
            // The kernel does not let go of it (a hung mount): it is left to a thread.
            () = at(deadline), if signal == Some(Signal::KILL) => break,
            () = at(deadline) => {
                process.signal(next);
                (early, signal, deadline) = (early.or(Some(Early::TimedOut)), Some(next), Some(Instant::now() + time));
            }
        }
        // Whoever of its group holds the pipes may still clean up, until it is killed.
        let is_over = early.is_none() || have_pipes_ended || signal == Some(Signal::KILL);
        if process.has_exited() && is_over {
            break;
        }
    }
    if early.is_some() {
        process.signal(Signal::KILL);
    }
    (early, have_pipes_ended)
}
