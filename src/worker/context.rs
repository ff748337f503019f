//! What all connections of a worker share, and the way of one request: a slot, the server, and where the answer goes.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::gate::Verdict;
use super::metrics::Metrics;
use super::redirect::{Fetch, Redirect};
use super::server::{Failed, Server, Upload};
use super::slots::{Slots, Taken};
use crate::config::Protocol;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) server: Arc<Server>,
    pub(super) slots: Arc<Slots>,
    pub(super) metrics: Arc<Metrics>,
    /// Where answers are kept to be fetched.
    pub(super) redirect: Option<Arc<Redirect>>,
    /// What the gates say; none: there are none.
    pub(super) gate: Option<watch::Receiver<Verdict>>,
    pub(super) protocol: Protocol,
    pub(super) key: Option<String>,
    pub(super) agent_id: Option<String>,
    /// How many connections stand.
    pub(super) connections: watch::Sender<usize>,
    /// The last attempt to reach an exchange succeeded.
    pub(super) reached: watch::Sender<bool>,
    /// The worker ends.
    pub(super) stop: CancellationToken,
}

/// The slot of a request, and what came of it.
pub(super) struct Work {
    pub(super) taken: Taken,
    pub(super) answer: Result<Answer, Failed>,
}

/// Where the answer goes.
pub(super) enum Answer {
    /// To the exchange.
    Through(Response<Incoming>),
    /// It is kept here, and the exchange learns where.
    Kept(HeaderValue, Fetch),
}

impl Context {
    /// Has the server answer a request whose fields are those for the server. Dropping the future lets go of the server.
    pub(super) async fn work(&self, mut taken: Taken, request: Request<Upload>) -> Work {
        let redirect = self.redirect.as_ref().filter(|_| may_redirect(request.method(), request.headers()));
        self.slots.turn(&mut taken).await;
        let answer = self.server.send(request).await.map(|response| match redirect {
            Some(redirect) if is_kept(&response) => {
                let (location, fetch) = redirect.keep(response);
                Answer::Kept(location, fetch)
            }
            Some(_) | None => Answer::Through(response),
        });
        Work { taken, answer }
    }

    /// Whether each connection has one slot: its offer can end before its other requests do.
    pub(super) fn has_one_slot_each(&self) -> bool {
        self.protocol == Protocol::Http1 || self.gate.is_some() || self.redirect.is_some()
    }
}

/// A consumer that cannot follow, or has others beside it, says so; and nobody fetches an answer to HEAD.
fn may_redirect(method: &Method, headers: &HeaderMap) -> bool {
    let says_no = headers.get("exchange-redirect").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no"));
    *method != Method::HEAD && !says_no
}

fn is_kept(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::OK && !response.body().is_end_stream()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_unless_somebody_says_no() {
        let says = |value: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("exchange-redirect"),
                HeaderValue::from_static(value),
            )])
        };
        for (method, headers, expected) in [
            (Method::GET, HeaderMap::new(), true),
            (Method::POST, says("yes"), true),
            (Method::GET, says("No"), false),
            (Method::HEAD, HeaderMap::new(), false),
        ] {
            assert_eq!(may_redirect(&method, &headers), expected, "{method} {headers:?}");
        }
    }
}
