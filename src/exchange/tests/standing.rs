//! An exchange that changes, or ends, while consumers wait and workers are there.

use super::*;
use crate::exchange::metrics::Transport;

/// A claim of a worker that has no name.
async fn take(exchange: &Arc<Exchange>) -> Job {
    let Seated::Waits(mut slot) = exchange.poll(None, None, &details()) else { panic!("it has no seat") };
    let Given::Job(job) = slot.given().await else { panic!("it is the only one") };
    job
}

#[tokio::test(start_paused = true)]
async fn a_change_holds_for_who_comes_and_loses_nobody() {
    let exchange = exchange(config());
    let queued = submit(&exchange, false, b"");
    exchange.change(config::Exchange {
        queue: QueueLimits { length: 1, ..config().queue },
        transports: Transports { http1: false, ..config().transports },
        ..config()
    });
    assert_eq!((exchange.config().queue.length, exchange.tally().queued), (1, 1));
    exchange.unwelcome(Transport::Http1).await;
    assert!(exchange.unwelcome(Transport::Http2).now_or_never().is_none());
    let job = poll(&exchange).await;
    assert_eq!(job.entry().id, queued.entry().id);
    let tally = exchange.tally();
    assert_eq!((tally.workers, tally.slots, tally.busy, tally.queued, tally.oldest), (1, 1, 1, 0, None));
    job.finish(None).await.expect("it counts");
    drop(queued);
    assert!(holds_nothing(&exchange));
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_waits_or_comes_is_let_go_once_nobody_is_to_poll() {
    let without = || config::Exchange { transports: Transports { claims: false, ..config().transports }, ..config() };
    let ends: [fn(&Arc<Exchange>, config::Exchange); 2] =
        [|exchange, without| exchange.change(without), |exchange, _| exchange.close()];
    for end in ends {
        let exchange = exchange(config());
        let Seated::Waits(mut waits) = exchange.poll(None, None, &details()) else { panic!("it has no seat") };
        end(&exchange, without());
        assert!(matches!(waits.given().await, Given::Unwelcome));
        let Seated::Waits(mut late) = exchange.poll(None, None, &details()) else { panic!("it has no seat") };
        assert!(matches!(late.given().await, Given::Unwelcome));
        drop((waits, late));
        assert!(holds_nothing(&exchange));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_ends_with_its_exchange_and_what_a_worker_has_may_be_answered() {
    let exchange = exchange(config());
    timed(&exchange, async {
        let (claimed, queued) = (submit(&exchange, true, b""), submit(&exchange, false, b""));
        let mut job = poll(&exchange).await;
        exchange.close();
        for transport in [Transport::Claims, Transport::Http1, Transport::Http2, Transport::Raw] {
            exchange.unwelcome(transport).await;
        }
        assert!(matches!(queued.entry().ended().await, Outcome::Failed(Failure::Removed)));
        let late = submit(&exchange, false, b"");
        assert!(matches!(late.entry().ended().await, Outcome::Failed(Failure::Removed)));
        assert!(exchange.emptied().now_or_never().is_none());
        job.answer(StatusCode::OK, HeaderMap::new()).expect("it lives");
        job.finish(None).await.expect("it counts");
        assert!(matches!(claimed.entry().ended().await, Outcome::Answer(_)));
        exchange.emptied().await;
    })
    .await;
    assert!(holds_nothing(&exchange));
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_loses_after_the_end_of_its_exchange_goes_to_nobody() {
    let exchange = exchange(config());
    timed(&exchange, async {
        let (given_back, begun, cut) =
            (submit(&exchange, true, b""), submit(&exchange, true, b""), submit(&exchange, true, b""));
        let (first, mut second, third) = (take(&exchange).await, take(&exchange).await, take(&exchange).await);
        exchange.close();
        first.lost(core::Lost::GivenBack);
        assert!(matches!(given_back.entry().ended().await, Outcome::Failed(Failure::Removed)));
        second.written();
        second.lost(core::Lost::Written);
        assert!(matches!(begun.entry().ended().await, Outcome::Failed(Failure::Broke)), "it may have begun");
        let (cancelled, claim) = (third.cancelled().clone(), third.claim());
        exchange.cut();
        cancelled.cancelled().await;
        assert!(matches!(cut.entry().ended().await, Outcome::Failed(Failure::GraceOver)));
        assert_eq!(exchange.over(claim), Over::Gone(core::Cause::GraceOver), "no consumer has deleted it");
        drop(third);
        exchange.emptied().await;
    })
    .await;
    assert!(holds_nothing(&exchange));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_ends_changes_no_numbers_of_the_one_that_has_its_name_now() {
    let families = metrics::Families::register(&prometheus::Registry::new()).expect("new metrics");
    let ending = Exchange::new(config::Exchange { attempts: 1, ..config() }, families.of("x"));
    let (answered, dead) = (submit(&ending, true, b""), submit(&ending, true, b""));
    let (first, mut second) = (take(&ending).await, take(&ending).await);
    second.written();
    second.lost(core::Lost::Written);
    ending.close();
    let running = Exchange::new(config(), families.of("x"));
    let waits = submit(&running, true, b"");
    running.scrape();
    first.finish(None).await.expect("it counts");
    let metrics = &running.metrics;
    assert_eq!((metrics.queued.get(), metrics.in_flight.get()), (1, 0));
    assert_eq!((running.tally().dead, ending.tally().dead), (0, 1));
    drop((answered, dead, waits));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_still_free_when_its_exchange_ends_gets_nothing() {
    let exchange = exchange(config());
    timed(&exchange, async {
        let begun = submit(&exchange, true, b"");
        let mut job = poll(&exchange).await;
        let mut idle = exchange.offer(None, None);
        exchange.close();
        let late = submit(&exchange, true, b"");
        assert!(matches!(late.entry().ended().await, Outcome::Failed(Failure::Removed)));
        job.written();
        job.lost(core::Lost::Written);
        assert!(matches!(begun.entry().ended().await, Outcome::Failed(Failure::Broke)));
        assert!(idle.given().now_or_never().is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_workers_leaves_answers_that_have_begun_and_what_is_queued() {
    let exchange = exchange(config());
    let (silent, answering, queued) =
        (submit(&exchange, true, b""), submit(&exchange, true, b""), submit(&exchange, true, b""));
    let (first, mut second) = (take(&exchange).await, take(&exchange).await);
    second.answer(StatusCode::OK, HeaderMap::new()).expect("it lives");
    exchange.give_up();
    assert!(first.cancelled().is_cancelled() && !second.cancelled().is_cancelled());
    assert!(matches!(silent.entry().outcome(), Outcome::Failed(Failure::GraceOver)));
    assert!(matches!(answering.entry().outcome(), Outcome::Answer(_)));
    assert!(matches!(queued.entry().outcome(), Outcome::Pending));
    second.finish(None).await.expect("it counts");
    drop((first, silent, answering, queued));
    assert!(holds_nothing(&exchange));
}
