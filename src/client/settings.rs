//! What a client is made of, checked as a whole before it starts.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use rustls::pki_types::ServerName;

use crate::bounds::{AGENT_ID_BYTES, CLIENT_ENDPOINTS, CLIENT_WAIT, DOCUMENT_BYTES};
use crate::model::Selection;
use crate::protocol::relay::Relay;

/// What a client is made of. [`Settings::new`] has the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// URLs of servers, the preferred one first: `https://edge.example:8480`. A path is put before the operation's.
    pub endpoints: Vec<String>,
    /// The path of the operation, `/describe` unless the server has it elsewhere; empty: the URLs have it.
    pub operation: String,
    /// JSON Pointers (RFC 6901) to the parts that are wanted; none: the whole model.
    pub select: Vec<String>,
    /// `Agent-Id`: 1 to 253 characters of `A-Z a-z 0-9 . _ : -`, so that the server knows what this agent holds.
    pub agent_id: Option<String>,
    /// How long the server may hold a poll: not at all (0), or 1 s to 10 min; servers hold none longer than 55 s unless configured otherwise.
    pub wait: Duration,
    /// Bytes of an answer, before and after it is decoded; a larger one is refused.
    pub max_bytes: usize,
    /// Whether patches are asked for, where the model is JSON.
    pub patches: bool,
    /// A file with authorities in PEM, by which servers are verified; none: those of the system.
    pub ca: Option<PathBuf>,
    /// Files with a client certificate and its key in PEM; read again for each connection.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// A file with a token, sent as `Authorization: Bearer` (RFC 6750); read again for each poll.
    pub token_file: Option<PathBuf>,
    /// The token may go over connections that others can read. Without it the endpoints are https, or on this host.
    pub clear_credentials: bool,
    /// The client is that of a relay, which serves others what it gets; none: it is not.
    pub relay: Option<Relay>,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value:?}: {remedy}")]
pub struct InvalidSetting {
    /// The field of [`Settings`].
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What to do about it.
    pub remedy: String,
}

/// An endpoint, read.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// The URL as it was given, for people.
    pub(super) url: String,
    pub(super) authority: Authority,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// The name that its certificate has; none: in the clear.
    pub(super) tls: Option<ServerName<'static>>,
    /// The path with that of the operation.
    pub(super) path: String,
}

impl Endpoint {
    /// What people are told of it, or of an address of its host.
    pub(super) fn name(&self, address: Option<SocketAddr>) -> String {
        let Self { url, host, .. } = self;
        match address {
            Some(address) if address.ip().to_string() != *host => format!("{url} ({address})"),
            Some(_) | None => url.clone(),
        }
    }
}

impl Settings {
    /// The settings of a client that polls `operation` at one endpoint.
    #[must_use]
    pub fn new(endpoint: &str, operation: &str) -> Self {
        Self {
            endpoints: vec![endpoint.to_owned()],
            operation: operation.to_owned(),
            select: Vec::new(),
            agent_id: None,
            wait: Duration::from_secs(25),
            max_bytes: DOCUMENT_BYTES,
            patches: true,
            ca: None,
            certificate: None,
            token_file: None,
            clear_credentials: false,
            relay: None,
        }
    }

    /// Whether a client can be made of them, as far as that can be said without its files.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        self.check().map(drop)
    }

    /// The endpoints, if all settings can be used.
    pub(super) fn check(&self) -> Result<Vec<Endpoint>, InvalidSetting> {
        let count = self.endpoints.len();
        if !(1..=CLIENT_ENDPOINTS).contains(&count) {
            return Err(invalid("endpoints", &count.to_string(), format!("name 1 to {CLIENT_ENDPOINTS} URLs")));
        }
        if !(self.operation.is_empty() || self.operation.starts_with('/')) {
            let remedy = "begin it with /, as /describe, or leave it empty where the URLs have it".to_owned();
            return Err(invalid("operation", &self.operation, remedy));
        }
        Selection::parse(&self.select, usize::MAX)
            .map_err(|error| invalid("select", &self.select.join(" "), error.to_string()))?;
        if let Some(id) = &self.agent_id {
            let is_of_an_id = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
            if id.is_empty() || id.len() > AGENT_ID_BYTES || !id.bytes().all(is_of_an_id) {
                let remedy = format!("use 1 to {AGENT_ID_BYTES} characters of A-Z a-z 0-9 . _ : -");
                return Err(invalid("agent_id", id, remedy));
            }
        }
        let (least, most) = CLIENT_WAIT;
        if !self.wait.is_zero() && !(least..=most).contains(&self.wait) {
            let remedy = format!("give 0, or {} to {} seconds", least.as_secs(), most.as_secs());
            return Err(invalid("wait", &format!("{:?}", self.wait), remedy));
        }
        if self.max_bytes == 0 {
            return Err(invalid("max_bytes", "0", "give the size of the largest model that is expected".to_owned()));
        }
        let endpoints: Vec<_> =
            self.endpoints.iter().map(|url| self.endpoint(url)).collect::<Result<_, InvalidSetting>>()?;
        let in_the_clear = endpoints.iter().find(|endpoint| endpoint.tls.is_none());
        if let Some(endpoint) = in_the_clear.filter(|_| self.certificate.is_some()) {
            let remedy = "begin it with https: there is a client certificate, and http has none".to_owned();
            return Err(invalid("endpoints", &endpoint.url, remedy));
        }
        Ok(endpoints)
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, InvalidSetting> {
        let wrong = |remedy: &str| Err(invalid("endpoints", url, remedy.to_owned()));
        let Ok(uri) = url.parse::<Uri>() else { return wrong("write it as https://host:8480") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return wrong("write it as https://host:8480");
        };
        let port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return wrong("begin it with https or http"),
        };
        if authority.as_str().contains('@') {
            // Its value may be a secret.
            let remedy = "leave user and password out: name a token_file".to_owned();
            let shown = authority.as_str().rsplit('@').next().unwrap_or_default();
            return Err(invalid("endpoints", &format!("{scheme}://***@{shown}"), remedy));
        }
        if uri.query().is_some() {
            return wrong("leave the query out: select and wait are settings of their own");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = if scheme == "https" {
            let Ok(name) = ServerName::try_from(host.clone()) else {
                return wrong("name the host as its certificate does, by a DNS name or an IP address");
            };
            Some(name)
        } else {
            if self.token_file.is_some() && !self.clear_credentials && !is_this_host(&host) {
                return wrong(
                    "begin it with https, or the token could be read on the way (clear_credentials allows that)",
                );
            }
            None
        };
        let path = format!("{}{}", uri.path().trim_end_matches('/'), self.operation);
        let path = if path.is_empty() { "/".to_owned() } else { path };
        if path.parse::<http::uri::PathAndQuery>().is_err() || path.contains(['?', '#']) {
            return Err(invalid("operation", &self.operation, "give a path, percent-encoded".to_owned()));
        }
        let port = authority.port_u16().unwrap_or(port);
        Ok(Endpoint { url: url.to_owned(), authority: authority.clone(), host, port, tls, path })
    }
}

pub(super) fn is_this_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

pub(super) fn invalid(name: &'static str, value: &str, remedy: String) -> InvalidSetting {
    InvalidSetting { name, value: value.to_owned(), remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Settings);

    #[test]
    fn what_cannot_be_used_is_named_with_its_remedy() {
        let refused = |change: Change| {
            let mut settings = Settings::new("http://10.0.0.1:8480", "/describe");
            assert!(settings.check().is_ok());
            change(&mut settings);
            settings.check().expect_err("it cannot be used").to_string()
        };
        let changes: [(Change, &str); 15] = [
            (|it| it.endpoints.clear(), "endpoints is \"0\": name 1 to 64 URLs"),
            (
                |it| it.endpoints[0] = "edge:8480".to_owned(),
                "endpoints is \"edge:8480\": write it as https://host:8480",
            ),
            (|it| it.endpoints[0] = "ftp://a".to_owned(), "endpoints is \"ftp://a\": begin it with https or http"),
            (
                |it| it.endpoints[0] = "https://u:secret@host:1".to_owned(),
                "endpoints is \"https://***@host:1\": leave user and password out: name a token_file",
            ),
            (
                |it| it.endpoints[0] = "https://a/?wait=1".to_owned(),
                "endpoints is \"https://a/?wait=1\": leave the query out: select and wait are settings of their own",
            ),
            (
                |it| it.endpoints[0] = "https://a_b..c".to_owned(),
                "endpoints is \"https://a_b..c\": name the host as its certificate does, by a DNS name or an IP address",
            ),
            (
                |it| it.token_file = Some("token".into()),
                "endpoints is \"http://10.0.0.1:8480\": begin it with https, or the token could be read on the way (clear_credentials allows that)",
            ),
            (
                |it| it.certificate = Some(("a".into(), "b".into())),
                "endpoints is \"http://10.0.0.1:8480\": begin it with https: there is a client certificate, and http has none",
            ),
            (
                |it| it.operation = "describe".to_owned(),
                "operation is \"describe\": begin it with /, as /describe, or leave it empty where the URLs have it",
            ),
            (|it| it.operation = "/a b".to_owned(), "operation is \"/a b\": give a path, percent-encoded"),
            (|it| it.operation = "/a?b".to_owned(), "operation is \"/a?b\": give a path, percent-encoded"),
            (
                |it| it.agent_id = Some("a b".to_owned()),
                "agent_id is \"a b\": use 1 to 253 characters of A-Z a-z 0-9 . _ : -",
            ),
            (|it| it.wait = Duration::from_millis(1), "wait is \"1ms\": give 0, or 1 to 600 seconds"),
            (|it| it.max_bytes = 0, "max_bytes is \"0\": give the size of the largest model that is expected"),
            (|it| it.select = vec!["mtu".to_owned()], "select is \"mtu\": "),
        ];
        for (change, expected) in changes {
            let found = refused(change);
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn an_endpoint_is_read_with_its_host_port_and_path() {
        for (url, operation, host, port, path, is_tls) in [
            ("http://a", "/describe", "a", 80, "/describe", false),
            ("https://a.example:8480/", "/describe", "a.example", 8480, "/describe", true),
            ("https://[::1]:1/base/", "/x/y", "::1", 1, "/base/x/y", true),
            ("https://a/base/describe", "", "a", 443, "/base/describe", true),
            ("http://127.0.0.1", "", "127.0.0.1", 80, "/", false),
        ] {
            let read = Settings::new(url, operation).check().expect("it can be used").remove(0);
            assert_eq!((&*read.host, read.port, &*read.path, read.tls.is_some()), (host, port, path, is_tls), "{url}");
        }
        for host in ["localhost", "LocalHost", "127.0.0.2", "[::1]"] {
            let token_file = Some("token".into());
            let settings = Settings { token_file, ..Settings::new(&format!("http://{host}:1"), "/describe") };
            assert!(settings.check().is_ok(), "{host}");
        }
    }
}
