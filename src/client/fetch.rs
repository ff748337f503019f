//! A request to any endpoint that asks to come back: a 303 with `Location` and `Retry-After` until the work is done, a 202, a 429
//! or a 503 with `Retry-After`, any number of times, until there is an answer or the deadline is over.
//!
//! ```no_run
//! use tidewait::client::fetch::Fetch;
//! use http::Method;
//!
//! # async fn fetch() -> Result<(), Box<dyn std::error::Error>> {
//! let mut fetch = Fetch::new("https://work.example/start_work");
//! fetch.method = Method::POST;
//! fetch.body = "{}".into();
//! let mut fetched = fetch.send(|pause| println!("{pause}")).await?;
//! println!("{}", fetched.status);
//! while let Some(bytes) = fetched.chunk().await? {
//!     println!("{} bytes", bytes.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What each status does, and what is sent where, is in docs/fetch.md. The decisions are made in `chain`, which is pure.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use http::{HeaderMap, HeaderValue, Method, StatusCode};

mod asked;
mod chain;
mod dial;
mod driver;
mod error;
mod fetched;
mod request;
mod target;
#[cfg(test)]
mod tests;

pub use asked::Progress;
pub use error::FetchError;
pub use fetched::Fetched;

use super::random::Random;
use super::settings::{InvalidSetting, invalid, is_this_host};
use crate::bounds::FETCH_DEADLINE;
use dial::Sockets;
use target::{Target, shown};

/// A request, and how it is sent. [`Fetch::new`] has the defaults.
#[derive(Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Where it goes first: `https://host:8480/path`.
    pub url: String,
    /// GET unless set.
    pub method: Method,
    /// Fields beside those that a fetch makes. Those that may be credentials go to the origin of `url` alone.
    pub fields: HeaderMap,
    /// The body; it is sent again where the same request is.
    pub body: Bytes,
    /// From the first look at the name of the host to the last byte of the body: 1 s to 24 h, 5 min unless set.
    pub deadline: Duration,
    /// `Prefer: respond-async` (RFC 7240): the server is to answer at once, and not to hold the request.
    pub respond_async: bool,
    /// `Prefer: wait=N` (RFC 7240): how many seconds the server is to hold the request at most.
    pub wait: Option<u32>,
    /// `Idempotency-Key`: the server does the work once, however often it gets the request; so it is sent again where a
    /// connection ends.
    pub idempotency_key: Option<HeaderValue>,
    /// `Upgrade` (RFC 9110, section 7.8): what the connection is to become after a 101, which [`Fetched::upgraded`] gives.
    pub upgrade: Option<HeaderValue>,
    /// A file with authorities in PEM, by which servers are verified; none: those of the system.
    pub ca: Option<PathBuf>,
    /// Files with a client certificate and its key in PEM, shown to the origin of `url` alone.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// A file with a token, sent as `Authorization: Bearer` (RFC 6750) to the origin of `url` alone; read for each request.
    pub token_file: Option<PathBuf>,
    /// Credentials may go over connections that others can read. Without it `url` is https, or on this host.
    pub clear_credentials: bool,
}

/// What a fetch does before its next request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub cause: Cause,
    /// How long it waits.
    pub pause: Duration,
    /// How much of the deadline is left as it begins to wait.
    pub left: Duration,
}

/// Why there is another request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The server asks to come back.
    Asked(StatusCode, Progress),
    /// The connection failed: who was asked, and why, on one line.
    Failed(String),
}

impl Fetch {
    /// A GET of a URL.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            method: Method::GET,
            fields: HeaderMap::new(),
            body: Bytes::new(),
            deadline: Duration::from_secs(300),
            respond_async: false,
            wait: None,
            idempotency_key: None,
            upgrade: None,
            ca: None,
            certificate: None,
            token_file: None,
            clear_credentials: false,
        }
    }

    /// Sends it, and gives the head of the last answer, whose status may be any. `told` is told of each pause.
    pub async fn send(&self, told: impl FnMut(&Pause) + Send) -> Result<Fetched, FetchError> {
        let target = self.check()?;
        // It is large, and lives once.
        let (sockets, random) = (Sockets::new(self), Random::new(fastrand::u64(..)));
        Box::pin(driver::run(self, target, sockets, random, told)).await
    }

    /// Whether it can be sent, as far as that can be said without its files.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.check().map(drop)
    }

    fn check(&self) -> Result<Target, InvalidSetting> {
        let target = Target::parse(&self.url).map_err(|wrong| {
            let remedy = format!("it {wrong}: write it as https://host:8480/path, percent-encoded");
            invalid("url", &shown(&self.url), remedy)
        })?;
        if self.method == Method::CONNECT {
            return Err(invalid("method", "CONNECT", "ask for something that has an answer with a body".to_owned()));
        }
        if let Some(name) = self.fields.keys().find(|name| request::is_made(name)) {
            let remedy = "leave it out: it is made for each request".to_owned();
            return Err(invalid("fields", name.as_str(), remedy));
        }
        let (least, most) = FETCH_DEADLINE;
        if !(least..=most).contains(&self.deadline) {
            let remedy = format!("give {} to {} seconds", least.as_secs(), most.as_secs());
            return Err(invalid("deadline", &format!("{:?}", self.deadline), remedy));
        }
        if target.endpoint.tls.is_none() {
            if self.certificate.is_some() {
                let remedy = "begin it with https: there is a client certificate, and http has none".to_owned();
                return Err(invalid("url", &self.url, remedy));
            }
            let has_credential = self.token_file.is_some() || self.fields.keys().any(request::is_credential);
            if has_credential && !self.clear_credentials && !is_this_host(&target.endpoint.host) {
                let remedy =
                    "begin it with https, or the credential could be read on the way (clear_credentials allows that)";
                return Err(invalid("url", &self.url, remedy.to_owned()));
            }
        }
        Ok(target)
    }
}

/// Without what may be a secret.
impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("url", &shown(&self.url))
            .field("method", &self.method)
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .field("body", &self.body.len())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A line for people: it drives no terminal, whatever the server has sent.
impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Failed(text) => f.write_str(text)?,
            Cause::Asked(status, Progress { state, position }) => {
                write!(f, "{status}")?;
                if let Some(state) = state {
                    write!(f, ", {state}")?;
                }
                if let Some(position) = position {
                    write!(f, ", position {position}")?;
                }
            }
        }
        let [pause, left] = [self.pause, self.left].map(chain::seconds);
        write!(f, ": asks again in {pause}, {left} left")
    }
}
