//! What operators and reports are told in numbers.

use super::*;
use crate::bounds::{EXCHANGE_LOG, EXCHANGE_SHOWN, STATUS_DEAD};
use crate::exchange::core::Refused;

#[tokio::test(start_paused = true)]
async fn a_tally_counts_all_workers_also_those_that_are_not_listed() {
    let exchange = exchange(config());
    let workers = (0..=EXCHANGE_SHOWN).map(|number| {
        let agent = number.to_string().as_str().into();
        let details = WorkerDetails::new(Transport::Claims, (None, Some(&agent)), ([127, 0, 0, 1], 1).into(), 1);
        exchange.poll(None, None, &details)
    });
    let _waiting: Vec<_> = workers.collect();
    let tally = exchange.tally();
    assert_eq!((tally.workers, tally.slots), (EXCHANGE_SHOWN + 1, EXCHANGE_SHOWN + 1));
    assert_eq!(exchange.shown().workers.len(), EXCHANGE_SHOWN);
}

#[tokio::test(start_paused = true)]
async fn a_tally_has_as_many_dead_as_a_report_and_the_newest_of_them() {
    let exchange = exchange(config::Exchange { attempts: 1, ..config() });
    let mut items = Vec::new();
    for _ in 0..=STATUS_DEAD {
        let consumer = submit(&exchange, true, b"");
        let mut job = poll(&exchange).await;
        job.written();
        job.lost(core::Lost::Written);
        items.push(consumer.entry().id.to_string());
    }
    let tally = exchange.tally();
    assert_eq!(tally.dead, items.len() as u64);
    let last: Vec<_> = tally.last_dead.iter().map(|dead| &dead.item).collect();
    assert_eq!(last, items[1..].iter().collect::<Vec<_>>());
    assert_eq!(exchange.shown().dead.len(), items.len());
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_many_are_shown_and_in_the_order_in_which_they_came() {
    let exchange = exchange(config());
    let consumers: Vec<_> = (0..2 * EXCHANGE_SHOWN + 2).map(|_| submit(&exchange, true, b"")).collect();
    let items: Vec<_> = consumers.iter().map(|consumer| consumer.entry().id).collect();
    let (claimed, queued) = items.split_at(EXCHANGE_SHOWN + 1);
    let mut jobs = Vec::new();
    for _ in claimed {
        let Seated::Waits(mut slot) = exchange.poll(None, None, &details()) else { panic!("it has no seat") };
        let Given::Job(job) = slot.given().await else { panic!("it is the only one") };
        jobs.push(job);
    }
    let shown = exchange.shown();
    let ids = |items: &[ShownItem]| items.iter().map(|item| item.item).collect::<Vec<_>>();
    assert_eq!(ids(&shown.oldest_in_flight), claimed[..EXCHANGE_SHOWN]);
    assert_eq!(ids(&shown.oldest_queued), queued[..EXCHANGE_SHOWN]);
    assert!(shown.oldest_in_flight.iter().all(|item| item.worker.is_some()));
    assert_eq!((shown.workers[0].busy, shown.workers[0].items.len()), (EXCHANGE_SHOWN + 1, EXCHANGE_SHOWN));
    assert_eq!(shown.consumers, items.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn lines_about_a_queue_that_is_full_and_open_by_turns_are_limited() {
    let exchange = exchange(config::Exchange { queue: QueueLimits { length: 1, ..config().queue }, ..config() });
    for _ in 0..EXCHANGE_LOG.0 {
        drop(submit(&exchange, true, b""));
    }
    assert_eq!(exchange.queue_lines.next(), None, "it was full each time, and open again");
}

#[test]
fn counters_are_there_before_anything_has_happened_and_no_others_come() {
    let registry = prometheus::Registry::new();
    let metrics = metrics::Families::register(&registry).expect("new metrics").of("x");
    let counters = || -> Vec<_> {
        let counters = registry.gather().into_iter().filter(|family| family.name().ends_with("_total"));
        counters.map(|family| (family.name().to_owned(), family.get_metric().len())).collect()
    };
    let before = counters();
    assert_eq!(before.len(), 7);
    for how in [Lost::Unwritten, Lost::GivenBack, Lost::Written, Lost::Untouched, Lost::LeaseOver] {
        metrics.put_back(how);
    }
    for failure in [Failure::NotClaimed, Failure::Broke, Failure::Deleted, Failure::Abandoned, Failure::GraceOver] {
        let item = ItemId::of(1);
        metrics.failed(&core::Failed {
            item,
            failure,
            lost: None,
            attempts: 1,
            claim: None,
            is_dead: false,
            is_told: false,
        });
    }
    for refused in [Refused::Full(1), Refused::OfClient(1), Refused::NoWorker(SECOND), Refused::KeyReused] {
        metrics.refused(refused);
    }
    metrics.done();
    assert_eq!(counters(), before);
}
