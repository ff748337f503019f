//! One poll from its first byte to a verified state: the connection that is kept, the request, and the answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};

use super::answer::{self, Head};
use super::body;
use super::connection::{self, Connection};
use super::credentials::{self, Stamps, Trust};
use super::driver::Network;
use super::endpoints::Place;
use super::failure::{Failure, FailureKind};
use super::poll::{Confirms, Ended, Outcome, Poll};
use super::settings::{Endpoint, Settings};
use super::state::State;
use crate::bounds::{CLIENT_CONNECT, CLIENT_LOOK, CLIENT_PROBLEM_BYTES, CLIENT_SKEW, REJECTED_REASON_CHARACTERS};
use crate::protocol::fields::{AGENT_ID, REJECTED_REASON, RELAY};
use crate::protocol::relay::{Relay, Terms, Unfit};
use crate::protocol::{Coding, Query, answer as protocol};

#[cfg(test)]
mod tests;

/// What an answer is asked for as, where a patch would do and where not.
const PATCHES: HeaderValue = HeaderValue::from_static("application/json-patch+json, application/json;q=0.5");
const STATES: HeaderValue = HeaderValue::from_static("*/*");
/// An answer above this is decoded and verified away from the threads that serve others.
const LARGE: usize = 16 * 1024;

/// Sends polls, one at a time.
#[derive(Debug)]
pub(super) struct Line {
    endpoints: Vec<Endpoint>,
    select: Vec<String>,
    agent_id: Option<HeaderValue>,
    token_file: Option<PathBuf>,
    wait: Duration,
    max_bytes: usize,
    relay: Option<Relay>,
    /// The place that answered the last poll as it should be. A relay is answered at once by any other one, or it would hear of
    /// a server that is back only at the end of a wait.
    answered: Option<Place>,
    trust: Trust,
    /// Of the files that were read for the last poll.
    stamps: Stamps,
    /// The connection that is kept, and where it leads.
    kept: Option<(Place, Connection)>,
    /// Bytes of the body of the last answer.
    received: u64,
}

impl Line {
    /// A line to endpoints that the settings have given.
    pub(super) fn new(settings: &Settings, endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            select: settings.select.clone(),
            agent_id: settings.agent_id.as_ref().and_then(|id| HeaderValue::from_str(id).ok()),
            token_file: settings.token_file.clone(),
            wait: settings.wait,
            max_bytes: settings.max_bytes,
            relay: settings.relay.clone(),
            answered: None,
            trust: Trust::new(settings.ca.clone(), settings.certificate.clone()),
            stamps: Stamps::default(),
            kept: None,
            received: 0,
        }
    }

    async fn try_exchange(&mut self, poll: &Poll, about: &mut About) -> Result<Outcome, Failure> {
        // A network file system may not answer.
        let read = async { (self.stamps_now().await, self.request(poll).await) };
        let Ok((stamps, request)) = timeout(CLIENT_CONNECT, read).await else {
            let text = format!(
                "the files with credentials are not read within {} s: see their file system",
                CLIENT_CONNECT.as_secs()
            );
            return Err(Failure::new(FailureKind::Unreachable, &text));
        };
        self.stamps = stamps;
        let request = request?;
        let Some((place, mut connection)) = self.kept.take() else {
            return Err(Failure::new(FailureKind::Lost, "the connection is gone: asked again"));
        };
        let wait = if poll.confirms.is_some() { Duration::ZERO } else { self.wait };
        let most = wait + CLIENT_SKEW;
        let Ok(response) = timeout(most, connection.send(request)).await else {
            let text = format!(
                "no answer within {} s, the wait and {} s: the connection is dead, or what stands in between holds answers back",
                most.as_secs(),
                CLIENT_SKEW.as_secs()
            );
            return Err(Failure::new(FailureKind::Lost, &text));
        };
        let response = response?;
        about.within = protocol::reconnect_within(response.headers());
        let goes_on = goes_on(&response);
        about.terms = self.terms(&response)?;
        let outcome = self.answer(response, poll).await?;
        self.answered = Some(place);
        if goes_on {
            (self.kept, about.keeps) = (Some((place, connection)), true);
        }
        Ok(outcome)
    }

    async fn answer(&mut self, response: Response<Incoming>, poll: &Poll) -> Result<Outcome, Failure> {
        let (head, incoming) = response.into_parts();
        match answer::head(head.status, &head.headers)? {
            Head::Same(protocol::State { id, age }) => Ok(Outcome::Same { id, age }),
            Head::State(state, about) => {
                let bytes = body::read(incoming, self.max_bytes, &mut self.received).await?;
                let (base, most) = (poll.since.clone(), self.max_bytes);
                let is_large = bytes.len() > LARGE || about.coding != Coding::Identity || about.delta_base.is_some();
                let verify = move || verified(&state, &about, bytes, base.as_ref(), most);
                let verified = if is_large {
                    let verifying = tokio::task::spawn_blocking(verify).await;
                    verifying.unwrap_or_else(|error| Err(Failure::untrue(&format!("it cannot be read ({error})"))))
                } else {
                    verify()
                };
                Ok(Outcome::State(Box::new(verified?)))
            }
            Head::Refused(status, retry_after) => {
                let said = body::beginning(incoming, CLIENT_PROBLEM_BYTES).await;
                self.received = said.len() as u64;
                let media_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                Err(answer::refusal(status, retry_after, media_type, &said))
            }
        }
    }

    /// What an answer says to a relay, if that may take the state.
    fn terms<B>(&self, response: &Response<B>) -> Result<Option<Terms>, Failure> {
        let Some(relay) = self.relay.as_ref().filter(|_| !is_refusal(response.status())) else { return Ok(None) };
        let unfit = |unfit: Unfit| Failure::new(FailureKind::Unfit(unfit), &unfit.to_string());
        let terms = Terms::read(response.headers()).map_err(unfit)?;
        terms.suit(relay).map_err(unfit)?;
        Ok(Some(terms))
    }

    /// Whether a poll is one that would be parked, and is to be answered at once.
    fn asks_at_once(&self, poll: &Poll) -> bool {
        self.relay.is_some() && self.answered != Some(poll.place) && poll.since.is_some()
    }

    async fn stamps_now(&self) -> Stamps {
        let paths: Vec<_> = self.token_file.as_deref().into_iter().chain(self.trust.paths()).collect();
        Stamps::of(&paths).await
    }

    async fn request(&self, poll: &Poll) -> Result<Request<Full<Bytes>>, Failure> {
        let endpoint = &self.endpoints[poll.place.url];
        let select = self.select.clone();
        let query = match &poll.confirms {
            None => Query {
                since: poll.since.as_ref().map(|state| state.id.clone()),
                rejected: poll.rejected.as_ref().map(|rejected| rejected.id.clone()),
                applying: poll.applying.clone(),
                wait: Some(if self.asks_at_once(poll) { Duration::ZERO } else { self.wait }),
                select,
            },
            Some(confirms) => {
                let since = match confirms {
                    Confirms::Held(id) => Some(id.clone()),
                    Confirms::Whole => None,
                };
                Query { since, wait: Some(Duration::ZERO), select, ..Query::default() }
            }
        };
        let mut request = Request::new(Full::default());
        *request.uri_mut() = format!("{}?{query}", endpoint.path).parse::<Uri>().map_err(|error| {
            Failure::new(FailureKind::Refused, &format!("the query is no URL ({error}): select less"))
        })?;
        let fields = request.headers_mut();
        insert(fields, header::HOST, endpoint.authority.as_str());
        fields.insert(header::USER_AGENT, HeaderValue::from_static(concat!("tidewait/", env!("CARGO_PKG_VERSION"))));
        let has_base = poll.since.as_ref().is_some_and(|state| state.document().is_some());
        fields.insert(header::ACCEPT, if poll.takes_patches && has_base { PATCHES } else { STATES });
        fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        // What somebody else holds is nothing that this agent acknowledges.
        if let Some(id) = self.agent_id.as_ref().filter(|_| poll.confirms.is_none()) {
            fields.insert(AGENT_ID, id.clone());
        }
        if let Some(relay) = &self.relay {
            insert(fields, RELAY, relay.instance.as_str());
        }
        if let Some(rejected) = &poll.rejected {
            insert(fields, REJECTED_REASON, &printable(&rejected.reason));
        }
        if let Some(path) = &self.token_file {
            fields.insert(header::AUTHORIZATION, credentials::authorization(path).await?);
        }
        Ok(request)
    }
}

impl Network for Line {
    fn name(&self, place: Place) -> String {
        self.endpoints[place.url].name(place.address)
    }

    async fn look_up(&self, url: usize) -> Result<Vec<SocketAddr>, Failure> {
        connection::addresses(&self.endpoints[url]).await
    }

    fn drop_connection(&mut self) {
        self.kept = None;
    }

    async fn renewed(&self) {
        while self.stamps_now().await == self.stamps {
            sleep(CLIENT_LOOK).await;
        }
    }

    async fn open(&mut self, place: Place) -> Result<(), Failure> {
        if let Some((led, mut connection)) = self.kept.take()
            && led == place
            && connection.is_usable().await
        {
            self.kept = Some((place, connection));
            return Ok(());
        }
        let Some(address) = place.address else {
            return Err(Failure::new(FailureKind::Unreachable, "no address is known"));
        };
        let opened = Connection::open(&self.endpoints[place.url], address, &mut self.trust).await;
        let connection = opened.inspect_err(|_| self.answered = None)?;
        self.kept = Some((place, connection));
        Ok(())
    }

    /// The connection is kept only after an answer that was read to its end.
    async fn exchange(&mut self, poll: &Poll) -> Ended {
        let mut about = About::default();
        self.received = 0;
        let outcome = match self.try_exchange(poll, &mut about).await {
            Ok(outcome) => outcome,
            Err(failure) => {
                self.answered = None;
                Outcome::Failed(failure)
            }
        };
        let About { keeps, within, terms } = about;
        Ended { outcome, keeps, within, terms, bytes: self.received }
    }
}

/// What is known of an answer, whether or not it can be used.
#[derive(Debug, Default)]
struct About {
    within: Option<Duration>,
    keeps: bool,
    terms: Option<Terms>,
}

/// Whether an answer with this status is about no state, so that it says nothing to relays.
fn is_refusal(status: StatusCode) -> bool {
    !status.is_success() && status != StatusCode::NOT_MODIFIED
}

fn verified(
    state: &protocol::State,
    about: &protocol::Body,
    bytes: Bytes,
    base: Option<&State>,
    most: usize,
) -> Result<State, Failure> {
    let decoded = body::decode(about.coding, bytes, most)?;
    let state = answer::state(state, about, decoded, base)?;
    // A patch may make more of a state than it brings.
    if state.bytes.len() > most {
        let text = format!(
            "the patch leads to more than the limit of {most} bytes: raise the limit (max_bytes), or select less"
        );
        return Err(Failure::untrue(&text));
    }
    Ok(state)
}

pub(super) fn insert(fields: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        fields.insert(name, value);
    }
}

/// As a header field can carry it, and no longer than a server keeps.
fn printable(reason: &str) -> String {
    let ascii = |char: char| if char.is_ascii_graphic() || char == ' ' { char } else { '?' };
    reason.chars().take(REJECTED_REASON_CHARACTERS).map(ascii).collect()
}

pub(super) fn goes_on<B>(response: &Response<B>) -> bool {
    let closes = response.headers().get_all(header::CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|text| text.split(',').any(|word| word.trim().eq_ignore_ascii_case("close")))
    });
    response.version() == Version::HTTP_11 && !closes
}
