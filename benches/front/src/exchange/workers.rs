//! Workers that dial in over reverse HTTP/2 and answer with a page, at once or after a while.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::candidates::hyper::page;
use crate::outcome::{Outcome, because};

/// Bytes of the page.
pub(crate) const PAGE: usize = 1024;

/// Serves with so many connections, of so many slots each, until the process is ended; each request takes so long.
pub(crate) fn serve(to: SocketAddr, workers: usize, slots: u32, job: Duration) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let mut serving = JoinSet::new();
        for _ in 0..workers {
            let stream = dial(to, slots).await?;
            let page = Bytes::from(page(PAGE));
            serving.spawn(async move {
                let service = service_fn(move |_: hyper::Request<Incoming>| {
                    let page = page.clone();
                    async move {
                        if !job.is_zero() {
                            tokio::time::sleep(job).await;
                        }
                        Ok::<_, Infallible>(Response::new(Full::new(page)))
                    }
                });
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.max_concurrent_streams(slots).serve_connection(TokioIo::new(stream), service).await
            });
        }
        match serving.join_next().await {
            Some(ended) => Err(because(format!("a worker's connection ended: {:?}", ended?))),
            None => Err(because("no worker")),
        }
    })
}

/// A connection on which the roles are turned: the server sends requests from here on.
async fn dial(to: SocketAddr, slots: u32) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "GET /exchange/work/reverse HTTP/1.1\r\nHost: bench\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: h2\r\n\
         Exchange-Slots: {slots}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    // Not a byte more than the head: what follows is HTTP/2.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(stream);
    }
    Err(because(format!("a worker was told {}", String::from_utf8_lossy(&head))))
}
