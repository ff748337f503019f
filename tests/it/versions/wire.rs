//! What goes over a connection: recorded, kept as a file, and said again.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A request and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// The number of the model when it was sent, and when it was answered.
    pub(super) sent: usize,
    pub(super) answered: usize,
    pub(super) request: String,
    /// None: the client gave it up before.
    pub(super) answer: Option<String>,
}

/// What was said so far.
#[derive(Clone, Default)]
pub(super) struct Recording {
    said: Arc<Mutex<Vec<Exchange>>>,
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/it/versions/before", &format!("{name}.json")].iter().collect()
}

/// What is kept by this name.
pub(super) fn read(name: &str) -> Vec<Exchange> {
    let kept: Value = serde_json::from_slice(&fs::read(path(name)).expect("it is there")).expect("JSON");
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok()).expect("a number");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let exchange = |kept: &Value| Exchange {
        sent: number(&kept["sent"]),
        answered: number(&kept["answered"]),
        request: text(&kept["request"]).expect("a text"),
        answer: text(&kept["answer"]),
    };
    kept.as_array().expect("a list").iter().map(exchange).collect()
}

/// The method and the target.
pub(super) fn line(request: &str) -> &str {
    request.split(" HTTP/").next().unwrap_or_default()
}

impl Recording {
    /// Lets everything through to a server, from a port of its own.
    pub(super) async fn listen(&self, to: SocketAddr, now: watch::Receiver<usize>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let recording = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (recording, now) = (recording.clone(), now.clone());
                let server = TcpStream::connect(to).await.expect("the server listens");
                tokio::spawn(async move { recording.record(client, server, now).await });
            }
        });
        address
    }

    async fn record(self, mut client: TcpStream, mut server: TcpStream, now: watch::Receiver<usize>) {
        while let Some(request) = message(&mut client).await {
            let sent = *now.borrow();
            let place = {
                let mut said = self.said.lock().expect("no panic");
                said.push(Exchange { sent, answered: sent, request: request.clone(), answer: None });
                said.len() - 1
            };
            if server.write_all(request.as_bytes()).await.is_err() {
                return;
            }
            let mut more = [0];
            let answer = tokio::select! {
                answer = message(&mut server) => answer,
                // A client sends nothing more before its answer.
                _ = client.peek(&mut more) => None,
            };
            self.ended(place, *now.borrow(), answer.clone());
            let Some(answer) = answer else { return };
            if client.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn ended(&self, place: usize, answered: usize, answer: Option<String>) {
        let exchange = &mut self.said.lock().expect("no panic")[place];
        (exchange.answered, exchange.answer) = (answered, answer);
    }

    /// Whether there was an answer that begins so.
    pub(super) fn has(&self, begin: &str) -> bool {
        let said = self.said.lock().expect("no panic");
        said.iter().filter_map(|exchange| exchange.answer.as_deref()).any(|answer| answer.starts_with(begin))
    }

    /// Changes each text.
    pub(super) fn each(&self, change: impl Fn(&str) -> String) {
        for Exchange { request, answer, .. } in self.said.lock().expect("no panic").iter_mut() {
            *request = change(request);
            *answer = answer.as_deref().map(&change);
        }
    }

    pub(super) fn write(&self, name: &str) {
        let said = self.said.lock().expect("no panic");
        let kept = said.iter().map(|Exchange { sent, answered, request, answer }| {
            json!({ "sent": sent, "answered": answered, "request": request, "answer": answer })
        });
        let text = serde_json::to_string_pretty(&kept.collect::<Vec<_>>()).expect("JSON");
        fs::write(path(name), text + "\n").expect("the folder can be written");
    }
}

/// A server that says what was said to the same requests, and not before the model has the number that it had then. It keeps
/// the last one to anything else.
pub(super) async fn replay(said: Vec<Exchange>, now: watch::Receiver<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let left = Arc::new(Mutex::new(VecDeque::from(said)));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (left, mut now) = (Arc::clone(&left), now.clone());
            tokio::spawn(async move {
                while let Some(request) = message(&mut client).await {
                    let said = next(&mut left.lock().expect("no panic"), line(&request));
                    let mut more = [0];
                    let answer = async {
                        match said {
                            Some(Exchange { answered, answer: Some(answer), .. }) => {
                                now.wait_for(|now| *now >= answered).await.expect("the test runs");
                                answer
                            }
                            Some(_) | None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        answer = answer => client.write_all(answer.as_bytes()).await.expect("it reads"),
                        _ = client.peek(&mut more) => return,
                    }
                }
            });
        }
    });
    address
}

/// The next exchange that begins so; what was before it will not come any more.
fn next(left: &mut VecDeque<Exchange>, begin: &str) -> Option<Exchange> {
    let at = left.iter().position(|exchange| line(&exchange.request) == begin)?;
    left.remove(at)
}

/// A head, and as much of a body as it says; none: the connection ended.
pub(super) async fn message(from: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(from.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).expect("ASCII");
    let length = field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    from.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).expect("nothing is encoded here"))
}

/// The value of a field.
pub(super) fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let lines = message.split("\r\n\r\n").next()?.lines();
    let fields = lines.filter_map(|line| line.split_once(": "));
    fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}
