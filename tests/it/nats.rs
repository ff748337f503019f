//! NATS servers with JetStream on the loopback device: one that is killed and comes back with its port and its store, and
//! a cluster of three that loses the leader of a stream.
//!
//! The program comes from `tests/control-plane/build.sh`, like those of [`crate::control_plane`].

mod self_test;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use serde_json::Value;

use crate::control_plane::{Child, Failure, WorkDir, free_port, tools};
use crate::server::{Client, until};

/// One server. It ends when this value is dropped, and so does its store.
#[derive(Debug)]
pub(crate) struct NatsServer {
    // Before the folder: fields are dropped in order, and the server writes into it.
    node: Node,
    dir: WorkDir,
}

/// Three servers that are one.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    _dir: WorkDir,
}

/// A server that can be killed and started again.
#[derive(Debug)]
struct Node {
    child: Mutex<Option<Child>>,
    name: String,
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    port: u16,
    monitor: u16,
}

impl NatsServer {
    /// Starts it with an empty store, and returns when it takes requests.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same, with these lines in its configuration: accounts, certificates.
    pub(crate) async fn start_with(configuration: &str) -> Self {
        let program = tools().await.join("nats-server");
        match Self::try_start(&program, configuration).await {
            // Another process took a port between our look and the server's bind: once more, with other ports.
            Err(failure) if failure.0.contains("address already in use") => {
                Self::try_start(&program, configuration).await
            }
            other => other,
        }
        .expect("the NATS server does not start")
    }

    async fn try_start(program: &Path, configuration: &str) -> Result<Self, Failure> {
        let dir = WorkDir::new().expect("a temporary folder");
        let file = dir.write("nats.conf", configuration).expect("a file");
        let node = Node::new("one", program, &dir, &["--config".to_owned(), file.display().to_string()]);
        node.start()?;
        node.is_healthy().await?;
        Ok(Self { node, dir })
    }

    /// `nats://host:port`; a restart does not change it.
    pub(crate) fn url(&self) -> String {
        self.node.url()
    }

    /// Kills it, as a crash does; nothing happens if it does not run.
    pub(crate) fn kill(&self) {
        self.node.kill();
    }

    /// Starts it again without its store.
    pub(crate) async fn restart_empty(&self) {
        self.kill();
        std::fs::remove_dir_all(self.dir.join("one")).expect("its store");
        self.restart().await;
    }

    /// Keeps a copy of its store, as a backup, and starts it again.
    pub(crate) async fn save(&self) {
        self.kill();
        copy(&self.dir.join("one"), &self.dir.join("saved"));
        self.restart().await;
    }

    /// Starts it again with the store that was saved.
    pub(crate) async fn restore(&self) {
        self.kill();
        std::fs::remove_dir_all(self.dir.join("one")).expect("its store");
        copy(&self.dir.join("saved"), &self.dir.join("one"));
        self.restart().await;
    }

    /// Starts it again with its port and its store, and returns when it takes requests.
    pub(crate) async fn restart(&self) {
        self.kill();
        self.node.start().expect("it starts again");
        self.node.is_healthy().await.expect("it starts again");
    }
}

impl Cluster {
    /// Starts three servers with empty stores, and returns when each of them takes part.
    pub(crate) async fn start() -> Self {
        let program = tools().await.join("nats-server");
        match Self::try_start(&program).await {
            Err(failure) if failure.0.contains("address already in use") => Self::try_start(&program).await,
            other => other,
        }
        .expect("the NATS cluster does not start")
    }

    async fn try_start(program: &Path) -> Result<Self, Failure> {
        let dir = WorkDir::new().expect("a temporary folder");
        let routes = [free_port(), free_port(), free_port()].map(|port| format!("nats://127.0.0.1:{port}"));
        let all = routes.join(",");
        let node = |name: &str, route: &String| {
            let args = ["--cluster_name", "test", "--cluster", route, "--routes", &all].map(str::to_owned);
            Node::new(name, program, &dir, &args)
        };
        let nodes = ["a", "b", "c"].iter().zip(&routes).map(|(name, route)| node(name, route)).collect();
        let cluster = Self { nodes, _dir: dir };
        cluster.start_killed().await?;
        Ok(cluster)
    }

    /// The URLs of all three, with commas between them.
    pub(crate) fn url(&self) -> String {
        self.nodes.iter().map(Node::url).collect::<Vec<_>>().join(",")
    }

    /// The name of the server that leads a stream, waited for while there is none.
    pub(crate) async fn leader_of(&self, stream: &str) -> String {
        let look = async || {
            for node in &self.nodes {
                if node.leads(stream).await {
                    return Some(node.name.clone());
                }
            }
            None
        };
        until(&format!("a leader of {stream}"), look).await
    }

    /// Kills the server that leads a stream, as a crash does, and gives its name.
    pub(crate) async fn kill_leader_of(&self, stream: &str) -> String {
        let leader = self.leader_of(stream).await;
        self.nodes.iter().find(|node| node.name == leader).expect("one of them").kill();
        leader
    }

    /// Kills all, starts them again with their ports and their stores, and returns when each of them takes part.
    pub(crate) async fn restart_all(&self) {
        for node in &self.nodes {
            node.kill();
        }
        self.restart_killed().await;
    }

    /// Starts those that were killed, and returns when each of the three takes part.
    pub(crate) async fn restart_killed(&self) {
        self.start_killed().await.expect("they start again");
    }

    async fn start_killed(&self) -> Result<(), Failure> {
        for node in &self.nodes {
            node.start()?;
        }
        for node in &self.nodes {
            node.is_healthy().await?;
        }
        // Without this look a stream of three is refused: whoever leads has not heard of all yet.
        until("three members", async || {
            for node in &self.nodes {
                let asked = node.ask("/jsz").await?;
                let meta = &asked["meta_cluster"];
                if meta["leader"] == *node.name {
                    let others = meta["replicas"].as_array()?;
                    return (others.len() == 2 && others.iter().all(|other| other["current"] == true)).then_some(());
                }
            }
            None
        })
        .await;
        Ok(())
    }
}

impl Node {
    fn new(name: &str, program: &Path, dir: &WorkDir, further: &[String]) -> Self {
        let (port, monitor) = (free_port(), free_port());
        let mut args: Vec<_> =
            ["--addr", "127.0.0.1", "--port", &port.to_string(), "--http_port", &monitor.to_string()]
                .map(str::to_owned)
                .into();
        args.extend(["--server_name", name, "--jetstream", "--store_dir"].map(str::to_owned));
        args.push(dir.join(name).display().to_string());
        args.extend_from_slice(further);
        let (program, log) = (program.to_owned(), dir.join(&format!("{name}.log")));
        Self { child: Mutex::new(None), name: name.to_owned(), program, args, log, port, monitor }
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        // A panic elsewhere leaves a whole value: no guard is held over more than one step.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self) {
        drop(self.child().take());
    }

    fn start(&self) -> Result<(), Failure> {
        let mut child = self.child();
        if child.is_none() {
            *child = Some(Child::start("nats-server", &self.program, &self.args, &self.log)?);
        }
        Ok(())
    }

    /// Waits until JetStream takes requests and all streams are read; an error when the server has ended.
    async fn is_healthy(&self) -> Result<(), Failure> {
        until(&format!("healthy: {}", self.name), async || {
            let asked = self.ask("/healthz").await;
            // After the question: a server that lost its port to another run's must not pass for that one.
            let running = self.child().as_mut().map_or(Ok(()), Child::check_running);
            if running.is_err() {
                return Some(running);
            }
            asked.filter(|asked| asked["status"] == "ok").map(|_| Ok(()))
        })
        .await
    }

    /// It is the leader of a stream, as it says itself.
    async fn leads(&self, stream: &str) -> bool {
        let Some(asked) = self.ask("/jsz?streams=true").await else { return false };
        let streams = asked["account_details"].as_array().into_iter().flatten();
        let mut streams = streams.flat_map(|account| account["stream_detail"].as_array().into_iter().flatten());
        streams.any(|found| found["name"] == stream && found["cluster"]["leader"] == *self.name)
    }

    /// What the monitoring port answers; none while nobody listens there.
    async fn ask(&self, target: &str) -> Option<Value> {
        let mut client = Client::try_connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.monitor))).await?;
        client.try_send("GET", target, &[("Connection", "close")]).await.ok()?;
        let reply = client.try_reply().await?;
        serde_json::from_slice(&reply.body).ok()
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("copied");
        }
    }
}

/// A new connection to one of these servers.
pub(crate) async fn connect(url: &str) -> jetstream::Context {
    let urls: Vec<_> = url.split(',').collect();
    let mut context = jetstream::new(async_nats::connect(urls).await.expect("a server that runs"));
    // A stream is answered for once it has a leader. Where the first election has none, the next begins after 4 to 9 s
    // (nats-server, server/raft.go): longer than the crate waits by itself.
    context.set_timeout(Duration::from_secs(30));
    context
}
