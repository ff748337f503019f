//! A topic that is read over WebSocket.

use std::time::Duration;

use futures::StreamExt as _;
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::{Exit, Failure, ask};
use crate::bounds::{EVENT_BYTES, STREAM_LOST};
use crate::client::fetch::Fetch;
use crate::escape::escape;
use crate::protocol::websocket::{CloseCode, SUBPROTOCOL};

/// A connection.
pub(super) struct WebSocket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    url: String,
}

/// What a server says.
#[derive(Debug, Deserialize)]
pub(super) struct Said<'a> {
    /// What it is about.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Where the reader is.
    pub(super) id: Option<String>,
    /// A message of the topic.
    #[serde(borrow)]
    pub(super) message: Option<&'a RawValue>,
    /// Of a gap: how many messages were missed.
    pub(super) missed: Option<u64>,
}

/// What comes on a connection.
#[derive(Debug)]
pub(super) enum Received {
    /// A text.
    Text(String),
    /// The server has closed it: come back after this time.
    Closed(Duration),
}

impl WebSocket {
    /// Opens a connection by a request.
    pub(super) async fn open(request: &Fetch, quiet: bool) -> Result<Self, Failure> {
        let mut request = request.clone();
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        for (name, value) in [
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL),
            (header::SEC_WEBSOCKET_KEY, &*key),
        ] {
            request.fields.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        }
        request.upgrade = Some(HeaderValue::from_static("websocket"));
        let fetched = ask(&request, quiet).await?;
        let url = fetched.url.clone();
        let is_accepted = fetched.status == StatusCode::SWITCHING_PROTOCOLS
            && fetched.fields.get(header::SEC_WEBSOCKET_ACCEPT).is_some_and(|value| value == accept.as_str());
        if !is_accepted {
            let status = fetched.status;
            let text = format!(
                "{url}: the answer ({status}) does not make the connection one of WebSocket: is it the URL of a topic, and does what \
                 stands in between pass Upgrade on? --mode sse needs nothing of the kind"
            );
            return Err(Failure::Final(Exit::Refused, text));
        }
        let upgraded = fetched.upgraded().await.map_err(|error| Failure::Lost(error.to_string()))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .max_message_size(Some(EVENT_BYTES))
            .max_frame_size(Some(EVENT_BYTES));
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await;
        Ok(Self { stream, url })
    }

    /// What comes next. Pings are answered meanwhile.
    pub(super) async fn next(&mut self) -> Result<Received, Failure> {
        loop {
            let Ok(next) = timeout(STREAM_LOST, self.stream.next()).await else {
                let text = format!("{}: nothing has come for {} s", self.url, STREAM_LOST.as_secs());
                return Err(Failure::Lost(text));
            };
            match next {
                Some(Ok(Message::Text(text))) => return Ok(Received::Text(text.to_string())),
                Some(Ok(Message::Close(close))) => {
                    // It is answered.
                    let _ = timeout(Duration::from_secs(1), self.stream.next()).await;
                    return self.closed(close);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(Failure::Lost(format!("{}: {error}", self.url))),
                None => return self.closed(None),
            }
        }
    }

    fn closed(&self, close: Option<CloseFrame>) -> Result<Received, Failure> {
        let Some(CloseFrame { code, reason }) = close else {
            return Err(Failure::Lost(format!("{}: the connection ended", self.url)));
        };
        let code = u16::from(code);
        let text = format!("{}: the server has closed the connection with {code}: {}", self.url, escape(&reason));
        if code == CloseCode::Normal.code() || code == CloseCode::LifeOver.code() {
            return Ok(Received::Closed(Duration::ZERO));
        }
        if code == CloseCode::Moved.code() {
            return Ok(Received::Closed(Duration::from_secs(1).mul_f64(fastrand::f64())));
        }
        if code == CloseCode::Overloaded.code() || code == CloseCode::Error.code() {
            return Err(Failure::Lost(text));
        }
        Err(Failure::Final(Exit::Refused, text))
    }
}
