//! `tidewait fetch`, the built binary, against servers that ask to come back.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::server::{STEP, tidewait};

mod follows; // 303 until the work is done, and where the answer goes
mod hostile; // servers that send what no sane one does
mod secrets; // credentials, and who gets them
mod signals; // what ends it

/// A request as the server has it.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    target: String,
    fields: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What a server answers to a request, of which so many came before.
type Answers = dyn Fn(&Asked, usize) -> Response<Full<Bytes>> + Send + Sync;

/// A server that has work to do.
struct Work {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Work {
    async fn start(answers: impl Fn(&Asked, usize) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (asked, answers) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(answers));
        let mut tasks = JoinSet::new();
        let seen = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("it listens");
                connections.spawn(work(stream, Arc::clone(&seen), Arc::clone(&answers) as Arc<Answers>));
            }
        });
        Self { address, asked, _tasks: tasks }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("whole").clone()
    }

    fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

async fn work(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Answers>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (asked, answers) = (Arc::clone(&asked), Arc::clone(&answers));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let (method, target, fields) = (head.method, head.uri.to_string(), head.headers);
            let this = Asked { method, target, fields, body };
            let before = {
                let mut asked = asked.lock().expect("whole");
                asked.push(this.clone());
                asked.len() - 1
            };
            Ok::<_, hyper::Error>(answers(&this, before))
        }
    });
    // A client may end it.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// An answer.
fn says(status: u16, fields: &[(&str, &str)], body: &str) -> Response<Full<Bytes>> {
    let head = fields.iter().fold(Response::builder().status(status), |head, (name, value)| head.header(*name, *value));
    head.body(Full::from(body.to_owned())).expect("an answer")
}

/// A server that sends these bytes on each connection once it has a request, and counts them. Then it ends the connection,
/// or keeps it open and silent.
struct Raw {
    url: String,
    requests: Arc<Mutex<usize>>,
    _tasks: JoinSet<()>,
}

impl Raw {
    async fn start(bytes: Vec<u8>, keeps: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let requests = Arc::<Mutex<usize>>::default();
        let counted = Arc::clone(&requests);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("it listens");
                connections.spawn(send(stream, bytes.clone(), keeps, Arc::clone(&counted)));
            }
        });
        Self { url, requests, _tasks: tasks }
    }

    fn requests(&self) -> usize {
        *self.requests.lock().expect("whole")
    }
}

async fn send(mut stream: TcpStream, bytes: Vec<u8>, keeps: bool, counted: Arc<Mutex<usize>>) {
    let mut request = [0; 4096];
    if stream.read(&mut request).await.unwrap_or(0) == 0 {
        return;
    }
    *counted.lock().expect("whole") += 1;
    if stream.write_all(&bytes).await.is_ok() && keeps {
        std::future::pending::<()>().await;
    }
}

/// Runs it to its end.
async fn fetch(arguments: &[&str]) -> Output {
    fetch_with(arguments, Stdio::null()).await
}

async fn fetch_with(arguments: &[&str], input: Stdio) -> Output {
    let all: Vec<_> = ["fetch"].iter().chain(arguments).copied().collect();
    let mut command = tidewait(&all);
    let running = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    tokio::time::timeout(STEP * 2, running.wait_with_output()).await.expect("it ends in time").expect("its output")
}

/// The exit code, standard output and standard error.
fn parts(output: &Output) -> (Option<i32>, String, String) {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code(), out, err)
}

const SECOND: Duration = Duration::from_secs(1);
