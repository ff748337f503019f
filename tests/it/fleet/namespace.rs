//! Networks of a test: a wire from its clients to each of its servers, which can be cut.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::model_file::ModelFile;
use crate::packaging::installed;
use crate::server::{Server, tidewait};

/// Set where a test runs in a namespace of its own.
const INSIDE: &str = "TIDEWAIT_TEST_NAMESPACE";
/// Of clients; operators are not cut off by rules.
const PORT: u16 = 8480;
/// One packet of twenty, as a part of 2^32.
const TWENTIETH: u32 = u32::MAX / 20;

/// Runs the test of this name once more, in a network namespace of its own in which it is root; whether this is that run.
pub(super) async fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    installed().await;
    let program = std::env::current_exe().expect("it has a name");
    let mut command = tokio::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net"]).arg(program).args(["--exact", test, "--nocapture"]);
    let output = command.env(INSIDE, "yes").stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.expect("unshare is there");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "{test}: {stdout}\n{stderr}");
    false
}

/// What is wrong with a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is unplugged: who sends is told.
    Cut,
    /// What the server sends is lost, what clients send arrives.
    OneWay,
    /// Both are lost, and nobody is told.
    BlackHole,
    /// One packet of twenty is lost, either way.
    Loss,
}

/// A wire from here to a namespace in which a server runs.
pub(super) struct Wire {
    number: u8,
    holder: Child,
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Wire {
    pub(super) fn new(number: u8) -> Self {
        // It ends with the pipe, should this process be killed.
        let holder = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let wire = Self { number, holder: holder.expect("unshare is there") };
        wire.is_apart();
        let pid = wire.holder.id();
        run(&format!(
            "ip link add near{number} type veth peer name far netns {pid}
             ip address add 10.77.{number}.1/24 dev near{number}
             ip link set near{number} up"
        ));
        wire.run_there(&format!(
            "ip address add 10.77.{number}.2/24 dev far
             ip link set far up
             nft add table inet wire
             nft 'add chain inet wire in {{ type filter hook input priority 0; }}'
             nft 'add chain inet wire out {{ type filter hook output priority 0; }}'"
        ));
        wire
    }

    /// Waits until the holder has left this namespace.
    fn is_apart(&self) {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("it runs");
        let (pid, here) = (self.holder.id().to_string(), of("self"));
        while of(&pid) == here {
            std::thread::yield_now();
        }
    }

    /// Commands at the server's end.
    fn run_there(&self, script: &str) {
        let pid = self.holder.id();
        run(&format!("nsenter --net=/proc/{pid}/ns/net sh -ec \"$(cat <<'END'\n{script}\nEND\n)\""));
    }

    fn address(&self, port: u16) -> SocketAddr {
        ([10, 77, self.number, 2], port).into()
    }

    /// A server of this model at the other end, always at the same address.
    pub(super) async fn serve(&self, model: &ModelFile) -> Server {
        let [listen, admin] = [PORT, PORT + 1].map(|port| self.address(port).to_string());
        let arguments = ["serve", "--listen", &listen, "--admin", &admin, "--log-format=json", "--allow-anonymous"];
        let server = tidewait(&[&arguments[..], &["--version-from=/n", "--file", model.arg()]].concat());
        let mut command = tokio::process::Command::new("nsenter");
        for (name, value) in server.as_std().get_envs() {
            if value.is_none() {
                command.env_remove(name);
            }
        }
        command.kill_on_drop(true).arg(format!("--net=/proc/{}/ns/net", self.holder.id()));
        command.arg(server.as_std().get_program()).args(server.as_std().get_args());
        let mut server = Server::spawn(command).await;
        server.ready().await;
        server
    }

    pub(super) fn breaks(&self, fault: Fault) {
        let (from, to) = (format!("tcp sport {PORT}"), format!("tcp dport {PORT}"));
        let drops = |chain: &str, what: &str| format!("nft 'add rule inet wire {chain} {what} drop'\n");
        match fault {
            Fault::Cut => run(&format!("ip link set near{} down", self.number)),
            Fault::OneWay => self.run_there(&drops("out", &from)),
            Fault::BlackHole => self.run_there(&(drops("out", &from) + &drops("in", &to))),
            Fault::Loss => {
                // The kernel need not have netem for this.
                let some = format!("meta random < {TWENTIETH}");
                self.run_there(&(drops("out", &format!("{from} {some}")) + &drops("in", &format!("{to} {some}"))));
            }
        }
    }

    pub(super) fn heals(&self) {
        run(&format!("ip link set near{} up", self.number));
        self.run_there("nft flush table inet wire");
    }
}

fn run(script: &str) {
    let script = format!("PATH=$PATH:/usr/sbin:/sbin\n{script}");
    let output = Command::new("sh").args(["-ec", &script]).output().expect("a shell is there");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}
