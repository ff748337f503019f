//! A topic over restarts: what is restored, and what publishers are told.

use std::sync::Weak;

use futures::future::join_all;
use prometheus::Registry;
use tempfile::TempDir;

use super::*;
use crate::bounds::TOPIC_SEGMENT_BYTES;
use crate::config::{PublishRate, TopicHistory};
use crate::files::faults;
use crate::topic::backend::PublishError;
use crate::topic::core::{Publication, Refused};
use crate::topic::message::By;
use crate::topic::metrics::Families;

struct Rig {
    folder: TempDir,
    config: config::Topic,
    topic: Arc<Topic>,
}

impl Rig {
    fn new(history: TopicHistory) -> Self {
        let rate = PublishRate { per_second: 100_000, burst: 100_000 };
        let config = config::Topic { history, rate, ..config::Topic::example("chat") };
        let folder = faults::folder();
        let topic = start(&folder, &config, 7, Duration::ZERO);
        Self { folder, config, topic }
    }

    async fn publish(&self, key: &str, text: &str) -> Result<Published, PublishError> {
        let draft = Draft {
            media_type: "text/plain".into(),
            by: Some(By { name: "ann".into(), is_proven: true }),
            data: Data::Text(text.to_owned()),
        };
        let once = (!key.is_empty()).then(|| (key.into(), *blake3::hash(text.as_bytes()).as_bytes()));
        let publication = Publication { client: "x".into(), once, draft, bytes: text.len() };
        let at = format!("{:.3}", Timestamp::now()).into();
        self.topic.publish(publication, Instant::now().into_std(), &at).await
    }

    /// Another process takes over, so much later.
    async fn restart(self, later: Duration) -> Self {
        let Self { folder, config, topic } = self;
        ended(topic).await;
        let topic = start(&folder, &config, 8, later);
        Self { folder, config, topic }
    }

    fn json(&self) -> Vec<String> {
        let core = self.topic.core();
        core.after(core.last().saturating_sub(1000)).map(|message| text(message.json())).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn start(folder: &TempDir, config: &config::Topic, fresh: u64, later: Duration) -> Arc<Topic> {
    let metrics = Families::register(&Registry::new()).expect("new names").of("chat");
    let moment = (Instant::now().into_std(), Timestamp::now() + later);
    open(folder.path(), config.clone(), Epoch::of(fresh), metrics, moment).expect("it can be used")
}

/// Nobody has the topic any more, and no job.
async fn ended(topic: Arc<Topic>) {
    let weak: Weak<Topic> = Arc::downgrade(&topic);
    drop(topic);
    while weak.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

fn plenty() -> TopicHistory {
    TopicHistory { messages: 1000, bytes: 8 << 20, age: Duration::from_hours(1) }
}

#[tokio::test(start_paused = true)]
async fn messages_and_keys_are_those_from_before_the_restart() {
    let rig = Rig::new(plenty());
    let first = rig.publish("k", "a").await.expect("stored");
    rig.publish("", "b").await.expect("stored");
    let before = rig.json();
    assert!(before.len() == 2 && before[0].contains("\"by\":\"ann\"") && before[0].contains("0000000000000007.1"));
    let rig = rig.restart(Duration::from_secs(60)).await;
    assert_eq!(rig.json(), before);
    let again = rig.publish("k", "a").await.expect("known");
    assert_eq!((again.is_repeated, again.receipt), (true, first.receipt));
    assert_eq!(rig.publish("k", "other").await, Err(Refused::KeyReused.into()));
    assert_eq!(rig.publish("", "c").await.expect("stored").receipt.id, Epoch::of(7).at(3), "ids go on");
    // Two minutes after it was published its key is forgotten.
    let rig = rig.restart(Duration::from_secs(121)).await;
    assert!(!rig.publish("k", "a").await.expect("stored").is_repeated);
}

#[tokio::test(start_paused = true)]
async fn the_history_is_bounded_after_a_restart_as_before() {
    let rig = Rig::new(TopicHistory { messages: 2, ..plenty() });
    for word in ["a", "b", "c"] {
        rig.publish("", word).await.expect("stored");
    }
    let rig = rig.restart(Duration::ZERO).await;
    let extent = rig.topic.extent(Instant::now().into_std());
    assert_eq!((extent.messages, extent.first.offset, extent.last.offset), (2, 2, 3));
    let rig = rig.restart(Duration::from_secs(3601)).await;
    let extent = rig.topic.extent(Instant::now().into_std());
    assert_eq!((extent.messages, extent.first.offset, extent.last.offset), (0, 4, 3), "all are too old");
    assert_eq!(rig.publish("", "d").await.expect("stored").receipt.id, Epoch::of(7).at(4));
}

#[tokio::test(start_paused = true)]
async fn messages_that_come_together_are_stored_together_and_each_once() {
    let rig = Rig::new(plenty());
    let keys: Vec<_> = (0..200).map(|number| format!("k{}", number % 150)).collect();
    let published = join_all(keys.iter().map(|key| rig.publish(key, "a"))).await;
    let is_new =
        |result: &&Result<Published, PublishError>| result.as_ref().is_ok_and(|published| !published.is_repeated);
    let new = published.iter().filter(is_new).flatten();
    let mut offsets: Vec<_> = new.map(|published| published.receipt.id.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=150).collect::<Vec<_>>());
    // Of the others some may have come when the first was stored.
    let under_way: Result<Published, PublishError> = Err(Refused::KeyUnderWay.into());
    assert!(published[150..].iter().all(|result| *result == under_way || !is_new(&result)), "{published:?}");
    let rig = rig.restart(Duration::ZERO).await;
    assert_eq!(rig.json().len(), 150);
    assert!(rig.publish("k149", "a").await.expect("known").is_repeated);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_told_and_tried_again() {
    let rig = Rig::new(plenty());
    let topics = rig.folder.path().join("topics");
    let length = usize::try_from(TOPIC_SEGMENT_BYTES).expect("few");
    rig.publish("", &"x".repeat(length)).await.expect("stored");
    // The next message needs another file.
    std::fs::rename(&topics, rig.folder.path().join("gone")).expect("it is ours");
    let failed = Err(NotStored::Failed { after: TOPIC_WRITE_PAUSE }.into());
    assert_eq!(rig.publish("k", "a").await, failed);
    assert_eq!(rig.json().len(), 1, "readers have what they had");
    std::fs::rename(rig.folder.path().join("gone"), &topics).expect("it is ours");
    assert_eq!(rig.publish("k", "a").await, failed, "not before the pause is over");
    tokio::time::advance(TOPIC_WRITE_PAUSE).await;
    let stored = rig.publish("k", "a").await.expect("stored");
    assert_eq!((stored.receipt.id.offset, stored.is_repeated), (2, false), "its key was free");
    rig.publish("", "b").await.expect("at once");
    assert_eq!(rig.restart(Duration::ZERO).await.json().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_is_named_with_its_remedy() {
    let rig = Rig::new(plenty());
    let metrics = || Families::register(&Registry::new()).expect("new names").of("chat");
    let moment = (Instant::now().into_std(), Timestamp::now());
    let refused = |directory: &Path| {
        let opened = open(directory, rig.config.clone(), Epoch::of(1), metrics(), moment);
        opened.expect_err("it cannot be used").to_string()
    };
    let directory = rig.folder.path();
    let shown = directory.display();
    assert_eq!(
        refused(directory),
        format!("another process keeps the messages of topic chat in {shown}: give each process its own --state-dir")
    );
    let file = directory.join("file");
    std::fs::write(&file, "").expect("a file");
    assert_eq!(
        refused(&file),
        format!(
            "--state-dir {shown}/file: cannot create {shown}/file/topics/chat: Not a directory (os error 20): topic chat would lose its \
             messages with each restart: let this process write there, free space, or give another --state-dir"
        )
    );
}
