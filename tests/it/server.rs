//! The built binary, started for a test on ports of its own, and a plain HTTP/1.1 client whose
//! bytes are visible.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// The longest that any single step of a test may take.
pub(crate) const STEP: Duration = Duration::from_secs(30);

/// Looks again and again until there is something: what it waits for is in another process.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let waited = tokio::time::timeout(STEP, async {
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never {what}"))
}

/// A running `tidewait serve`; killed when dropped.
pub(crate) struct Server {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) child: Child,
    /// Its log lines so far, one JSON object each.
    pub(crate) log: watch::Receiver<Vec<String>>,
}

/// An answer, with names in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A connection that sends and reads one request after the other.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: BufReader<S>,
    /// The server said that it closes.
    pub(crate) closed: bool,
    /// The last request was HEAD, whose answer has no body.
    is_head: bool,
}

/// `tidewait` with these arguments and none of this process's settings.
pub(crate) fn tidewait(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewait"));
    command.args(arguments).kill_on_drop(true).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("TIDEWAIT_") || text.starts_with("OTEL_") || text == "KUBECONFIG" {
            command.env_remove(name);
        }
    }
    command
}

/// An address of this host that is not loopback: who connects to it is another host to the program.
pub(crate) fn far() -> Option<IpAddr> {
    let probe = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Nothing is sent: the kernel chooses an address.
    probe.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(probe.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}

impl Server {
    /// Starts it on free ports and waits until it listens.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let ports = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"];
        let all: Vec<_> = ports.iter().chain(arguments).copied().collect();
        Self::spawn(tidewait(&all)).await
    }

    /// Starts a prepared command and waits until it listens.
    pub(crate) async fn spawn(command: Command) -> Self {
        Self::spawn_to(command, Stdio::null()).await
    }

    /// The same, with this for its standard output.
    pub(crate) async fn spawn_to(mut command: Command, stdout: impl Into<Stdio>) -> Self {
        let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let log = collect(BufReader::new(child.stderr.take().expect("piped")).lines());
        let mut server = Self { listen: ([127, 0, 0, 1], 0).into(), admin: ([127, 0, 0, 1], 0).into(), child, log };
        (server.listen, server.admin) = addresses(&server.logged("listening").await);
        server
    }

    /// Waits for a log line that holds `text`.
    pub(crate) async fn logged(&mut self, text: &str) -> String {
        let found = |log: &Vec<String>| log.iter().any(|line| line.contains(text));
        let waited = tokio::time::timeout(STEP, self.log.wait_for(found)).await.map(|seen| seen.is_ok());
        let log = self.log.borrow().clone();
        assert!(matches!(waited, Ok(true)), "no log line with {text:?} in {log:#?}");
        log.into_iter().find(|line| line.contains(text)).expect("found before")
    }

    /// Waits until a state can be served.
    pub(crate) async fn ready(&mut self) {
        self.logged("\"published\"").await;
    }

    /// Sends a signal by the number that `kill` knows.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).expect("it runs");
        let id = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// Stops it, and waits until none of its threads runs any more.
    pub(crate) async fn stop_threads(&self) {
        self.signal(rustix::process::Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id().expect("it runs"));
        let runs = |task: &std::path::Path| {
            // The state stands behind the name, which is in brackets (proc_pid_stat(5)); a thread may end meanwhile.
            let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
            !stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
        };
        let stopped = async {
            while std::fs::read_dir(&tasks).expect("it runs").any(|task| runs(&task.expect("a thread").path())) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(STEP, stopped).await.expect("it stops in time");
    }

    /// Waits until it has ended, and gives its exit code (none: by a signal).
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        tokio::time::timeout(STEP * 2, self.child.wait()).await.expect("it ends in time").expect("a status").code()
    }

    /// A GET on a connection of its own.
    pub(crate) async fn get(&self, target: &str) -> Reply {
        Client::connect(self.listen).await.get(target, &[]).await
    }

    /// A GET of the admin port.
    pub(crate) async fn admin(&self, target: &str) -> Reply {
        Client::connect(self.admin).await.get(target, &[]).await
    }

    /// The value of a metric line that begins with `series`; 0 if there is none.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = String::from_utf8(self.admin("/metrics").await.body).expect("text");
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Asks until `State-Age` is at least this: the source is away, and that is its clock.
    pub(crate) async fn age_reaches(&self, seconds: u64) {
        let mut look = tokio::time::interval(Duration::from_millis(200));
        let waited = tokio::time::timeout(STEP + Duration::from_secs(seconds), async {
            while self.get("/describe").await.field("state-age").parse::<u64>().expect("seconds") < seconds {
                look.tick().await;
            }
        });
        waited.await.expect("the age grows");
    }

    /// Asks for a metric until it has this value: the state to wait for is in another process.
    pub(crate) async fn metric_becomes(&self, series: &str, value: f64) {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let waited = tokio::time::timeout(STEP, async {
            while (self.metric(series).await - value).abs() > 1e-9 {
                look.tick().await;
            }
        });
        let reached = waited.await.is_ok();
        assert!(reached, "{series} is {}, not {value}", self.metric(series).await);
    }
}

/// The lines that come, until there are no more.
pub(crate) fn collect<R>(mut lines: Lines<R>) -> watch::Receiver<Vec<String>>
where
    R: AsyncBufRead + Unpin + Send + 'static,
{
    let (seen, log) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            seen.send_modify(|log: &mut Vec<String>| log.push(line));
        }
    });
    log
}

/// Where it listens, for clients and operators, as its log says in either form.
pub(crate) fn addresses(line: &str) -> (SocketAddr, SocketAddr) {
    let json: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let address = |name: &str| {
        let of_text = || line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        json[name].as_str().or_else(of_text).and_then(|text| text.parse().ok())
    };
    let (listen, admin) = (address("listen"), address("admin"));
    (listen.unwrap_or_else(|| panic!("no address in {line}")), admin.expect("beside it"))
}

impl Reply {
    /// The value of a field; empty if it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// `State-Id`.
    pub(crate) fn id(&self) -> &str {
        self.field("state-id")
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = tokio::time::timeout(STEP, TcpStream::connect(address)).await.expect("in time");
        Self { stream: BufReader::new(stream.expect("it listens")), closed: false, is_head: false }
    }

    /// Connects; none when nobody listens.
    pub(crate) async fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        Some(Self { stream: BufReader::new(stream), closed: false, is_head: false })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// One on a stream of its own.
    pub(crate) fn on(stream: S) -> Self {
        Self { stream: BufReader::new(stream), closed: false, is_head: false }
    }

    /// Sends a GET and reads its answer.
    pub(crate) async fn get(&mut self, target: &str, fields: &[(&str, &str)]) -> Reply {
        self.send("GET", target, fields).await;
        self.reply().await
    }

    /// Sends a request without a body.
    pub(crate) async fn send(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) {
        self.try_send(method, target, fields).await.expect("it reads");
    }

    /// Sends a request without a body to a server that may be gone.
    pub(crate) async fn try_send(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> std::io::Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        self.is_head = method == "HEAD";
        self.stream.get_mut().write_all(head.as_bytes()).await
    }

    /// Reads one answer to a GET, however long it is held (the longest wait and some).
    pub(crate) async fn reply(&mut self) -> Reply {
        tokio::time::timeout(STEP * 3, self.try_reply()).await.expect("an answer in time").expect("a whole answer")
    }

    /// A chunked body; none when the connection ends first.
    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.ok()?;
            let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
            let mut chunk = vec![0; length + 2];
            self.stream.read_exact(&mut chunk).await.ok()?;
            if length == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    /// Reads one answer; none when the connection ends first.
    pub(crate) async fn try_reply(&mut self) -> Option<Reply> {
        let mut status = String::new();
        self.stream.read_line(&mut status).await.ok().filter(|read| *read > 0)?;
        let status: u16 = status.split(' ').nth(1)?.parse().ok()?;
        let mut fields = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, fields, body: Vec::new() };
        self.closed = reply.field("connection").eq_ignore_ascii_case("close");
        if reply.field("transfer-encoding").eq_ignore_ascii_case("chunked") {
            reply.body = self.chunks().await?;
        } else if !self.is_head && !matches!(status, 100..200 | 204 | 304) {
            let length = reply.field("content-length").parse().ok()?;
            reply.body = vec![0; length];
            self.stream.read_exact(&mut reply.body).await.ok()?;
        }
        Some(reply)
    }
}
