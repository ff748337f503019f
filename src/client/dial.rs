//! A connection to an endpoint for who speaks something else on it than polls: with the same names, TLS and credentials.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::{Stream, addresses, stream, unreachable};
use super::credentials::{self, Trust};
use super::failure::Failure;
use super::settings::{Endpoint, InvalidSetting, Settings};
use crate::bounds::CLIENT_CONNECT;

/// One URL, and what is shown there.
#[derive(Debug)]
pub(crate) struct Dialer {
    endpoint: Endpoint,
    trust: Mutex<Trust>,
    token_file: Option<PathBuf>,
}

impl Dialer {
    /// One for each URL of the settings.
    pub(crate) fn all(settings: &Settings) -> Result<Vec<Self>, InvalidSetting> {
        let of = |endpoint| Self {
            endpoint,
            trust: Mutex::new(Trust::new(settings.ca.clone(), settings.certificate.clone())),
            token_file: settings.token_file.clone(),
        };
        Ok(settings.check()?.into_iter().map(of).collect())
    }

    /// What people are told of it, or of an address of its host.
    pub(crate) fn name(&self, address: Option<SocketAddr>) -> String {
        self.endpoint.name(address)
    }

    /// `Host` there.
    pub(crate) fn host(&self) -> &str {
        self.endpoint.authority.as_str()
    }

    /// The path with that of the operation.
    pub(crate) fn path(&self) -> &str {
        &self.endpoint.path
    }

    /// The addresses of its host, at least one.
    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        addresses(&self.endpoint).await
    }

    /// A connection to one of them.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Result<Stream, Failure> {
        stream(&self.endpoint, address, &mut *self.trust.lock().await).await
    }

    /// `Authorization` as its file has it now; none: there is no file.
    pub(crate) async fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let Some(path) = &self.token_file else { return Ok(None) };
        // A network file system may not answer.
        match timeout(CLIENT_CONNECT, credentials::authorization(path)).await {
            Ok(read) => read.map(Some),
            Err(_) => Err(unreachable(&format!("{} is not read in time: see its file system", path.display()))),
        }
    }
}
