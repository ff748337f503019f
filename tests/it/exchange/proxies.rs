//! Behind the real nginx and the real haproxy, by the lines of docs/exchange.md and the proxies' own timeouts.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::demos::{block, port};
use super::{Dialled, ask, send, text};
use crate::agent::Agent;
use crate::proxy::nginx::Nginx;
use crate::server::{STEP, Server, tidewait, until};
use crate::worker::{Port, found, head, write};

/// Longer than the timeout of either proxy, and shorter than twice [`IDLE`].
pub(crate) const LONGER: Duration = Duration::from_secs(70);

/// Where the server closes an idle connection of HTTP/1.1.
const IDLE: Duration = Duration::from_secs(45);

const SECOND: Duration = Duration::from_secs(1);

/// The timeouts of /etc/haproxy/haproxy.cfg, as Debian's package brings it.
const DEFAULTS: &str =
    "defaults\n    mode http\n    timeout connect 5000\n    timeout client 50000\n    timeout server 50000\n";

/// The timeout of nginx for reading, and the two of haproxy.
const OWN: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(50)];

/// How often a worker has dialled in.
const UPGRADES: &str = r#"tidewait_http_requests_total{code="1xx",route="exchange"}"#;

/// A running haproxy; killed when dropped.
pub(crate) struct Haproxy {
    pub(crate) address: SocketAddr,
    _child: Child,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts it in front of a server, by the lines of the page without those that have this text.
    pub(crate) async fn before(server: SocketAddr, without: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = SocketAddr::from(([127, 0, 0, 1], port()));
        let page = block("abortonclose");
        let lines: Vec<_> = page.lines().filter(|line| without.is_empty() || !line.contains(without)).collect();
        let lines = moved(&lines.join("\n"), address, server);
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, format!("global\n    maxconn 100\n{DEFAULTS}{lines}\n")).expect("written");
        let mut command = Command::new(crate::control_plane::tools().await.join("haproxy"));
        command.args(["-db", "-f"]).arg(file).kill_on_drop(true).stdin(Stdio::null());
        let child = command.spawn().expect("haproxy of the test tools starts");
        until("haproxy listens", async || TcpStream::connect(address).await.ok()).await;
        Self { address, _child: child, _folder: folder }
    }
}

/// nginx in front of a server, by the lines of the page.
pub(crate) async fn nginx(server: SocketAddr) -> Nginx {
    Nginx::of(|address, _| moved(&block("proxy_pass"), address, server)).await
}

/// Lines of the page with addresses of the test.
fn moved(lines: &str, proxy: SocketAddr, server: SocketAddr) -> String {
    assert!(lines.contains("0.0.0.0:80\n") || lines.contains("0.0.0.0:80;"), "{lines}");
    assert!(lines.contains("127.0.0.1:8480"), "{lines}");
    lines.replace("0.0.0.0:80", &proxy.to_string()).replace("127.0.0.1:8480", &server.to_string())
}

/// A server with an exchange for each thing that happens at once. It trusts the proxy, as the page wants.
async fn served() -> Server {
    let paths = ["http2", "http1", "idle", "polled", "held", "left"].map(|name| format!("--exchange=/{name}"));
    let flags: Vec<_> = paths.iter().map(String::as_str).collect();
    Server::start(&[&["--trusted-proxies", "127.0.0.0/8"], flags.as_slice()].concat()).await
}

/// The worker of an exchange, which dials in through a proxy.
fn worker(proxy: SocketAddr, protocol: &str, app: &Port) -> Agent {
    let exchange = format!("http://{proxy}/exchange/{protocol}");
    Agent::spawn(tidewait(&["worker", "--to", &app.url(), "--exchange", &exchange, "--protocol", protocol]))
}

/// The worker of this protocol waits for [`LONGER`], and is asked then: how often it has dialled in.
async fn asked_late(server: &Server, proxy: SocketAddr, protocol: &str) -> f64 {
    let app = Port::new().await;
    let _worker = worker(proxy, protocol, &app);
    found(&app).await;
    let connections = format!("tidewait_exchange_workers{{exchange=\"{protocol}\",transport=\"{protocol}\"}}");
    server.metric_becomes(&connections, 1.0).await;
    sleep(LONGER).await;
    server.metric_becomes(&connections, 1.0).await;
    let path = format!("/{protocol}");
    let fields = [("Prefer", "wait=20"), ("X-Forwarded-For", "192.0.2.7")];
    let consumer = ask(proxy, "GET", &path, &fields, "");
    let answered = async {
        let mut stream = app.accept().await;
        let asked = head(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        asked
    };
    let (reply, asked) = tokio::join!(consumer, answered);
    assert_eq!((reply.status, text(&reply).as_str()), (200, "ok"));
    assert!(asked.to_ascii_lowercase().contains("x-forwarded-for: 192.0.2.7"), "{asked}");
    server.metric(UPGRADES).await
}

/// How long a connection without a byte lives until it is ended, in whatever way.
async fn lives(stream: &mut TcpStream) -> Duration {
    let since = Instant::now();
    let mut bytes = [0; 16];
    let end = tokio::time::timeout(STEP * 3, stream.read(&mut bytes)).await.expect("it ends in time");
    assert!(matches!(end, Ok(0) | Err(_)), "there are bytes");
    since.elapsed()
}

/// An idle connection of HTTP/1.1 is closed by the server before a proxy with this timeout does.
async fn idle(proxy: SocketAddr, timeout: Duration) {
    let mut dialled = Dialled::to(proxy, "/exchange/idle/reverse").await;
    let lived = lives(&mut dialled.stream).await;
    assert!(lived + SECOND > IDLE && lived < timeout, "{lived:?}");
}

/// Behind a proxy in front of a hub that says nothing the same connection is cut: its timeout is this, and is in force.
async fn silent(hub: &Port, proxy: SocketAddr, timeout: Duration) {
    let upgraded = async {
        let mut stream = hub.accept().await;
        head(&mut stream).await;
        let fields = "connection: upgrade\r\nupgrade: ptth\r\nalpn: http%2F1.1";
        write(&mut stream, &format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n")).await;
        stream
    };
    let (mut dialled, _hub) = tokio::join!(Dialled::to(proxy, "/exchange/idle/reverse"), upgraded);
    let lived = lives(&mut dialled.stream).await;
    assert!(lived + SECOND > timeout && lived < timeout + 9 * SECOND, "{lived:?}");
}

/// A poll of 25 s is empty, a consumer that waits longest is told to come back, and one that leaves is not waited for.
async fn waits(server: &Server, proxy: SocketAddr) {
    let since = Instant::now();
    let poll = async {
        let reply = ask(proxy, "POST", "/exchange/polled/claims?wait=25", &[("Agent-Id", "w")], "").await;
        assert_eq!(reply.status, 204, "{}", text(&reply));
        assert!(since.elapsed() > Duration::from_secs(20), "{:?}", since.elapsed());
    };
    let left = async {
        let queued = r#"tidewait_exchange_queued{exchange="left"}"#;
        let consumer = send(proxy, "POST", "/left", &[], "x").await;
        server.metric_becomes(queued, 1.0).await;
        drop(consumer);
        server.metric_becomes(queued, 0.0).await;
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    };
    let held = async {
        let reply = held(proxy).await;
        assert_eq!(reply.0, 303);
        assert!(reply.1 > Duration::from_secs(54), "{:?}", reply.1);
    };
    tokio::join!(poll, left, held);
}

/// The status for a consumer that wants to wait as long as it may, and when it comes.
async fn held(proxy: SocketAddr) -> (u16, Duration) {
    let since = Instant::now();
    let reply = ask(proxy, "GET", "/held", &[("Prefer", "wait=55")], "").await;
    (reply.status, since.elapsed())
}

#[tokio::test]
async fn behind_nginx_as_it_comes_workers_and_consumers_wait_for_longer_than_its_timeouts() {
    let (server, other, mute) = (served().await, served().await, Port::new().await);
    let (proxy, before_other, before_mute) =
        tokio::join!(nginx(server.listen), nginx(other.listen), nginx(mute.address));
    let (http2, http1, (), (), ()) = tokio::join!(
        asked_late(&server, proxy.address, "http2"),
        asked_late(&other, before_other.address, "http1"),
        idle(proxy.address, OWN[0]),
        waits(&other, before_other.address),
        silent(&mute, before_mute.address, OWN[0]),
    );
    // That of the idle connection is in the first.
    assert_eq!((http2, http1), (2.0, 2.0), "HTTP/2 dialled in once, and HTTP/1.1 again after the server closed it");
}

#[tokio::test]
async fn behind_haproxy_as_it_comes_workers_and_consumers_wait_for_longer_than_its_timeouts() {
    let (server, other, mute) = (served().await, served().await, Port::new().await);
    let own = "timeout server";
    let (proxy, before_other, whole, before_mute) = tokio::join!(
        Haproxy::before(server.listen, own),
        Haproxy::before(other.listen, own),
        Haproxy::before(other.listen, ""),
        Haproxy::before(mute.address, own)
    );
    let (http2, http1, (), (), (), cut) = tokio::join!(
        asked_late(&server, proxy.address, "http2"),
        asked_late(&other, before_other.address, "http1"),
        idle(proxy.address, OWN[1]),
        waits(&other, whole.address),
        silent(&mute, before_mute.address, OWN[1]),
        held(before_other.address),
    );
    assert_eq!((http2, http1), (2.0, 2.0), "HTTP/2 dialled in once, and HTTP/1.1 again after the server closed it");
    // Why the page has that line.
    assert_eq!(cut.0, 504);
}
