//! PURE. What is written into the status of an `Exchange`, from what the replicas say. `now` is an argument.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::exchange_report::News;
use super::plan::Verdict;
use super::report::is_close;
use super::status::{NOT_ACCEPTED, set};
use super::totals::{Finding, some};
use crate::bounds::STATUS_DEAD;
use crate::crd::condition::{ACCEPTED, HAS_WORKERS, READY};
use crate::crd::describe_replica::ReportedExchange;
use crate::crd::exchange::ExchangeStatus;

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
    let old_dead = old.map_or(&[][..], |old| &old.last_dead);
    let mut last_dead: Vec<_> = live.iter().flat_map(|it| it.last_dead.iter().cloned()).collect();
    for dead in &mut last_dead {
        if let Some(old) = old_dead.iter().find(|old| old.item == dead.item) {
            keep_time(Some(&old.at), &mut dead.at);
        }
    }
    // The times of before order and choose them, so that nothing changes with a rounding.
    last_dead.sort_by(|a, b| b.at.0.cmp(&a.at.0).then_with(|| a.item.cmp(&b.item)));
    last_dead.truncate(STATUS_DEAD);
    let mut oldest = live.iter().filter_map(|it| it.oldest.as_ref()).min_by_key(|oldest| oldest.0).cloned();
    if let Some(oldest) = &mut oldest {
        keep_time(old.and_then(|old| old.oldest.as_ref()), oldest);
    }
    let mut status = ExchangeStatus {
        observed_generation: Some(verdict.generation),
        replicas: live.len() as u64,
        workers: sum(|it| it.workers),
        slots: sum(|it| it.slots),
        busy: sum(|it| it.busy),
        queued: sum(|it| it.queued),
        oldest,
        dead: sum(|it| it.dead),
        last_dead,
        conditions: old.map(|old| old.conditions.clone()).unwrap_or_default(),
    };
    let accepted = match &verdict.refused {
        None => Finding::yes("Valid", "the spec is used".to_owned()),
        Some(refused) => Finding::no(refused.reason, refused.message.clone()),
    };
    let (ready, has_workers) = if verdict.runs {
        (ready(verdict, reports), has_workers(reports))
    } else {
        let nothing = || "it is not served, see the condition Accepted".to_owned();
        (Finding::no(NOT_ACCEPTED, nothing()), Finding::unknown(NOT_ACCEPTED, nothing()))
    };
    for (kind, finding) in [(ACCEPTED, accepted), (READY, ready), (HAS_WORKERS, has_workers)] {
        set(&mut status.conditions, kind, &finding, verdict.generation, now);
    }
    status
}

/// A time that is reported anew stays as it was, if it differs by a rounding.
fn keep_time(old: Option<&Time>, new: &mut Time) {
    if let Some(old) = old.filter(|old| is_close(Some(old), Some(new))) {
        new.clone_from(old);
    }
}

fn ready(verdict: &Verdict, reports: &[ExchangeReport]) -> Finding {
    let heard: Vec<_> = reports.iter().filter(|it| it.silent.is_none()).collect();
    let is_behind = |it: &&&ExchangeReport| it.says.generation.is_none_or(|served| served < verdict.generation);
    let behind: Vec<_> = heard.iter().filter(is_behind).map(|it| &*it.replica).collect();
    if heard.is_empty() {
        unheard(silent(reports))
    } else if verdict.refused.is_none() && !behind.is_empty() {
        Finding::unknown("NotServedYet", format!("the newest spec is not served yet by {}", some(&behind)))
    } else {
        Finding::yes("Served", "consumers and workers may come".to_owned())
    }
}

fn silent(reports: &[ExchangeReport]) -> Option<&str> {
    reports.iter().find(|it| it.silent.is_some()).map(|it| &*it.replica)
}

/// Why something is not known: this replica is silent, or there is none.
pub(super) fn unheard(silent: Option<&str>) -> Finding {
    match silent {
        Some(silent) => Finding::unknown("ReplicaSilent", format!("{silent} does not renew its report")),
        None => Finding::unknown("NoReplica", "no sidecar has reported yet that it serves it".to_owned()),
    }
}

fn has_workers(reports: &[ExchangeReport]) -> Finding {
    let heard = || reports.iter().filter(|it| it.silent.is_none());
    let others_work = heard().any(|it| it.says.shared && it.says.workers > 0);
    let without = |it: &&ExchangeReport| it.says.workers == 0 && !(it.says.shared && others_work);
    let without: Vec<_> = heard().filter(without).map(|it| &*it.replica).collect();
    if !without.is_empty() {
        let message = format!("requests that arrive there wait, since no worker is there: {}", some(&without));
        Finding::no("NoWorker", message)
    } else if reports.is_empty() || reports.iter().any(|it| it.silent.is_some()) {
        unheard(silent(reports))
    } else {
        Finding::yes("WorkersThere", "the requests of every sidecar have a worker".to_owned())
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
            generation: Some(3),
            shared: false,
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
        let mut shared = [report("a", 2, 0), report("b", 0, 4)];
        for report in &mut shared {
            report.says.shared = true;
        }
        let status = of_exchange(None, &verdict(None), &shared, &at(300));
        assert_eq!(short(&status)[2], "HasWorkers True WorkersThere", "those of a work for b too");
        shared[0].says.workers = 0;
        let status = of_exchange(None, &verdict(None), &shared, &at(300));
        assert!(status.conditions[2].message.ends_with("no worker is there: a, b"), "{}", status.conditions[2].message);
        let none = of_exchange(None, &verdict(None), &[], &at(300));
        assert_eq!(short(&none)[1..], ["Ready Unknown NoReplica", "HasWorkers Unknown NoReplica"]);
    }

    #[test]
    fn who_serves_an_earlier_spec_is_named_unless_the_newest_cannot_be_served() {
        let mut behind = report("b", 1, 0);
        behind.says.generation = Some(2);
        let reports = [report("a", 1, 0), behind];
        let status = of_exchange(None, &verdict(None), &reports, &at(200));
        assert_eq!(short(&status)[1], "Ready Unknown NotServedYet");
        assert_eq!(status.conditions[1].message, "the newest spec is not served yet by b");
        let refused = Refused { reason: "InvalidSpec", message: "why; it goes on".to_owned() };
        let goes_on = Verdict { runs: true, ..verdict(Some(refused)) };
        assert_eq!(short(&of_exchange(None, &goes_on, &reports, &at(200)))[1], "Ready True Served");
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
        let silent = ExchangeReport { silent: Some(Duration::from_secs(120)), ..report("b", 1, 4) };
        let none = of_exchange(None, &verdict(None), &[silent], &at(200));
        assert_eq!(short(&none)[1..], ["Ready Unknown ReplicaSilent", "HasWorkers Unknown ReplicaSilent"]);
    }

    #[test]
    fn a_rounding_neither_moves_a_dead_request_nor_takes_its_place() {
        let dead =
            |item: usize, second| DeadRequest { item: format!("{item:02}"), key: None, attempts: 3, at: at(second) };
        // One more than a status has: two of one replica and another are about as old.
        let says = |first, second| {
            let mut says = report("a", 1, 0);
            let younger = (0..STATUS_DEAD - 1).map(|item| dead(item, 80));
            says.says.last_dead = younger.chain([dead(50, first)]).collect();
            let mut others = report("b", 1, 0);
            others.says.last_dead = vec![dead(51, second)];
            [says, others]
        };
        let once = of_exchange(None, &verdict(None), &says(51, 50), &at(200));
        assert_eq!(once.last_dead.last().map(|dead| &*dead.item), Some("50"));
        let again = of_exchange(Some(&once), &verdict(None), &says(50, 51), &at(300));
        assert_eq!(again, once, "nothing is written");
        let swapped = |first, second| {
            let mut says = report("a", 1, 0);
            says.says.last_dead = vec![dead(1, first), dead(2, second)];
            [says]
        };
        let once = of_exchange(None, &verdict(None), &swapped(51, 50), &at(200));
        assert_eq!(of_exchange(Some(&once), &verdict(None), &swapped(50, 51), &at(300)), once, "nothing is written");
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
