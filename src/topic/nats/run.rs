//! Follows the stream of a topic, and sees to it that it is the one that readers have read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::record::Record;
use super::stream::{LogError, Standing};
use super::{Inner, Seen, Topic, Wait};
use crate::bounds::{TOPIC_CATCH_UP, TOPIC_NATS_BATCH, TOPIC_NATS_LOOK};
use crate::topic::core::Entry;

/// How long it takes until the stream is looked at again, after that has failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Why a stream is not followed any more.
enum Left {
    /// It cannot be, or it is to be looked at.
    Lost,
    /// It has another message than was read.
    Differs,
}

/// Follows the stream, without end.
pub(super) async fn run(inner: &Arc<Inner>, topic: &Arc<Topic>) {
    let mut made = inner.connection.made.clone();
    let standing = open(inner, topic).await;
    warn_of_payload(inner, topic);
    let mut standing = Some(standing);
    loop {
        let before = *made.borrow_and_update();
        let found = match standing.take() {
            Some(standing) => Some(standing),
            None => look(inner, topic).await,
        };
        let Some(found) = found else {
            up(inner, topic, false);
            sleep(AGAIN).await;
            continue;
        };
        if !settle(inner, topic, found).await {
            continue;
        }
        up(inner, topic, true);
        let left = tokio::select! {
            left = follow(inner, topic, found) => left,
            () = watch(inner, topic) => Left::Lost,
            // The server may not know of this replica any more.
            _ = made.wait_for(|made| *made != before) => Left::Lost,
        };
        if let (Left::Differs, Some(seen)) = (left, seen(inner)) {
            raise(inner, topic, &seen, |found, seen| found.history == seen.history).await;
        }
    }
}

fn seen(inner: &Inner) -> Option<Seen> {
    inner.state().seen
}

/// Opens the stream, or makes it, once NATS answers.
async fn open(inner: &Inner, topic: &Topic) -> Standing {
    topic.backend_is(false);
    let mut made = inner.connection.made.clone();
    loop {
        // Its sender is the connection's.
        let _ = made.wait_for(|made| *made > 0).await;
        match inner.log.open().await {
            Ok(standing) => return standing,
            Err(error) => inner.tell_of_stream(topic, &error),
        }
        sleep(AGAIN).await;
    }
}

fn warn_of_payload(inner: &Inner, topic: &Topic) {
    let (payload, needs) = (crate::nats::room(&inner.connection.client), topic.config().message_bytes);
    if payload < needs {
        tracing::warn!(
            topic = %topic.name(),
            payload,
            "messages of NATS may have fewer bytes than those of the topic: raise max_payload of its servers, or lower messageBytes"
        );
    }
}

/// Looks at the stream, makes it anew if it is gone, and tells who waits for that.
async fn look(inner: &Inner, topic: &Topic) -> Option<Standing> {
    let number = inner.looks.fetch_add(1, Ordering::AcqRel) + 1;
    let found = async {
        match inner.log.standing().await {
            Err(LogError::Gone) => inner.log.open().await,
            found => found,
        }
    };
    let found = if inner.is_connected() { Some(timeout(TOPIC_CATCH_UP, found).await) } else { None };
    let standing = match found {
        Some(Ok(Ok(standing))) => Some(standing),
        Some(Ok(Err(error))) => {
            inner.tell_of_stream(topic, &error);
            None
        }
        Some(Err(_)) | None => None,
    };
    inner.looked.send_replace((number, standing));
    standing
}

/// Sees whether the stream is what was read so far, and begins another history if not. False: it is to be looked at again.
async fn settle(inner: &Inner, topic: &Topic, standing: Standing) -> bool {
    let Standing { history, first, last } = standing;
    let before = first - 1;
    match seen(inner) {
        Some(seen) if is_older(&standing, &seen) => {
            raise(inner, topic, &seen, is_older).await;
            return false;
        }
        // What it does not have any more readers here have missed.
        Some(seen) if seen.history == history && seen.last >= before => {}
        known => {
            if known.is_some_and(|known| known.history != history) {
                tracing::warn!(topic = %topic.name(), "the stream of the topic is another one, or shows an older state: its readers are told of a gap");
            }
            inner.is_whole.store(false, Ordering::Release);
            inner.state().seen = Some(Seen { history, last: before, time: None });
            topic.begin(history.epoch().at(before), Instant::now().into_std());
        }
    }
    is_whole(inner, topic, last);
    true
}

/// All up to this offset is here, perhaps.
fn is_whole(inner: &Inner, topic: &Topic, last: u64) {
    if !inner.is_whole.load(Ordering::Acquire) && topic.last().offset >= last {
        inner.is_whole.store(true, Ordering::Release);
        topic.tell();
    }
}

/// The stream shows an older state than was read.
fn is_older(standing: &Standing, seen: &Seen) -> bool {
    let Standing { history, last, .. } = standing;
    history.is_before(&seen.history) || *history == seen.history && *last < seen.last
}

/// The stream shows an older state than was read: it gets another generation, unless another replica has given it one by then, or it
/// is otherwise (a server that leads no more may not know it yet).
async fn raise(inner: &Inner, topic: &Topic, seen: &Seen, is_so: impl Fn(&Standing, &Seen) -> bool) {
    // Most often one of all replicas is the first.
    sleep(AGAIN.mul_f64(0.5 + fastrand::f64())).await;
    let raised = async {
        let found = inner.log.standing().await?;
        if is_so(&found, seen) { inner.log.raise(found.history, seen.history).await } else { Ok(()) }
    };
    if let Err(error) = raised.await {
        inner.tell_of_stream(topic, &error);
    }
}

/// Looks at the stream now and then, until it is another one.
async fn watch(inner: &Inner, topic: &Topic) {
    loop {
        tokio::select! {
            () = sleep(TOPIC_NATS_LOOK) => {}
            () = inner.wants_look.notified() => {}
        }
        // Before the look: what is read meanwhile may be newer.
        let Some(seen) = seen(inner) else { return };
        if inner.log.change(topic.config())
            && let Err(error) = inner.log.open().await
        {
            inner.tell_of_stream(topic, &error);
        }
        match look(inner, topic).await {
            Some(Standing { history, first, last }) => {
                up(inner, topic, true);
                // What is neither read nor kept will not come.
                if history != seen.history || last < seen.last || first > last && last > seen.last {
                    return;
                }
            }
            None => up(inner, topic, false),
        }
    }
}

/// Reads messages as they come.
async fn follow(inner: &Inner, topic: &Topic, standing: Standing) -> Left {
    let Some(begun) = seen(inner) else { return Left::Lost };
    // The message that was read last comes once more, and tells whether it is that one still.
    let mut expected = begun.time.filter(|_| begun.last >= standing.first);
    let from = if expected.is_some() { begun.last } else { begun.last + 1 };
    let messages = match inner.log.follow(from).await {
        Ok(messages) => messages,
        Err(error) => {
            inner.tell_of_stream(topic, &error);
            sleep(AGAIN).await;
            return Left::Lost;
        }
    };
    let (mut batches, mut count) = (messages.ready_chunks(TOPIC_NATS_BATCH), 0);
    while let Some(batch) = batches.next().await {
        let mut read = Vec::with_capacity(batch.len());
        let mut is_lost = false;
        for message in batch {
            let Ok(message) = message else {
                is_lost = true;
                break;
            };
            let Ok(found) = message.info() else { continue };
            count += 1;
            // Its server gives each once. Another number: some have not come.
            if found.consumer_sequence != count {
                is_lost = true;
                break;
            }
            let (offset, time) = (found.stream_sequence, found.published.unix_timestamp_nanos());
            if let Some(expected) = expected.take()
                && offset == begun.last
            {
                if expected != time {
                    return Left::Differs;
                }
                continue;
            }
            read.push((offset, time, Record::decode(message.headers.as_ref(), &message.payload)));
        }
        appended(inner, topic, read);
        is_whole(inner, topic, standing.last);
        if is_lost {
            break;
        }
    }
    Left::Lost
}

/// Shows readers what was read.
fn appended(inner: &Inner, topic: &Topic, read: Vec<(u64, i128, Record)>) {
    let (now, wall) = (Instant::now().into_std(), Timestamp::now().as_nanosecond());
    let Some(mut seen) = seen(inner) else { return };
    let mut batch = Batch::default();
    for (offset, time, Record { draft, once, publish }) in read {
        if offset <= seen.last {
            continue;
        }
        if offset != seen.last + 1 {
            // Some were removed before they were read here, by a bound or by hand.
            batch.append(topic, now);
            topic.begin(seen.history.epoch().at(offset - 1), now);
        }
        seen = Seen { last: offset, time: Some(time), ..seen };
        let age = Duration::from_nanos(u64::try_from(wall - time).unwrap_or(0));
        let published = now.checked_sub(age).unwrap_or(now);
        let number = publish.and_then(|mark| inner.marked(&mark));
        let wait = number.and_then(|number| inner.state().waits.remove(&number));
        let bytes = wait.as_ref().and_then(|wait| wait.bytes);
        batch.entries.push((offset, Entry { once, draft, bytes, published, at: at(time) }));
        batch.waits.push(wait);
    }
    batch.append(topic, now);
    inner.state().seen = Some(seen);
}

/// Messages that were read, and who waits for each.
#[derive(Default)]
struct Batch {
    entries: Vec<(u64, Entry)>,
    waits: Vec<Option<Wait>>,
}

impl Batch {
    fn append(&mut self, topic: &Topic, now: std::time::Instant) {
        if self.entries.is_empty() {
            return;
        }
        let receipts = topic.append(std::mem::take(&mut self.entries), now);
        for (wait, receipt) in self.waits.drain(..).zip(receipts) {
            if let Some(Wait { tell, .. }) = wait {
                // It may have waited for too long.
                let _ = tell.send(receipt);
            }
        }
    }
}

/// When a message was stored, for people.
pub(super) fn at(time: i128) -> Arc<str> {
    let time = Timestamp::from_nanosecond(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}").into()
}

/// Notes whether the stream can be reached, and tells operators where that has changed.
fn up(inner: &Inner, topic: &Topic, is_up: bool) {
    if inner.is_up.swap(is_up, Ordering::AcqRel) == is_up {
        return;
    }
    topic.backend_is(is_up);
    let name = topic.name();
    if is_up {
        tracing::info!(topic = %name, "NATS has the messages of the topic: it takes what is published");
    } else {
        tracing::warn!(topic = %name, "NATS does not answer: the topic takes no message until it does, and readers are given those that this replica has");
    }
}
