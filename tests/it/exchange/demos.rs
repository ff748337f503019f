//! The lines of docs/exchange.md, as they stand but for ports: the camera, the work that takes long, the transcoder, and the
//! worker of POTHEAD.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::server::{STEP, Server, until};

/// The block of the page that has this text.
pub(super) fn block(has: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/exchange.md")).expect("the page");
    let blocks = page.split("```").skip(1).step_by(2);
    let block = blocks.filter_map(|block| block.split_once('\n')).find(|(_, text)| text.contains(has));
    block.unwrap_or_else(|| panic!("no block of the page has {has}")).1.trim_end().to_owned()
}

/// What bash makes of lines in this folder, where `server` has the port that the page names.
fn typed(lines: &str, server: &Server, folder: &Path) -> Command {
    let lines = lines.replace("127.0.0.1:8480", &server.listen.to_string());
    let program = Path::new(env!("CARGO_BIN_EXE_tidewait")).parent().expect("a folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").expect("a path"));
    let mut bash = Command::new("bash");
    bash.args(["-c", &lines]).current_dir(folder).env("PATH", path).kill_on_drop(true);
    bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    bash
}

/// All that a command says, once it has ended well.
async fn said(what: &str, child: Child) -> String {
    let output =
        tokio::time::timeout(STEP * 2, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// An app that answers one request for each permit, with what it was asked.
struct App {
    port: u16,
    permits: Arc<Semaphore>,
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let permits = Arc::new(Semaphore::new(0));
        let given = Arc::clone(&permits);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let given = Arc::clone(&given);
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let given = Arc::clone(&given);
                    async move {
                        let body = request.into_body().collect().await.expect("a body").to_bytes();
                        given.acquire().await.expect("open").forget();
                        let text = format!("done: {}", String::from_utf8_lossy(&body));
                        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(text))))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { port, permits }
    }
}

/// A port that is free now.
pub(super) fn port() -> u16 {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    probe.local_addr().expect("bound").port()
}

const REDIRECTED: &str = r#"tidewait_http_requests_total{code="303",route="exchange"}"#;

#[tokio::test]
async fn work_that_takes_long_reaches_every_client_by_way_of_redirects() {
    let (folder, server) = super::configured("[{path: /start_work, hold: {default: 1s}, chain: {hold: 20s}}]").await;
    let app = App::start().await;
    let worker = format!(
        "tidewait worker --to http://127.0.0.1:{} --exchange http://127.0.0.1:8480/exchange/start_work --slots 6",
        app.port
    );
    let _worker = typed(&worker, &server, folder.path()).spawn().expect("it starts");
    let go = folder.path().join("work.go");
    let program = format!(
        r#"package main
import ("fmt"; "io"; "net/http"; "strings")
func main() {{
    answer, err := http.Post("http://{}/start_work", "application/x-www-form-urlencoded", strings.NewReader("input=1"))
    if err != nil {{ panic(err) }}
    body, _ := io.ReadAll(answer.Body)
    fmt.Println(string(body))
}}"#,
        server.listen
    );
    std::fs::write(&go, program).expect("written");
    // This one follows the fewest redirects of all, four, and asks with each for another protocol (`Upgrade: h2c`).
    let program = format!(
        r#"import java.net.URI;
import java.net.http.*;
public class Work {{
    public static void main(String[] arguments) throws Exception {{
        var client = HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NORMAL).build();
        var request = HttpRequest.newBuilder(URI.create("http://{}/start_work"))
            .POST(HttpRequest.BodyPublishers.ofString("input=1")).build();
        System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
    }}
}}"#,
        server.listen
    );
    std::fs::write(folder.path().join("Work.java"), program).expect("written");
    let lines = block("wget -qO-");
    let clients: Vec<_> = lines.lines().chain(["GO111MODULE=off go run work.go", "java Work.java"]).collect();
    assert_eq!(clients.len(), 6);
    let mut running = Vec::new();
    for client in &clients {
        running.push(typed(client, &server, folder.path()).spawn().expect("it starts"));
    }
    // Each has been told to come back, and has.
    until("all were sent on", async || (server.metric(REDIRECTED).await >= 6.0).then_some(())).await;
    app.permits.add_permits(6);
    for (client, running) in clients.iter().zip(running) {
        assert_eq!(said(client, running).await.trim_end(), "done: input=1", "{client}");
    }
}

#[tokio::test]
async fn a_transcoder_behind_a_worker_with_a_gate_hands_out_its_answers_itself() {
    let (folder, server) = super::configured("[{path: /start_work}]").await;
    let app = App::start().await;
    let port = port();
    let line = block("--redirect-response").replace("127.0.0.1:8080", &format!("127.0.0.1:{}", app.port));
    let line = line.replace("127.0.0.1:9090", &format!("127.0.0.1:{port}"));
    let _worker = typed(&line, &server, folder.path()).spawn().expect("it starts");
    app.permits.add_permits(2);
    for _ in 0..2 {
        let curl = "curl -sL -w ' from %{url_effective}' -d 'input=1' http://127.0.0.1:8480/start_work";
        let answer = said(curl, typed(curl, &server, folder.path()).spawn().expect("it starts")).await;
        assert!(answer.starts_with(&format!("done: input=1 from http://127.0.0.1:{port}/")), "{answer}");
    }
}

#[tokio::test]
async fn users_of_a_camera_wait_for_its_next_picture() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let bcrypt = bcrypt::hash("secret", 4).expect("a hash");
    std::fs::write(at("users"), format!("cam-7:{bcrypt}\nuser:{bcrypt}\n")).expect("written");
    std::fs::write(at("frame.log"), "a frame").expect("written");
    let users = at("users").to_str().expect("UTF-8").to_owned();
    std::fs::write(at("serve.yaml"), block("name: cameras").replace("users: users", &format!("users: {users}")))
        .expect("written");
    let server = Server::start(&["--config", at("serve.yaml").to_str().expect("UTF-8")]).await;
    // A poll that nobody asks in time is 204, and the camera polls again: here each second.
    let camera = block("while :; do").replace("wait=25", "wait=1");
    let _camera = typed(&camera, &server, folder.path()).spawn().expect("it starts");
    let empty = r#"tidewait_http_requests_total{code="204",route="exchange"}"#;
    until("a poll was empty", async || (server.metric(empty).await >= 1.0).then_some(())).await;
    let ask = block("/cameras/cam-7/logs\n".trim_end());
    let mut asking = Vec::new();
    for _ in 0..3 {
        asking.push(typed(&ask, &server, folder.path()).spawn().expect("it starts"));
    }
    for user in asking {
        assert_eq!(said("a user", user).await, "a frame");
    }
    let refused =
        "curl -s -o /dev/null -w '%{http_code}' -u user:secret -d '' 'http://127.0.0.1:8480/exchange/cameras/claims'";
    assert_eq!(said(refused, typed(refused, &server, folder.path()).spawn().expect("it starts")).await, "403");
    let push = block("push?key=cam-7");
    let pushed = said(&push, typed(&push, &server, folder.path()).spawn().expect("it starts")).await;
    assert!(pushed.contains("204 No Content") && pushed.contains("exchange-completed:"), "{pushed}");
}

#[tokio::test]
async fn the_worker_of_pothead_takes_requests_as_it_is() {
    let tools = crate::copies::tools().await;
    let (folder, mut server) = super::configured("[{path: /start_work, workers: {raw: '127.0.0.1:0'}}]").await;
    let line: serde_json::Value = serde_json::from_str(&server.logged("listening for workers").await).expect("JSON");
    let port = line["fields"]["address"].as_str().or(line["address"].as_str()).expect("an address").to_owned();
    let app = "def app(environ, start_response):\n    start_response('418 Teapot', [('Content-Type', 'text/x'), ('X-A', 'b')])\n    \
               return [b'got ' + environ['wsgi.input'].read(int(environ['CONTENT_LENGTH']))]\n";
    std::fs::write(folder.path().join("app.py"), app).expect("written");
    let line = block("pothead.worker").replace("127.0.0.1:4040", &port);
    let mut worker = typed(&line, &server, folder.path());
    worker.env("PYTHONPATH", format!("{}:.", tools.join("pothead").display()));
    worker.env("LOAD_BALANCER_CONNECTION_DELAY_BASE", "0");
    let _worker = worker.spawn().expect("it starts");
    for round in 0..3 {
        let body = format!("round {round}");
        let reply = super::ask(server.listen, "POST", "/start_work", &[], &body).await;
        assert_eq!((reply.status, reply.field("x-a")), (418, "b"), "status and fields are the app's");
        assert_eq!(super::text(&reply), format!("got {body}"));
    }
}
