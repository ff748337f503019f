//! What readers of a topic share: most of those that wait have read as far as the others, and are given the same bytes. Each owner
//! of readers keeps its own, so that nothing is locked for each of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Topic;
use super::core::{Gap, Place};
use super::event::Shape;
use super::id::MessageId;
use super::request::Poll;
use crate::bounds::{TOPIC_KEPT, TOPIC_KEPT_FOR};
use crate::hub::ViewId;

/// Messages of a stream, in one piece.
#[derive(Debug, Clone)]
pub struct Part {
    /// The bytes.
    pub bytes: Bytes,
    /// The last message in it.
    pub last: MessageId,
    /// The gap that it begins with; none: it has none.
    pub gap: Option<Gap>,
}

/// Messages that a poll is given.
#[derive(Debug, Clone)]
pub struct Page {
    /// The body.
    pub json: Bytes,
    /// `Topic-First`.
    pub first: http::HeaderValue,
    /// `Topic-Last`.
    pub last: http::HeaderValue,
    /// What was missed before it; none: nothing.
    pub gap: Option<Gap>,
}

/// The parts and pages that were made last.
#[derive(Debug, Default)]
pub struct Kept {
    parts: VecDeque<Entry<Shape, Part>>,
    pages: VecDeque<Entry<(usize, usize), Page>>,
}

/// A part or a page.
#[derive(Debug)]
struct Entry<H, V> {
    key: Key<H>,
    /// Messages grow old, so it is not kept for long.
    until: Instant,
    value: V,
}

/// What a part or a page depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key<H> {
    topic: ViewId,
    /// What its readers have read last, and the last message that there is.
    from: MessageId,
    last: MessageId,
    how: H,
}

impl Kept {
    /// What follows for readers that have read this message.
    pub(super) fn part(&mut self, topic: &Arc<Topic>, from: MessageId, shape: Shape, now: Instant) -> Part {
        let key = Key { topic: topic.id(), from, last: topic.last(), how: shape };
        keep(&mut self.parts, key, now, || topic.part(from, shape, now))
    }

    /// The same for polls.
    pub(super) fn page(&mut self, topic: &Arc<Topic>, from: MessageId, poll: &Poll, now: Instant) -> Page {
        let key = Key { topic: topic.id(), from, last: topic.last(), how: (poll.limit, poll.max_bytes) };
        keep(&mut self.pages, key, now, || topic.page(Place { read: from, gap: None }, poll, now))
    }
}

fn keep<H: PartialEq, V: Clone>(
    kept: &mut VecDeque<Entry<H, V>>,
    key: Key<H>,
    now: Instant,
    make: impl FnOnce() -> V,
) -> V {
    if let Some(found) = kept.iter().find(|entry| entry.key == key && now < entry.until) {
        return found.value.clone();
    }
    let value = make();
    if kept.len() >= TOPIC_KEPT {
        kept.pop_front();
    }
    kept.push_back(Entry { key, until: now + TOPIC_KEPT_FOR, value: value.clone() });
    value
}
