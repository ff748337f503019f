//! The stream of an exchange at NATS JetStream: of each item it holds what was written of it last, on a subject of its own.
//!
//! A write counts only if nobody has written since the writer has read (`Nats-Expected-Last-Subject-Sequence`), so that of two replicas
//! which want an item one gets it. Bodies that are long are in an object store beside it.

use std::time::Duration;

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::object_store::{self, ObjectMetadata, ObjectStore};
use async_nats::jetstream::stream::{Config, DiscardPolicy, LastRawMessageErrorKind, StorageType, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::record::Record;
use crate::bounds::{EXCHANGE_CHUNK, EXCHANGE_NATS};
use crate::exchange::id::ItemId;
use crate::nats::{NatsFailure, plain, room};

/// The stream of an exchange, and its object store.
#[derive(Clone)]
pub(super) struct Store {
    context: Context,
    stream: Stream,
    objects: ObjectStore,
    client: Client,
    /// What its subjects begin with.
    subjects: String,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("subjects", &self.subjects).finish_non_exhaustive()
    }
}

/// Why a write does not count.
#[derive(Debug)]
pub(super) enum NotWritten {
    /// Another replica has written, or this one, of which it did not hear.
    Conflict,
    /// Perhaps it counts: nothing was heard.
    Failed(NatsFailure),
}

/// What the subjects of an exchange begin with.
fn subjects(exchange: &str) -> String {
    format!("tw.x.{}.", plain(exchange))
}

/// Where replicas of an exchange say that they live.
pub(super) fn beats(exchange: &str) -> String {
    format!("tw.b.{}", plain(exchange))
}

impl Store {
    /// Opens the stream of an exchange, or makes it. `copies`: on how many servers it is; `life`: how long bodies are kept at most.
    pub(super) async fn open(
        client: Client,
        exchange: &str,
        copies: usize,
        life: Duration,
    ) -> Result<Self, NatsFailure> {
        let context = jetstream::new(client.clone());
        let name = format!("tidewait-{}", plain(exchange));
        let config = Config {
            name: name.clone(),
            subjects: vec![format!("{}*", subjects(exchange))],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: copies,
            allow_message_ttl: true,
            description: Some(format!("Requests of the exchange {exchange} of Tidewait")),
            ..Config::default()
        };
        context.create_or_update_stream(config).await?;
        let stream = context.get_stream(&name).await?;
        let objects = Self::objects(&context, &name, copies, life).await?;
        Ok(Self { context, stream, objects, client, subjects: subjects(exchange) })
    }

    async fn objects(context: &Context, name: &str, copies: usize, life: Duration) -> Result<ObjectStore, NatsFailure> {
        if let Ok(objects) = context.get_object_store(name).await {
            let stream = context.get_stream(format!("OBJ_{name}")).await?;
            let before = &stream.cached_info().config;
            if before.max_age < life || before.num_replicas != copies {
                let max_age = before.max_age.max(life);
                context.update_stream(Config { max_age, num_replicas: copies, ..before.clone() }).await?;
            }
            return Ok(objects);
        }
        let (bucket, max_age, num_replicas) = (name.to_owned(), life, copies);
        Ok(context
            .create_object_store(object_store::Config { bucket, max_age, num_replicas, ..Default::default() })
            .await?)
    }

    fn subject(&self, item: ItemId) -> String {
        format!("{}{item}", self.subjects)
    }

    /// Writes what is known of an item, if `revision` is still what was written of it last (0: nothing was). It is kept for `life`.
    pub(super) async fn put(
        &self,
        item: ItemId,
        record: Bytes,
        revision: u64,
        life: Duration,
    ) -> Result<u64, NotWritten> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        headers.insert(NATS_MESSAGE_TTL, life.as_secs().max(1).to_string());
        let failed = |error: NatsFailure| NotWritten::Failed(error);
        let sent = self.context.publish_with_headers(self.subject(item), headers, record).await;
        let sent = sent.map_err(|error| failed(error.into()))?;
        match timeout(EXCHANGE_NATS, sent).await {
            Ok(Ok(ack)) => Ok(ack.sequence),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Err(NotWritten::Conflict),
            Ok(Err(error)) => Err(failed(error.into())),
            Err(elapsed) => Err(failed(elapsed.into())),
        }
    }

    /// What was written last of an item; none: nothing is known of it.
    pub(super) async fn get(&self, item: ItemId) -> Result<Option<(Record, u64)>, NatsFailure> {
        let subject = self.subject(item);
        match timeout(EXCHANGE_NATS, self.stream.get_last_raw_message_by_subject(&subject)).await? {
            Ok(message) => Ok(Some((Record::decode(&message.payload)?, message.sequence))),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(found) if found.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                    Ok(None)
                }
                LastRawMessageErrorKind::InvalidSubject
                | LastRawMessageErrorKind::JetStream(_)
                | LastRawMessageErrorKind::Other => Err(error.into()),
            },
        }
    }

    /// The number of what was written last of any item.
    pub(super) async fn last(&self) -> Result<u64, NatsFailure> {
        Ok(timeout(EXCHANGE_NATS, self.stream.get_info()).await??.state.last_sequence)
    }

    /// What was written last of each item, and then all that is written.
    pub(super) async fn watch(&self) -> Result<pull::Ordered, NatsFailure> {
        let config = pull::OrderedConfig {
            filter_subject: format!("{}*", self.subjects),
            deliver_policy: DeliverPolicy::LastPerSubject,
            // Also how soon it is learnt of that a server is gone.
            max_expires: EXCHANGE_NATS,
            ..Default::default()
        };
        let consumer = timeout(EXCHANGE_NATS, self.stream.create_consumer(config)).await??;
        Ok(consumer.messages().await?)
    }

    /// The item that a subject is of.
    pub(super) fn item(&self, subject: &str) -> Option<ItemId> {
        ItemId::parse(subject.strip_prefix(&self.subjects)?)
    }

    /// Stores a body.
    pub(super) async fn store(&self, name: &str, bytes: &Bytes) -> Result<(), NatsFailure> {
        let name = ObjectMetadata {
            name: name.to_owned(),
            chunk_size: Some(EXCHANGE_CHUNK.min(room(&self.client))),
            ..ObjectMetadata::default()
        };
        timeout(EXCHANGE_NATS * 6, self.objects.put(name, &mut &bytes[..])).await??;
        Ok(())
    }

    /// Removes a body that was stored, if there is one.
    pub(super) async fn remove(&self, name: &str) {
        // Its life ends it otherwise.
        if let Ok(Err(error)) = timeout(EXCHANGE_NATS, self.objects.delete(name)).await {
            tracing::debug!(%error, "a body could not be removed");
        }
    }

    /// Removes what was written once, which counts no more.
    pub(super) async fn remove_written(&self, revision: u64) {
        if let Ok(Err(error)) = timeout(EXCHANGE_NATS, self.stream.delete_message(revision)).await {
            tracing::debug!(%error, "what counts no more could not be removed");
        }
    }

    /// What tells the stream from another one of its name (when it was made), and the number of what was written last.
    pub(super) async fn made(&self) -> Result<(i128, u64), NatsFailure> {
        let info = timeout(EXCHANGE_NATS, self.stream.get_info()).await??;
        Ok((info.created.unix_timestamp_nanos(), info.state.last_sequence))
    }

    /// A body that was stored.
    pub(super) async fn load(&self, name: &str) -> Result<Bytes, NatsFailure> {
        let load = async {
            let mut object = self.objects.get(name).await?;
            let mut bytes = Vec::with_capacity(object.info().size);
            object.read_to_end(&mut bytes).await?;
            Ok(bytes.into())
        };
        timeout(EXCHANGE_NATS * 6, load).await?
    }
}
