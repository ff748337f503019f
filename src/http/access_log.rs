//! One log line for each request, for those who ask for it (`--access-log`): the cost is a few
//! copies of short strings a request.

use std::net::SocketAddr;

use http::request::Parts;

use super::Outcome;
use crate::protocol::fields::AGENT_ID;

/// The longest text of a request that is logged, in characters.
const SHOWN: usize = 256;

/// What is known of a request when it arrives.
#[derive(Debug)]
pub struct Entry {
    request_id: String,
    method: String,
    target: String,
    agent: String,
    peer: SocketAddr,
}

impl Entry {
    /// The entry of a request.
    #[must_use]
    pub fn of(Parts { method, uri, headers, .. }: &Parts, peer: SocketAddr) -> Self {
        let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(shortened);
        Self {
            request_id: field("x-request-id").unwrap_or_else(|| format!("{:016x}", fastrand::u64(..))),
            method: method.to_string(),
            target: shortened(uri.path_and_query().map_or("", |target| target.as_str())),
            agent: field(AGENT_ID.as_str()).unwrap_or_default(),
            peer,
        }
    }

    /// The entry of a request whose head is refused, of which the first line at most could be read.
    #[must_use]
    pub fn refused(line: Option<(String, String)>, peer: SocketAddr) -> Self {
        let (method, target) = line.unwrap_or_default();
        Self { request_id: format!("{:016x}", fastrand::u64(..)), method, target, agent: String::new(), peer }
    }

    /// Writes it, now that the head of the answer is known.
    pub fn log(&self, outcome: &Outcome) {
        tracing::info!(
            target: "tidewait::access",
            request_id = self.request_id,
            method = self.method,
            request_target = self.target,
            agent = self.agent,
            peer = %self.peer,
            route = outcome.route.as_str(),
            status = outcome.status.as_u16(),
            bytes = outcome.bytes,
            held_ms = outcome.held_ms(),
            "request"
        );
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
