//! The statuses of `Topic`s.

use kube::core::ApiResource;
use tokio::time::Instant;

use super::{Statuses, now};
use crate::bounds::EXCHANGE_STATUS;
use crate::controller::exchange_report::News;
use crate::controller::metrics::Written;
use crate::controller::plan::Verdict;
use crate::controller::status;
use crate::controller::topic_status::{self, TopicReport};
use crate::controller::writer::{Write, WriteOutcome};
use crate::crd::Topic;
use crate::crd::topic::TopicStatus;

impl Statuses {
    /// Writes the status of a topic if it differs from what stands on the API server: for other numbers alone, once in a while.
    pub(super) async fn topic(
        &mut self,
        name: &str,
        verdict: &Verdict,
        seen: (u64, Option<TopicStatus>),
        reports: &[TopicReport],
    ) {
        let uid = &verdict.uid;
        let (version, old) = self.topics.of(uid, seen);
        let new = topic_status::of_topic(old.as_ref(), verdict, reports, &now());
        let is_due = match topic_status::news(old.as_ref(), &new) {
            News::None => false,
            News::Numbers => self.paces.get(uid).is_none_or(|until| Instant::now() >= *until),
            News::AtOnce => true,
        };
        if !is_due {
            return;
        }
        let resource = ApiResource::erase::<Topic>(&());
        let write = Write { written: Written::Topic, resource, name, uid, version };
        match self.writer.write(&write, &new).await {
            WriteOutcome::Written(version) => {
                let old = old.map(|old| old.conditions).unwrap_or_default();
                for bad in status::newly_failing(&old, &new.conditions) {
                    self.writer.record_event(&write, bad).await;
                }
                self.paces.insert(uid.clone(), Instant::now() + EXCHANGE_STATUS);
                self.topics.0.insert(uid.clone(), (version, Some(new)));
            }
            // What it says now is watched.
            WriteOutcome::Conflict => drop(self.topics.0.remove(uid)),
            WriteOutcome::Not => {}
        }
    }
}
