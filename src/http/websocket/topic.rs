//! A topic over WebSocket: a reader, and messages that its client publishes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message::ClientMessage;
use super::session::{Said, Source, Taken};
use crate::access::Caller;
use crate::access::policy::TopicVerb;
use crate::bounds::{WEBSOCKET_AROUND, WEBSOCKET_MESSAGE};
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::describe::stream::frame;
use crate::http::access::{Access, Judged, Target};
use crate::http::topic::publish::Publisher;
use crate::http::topic::read::Task;
use crate::lifecycle::stop;
use crate::protocol::websocket::CloseCode;
use crate::topic::Topic;
use crate::topic::core::Published;
use crate::topic::reader::{self, Part, Reader};
use crate::topic::request::{MediaType, ReadRequest, checked_key, digest};

/// A reader on a connection of WebSocket.
pub(in crate::http) struct TopicSource {
    task: Task,
    access: Arc<Access>,
    caller: Caller,
    topic: Arc<Topic>,
    publisher: Publisher,
}

/// What a publisher is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Told {
    Published {
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        id: String,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        problem: Value,
        #[serde(rename = "retryAfter", skip_serializing_if = "Option::is_none")]
        retry_after: Option<u32>,
    },
}

impl TopicSource {
    /// A reader of a topic that has come now; an error: why it is refused.
    pub(in crate::http) fn begin(
        topic: &Arc<Topic>,
        request: ReadRequest,
        (access, caller): (&Arc<Access>, Caller),
        stop: &stop::Watch,
        publisher: Publisher,
    ) -> Result<Self, Problem> {
        let changes = topic.changes();
        let drains = stop.phase() != stop::Phase::default();
        let reader = Reader::new(topic, request, drains, Instant::now().into_std())?;
        let task = Task::new(reader, changes, (access, caller.clone()), stop, CancellationToken::new());
        Ok(Self { task, access: Arc::clone(access), caller, topic: Arc::clone(topic), publisher })
    }
}

/// Publishes a message whose caller may do so, or will be known to.
async fn publish(
    judged: Judged,
    publisher: Publisher,
    key: Option<&str>,
    data: &RawValue,
) -> Result<Published, Problem> {
    judged.await?;
    let key = key.map(|key| checked_key("key", key)).transpose()?;
    // A string is a text, as it would be by POST; any other value is JSON.
    let (content_type, body) = match serde_json::from_str::<String>(data.get()) {
        Ok(text) => ("text/plain", text),
        Err(_) => ("application/json", data.get().to_owned()),
    };
    let fields = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    let most = publisher.topic().config().message_bytes;
    if body.len() > most {
        let detail = format!("the message is longer than {most} bytes (messageBytes of the topic): send a shorter one");
        return Err(Problem::new(Kind::BodyTooLarge, detail));
    }
    let digest = digest(&fields, body.as_bytes());
    publisher.publish(key, (MediaType::of(&fields)?, digest), body.as_bytes()).await
}

/// Bytes that a message to this topic may have.
pub(in crate::http) fn most(topic: &Topic) -> usize {
    (topic.config().message_bytes + WEBSOCKET_AROUND).max(WEBSOCKET_MESSAGE)
}

impl Source for TopicSource {
    async fn next(&mut self) -> Said {
        match self.task.next().await {
            reader::Told::Part(Part { first, bytes, is_last }) => {
                let bytes = match first {
                    Some(first) if !first.is_empty() => [&first[..], &bytes].concat().into(),
                    Some(_) | None => bytes,
                };
                Said::frames(bytes, is_last)
            }
            // It is what polls are told, and streams that have not begun.
            reader::Told::Answer(_) => Said::frames(Bytes::new(), true),
        }
    }

    fn take(&mut self, message: ClientMessage) -> Taken {
        match message {
            ClientMessage::Publish { key, data } => {
                let target = Target::Topic(TopicVerb::Publish, Arc::clone(self.topic.name()));
                let judged = self.access.may(&self.caller, &target);
                let publisher = self.publisher.clone();
                Taken::Later(Box::pin(async move {
                    let told = match publish(judged, publisher.clone(), key.as_deref(), &data).await {
                        Ok(Published { receipt, is_repeated }) => {
                            Told::Published { key, id: receipt.id.to_string(), replayed: is_repeated }
                        }
                        Err(problem) => {
                            publisher.topic().has_refused(problem.kind);
                            let json = serde_json::from_slice(&problem.to_json()).unwrap_or_default();
                            Told::Error { key, problem: json, retry_after: problem.retry_after }
                        }
                    };
                    let mut bytes = Vec::new();
                    frame::text(&serde_json::to_vec(&told).unwrap_or_default(), &mut bytes);
                    bytes.into()
                }))
            }
            ClientMessage::Held { .. } | ClientMessage::Rejected { .. } | ClientMessage::Applying { .. } => {
                let reason =
                    "a topic takes messages of type publish alone: held, rejected and applying are for operations";
                Taken::Wrong(CloseCode::Limits, reason.to_owned())
            }
        }
    }
}
