//! PURE. What is written into the status of an `Exchange`, from what the replicas say. `now` is an argument.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::exchanges::News;
use super::plan::Verdict;
use super::status::{NOT_ACCEPTED, set};
use super::totals::{Finding, some};
use crate::bounds::STATUS_DEAD;
use crate::crd::condition::{ACCEPTED, HAS_WORKERS, READY};
use crate::crd::describe_replica::ReportedExchange;
use crate::crd::exchange::ExchangeStatus;

/// Seconds by which a time that is reported again may differ.
const ROUNDING: i64 = 2;

/// The report of one replica that serves an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExchangeReport {
    /// Its name.
    pub(super) replica: String,
    /// What it says.
    pub(super) says: ReportedExchange,
    /// For how long it has not renewed its report, where that is too long; none: it is heard of.
    pub(super) silent: Option<Duration>,
}

/// The status of an exchange. `old` is what stands there: what did not change keeps its time.
pub(super) fn of_exchange(
    old: Option<&ExchangeStatus>,
    verdict: &Verdict,
    reports: &[ExchangeReport],
    now: &Time,
) -> ExchangeStatus {
    // What a replica had that is not heard of says nothing of now.
    let live: Vec<_> = reports.iter().filter(|it| verdict.runs && it.silent.is_none()).map(|it| &it.says).collect();
    let sum = |number: fn(&ReportedExchange) -> u64| live.iter().fold(0_u64, |sum, it| sum.saturating_add(number(it)));
    let mut last_dead: Vec<_> = live.iter().flat_map(|it| it.last_dead.iter().cloned()).collect();
    last_dead.sort_by(|a, b| b.at.0.cmp(&a.at.0).then_with(|| a.item.cmp(&b.item)));
    last_dead.truncate(STATUS_DEAD);
    let mut status = ExchangeStatus {
        observed_generation: Some(verdict.generation),
        replicas: live.len() as u64,
        workers: sum(|it| it.workers),
        slots: sum(|it| it.slots),
        busy: sum(|it| it.busy),
        queued: sum(|it| it.queued),
        oldest: live.iter().filter_map(|it| it.oldest.as_ref()).min_by_key(|oldest| oldest.0).cloned(),
        dead: sum(|it| it.dead),
        last_dead,
        conditions: old.map(|old| old.conditions.clone()).unwrap_or_default(),
    };
    if let Some(old) = old {
        keep_times(old, &mut status);
    }
    let accepted = match &verdict.refused {
        None => Finding::yes("Valid", "the spec is used".to_owned()),
        Some(refused) => Finding::no(refused.reason, refused.message.clone()),
    };
    let (ready, has_workers) = if verdict.runs {
        (ready(live.len()), has_workers(reports))
    } else {
        let nothing = || "it is not served, see the condition Accepted".to_owned();
        (Finding::no(NOT_ACCEPTED, nothing()), Finding::unknown(NOT_ACCEPTED, nothing()))
    };
    for (kind, finding) in [(ACCEPTED, accepted), (READY, ready), (HAS_WORKERS, has_workers)] {
        set(&mut status.conditions, kind, &finding, verdict.generation, now);
    }
    status
}

/// What a replica reports anew has times that differ by a rounding: no news.
fn keep_times(old: &ExchangeStatus, new: &mut ExchangeStatus) {
    let is_close = |old: &Time, new: &Time| (old.0.as_second() - new.0.as_second()).abs() <= ROUNDING;
    if let (Some(old), Some(new)) = (&old.oldest, &mut new.oldest)
        && is_close(old, new)
    {
        new.clone_from(old);
    }
    for dead in &mut new.last_dead {
        if let Some(old) = old.last_dead.iter().find(|old| old.item == dead.item && is_close(&old.at, &dead.at)) {
            dead.at.clone_from(&old.at);
        }
    }
}

fn ready(live: usize) -> Finding {
    if live == 0 {
        Finding::unknown("NoReplica", "no sidecar has reported yet that it serves it".to_owned())
    } else {
        Finding::yes("Served", "consumers and workers may come".to_owned())
    }
}

fn has_workers(reports: &[ExchangeReport]) -> Finding {
    let without = |it: &&ExchangeReport| it.silent.is_none() && it.says.workers == 0;
    let without: Vec<_> = reports.iter().filter(without).map(|it| &*it.replica).collect();
    if !without.is_empty() {
        let message = format!("requests that arrive there wait, since no worker is there: {}", some(&without));
        Finding::no("NoWorker", message)
    } else if let Some(silent) = reports.iter().find(|it| it.silent.is_some()) {
        Finding::unknown("ReplicaSilent", format!("{} does not renew its report", silent.replica))
    } else if reports.is_empty() {
        Finding::unknown("NoReplica", "no sidecar has reported yet that it serves it".to_owned())
    } else {
        Finding::yes("WorkersThere", "every sidecar has a worker".to_owned())
    }
}

/// How much `new` says that `old` did not.
pub(super) fn news(old: Option<&ExchangeStatus>, new: &ExchangeStatus) -> News {
    let Some(old) = old else { return News::AtOnce };
    let answers = |status: &ExchangeStatus| {
        let answer = |it: &Condition| (it.type_.clone(), it.status.clone(), it.reason.clone(), it.observed_generation);
        let conditions: Vec<_> = status.conditions.iter().map(answer).collect();
        (status.observed_generation, status.replicas, status.workers == 0, conditions)
    };
    if answers(old) != answers(new) {
        News::AtOnce
    } else if old != new {
        News::Numbers
    } else {
        News::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::plan::Refused;
    use crate::controller::status::tests::{at, verdict};
    use crate::crd::exchange::DeadRequest;

    fn report(replica: &str, workers: u64, queued: u64) -> ExchangeReport {
        let dead = DeadRequest { item: replica.to_owned(), key: None, attempts: 3, at: at(50) };
        let says = ReportedExchange {
            name: "work".to_owned(),
            path: "/work".to_owned(),
            workers,
            slots: 2 * workers,
            busy: workers,
            queued,
            oldest: (queued > 0).then(|| at(100 - i64::try_from(queued).expect("small"))),
            dead: 1,
            last_dead: vec![dead],
        };
        ExchangeReport { replica: replica.to_owned(), says, silent: None }
    }

    fn short(status: &ExchangeStatus) -> Vec<String> {
        status.conditions.iter().map(|it| format!("{} {} {}", it.type_, it.status, it.reason)).collect()
    }

    #[test]
    fn the_replicas_are_added_up_and_who_has_no_worker_is_named() {
        let status = of_exchange(None, &verdict(None), &[report("a", 2, 0), report("b", 1, 4)], &at(200));
        assert_eq!(
            (status.replicas, status.workers, status.slots, status.busy, status.queued, status.dead),
            (2, 3, 6, 3, 4, 2)
        );
        assert_eq!(
            (status.oldest.clone(), status.last_dead.len(), status.observed_generation),
            (Some(at(96)), 2, Some(3))
        );
        assert_eq!(short(&status), ["Accepted True Valid", "Ready True Served", "HasWorkers True WorkersThere"]);
        let alone = of_exchange(Some(&status), &verdict(None), &[report("a", 2, 0), report("b", 0, 4)], &at(300));
        assert_eq!(short(&alone)[2], "HasWorkers False NoWorker");
        assert!(alone.conditions[2].message.ends_with("no worker is there: b"), "{}", alone.conditions[2].message);
        assert_eq!((&alone.conditions[1].last_transition_time, news(Some(&status), &alone)), (&at(200), News::AtOnce));
        let none = of_exchange(None, &verdict(None), &[], &at(300));
        assert_eq!(short(&none)[1..], ["Ready Unknown NoReplica", "HasWorkers Unknown NoReplica"]);
    }

    #[test]
    fn a_time_that_differs_by_a_rounding_is_no_news() {
        let once = of_exchange(None, &verdict(None), &[report("a", 1, 4)], &at(200));
        let mut again = report("a", 1, 4);
        again.says.oldest = Some(at(98));
        again.says.last_dead[0].at = at(49);
        assert_eq!(of_exchange(Some(&once), &verdict(None), &[again.clone()], &at(300)), once);
        again.says.oldest = Some(at(99));
        let later = of_exchange(Some(&once), &verdict(None), &[again], &at(300));
        assert_eq!((news(Some(&once), &later), later.oldest), (News::Numbers, Some(at(99))));
    }

    #[test]
    fn who_is_not_heard_of_is_not_counted() {
        let silent = ExchangeReport { silent: Some(Duration::from_secs(120)), ..report("b", 1, 4) };
        let status = of_exchange(None, &verdict(None), &[report("a", 2, 0), silent], &at(200));
        assert_eq!(
            (status.replicas, status.queued, short(&status)[2].as_str()),
            (1, 0, "HasWorkers Unknown ReplicaSilent")
        );
    }

    #[test]
    fn what_is_refused_says_why_and_counts_nothing() {
        let refused = Refused { reason: "PathConflict", message: "why".to_owned() };
        let status = of_exchange(None, &verdict(Some(refused)), &[report("a", 2, 0)], &at(200));
        let expected = ["Accepted False PathConflict", "Ready False NotAccepted", "HasWorkers Unknown NotAccepted"];
        assert_eq!((short(&status), status.workers), (expected.map(str::to_owned).to_vec(), 0));
    }

    #[test]
    fn numbers_alone_wait() {
        let one = of_exchange(None, &verdict(None), &[report("a", 2, 0)], &at(200));
        let more = of_exchange(Some(&one), &verdict(None), &[report("a", 2, 7)], &at(300));
        assert_eq!(
            (news(Some(&one), &more), news(Some(&one), &one), news(None, &one)),
            (News::Numbers, News::None, News::AtOnce)
        );
    }
}
