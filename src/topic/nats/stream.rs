//! The stream of a topic at NATS JetStream. The server gives each message its offset, keeps as many as the history has, and stores one
//! message of each key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Client;
use async_nats::header::NATS_EXPECTED_STREAM;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind, PublishAckFuture, PublishError};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RawMessageErrorKind, StorageType};
use async_nats::jetstream::{self, Context, ErrorCode};
use tokio::time::timeout;

use super::record::Record;
use crate::bounds::{TOPIC_NATS, TOPIC_NATS_AROUND};
use crate::config;
use crate::nats::{NatsFailure, plain};
use crate::topic::id::Epoch;

/// Whose it is, in the metadata of a stream.
const TOPIC: &str = "tidewait-topic";
/// Which history it has, in its metadata.
const GENERATION: &str = "tidewait-generation";
/// How often a server says that there is nothing new. After two that do not come it is taken to be gone.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a server waits for messages until it is asked for them again.
const EXPIRES: Duration = Duration::from_secs(20);
/// How long a server knows of a replica that does not ask any more.
const INACTIVE: Duration = Duration::from_secs(60);

/// Why a stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    /// It is not ours.
    #[error(
        "NATS has a stream {0} already, and it is not that of this topic: remove it, or give the topic another name"
    )]
    Foreign(String),
    /// There is none.
    #[error("the stream is not there")]
    Gone,
    /// NATS says so, or nothing.
    #[error("{0}")]
    Nats(NatsFailure),
}

impl LogError {
    fn of(error: impl Into<NatsFailure>) -> Self {
        Self::Nats(error.into())
    }
}

/// Names what was written into a stream from its beginning on. A stream that is made anew has another one, and so has one that shows
/// an older state: whoever sees that first gives it another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct History {
    /// When the stream was made, in nanoseconds since 1970. A restored stream says the same as before.
    created: i128,
    generation: Generation,
}

/// `3-89ab...`: how often the stream was seen to show an older state, and a random number, since two replicas may see that at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Generation {
    count: u64,
    /// Names the whole text.
    digest: [u8; 32],
}

/// What a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) history: History,
    /// Of the oldest message; where there is none, of the next one.
    pub(super) first: u64,
    /// Of the newest message that there ever was; 0: there was none.
    pub(super) last: u64,
}

impl History {
    /// Names it for readers.
    pub(super) fn epoch(&self) -> Epoch {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.created.to_be_bytes()).update(&self.generation.digest);
        let mut bits = [0; 8];
        hasher.finalize_xof().fill(&mut bits);
        Epoch::of(u64::from_be_bytes(bits))
    }

    /// The same stream had this one before the other one: it was restored.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.created == other.created && self.generation.count < other.generation.count
    }
}

impl Generation {
    /// Whatever it says it is one. None: nobody has said any.
    fn of(text: Option<&String>) -> Self {
        let text = text.map_or("", |text| text);
        let count = text.split_once('-').and_then(|(count, _)| count.parse().ok()).unwrap_or(0);
        Self { count, digest: *blake3::hash(text.as_bytes()).as_bytes() }
    }

    /// Another one.
    fn text(count: u64) -> String {
        format!("{count}-{:016x}", fastrand::u64(..))
    }
}

impl Standing {
    fn of(info: &Info) -> Self {
        let generation = Generation::of(info.config.metadata.get(GENERATION));
        let last = info.state.last_sequence;
        let first = if info.state.messages == 0 { last + 1 } else { info.state.first_sequence };
        Self { history: History { created: info.created.unix_timestamp_nanos(), generation }, first, last }
    }
}

/// The stream of a topic.
#[derive(Debug)]
pub(super) struct Log {
    context: Context,
    /// How the topic is configured.
    topic: Mutex<Arc<config::Topic>>,
    /// On how many servers each message is kept.
    copies: usize,
    name: String,
}

impl Log {
    pub(super) fn new(client: Client, topic: Arc<config::Topic>, copies: usize) -> Self {
        let mut context = jetstream::new(client);
        context.set_timeout(TOPIC_NATS);
        // No exchange has such a stream, whatever it is called.
        let name = format!("tidewait_topic-{}", plain(&topic.name));
        Self { context, topic: Mutex::new(topic), copies, name }
    }

    fn topic(&self) -> Arc<config::Topic> {
        // It is one value.
        Arc::clone(&self.topic.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on the topic is configured so, under the same name. False: it was so before.
    pub(super) fn change(&self, topic: Arc<config::Topic>) -> bool {
        let mut before = self.topic.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = **before != *topic;
        *before = topic;
        differs
    }

    fn subject(&self) -> String {
        format!("tw.t.{}", plain(&self.topic().name))
    }

    /// Makes the stream, or takes it up: then its limits become those of the topic.
    pub(super) async fn open(&self) -> Result<Standing, LogError> {
        let found = match self.info().await {
            Ok(found) => found,
            Err(LogError::Gone) => return self.make().await,
            Err(error) => return Err(error),
        };
        let wanted = self.limited(found.config.clone());
        let found = if wanted == found.config {
            found
        } else {
            self.context.update_stream(wanted).await.map_err(LogError::of)?
        };
        Ok(Standing::of(&found))
    }

    /// What the server says of the stream, if it is ours.
    async fn info(&self) -> Result<Info, LogError> {
        match self.context.get_stream(&self.name).await {
            Ok(stream) if stream.cached_info().config.metadata.get(TOPIC) == Some(&self.topic().name) => {
                Ok(stream.cached_info().clone())
            }
            Ok(_) => Err(LogError::Foreign(self.name.clone())),
            Err(error) => {
                if let GetStreamErrorKind::JetStream(found) = error.kind()
                    && found.error_code() == ErrorCode::STREAM_NOT_FOUND
                {
                    return Err(LogError::Gone);
                }
                Err(LogError::of(error))
            }
        }
    }

    async fn make(&self) -> Result<Standing, LogError> {
        let metadata = [(TOPIC, self.topic().name.clone()), (GENERATION, Generation::text(0))];
        let config = Config {
            name: self.name.clone(),
            metadata: metadata.map(|(name, value)| (name.to_owned(), value)).into(),
            storage: StorageType::File,
            description: Some(format!("Messages of the topic {} of Tidewait", self.topic().name)),
            ..Config::default()
        };
        match self.context.create_stream(self.limited(config)).await {
            Ok(stream) => Ok(Standing::of(stream.cached_info())),
            Err(error) => {
                if let CreateStreamErrorKind::JetStream(found) = error.kind()
                    && found.error_code() == ErrorCode::STREAM_NAME_EXIST
                {
                    // Another replica was earlier.
                    return self.standing().await;
                }
                Err(LogError::of(error))
            }
        }
    }

    /// The same, with what the topic is configured for. Messages are kept a little longer than readers are given them: whoever comes
    /// later is to have what others have.
    fn limited(&self, config: Config) -> Config {
        let topic = self.topic();
        let history = topic.history;
        // A key is known for as long as its message is kept at most.
        let max_age = history.age.max(topic.dedupe);
        let bytes = history.bytes.saturating_add(history.messages.saturating_mul(TOPIC_NATS_AROUND));
        Config {
            subjects: vec![self.subject()],
            max_messages: i64::try_from(history.messages).unwrap_or(i64::MAX),
            max_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            max_age,
            discard: DiscardPolicy::Old,
            duplicate_window: topic.dedupe,
            num_replicas: self.copies,
            ..config
        }
    }

    /// What the stream has now, as its leader says.
    pub(super) async fn standing(&self) -> Result<Standing, LogError> {
        Ok(Standing::of(&self.info().await?))
    }

    /// On how many servers each message is kept, as the stream is configured.
    pub(super) async fn copies(&self) -> Result<usize, LogError> {
        Ok(self.info().await?.config.num_replicas)
    }

    /// Gives the stream another generation, after those of both histories, if it has the first one still. Where two replicas do so at
    /// once the last one counts, for both.
    pub(super) async fn raise(&self, history: History, read: History) -> Result<(), LogError> {
        let found = self.info().await?;
        if Standing::of(&found).history == history {
            let mut config = found.config;
            let count = history.generation.count.max(read.generation.count).saturating_add(1);
            config.metadata.insert(GENERATION.to_owned(), Generation::text(count));
            self.context.update_stream(config).await.map_err(LogError::of)?;
        }
        Ok(())
    }

    /// The messages from this offset on, in order. Where it is not kept any more the server begins with the first that is.
    pub(super) async fn follow(&self, from: u64) -> Result<pull::Stream, LogError> {
        let stream = self.context.get_stream_no_info(&self.name).await.map_err(LogError::of)?;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer =
            timeout(TOPIC_NATS, stream.create_consumer(config)).await.map_err(LogError::of)?.map_err(LogError::of)?;
        consumer.stream().heartbeat(HEARTBEAT).expires(EXPIRES).messages().await.map_err(LogError::of)
    }

    /// Sends a message, to be stored. What comes of it says where it is, or was.
    pub(super) async fn send(&self, record: &Record) -> Result<PublishAckFuture, PublishError> {
        let (mut head, payload) = record.encode();
        head.insert(NATS_EXPECTED_STREAM, self.name.as_str());
        self.context.publish_with_headers(self.subject(), head, payload).await
    }

    /// A message that is stored, and when it was; none: it is not kept any more.
    pub(super) async fn get(&self, offset: u64) -> Result<Option<(Record, i128)>, LogError> {
        let stream = self.context.get_stream_no_info(&self.name).await.map_err(LogError::of)?;
        match timeout(TOPIC_NATS, stream.get_raw_message(offset)).await.map_err(LogError::of)? {
            Ok(found) => {
                let record = Record::decode(Some(&found.headers), &found.payload);
                Ok(Some((record, found.time.unix_timestamp_nanos())))
            }
            Err(error) => {
                if let RawMessageErrorKind::JetStream(found) = error.kind()
                    && found.error_code() == ErrorCode::NO_MESSAGE_FOUND
                {
                    return Ok(None);
                }
                Err(LogError::of(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(created: i128, text: &str) -> History {
        History { created, generation: Generation::of(Some(&text.to_owned())) }
    }

    #[test]
    fn another_stream_and_another_generation_are_other_histories() {
        let all = [history(1, "0-aa"), history(2, "0-aa"), history(1, "0-ab"), history(1, "1-aa"), history(1, "word")];
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| one != other && one.epoch() != other.epoch()), "{at}");
        }
        assert_eq!(history(1, "0-aa").epoch(), all[0].epoch());
        let (first, raised) = (&all[0], &all[3]);
        assert!(first.is_before(raised) && !raised.is_before(first));
        assert!(!first.is_before(&all[2]), "two replicas at once");
        assert!(!all[1].is_before(raised), "another stream");
        assert_eq!(Generation::of(Some(&Generation::text(7))).count, 7);
    }
}
