//! One log line for each request, for those who ask for it (`--access-log`): the cost is a few
//! copies of short strings a request. No line has a credential: of the query only the values of the protocol's own parameters
//! are shown, since an app may take tokens there (`access_token`, RFC 6750, section 2.3) under any name.

use std::net::SocketAddr;

use http::request::Parts;

use super::Outcome;
use crate::model::Since;
use crate::protocol::fields::AGENT_ID;
use crate::protocol::query::{self, PARAMETERS};
use crate::topic::id::MessageId;

/// The longest text of a request that is logged, in characters.
const SHOWN: usize = 256;
/// Stands for what is not shown.
const HIDDEN: &str = "***";

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
            target: shown(uri.path_and_query().map_or("", |target| target.as_str())),
            agent: field(AGENT_ID.as_str()).unwrap_or_default(),
            peer,
        }
    }

    /// The entry of a request whose head is refused, of which the first line at most could be read.
    #[must_use]
    pub fn refused(line: Option<(String, String)>, peer: SocketAddr) -> Self {
        let (method, target) = line.unwrap_or_default();
        let target = shown(&target);
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

/// A target without what could be a credential.
fn shown(target: &str) -> String {
    let (resource, query) = target.split_once('?').map_or((target, None), |(resource, query)| (resource, Some(query)));
    let mut shown = match resource.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        // In absolute form, with a name and a password (RFC 9110, section 4.2.4).
        Some((scheme, (_, host))) => format!("{scheme}://{HIDDEN}@{host}"),
        None => resource.to_owned(),
    };
    for (at, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if at == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, value)) if is_of_protocol(name, value) => shown.push_str(parameter),
            Some((name, _)) => shown.extend([name, "=", HIDDEN]),
            None if PARAMETERS.contains(&parameter) || parameter.is_empty() => shown.push_str(parameter),
            None => shown.push_str(HIDDEN),
        }
    }
    shortened(&shown)
}

/// Whether this is a parameter of the protocol with a value that it can have: a credential that an app takes behind a `;`, or that
/// somebody has written into the wrong parameter, is none.
fn is_of_protocol(name: &str, value: &str) -> bool {
    let is_plain = |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._~-%+".contains(&byte));
    match name {
        query::WAIT => value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'),
        query::SELECT => value.is_empty() || (value.starts_with('/') || value.starts_with("%2")) && is_plain(value),
        query::LIFE | query::PING | query::TAIL | query::LIMIT | query::MAX_BYTES | query::ENVELOPE => {
            value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        }
        query::FROM => ["earliest", "latest"].contains(&value),
        query::ON_GAP => value == "close",
        query::DELTA => value == "json-patch",
        query::SINCE if MessageId::parse(value).is_some() => true,
        name if PARAMETERS.contains(&name) => value.is_empty() || Since::parse(value).is_some(),
        _ => false,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_parameters_that_are_not_ours_are_not_shown() {
        for (target, expected) in [
            ("/describe", "/describe"),
            ("/describe?since=&wait=25&select=/a%20b", "/describe?since=&wait=25&select=/a%20b"),
            (
                "/describe?since=3c6e0b8a9c15224a.7.0f343b0931126a20f133d67c2b018a3b",
                "/describe?since=3c6e0b8a9c15224a.7.0f343b0931126a20f133d67c2b018a3b",
            ),
            ("/describe?since=tw_s3cr3t&rejected=s3cr3t", "/describe?since=***&rejected=***"),
            ("/a?since=a;access_token=s3cr3t", "/a?since=***"),
            ("/a?wait=1%26token=s3cr3t&select=s3cr3t", "/a?wait=***&select=***"),
            ("/a?select=/a;b=s3cr3t", "/a?select=***"),
            ("/describe?since", "/describe?since"),
            ("/describe?life=60&ping=1&delta=json-patch", "/describe?life=60&ping=1&delta=json-patch"),
            ("/describe?life=s3cr3t&ping=s3cr3t&delta=s3cr3t", "/describe?life=***&ping=***&delta=***"),
            (
                "/chat?since=3c6e0b8a9c15224a.7&tail=3&limit=4&max-bytes=5&from=latest&on-gap=close&name=s3cr3t",
                "/chat?since=3c6e0b8a9c15224a.7&tail=3&limit=4&max-bytes=5&from=latest&on-gap=close&name=***",
            ),
            ("/?access_token=s3cr3t&wait=1", "/?access_token=***&wait=1"),
            ("/?wait=1&acc%65ss_token=s3cr3t&s3cr3t", "/?wait=1&acc%65ss_token=***&***"),
            ("/?token=s3=cr3t==", "/?token=***"),
            ("/a?b=?c=s3cr3t", "/a?b=***"),
            ("/?", "/?"),
            ("/?a=&&", "/?a=***&&"),
            ("http://me:s3cr3t@host/a?b=s3cr3t", "http://***@host/a?b=***"),
            ("*", "*"),
        ] {
            assert_eq!(shown(target), expected);
        }
        assert_eq!(shown(&format!("/{}", "a".repeat(2 * SHOWN))).len(), SHOWN);
        let refused = Entry::refused(Some(("GET".to_owned(), "/a?key=s3cr3t".to_owned())), ([127, 0, 0, 1], 1).into());
        assert!(!format!("{refused:?}").contains("s3cr3t"));
    }
}
