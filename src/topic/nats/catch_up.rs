//! A reader may have read what this replica has not heard of: then the stream is asked, before it is said that there is no such
//! message. Many readers share a question.

use std::sync::atomic::Ordering;

use tokio::time::{Instant, timeout_at};

use super::stream::Standing;
use super::{Inner, Topic};
use crate::bounds::TOPIC_CATCH_UP;
use crate::topic::backend::NotCaughtUp;
use crate::topic::core::Start;
use crate::topic::id::MessageId;

impl Inner {
    /// Whether a reader that begins so may have to be given what is not here.
    pub(super) fn lacks(&self, topic: &Topic, start: &Start) -> bool {
        if !self.is_whole.load(Ordering::Acquire) {
            return true;
        }
        let last = topic.last();
        since(start).is_some_and(|since| since.epoch != last.epoch || since.offset > last.offset)
    }

    /// Waits until all is here that such a reader may have read, as far as the stream has it.
    pub(super) async fn catch_up(&self, topic: &Topic, start: &Start) -> Result<(), NotCaughtUp> {
        let deadline = Instant::now() + TOPIC_CATCH_UP;
        let standing = self.look(deadline).await.ok_or(NotCaughtUp)?;
        let (epoch, since) = (standing.history.epoch(), since(start));
        let wanted = match since {
            Some(since) if since.epoch == epoch => since.offset.min(standing.last),
            _ => 0,
        };
        let mut changes = topic.changes();
        loop {
            let before = *changes.borrow();
            let last = topic.last();
            // A history that has begun since is another one too.
            let is_there = last.epoch != epoch || last.offset >= wanted;
            let is_known = last.epoch == epoch || since.is_none_or(|since| since.epoch == last.epoch);
            if self.is_whole.load(Ordering::Acquire) && is_there && is_known {
                return Ok(());
            }
            let something = changes.wait_for(|changes| *changes != before);
            if timeout_at(deadline, something).await.is_err() {
                return Err(NotCaughtUp);
            }
        }
    }

    /// What the stream has, as a look shows that begins now or later; none: NATS has not answered in time.
    async fn look(&self, deadline: Instant) -> Option<Standing> {
        let mut looked = self.looked.subscribe();
        let begun = self.looks.load(Ordering::Acquire);
        self.wants_look.notify_one();
        let over = looked.wait_for(|(look, standing)| *look > begun && standing.is_some());
        let over = timeout_at(deadline, over).await.ok()?.ok()?;
        over.1
    }
}

fn since(start: &Start) -> Option<MessageId> {
    match start {
        Start::Since(text) => MessageId::parse(text),
        Start::Tail(_) | Start::Earliest | Start::Latest => None,
    }
}
