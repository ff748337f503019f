//! The real nginx on both sides: client, nginx, Tidewait, nginx as the app.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::harness::{DEADLINE, Front, Raw, Settings, within};

/// A running nginx; killed when dropped.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    child: Child,
    dir: TempDir,
}

impl Nginx {
    /// Starts nginx with one server, whose configuration follows `listen`.
    pub(crate) async fn start(http: &str, server: &str) -> Self {
        Self::of(|address, root| format!("{http} server {{ listen {address}; root {root}; {server} }}")).await
    }

    /// Starts nginx with what this makes of its address and its folder.
    pub(crate) async fn of(sites: impl FnOnce(SocketAddr, &str) -> String) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let root = dir.path().display();
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a bound listener has an address");
        drop(free);
        let sites = sites(address, &root.to_string());
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log stderr crit; events {{}}
             http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;
             uwsgi_temp_path {root}/d; scgi_temp_path {root}/e; {sites} }}"
        );
        std::fs::write(dir.path().join("nginx.conf"), config).expect("the folder is ours");
        std::fs::write(dir.path().join("file"), "0123456789").expect("the folder is ours");
        let child = serve(&dir, address).await;
        Self { address, child, dir }
    }

    /// A file below the root that it serves, and where it may log.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Kills it.
    pub(crate) async fn stop(&mut self) {
        self.child.kill().await.expect("it was running");
    }

    /// Starts it again at the same address, after [`Nginx::stop`].
    pub(crate) async fn again(&mut self) {
        self.child = serve(&self.dir, self.address).await;
    }
}

async fn serve(dir: &TempDir, address: SocketAddr) -> Child {
    let child = Command::new(crate::control_plane::tools().await.join("nginx"))
        .args(["-p".as_ref(), dir.path().as_os_str(), "-e".as_ref(), "stderr".as_ref()])
        .args(["-c".as_ref(), dir.path().join("nginx.conf").as_os_str()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("nginx of the test tools starts");
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(10));
    within("nginx listens", async {
        while TcpStream::connect(address).await.is_err() {
            looks.tick().await;
        }
    })
    .await;
    child
}

#[tokio::test]
async fn nginx_before_and_behind_sees_nothing_odd() {
    let app = Nginx::start(
        "client_max_body_size 1k;",
        "location /who { return 200 \"$http_x_forwarded_for|$http_forwarded|$http_host|$request_uri|$http_connection\"; }",
    )
    .await;
    let settings = Settings { trusted: "127.0.0.0/8", ..Settings::default() };
    let front = Front::with(app.address, settings).await;
    let before = Nginx::start(
        &format!("upstream tidewait {{ server {}; keepalive 4; }}", front.address),
        "location / { proxy_pass http://tidewait; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
         proxy_set_header Host $host; proxy_request_buffering off; client_max_body_size 0; \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }",
    )
    .await;
    let mut client = Raw(TcpStream::connect(before.address).await.expect("nginx accepts"));
    let answer = client.ask("GET /file HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n0123456789"), "{answer}");
    let tag = answer.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("nginx tags files").to_owned();
    let answer = client.ask("GET /file HTTP/1.1\r\nhost: a.example\r\nrange: bytes=2-4\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 206 ") && answer.ends_with("\r\n\r\n234"), "{answer}");
    client.send(format!("GET /file HTTP/1.1\r\nhost: a.example\r\nif-none-match: {tag}\r\n\r\n")).await;
    assert!(client.head().await.starts_with("HTTP/1.1 304 "));
    client.send("HEAD /file HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Length: 10\r\n"), "{head}");
    let answer = client.ask("GET /who/../who//x?%2F HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert!(
        answer.ends_with(
            "\r\n\r\n127.0.0.1, 127.0.0.1|for=127.0.0.1;host=a.example;proto=http|a.example|/who/../who//x?%2F|"
        ),
        "{answer}"
    );
    // nginx as the app refuses by the length alone and closes.
    let mut direct = front.client().await;
    direct.send("POST /file HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n").await;
    direct.send("x".repeat(4_000_000)).await;
    assert!(direct.answer().await.starts_with("HTTP/1.1 413 "));
    // SIGKILL: at once or once its sockets are closed.
    drop(app);
    let gone = tokio::time::timeout(DEADLINE, async {
        loop {
            let answer = client.ask("GET /file HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
            if answer.starts_with("HTTP/1.1 502 ") {
                break answer;
            }
        }
    });
    assert!(gone.await.expect("the app is gone").contains("app-unreachable"));
}
