//! What this replica says of its topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::exchange_report::{LONGEST_NAME, News};
use super::plan::Verdict;
use crate::bounds::TOPICS;
use crate::crd::describe_replica::ReportedTopic;
use crate::topic::Topic;

/// What is to be reported of these topics at `now`, by name. `verdicts` are those on the objects.
pub(super) fn reported(
    topics: &[Arc<Topic>],
    verdicts: &BTreeMap<String, Verdict>,
    now: Instant,
) -> Vec<ReportedTopic> {
    let mut all: Vec<_> = topics.iter().map(|topic| one(topic, verdicts, now)).collect();
    // Those of a configuration file may have a longer name than an object.
    all.retain(|topic| topic.name.len() <= LONGEST_NAME);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.truncate(TOPICS);
    all
}

fn one(topic: &Topic, verdicts: &BTreeMap<String, Verdict>, now: Instant) -> ReportedTopic {
    let extent = topic.extent(now);
    ReportedTopic {
        name: topic.name().as_ref().to_owned(),
        generation: verdicts.get(&**topic.name()).filter(|it| it.refused.is_none()).map(|it| it.generation),
        backend: topic.config().backend.as_str().to_owned(),
        readers: topic.readers() as u64,
        messages: extent.messages as u64,
        within_minute: topic.within_minute(now),
        first: extent.first.to_string(),
        last: extent.last.to_string(),
    }
}

/// How much `new` says that `old` did not.
pub(super) fn news(old: &[ReportedTopic], new: &[ReportedTopic]) -> News {
    if old.len() != new.len() {
        return News::AtOnce;
    }
    let of_one = |(old, new): (&ReportedTopic, &ReportedTopic)| {
        let place = |it: &ReportedTopic| (it.name.clone(), it.generation, it.backend.clone());
        if place(old) != place(new) {
            News::AtOnce
        } else if old != new {
            News::Numbers
        } else {
            News::None
        }
    };
    old.iter().zip(new).map(of_one).max().unwrap_or(News::None)
}
