//! Asks the admin port of a process: `tidewait drain`, and `tidewait agent status --admin`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::bounds::{ADMIN_BODY_BYTES, ADMIN_EXCHANGE};
use crate::lifecycle::tasks::Tasks;
use crate::tls::pinned::{self, PinError};

/// Why the admin port did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no tidewait answers at {0}: is it running, with this --admin?")]
    Connect(SocketAddr, #[source] std::io::Error),
    /// The file of its certificate is not good.
    #[error("--admin-ca {}: it cannot be used", .0.display())]
    File(std::path::PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// No TLS could be spoken with it.
    #[error("the admin port at {0} does not speak TLS with a certificate of --admin-ca")]
    Tls(SocketAddr, #[source] std::io::Error),
    /// It does not answer.
    #[error("the admin port at {0} gave no answer within {1:?}: see whether its process still does anything")]
    Silent(SocketAddr, Duration),
    /// The exchange broke.
    #[error("the admin port at {0} broke off")]
    Exchange(SocketAddr, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// It refused.
    #[error("the admin port at {0} answered {1}: {2}")]
    Refused(SocketAddr, StatusCode, String),
}

/// Asks the process whose admin port is `admin` to answer its parked requests; returns its answer,
/// when that is done. It speaks TLS where `authorities` names the file with its certificate, or its authority.
pub async fn drain(admin: SocketAddr, authorities: Option<&Path>) -> Result<String, AskError> {
    let connect = || async { TcpStream::connect(admin).await.map_err(|error| AskError::Connect(admin, error)) };
    let Some(file) = authorities else { return drain_over(admin, connect().await?).await };
    let unusable = |error| AskError::File(file.to_owned(), error);
    let bytes = std::fs::read(file).map_err(|error| unusable(error.into()))?;
    let config = pinned::client(&bytes).map_err(|error: PinError| unusable(error.into()))?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(ServerName::from(admin.ip()), connect().await?);
    let stream = connecting.await.map_err(|error| AskError::Tls(admin, error))?;
    drain_over(admin, stream).await
}

async fn drain_over<S>(admin: SocketAddr, stream: S) -> Result<String, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let body = exchange(admin, stream, Method::POST, "/drain", ADMIN_BODY_BYTES).await?;
    Ok(String::from_utf8_lossy(&body).trim().to_owned())
}

/// What a path of the admin port at `admin` gives: at most `most` bytes, within the time that a connection to it has.
pub async fn get(admin: SocketAddr, path: &str, most: usize) -> Result<Bytes, AskError> {
    let asked = async {
        let stream = TcpStream::connect(admin).await.map_err(|error| AskError::Connect(admin, error))?;
        exchange(admin, stream, Method::GET, path, most).await
    };
    timeout(ADMIN_EXCHANGE, asked).await.unwrap_or(Err(AskError::Silent(admin, ADMIN_EXCHANGE)))
}

async fn exchange<S>(admin: SocketAddr, stream: S, method: Method, path: &str, most: usize) -> Result<Bytes, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broke = |error: hyper::Error| AskError::Exchange(admin, error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let mut tasks = Tasks::default();
    tasks.spawn("connection to the admin port", async { Ok(connection.await?) });
    let request = Request::builder().method(method).uri(path).header(header::HOST, admin.to_string());
    let request = request.body(Empty::<Bytes>::new()).expect("an address is a field value");
    let response = sender.send_request(request).await.map_err(broke)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), most).collect().await;
    let body = body.map_err(|error| AskError::Exchange(admin, error))?.to_bytes();
    if status.is_success() {
        return Ok(body);
    }
    Err(AskError::Refused(admin, status, String::from_utf8_lossy(&body).trim().to_owned()))
}
