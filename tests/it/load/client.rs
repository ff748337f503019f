//! One client of many: it holds no memory while it is parked, and reads of an answer only what it
//! needs: the status, the id, and the change number near the beginning of the model.

use std::io::{self, Error, ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// As much of a model as is looked at.
const LOOKED_AT: usize = 4096;

/// What an answer said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) id: String,
    /// The change number of the model, where there was a body.
    pub(super) serial: Option<u64>,
}

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Plain,
    Gzip,
    Zstd,
}

/// Where a client's requests go.
pub(super) enum Connection {
    Own(TcpStream, Dialect),
    /// An HTTP/2 connection, with others.
    Shared(SendRequest<Empty<Bytes>>),
}

/// Connects. `abrupt`: it ends with a reset, which leaves no port waiting.
pub(super) async fn connect(address: SocketAddr, abrupt: bool) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    if abrupt {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(stream)
}

/// Opens an HTTP/2 connection that lives as long as its senders.
pub(super) async fn share(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = connect(address, true).await.expect("it listens");
    let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = shaken.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    sender
}

impl Connection {
    /// Sends a poll and reads its answer.
    pub(super) async fn poll(&mut self, since: &str) -> io::Result<Answer> {
        let target = format!("/describe?since={since}&wait=55");
        match self {
            Self::Own(stream, dialect) => {
                let accept = match dialect {
                    Dialect::Plain => "",
                    Dialect::Gzip => "Accept-Encoding: gzip\r\n",
                    Dialect::Zstd => "Accept-Encoding: zstd\r\n",
                };
                let head = format!("GET {target} HTTP/1.1\r\nHost: load\r\n{accept}\r\n");
                stream.write_all(head.as_bytes()).await?;
                drop((head, target));
                read(stream, *dialect).await
            }
            Self::Shared(sender) => {
                let request = Request::get(format!("http://load{target}")).body(Empty::new()).expect("a request");
                sender.ready().await.map_err(Error::other)?;
                let response = sender.send_request(request).await.map_err(Error::other)?;
                let (parts, mut body) = response.into_parts();
                let mut start = BytesMut::new();
                while let Some(frame) = body.frame().await {
                    let data = frame.map_err(Error::other)?.into_data().unwrap_or_default();
                    start.extend_from_slice(&data[..data.len().min(LOOKED_AT - start.len())]);
                }
                answer(parts.status.as_u16(), &parts.headers, &start, Dialect::Plain)
            }
        }
    }
}

/// Reads one answer of HTTP/1.1.
async fn read(stream: &mut TcpStream, dialect: Dialect) -> io::Result<Answer> {
    // Parked: no buffer until there is something to read.
    stream.readable().await?;
    let mut buffer = BytesMut::with_capacity(2048);
    let end = loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = end_of_head(&buffer) {
            break end;
        }
    };
    let mut body = buffer.split_off(end);
    let head = std::str::from_utf8(&buffer).map_err(Error::other)?;
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    let mut fields = HeaderMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        let name = http::HeaderName::try_from(name).map_err(Error::other)?;
        fields.insert(name, value.try_into().map_err(Error::other)?);
    }
    let length: usize = text(&fields, "content-length").parse().unwrap_or(0);
    let mut left = length.checked_sub(body.len()).ok_or(ErrorKind::InvalidData)?;
    let mut more = Vec::with_capacity(left.min(64 * 1024));
    while left > 0 {
        more.clear();
        let read = (&mut *stream).take(left as u64).read_buf(&mut more).await?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        left -= read;
        if dialect != Dialect::Plain || body.len() < LOOKED_AT {
            body.extend_from_slice(&more);
        }
    }
    answer(status, &fields, &body, dialect)
}

/// Where the body begins. Searched as text, which the standard library does fast even here.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(bytes).or_else(|error| std::str::from_utf8(&bytes[..error.valid_up_to()]));
    text.ok()?.find("\r\n\r\n").map(|at| at + 4)
}

fn answer(status: u16, fields: &HeaderMap, body: &[u8], dialect: Dialect) -> io::Result<Answer> {
    let start = match (dialect, text(fields, "content-encoding")) {
        (Dialect::Gzip, "gzip") => start_of(flate2::read::GzDecoder::new(body))?,
        (Dialect::Zstd, "zstd") => start_of(zstd::stream::read::Decoder::new(body)?)?,
        (_, "") => body[..body.len().min(LOOKED_AT)].to_vec(),
        (_, other) => return Err(Error::other(format!("an encoding that was not asked for: {other:?}"))),
    };
    let start = String::from_utf8_lossy(&start);
    let digits = start.split("\"generation\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
    let serial = digits.and_then(|digits| digits.parse().ok());
    if status == 200 && serial.is_none() {
        return Err(Error::other(format!("a model without a number: {start}")));
    }
    Ok(Answer { status, id: text(fields, "state-id").to_owned(), serial })
}

fn start_of(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    decoder.take(LOOKED_AT as u64).read_to_end(&mut start)?;
    Ok(start)
}

fn text<'a>(fields: &'a HeaderMap, name: &str) -> &'a str {
    fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
