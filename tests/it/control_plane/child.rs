//! Child processes of the test control plane that cannot outlive the test run, and ports for them.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::{env, fmt, fs, io, thread};

/// Why a part of the control plane is not there. `Debug` is the bare sentence, so that `expect` prints it readably.
pub(crate) struct Failure(pub(crate) String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A running server; it is killed and reaped when this value is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    inner: std::process::Child,
    name: &'static str,
    log: PathBuf,
}

impl Child {
    /// Starts `program` with its output in `log` (appended, so that a restart keeps what the first start said).
    pub(crate) fn start(name: &'static str, program: &Path, args: &[String], log: &Path) -> Result<Self, Failure> {
        let wrap = |error: io::Error| Failure(format!("{name} does not start: {error}"));
        let output = File::options().create(true).append(true).open(log).map_err(wrap)?;
        let mut command = dies_with_its_thread(program);
        command.args(args).stdin(Stdio::null()).stdout(output.try_clone().map_err(wrap)?).stderr(output).env_clear();
        // Cleared, because etcd reads ETCD_* and a server must not depend on who runs the tests; PATH finds setpriv.
        if let Some(path) = variable("PATH") {
            command.env("PATH", path);
        }
        let inner = spawn_for_good(command).map_err(wrap)?;
        Ok(Self { inner, name, log: log.to_owned() })
    }

    /// An error with the end of the log if the process is gone.
    pub(crate) fn check_running(&mut self) -> Result<(), Failure> {
        match self.inner.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status)),
            Err(error) => Err(Failure(format!("{} cannot be asked whether it runs: {error}", self.name))),
        }
    }

    /// The last lines of the log.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn ended(&self, status: ExitStatus) -> Failure {
        Failure(format!("{} ended with {status}; the end of its log:\n{}", self.name, self.last_words()))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only for a process that is already gone and reaped, which is what is wanted.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }
}

/// A command for `program` that the kernel kills when the THREAD that spawned it ends (`PR_SET_PDEATHSIG` looks at the
/// thread, not at the process). So a test run that is itself killed leaves nothing behind.
pub(crate) fn dies_with_its_thread(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "the rule is for the program; tests have no other configuration")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// A free port on the loopback device.
///
/// Not `bind(0)`: the kernel hands those out as source ports too. While a server is stopped, a client that keeps
/// trying its port can then be given that very port as its own and so connect to itself, and any other connection of
/// the machine can take the port before the server comes back. Below the usual ephemeral range (32768 and up) only a
/// program that asks for the port gets it.
pub(crate) fn free_port() -> u16 {
    (0..1000)
        .map(|_| fastrand::u16(20_000..32_000))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of 1000 random loopback ports between 20000 and 32000 is free")
}

/// Spawns from a thread that lives as long as this process. A test's own thread ends with its test, and a worker
/// thread with its runtime: a server shared by all tests would be killed with the first test that needed it.
fn spawn_for_good(command: Command) -> io::Result<std::process::Child> {
    type Order = (Command, mpsc::Sender<io::Result<std::process::Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("control-plane".into())
            .spawn(move || {
                // The sender is in a static, so this loop ends only with the process.
                for (mut command, reply) in inbox {
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        orders
    });
    let (reply, answer) = mpsc::channel();
    SPAWNER.send((command, reply)).expect("the spawning thread lives as long as the process");
    answer.recv().expect("the spawning thread answers every order")
}
