//! PURE. What is written into the status of a `Topic`, from what the replicas say. `now` is an argument.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::exchange_report::News;
use super::exchange_status::unheard;
use super::plan::Verdict;
use super::status::{NOT_ACCEPTED, set};
use super::totals::{Finding, some};
use crate::config::Backend;
use crate::crd::condition::{ACCEPTED, READY};
use crate::crd::describe_replica::ReportedTopic;
use crate::crd::topic::TopicStatus;

/// The report of one replica that serves a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicReport {
    /// Its name.
    pub(super) replica: String,
    /// What it says.
    pub(super) says: ReportedTopic,
    /// For how long it has not renewed its report, where that is too long; none: it is heard of.
    pub(super) silent: Option<Duration>,
}

/// The status of a topic. `old` is what stands there: what did not change keeps its time.
pub(super) fn of_topic(
    old: Option<&TopicStatus>,
    verdict: &Verdict,
    reports: &[TopicReport],
    now: &Time,
) -> TopicStatus {
    // What a replica had that is not heard of says nothing of now.
    let live: Vec<_> = reports.iter().filter(|it| verdict.runs && it.silent.is_none()).map(|it| &it.says).collect();
    let sum = |number: fn(&ReportedTopic) -> u64| live.iter().fold(0_u64, |sum, it| sum.saturating_add(number(it)));
    let is_one = is_one(&live);
    // What several have of one history is the same, but for what has not come to some of them yet.
    let of_all = |number: fn(&ReportedTopic) -> u64| {
        if is_one { live.iter().map(|it| number(it)).max().unwrap_or(0) } else { sum(number) }
    };
    let only = |text: fn(&ReportedTopic) -> &String| live.first().filter(|_| is_one).map(|it| text(it).clone());
    let mut status = TopicStatus {
        observed_generation: Some(verdict.generation),
        replicas: live.len() as u64,
        readers: sum(|it| it.readers),
        messages: of_all(|it| it.messages),
        rate: (!live.is_empty()).then(|| rate(of_all(|it| it.within_minute))),
        first: only(|it| &it.first),
        last: only(|it| &it.last),
        backend: live.first().map(|it| it.backend.clone()),
        conditions: old.map(|old| old.conditions.clone()).unwrap_or_default(),
    };
    let accepted = match &verdict.refused {
        None => Finding::yes("Valid", "the spec is used".to_owned()),
        Some(refused) => Finding::no(refused.reason, refused.message.clone()),
    };
    let ready = if verdict.runs {
        ready(verdict, reports)
    } else {
        Finding::no(NOT_ACCEPTED, "it is not served, see the condition Accepted".to_owned())
    };
    for (kind, finding) in [(ACCEPTED, accepted), (READY, ready)] {
        set(&mut status.conditions, kind, &finding, verdict.generation, now);
    }
    status
}

/// Whether these have one history.
fn is_one(live: &[&ReportedTopic]) -> bool {
    live.len() <= 1 || live.iter().all(|it| it.backend == Backend::Nats.as_str())
}

/// Messages in a second, of those in a minute: to a hundredth.
fn rate(within_minute: u64) -> String {
    let hundredths = within_minute.saturating_mul(10) / 6;
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:02}").trim_end_matches('0').to_owned() }
}

fn ready(verdict: &Verdict, reports: &[TopicReport]) -> Finding {
    let heard: Vec<_> = reports.iter().filter(|it| it.silent.is_none()).collect();
    let is_behind = |it: &&&TopicReport| it.says.generation.is_none_or(|served| served < verdict.generation);
    let behind: Vec<_> = heard.iter().filter(is_behind).map(|it| &*it.replica).collect();
    if heard.is_empty() {
        unheard(reports.iter().find(|it| it.silent.is_some()).map(|it| &*it.replica))
    } else if verdict.refused.is_none() && !behind.is_empty() {
        Finding::unknown("NotServedYet", format!("the newest spec is not served yet by {}", some(&behind)))
    } else if !is_one(&heard.iter().map(|it| &it.says).collect::<Vec<_>>()) {
        let replicas: Vec<_> = heard.iter().map(|it| &*it.replica).collect();
        let message = format!(
            "messages may be published and read, and each of these sidecars has a history of its own: {}; run one replica, or let all \
             clients of the topic reach the same one",
            some(&replicas)
        );
        Finding::yes("SeveralHistories", message)
    } else {
        Finding::yes("Served", "messages may be published and read".to_owned())
    }
}

/// How much `new` says that `old` did not.
pub(super) fn news(old: Option<&TopicStatus>, new: &TopicStatus) -> News {
    let Some(old) = old else { return News::AtOnce };
    let answers = |status: &TopicStatus| {
        let answer = |it: &Condition| (it.type_.clone(), it.status.clone(), it.reason.clone(), it.observed_generation);
        let conditions: Vec<_> = status.conditions.iter().map(answer).collect();
        (status.observed_generation, status.replicas, status.backend.clone(), conditions)
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

    fn report(replica: &str, readers: u64, within_minute: u64) -> TopicReport {
        let says = ReportedTopic {
            name: "chat".to_owned(),
            generation: Some(3),
            backend: "memory".to_owned(),
            readers,
            messages: 7,
            within_minute,
            first: "e.1".to_owned(),
            last: "e.7".to_owned(),
        };
        TopicReport { replica: replica.to_owned(), says, silent: None }
    }

    fn short(status: &TopicStatus) -> Vec<String> {
        status.conditions.iter().map(|it| format!("{} {} {}", it.type_, it.status, it.reason)).collect()
    }

    #[test]
    fn a_rate_is_told_to_a_hundredth() {
        let told = [0, 1, 6, 21, 60, 90, 6_000].map(rate);
        assert_eq!(told, ["0", "0.01", "0.1", "0.35", "1", "1.5", "100"]);
    }

    #[test]
    fn the_replicas_are_added_up_and_only_one_history_has_a_first_and_a_last_message() {
        let status = of_topic(None, &verdict(None), &[report("a", 2, 60)], &at(200));
        let ids = |status: &TopicStatus| (status.first.clone(), status.last.clone());
        assert_eq!((status.replicas, status.readers, status.messages, status.rate.as_deref()), (1, 2, 7, Some("1")));
        assert_eq!(ids(&status), (Some("e.1".to_owned()), Some("e.7".to_owned())));
        assert_eq!(
            (short(&status).join(", "), status.backend.as_deref()),
            ("Accepted True Valid, Ready True Served".to_owned(), Some("memory"),)
        );
        let two = of_topic(Some(&status), &verdict(None), &[report("a", 2, 60), report("b", 1, 30)], &at(300));
        assert_eq!((two.replicas, two.readers, two.messages, two.rate.as_deref()), (2, 3, 14, Some("1.5")));
        assert_eq!(ids(&two), (None, None));
        assert_eq!((short(&two)[1].as_str(), news(Some(&status), &two)), ("Ready True SeveralHistories", News::AtOnce));
        assert!(two.conditions[1].message.contains("a history of its own: a, b;"), "{}", two.conditions[1].message);
        assert_eq!(two.conditions[1].last_transition_time, at(200));
        // One history of all replicas.
        let shared = [report("a", 2, 60), report("b", 1, 59)]
            .map(|report| TopicReport { says: ReportedTopic { backend: "nats".to_owned(), ..report.says }, ..report });
        let one = of_topic(None, &verdict(None), &shared, &at(300));
        assert_eq!((one.replicas, one.readers, one.messages, one.rate.as_deref()), (2, 3, 7, Some("1")));
        assert_eq!((ids(&one), short(&one)[1].as_str()), (ids(&status), "Ready True Served"));
        let none = of_topic(None, &verdict(None), &[], &at(300));
        assert_eq!((short(&none)[1].as_str(), none.rate), ("Ready Unknown NoReplica", None));
    }

    #[test]
    fn who_serves_an_earlier_spec_is_named_and_who_is_not_heard_of_is_not_counted() {
        let mut behind = report("b", 1, 0);
        behind.says.generation = Some(2);
        let status = of_topic(None, &verdict(None), &[report("a", 1, 0), behind], &at(200));
        assert_eq!(status.conditions[1].message, "the newest spec is not served yet by b");
        let silent = TopicReport { silent: Some(Duration::from_secs(120)), ..report("b", 1, 4) };
        let status = of_topic(None, &verdict(None), &[report("a", 2, 0), silent.clone()], &at(200));
        assert_eq!((status.replicas, status.readers, &*short(&status)[1]), (1, 2, "Ready True Served"));
        let status = of_topic(None, &verdict(None), &[silent], &at(200));
        assert_eq!((status.replicas, &*short(&status)[1]), (0, "Ready Unknown ReplicaSilent"));
    }

    #[test]
    fn what_is_refused_says_why_and_numbers_alone_wait() {
        let refused = Refused { reason: "PathConflict", message: "why".to_owned() };
        let status = of_topic(None, &verdict(Some(refused)), &[report("a", 2, 0)], &at(200));
        assert_eq!(short(&status), ["Accepted False PathConflict", "Ready False NotAccepted"]);
        assert_eq!((status.readers, status.backend), (0, None));
        let one = of_topic(None, &verdict(None), &[report("a", 2, 0)], &at(200));
        let more = of_topic(Some(&one), &verdict(None), &[report("a", 3, 0)], &at(300));
        assert_eq!(
            (news(Some(&one), &more), news(Some(&one), &one), news(None, &one)),
            (News::Numbers, News::None, News::AtOnce)
        );
    }
}
