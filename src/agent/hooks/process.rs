//! A command that runs: the leader of a process group, which can be signalled until it is reaped, and not after.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::Builder;

use rustix::io::Errno;
pub(super) use rustix::process::Signal;
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::oneshot;

use super::command::Command;
use super::environment::{Call, Environment};
use super::note::Note;
use super::orphans::{self, Running};
use super::output::Pipes;
use crate::escape::escape;

/// The process. It is killed with its group where it is dropped before it was reaped.
#[derive(Debug)]
pub(super) struct Process {
    child: Option<(Child, Running)>,
    exited: oneshot::Receiver<()>,
    has_exited: bool,
    pipes: Pipes,
}

impl Process {
    /// Starts a command, or says in a line why it cannot be.
    pub(super) fn start(
        command: &Command,
        environment: &Environment,
        call: &Call<'_>,
        with_input: bool,
    ) -> Result<Self, String> {
        let (told, exited) = oneshot::channel();
        let (give, pid) = mpsc::sync_channel(1);
        // Before the process: there must be somebody who sees its end.
        let watching = Builder::new().name("hook".to_owned()).spawn(move || {
            if let Ok(pid) = pid.recv() {
                wait(pid);
                let _: Result<(), ()> = told.send(());
            }
        });
        watching.map_err(|error| format!("no thread can be started for it: {error}: allow more processes"))?;
        let (mut child, running) = spawn(command, environment, call, with_input).map_err(|error| {
            let program = escape(command.program()).into_owned();
            format!("{program} cannot be started: {error}: {}", remedy(&error))
        })?;
        let _: Result<(), _> = give.send(Pid::from_child(&child));
        let pipes = pipes(&mut child);
        let mut process = Self { child: Some((child, running)), exited, has_exited: false, pipes: none() };
        process.pipes = pipes.map_err(|error| format!("its pipes cannot be read: {error}"))?;
        Ok(process)
    }

    pub(super) fn pipes(&mut self) -> Pipes {
        std::mem::replace(&mut self.pipes, none())
    }

    /// Waits until it has ended. It is not reaped by that, so its number stays its own.
    pub(super) async fn exit(&mut self) {
        // The thread does not go without telling.
        let _ = (&mut self.exited).await;
        self.has_exited = true;
    }

    pub(super) fn has_exited(&self) -> bool {
        self.has_exited
    }

    /// Says in a file that it runs.
    pub(super) fn noted(&self, note: &Note) {
        if let Some((child, _)) = &self.child {
            note.write(Pid::from_child(child));
        }
    }

    pub(super) fn is_reaped(&self) -> bool {
        self.child.is_none()
    }

    /// Sends a signal to all of its group.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some((child, _)) = &self.child {
            // It may have no member left.
            let _ = kill_process_group(Pid::from_child(child), signal);
        }
    }

    /// How it ended; none if it has not.
    pub(super) fn reap(&mut self) -> Option<ExitStatus> {
        if !self.has_exited {
            return None;
        }
        let (mut child, running) = self.child.take()?;
        let status = child.wait().ok();
        drop(running);
        orphans::reap();
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some((mut child, running)) = self.child.take() {
            // It may take the kernel long to let go of it. Without a thread it is left as it is.
            let _ = Builder::new().name("hook-end".to_owned()).spawn(move || {
                let _ = child.wait();
                drop(running);
            });
        }
    }
}

fn wait(pid: Pid) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
}

fn spawn(
    command: &Command,
    environment: &Environment,
    call: &Call<'_>,
    with_input: bool,
) -> io::Result<(Child, Running)> {
    let arguments = command.arguments(call.file);
    let (program, arguments) = arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = std::process::Command::new(program);
    command.args(arguments).env_clear().envs(environment.of(call)).current_dir("/").process_group(0);
    command.stdin(if with_input { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    orphans::start(|| command.spawn())
}

fn none() -> Pipes {
    Pipes { stdin: None, stdout: None, stderr: None }
}

fn pipes(child: &mut Child) -> io::Result<Pipes> {
    let stdin = child.stdin.take().map(|pipe| Sender::from_owned_fd(OwnedFd::from(pipe))).transpose()?;
    let stdout = child.stdout.take().map(|pipe| Receiver::from_owned_fd(OwnedFd::from(pipe))).transpose()?;
    let stderr = child.stderr.take().map(|pipe| Receiver::from_owned_fd(OwnedFd::from(pipe))).transpose()?;
    Ok(Pipes { stdin, stdout, stderr })
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR) => "give the path of a program that is there, with its interpreter",
        Some(Errno::ACCESS | Errno::PERM) => {
            "make it executable (chmod +x), on a file system without noexec, for the agent's user"
        }
        Some(Errno::TOOBIG) => "give it less on its command line, or more by its input (--stdin)",
        Some(Errno::NOEXEC) => "begin the script with #! and its interpreter",
        Some(Errno::TXTBSY) => "somebody writes to it: replace it by a rename instead",
        Some(_) | None => "allow the agent more processes, files or memory",
    }
}
