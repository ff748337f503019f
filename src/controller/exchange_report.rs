//! What this replica says of its exchanges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::plan::Verdict;
use super::report::{is_close, moment};
use crate::bounds::{EXCHANGES, STATUS_AGENT, STATUS_DEAD};
use crate::crd::condition::cut;
use crate::crd::describe_replica::ReportedExchange;
use crate::crd::exchange::DeadRequest;
use crate::escape::escape;
use crate::exchange::{Exchange, Tally};

/// How much a report, or a status, says that the one before did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum News {
    /// Nothing.
    None,
    /// Numbers, which change all the time.
    Numbers,
    /// Something else.
    AtOnce,
}

/// What the name of an object may have.
pub(super) const LONGEST_NAME: usize = 253;

/// What is to be reported of these exchanges at `now`, by name. `verdicts` are those on the objects.
pub(super) fn reported(
    exchanges: &[Arc<Exchange>],
    verdicts: &BTreeMap<String, Verdict>,
    now: SystemTime,
) -> Vec<ReportedExchange> {
    let mut all: Vec<_> = exchanges.iter().map(|exchange| one(exchange, verdicts, now)).collect();
    // Those of a configuration file may have a longer name than an object.
    all.retain(|exchange| exchange.name.len() <= LONGEST_NAME);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.truncate(EXCHANGES);
    all
}

fn one(exchange: &Exchange, verdicts: &BTreeMap<String, Verdict>, now: SystemTime) -> ReportedExchange {
    let (config, tally) = (exchange.config(), exchange.tally());
    let Tally { workers, slots, busy, queued, oldest, dead, last_dead } = tally;
    let ago = |ago: Duration| now.checked_sub(ago).and_then(moment);
    let last = last_dead.iter().rev().take(STATUS_DEAD).filter_map(|dead| {
        Some(DeadRequest {
            item: dead.item.clone(),
            key: dead.key.as_deref().map(|key| cut(&escape(key), STATUS_AGENT)),
            attempts: dead.attempts.into(),
            at: ago(dead.age)?,
        })
    });
    ReportedExchange {
        name: config.name.clone(),
        generation: verdicts.get(&config.name).filter(|it| it.refused.is_none()).map(|it| it.generation),
        shared: exchange.is_shared(),
        workers: workers as u64,
        slots: slots as u64,
        busy: busy as u64,
        queued: queued as u64,
        oldest: oldest.and_then(ago),
        dead,
        last_dead: last.collect(),
    }
}

/// How much `new` says that `old` did not.
pub(super) fn news(old: &[ReportedExchange], new: &[ReportedExchange]) -> News {
    if old.len() != new.len() {
        return News::AtOnce;
    }
    old.iter().zip(new).map(|(old, new)| news_of(old, new)).max().unwrap_or(News::None)
}

fn news_of(old: &ReportedExchange, new: &ReportedExchange) -> News {
    let place = |it: &ReportedExchange| (it.name.clone(), it.generation, it.shared, it.workers == 0);
    let numbers = |it: &ReportedExchange| (it.workers, it.slots, it.busy, it.queued, it.dead);
    if place(old) != place(new) {
        News::AtOnce
    } else if numbers(old) != numbers(new) || !is_close(old.oldest.as_ref(), new.oldest.as_ref()) {
        News::Numbers
    } else {
        News::None
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff;

    use super::*;

    #[test]
    fn numbers_are_less_than_who_is_there() {
        let at = |second| Some(Time(jiff::Timestamp::from_second(second).expect("in range")));
        let old = ReportedExchange {
            name: "work".to_owned(),
            generation: Some(1),
            shared: false,
            workers: 1,
            slots: 2,
            busy: 0,
            queued: 3,
            oldest: at(100),
            dead: 0,
            last_dead: Vec::new(),
        };
        let news = |new: ReportedExchange| news(std::slice::from_ref(&old), &[new]);
        assert_eq!(news(ReportedExchange { oldest: at(102), ..old.clone() }), News::None);
        assert_eq!(news(ReportedExchange { oldest: at(103), ..old.clone() }), News::Numbers);
        assert_eq!(news(ReportedExchange { queued: 0, oldest: None, ..old.clone() }), News::Numbers);
        assert_eq!(news(ReportedExchange { workers: 2, ..old.clone() }), News::Numbers);
        assert_eq!(news(ReportedExchange { workers: 0, ..old.clone() }), News::AtOnce);
        assert_eq!(news(ReportedExchange { generation: Some(2), ..old.clone() }), News::AtOnce);
        assert_eq!(super::news(&[], &[old]), News::AtOnce);
    }
}
