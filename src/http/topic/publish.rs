//! A message is published: 201 once it is stored as the backend promises.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::Topics;
use super::by::by;
use crate::access::Caller;
use crate::bounds::TOPIC_BODY;
use crate::describe::problem::Kind;
use crate::describe::{Answer, Problem};
use crate::http::client_address;
use crate::http::connection::ConnectionState;
use crate::http::exchange::Answered;
use crate::http::request_body::RequestBody;
use crate::http::response::response;
use crate::protocol::fields::IDEMPOTENCY_REPLAYED;
use crate::topic::Topic;
use crate::topic::backend::{NotStored, PublishError};
use crate::topic::core::{Digest, Publication, Published, Receipt, Refused};
use crate::topic::id::MessageId;
use crate::topic::message::By;
use crate::topic::request::{MediaType, digest, key};

/// Answers a POST.
pub(super) async fn answer(
    (topics, topic): (&Topics, &Arc<Topic>),
    caller: Caller,
    connection: &ConnectionState,
    (parts, body): (Parts, RequestBody),
) -> Answered {
    match publish((topics, topic), &caller, connection, (parts, body)).await {
        Ok(published) => Answered::of(response(created(topic, &published), None)),
        Err((problem, is_read)) => {
            topic.has_refused(problem.kind);
            let answer = Answer::problem(&problem, fastrand::f64());
            Answered { is_read, ..Answered::of(response(answer, None)) }
        }
    }
}

/// Publishes it. An error: why it is refused, and whether all of the body was read.
async fn publish(
    (topics, topic): (&Topics, &Arc<Topic>),
    caller: &Caller,
    connection: &ConnectionState,
    (parts, body): (Parts, RequestBody),
) -> Result<Published, (Problem, bool)> {
    let is_empty = body.is_end_stream();
    let before = |problem: Problem| (problem, is_empty);
    topics.origins.check_publication(&parts).map_err(before)?;
    let kind = MediaType::of(&parts.headers).map_err(before)?;
    let key = key(&parts.headers).map_err(before)?;
    let publisher = Publisher::of((topics, topic), caller, connection, &parts).map_err(before)?;
    let body = read(body, topic.config().message_bytes).await.map_err(|problem| (problem, false))?;
    let digest = digest(&parts.headers, &body);
    publisher.publish(key, (kind, digest), &body).await.map_err(|problem| (problem, true))
}

/// Who publishes.
#[derive(Debug, Clone)]
pub(in crate::http) struct Publisher {
    topic: Arc<Topic>,
    by: Option<By>,
    /// Whose rate it is.
    client: Arc<str>,
}

impl Publisher {
    /// Who has sent a request with this head.
    pub(in crate::http) fn of(
        (topics, topic): (&Topics, &Arc<Topic>),
        caller: &Caller,
        connection: &ConnectionState,
        parts: &Parts,
    ) -> Result<Self, Problem> {
        let client = caller.identity().map_or_else(
            || {
                client_address::of_client(&parts.headers, connection.client.peer.ip(), &topics.trusted)
                    .to_string()
                    .into()
            },
            Arc::clone,
        );
        Ok(Self { topic: Arc::clone(topic), by: by(caller, parts)?, client })
    }

    /// The topic.
    pub(in crate::http) fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// Publishes a message of this kind, which the digest names.
    pub(in crate::http) async fn publish(
        &self,
        key: Option<Box<str>>,
        (kind, digest): (MediaType, Digest),
        body: &[u8],
    ) -> Result<Published, Problem> {
        let Self { topic, by, client } = self;
        // Many behind one address are told apart by the names that they give.
        let scope = by.as_ref().map_or("", |by| &by.name);
        let once = key.map(|key| (format!("{scope}\n{key}").into(), digest));
        let draft = kind.draft(body, by.clone())?;
        let at = format!("{:.3}", Timestamp::now()).into();
        let publication = Publication { client: Arc::clone(client), once, draft, bytes: body.len() };
        let published = topic.publish(publication, Instant::now().into_std(), &at).await;
        published.map_err(|error| problem(topic, error))
    }
}

/// Reads a body of at most so many bytes.
async fn read(body: RequestBody, most: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the message is longer than {most} bytes (messageBytes of the topic): send a shorter one");
        Problem::new(Kind::BodyTooLarge, detail)
    };
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    match timeout(TOPIC_BODY, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Kind::MalformedRequest, "the body broke off: send it again")),
        Err(_) => {
            let detail = format!("the body did not come within {} s: send it at once", TOPIC_BODY.as_secs());
            Err(Problem::new(Kind::MalformedRequest, detail))
        }
    }
}

fn created(topic: &Topic, Published { receipt, is_repeated }: &Published) -> Answer {
    let Receipt { id, at } = receipt;
    let before = MessageId { offset: id.offset - 1, ..*id };
    let mut fields: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(2);
    let location = format!("{}?since={before}&limit=1", topic.config().path);
    fields.extend(HeaderValue::try_from(location).ok().map(|location| (header::LOCATION, location)));
    if *is_repeated {
        fields.push((IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true")));
    }
    let json = format!("{{\"id\":\"{id}\",\"at\":\"{at}\"}}\n");
    Answer::other(StatusCode::CREATED, fields, Some(json.into()))
}

fn problem(topic: &Topic, error: PublishError) -> Problem {
    match error {
        PublishError::Refused(refused @ Refused::KeyReused) => {
            Problem::new(Kind::KeyReused, format!("{refused}: send another key with another message"))
        }
        PublishError::Refused(Refused::Ended) => topic.ended(),
        PublishError::Refused(refused @ Refused::KeyUnderWay) => {
            Problem::retry(Kind::KeyUnderWay, 1, format!("{refused}: send it again after Retry-After, for its answer"))
        }
        PublishError::Refused(refused @ Refused::TooLong { .. }) => {
            let detail = format!("{refused}: send a shorter one, or have max_payload of its servers raised");
            Problem::new(Kind::BodyTooLarge, detail)
        }
        PublishError::Refused(refused @ Refused::TooFast { after }) => {
            let rate = topic.config().rate;
            let detail = format!(
                "{refused}, {} in a second and {} at once (publishRate of topic {}): send it again after Retry-After",
                rate.per_second,
                rate.burst,
                topic.name()
            );
            Problem::retry(Kind::PublishRate, seconds(after), detail)
        }
        PublishError::NotStored(error) => {
            let remedy = match error {
                NotStored::Late { .. } => {
                    "send it again after Retry-After, with the same Idempotency-Key, to have it there once"
                }
                NotStored::Failed { .. } | NotStored::Full { .. } => "send it again after Retry-After",
            };
            Problem::retry(Kind::NotStored, seconds(error.after()), format!("{error}: {remedy}"))
        }
    }
}

fn seconds(time: Duration) -> u32 {
    // What is over within a millisecond is worth a second, too.
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}
