//! Consumers, each with a connection of its own: a few, whose every answer is timed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::PATH;
use crate::outcome::{Outcome, because};

/// A connection.
pub(crate) struct Consumer {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Consumer {
    pub(crate) async fn connect(to: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: to.to_string() })
    }

    /// Asks for a job, and reads the whole answer.
    pub(crate) async fn ask(&mut self, method: &str, job: &str, body: Bytes) -> Outcome<Response<Bytes>> {
        let request = Request::builder().method(method).uri(format!("{PATH}?{job}")).header("host", &self.host);
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request.body(Full::new(body))?).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    }
}

/// So many consumers ask for a job, each again when it was answered, until there were so many requests: how long each took but
/// the first of each consumer, for which a worker that was idle wakes, and how long all of them.
pub(crate) async fn ask_often(
    to: SocketAddr,
    consumers: usize,
    requests: usize,
    job: &'static str,
    expected: &Bytes,
) -> Outcome<(Vec<Duration>, Duration)> {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..consumers {
        let (asked, expected) = (Arc::clone(&asked), expected.clone());
        tasks.spawn(async move {
            let mut consumer = Consumer::connect(to).await?;
            let mut times = Vec::new();
            while asked.fetch_add(1, Ordering::Relaxed) < requests {
                let start = Instant::now();
                let answer = consumer.ask("GET", job, Bytes::new()).await?;
                if answer.status() != 200 || *answer.body() != expected {
                    return Err(because(format!("a consumer was told {answer:?}")));
                }
                times.push(start.elapsed());
            }
            Outcome::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        times.extend(ended??.into_iter().skip(1));
    }
    times.sort();
    Ok((times, begun.elapsed()))
}
