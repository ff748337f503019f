//! Exchanges between threads and over time: who comes too late changes nothing, and nothing is left behind.

use std::time::Duration;

use futures::FutureExt as _;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::time::sleep;

use bytes::Bytes;

use super::body::RequestBody;
use super::core::{Failure, Leave, Seat, Submission};
use super::entry::{Outcome, Request};
use super::metrics::Transport;
use super::workers::WorkerDetails;
use super::*;
use crate::config::{BodyLimits, Chain, Hold, Lease, PathPattern, QueueLimits, Repeat, ResultLimits, Transports};

mod standing;
mod tally;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> config::Exchange {
    config::Exchange {
        name: "x".to_owned(),
        path: PathPattern::parse("/x").expect("a path"),
        methods: Vec::new(),
        endpoint: "/exchange/x".to_owned(),
        queue: QueueLimits { length: 1000, per_client: 1000, age: 300 * SECOND, async_age: 600 * SECOND },
        hold: Hold { default: 25 * SECOND, max: 55 * SECOND },
        deadline: 600 * SECOND,
        lease: Lease { first: 10 * SECOND, length: 30 * SECOND },
        attempts: 3,
        repeat: Repeat::Idempotent,
        share: false,
        result: ResultLimits { keep: 60 * SECOND, bytes: 1000, window: 100 },
        body: BodyLimits { bytes: 1000, replay: 4 },
        backend: config::Backend::Memory,
        transports: Transports { claims: true, http1: true, http2: true },
        raw: None,
        refuse_after: None,
        chain: Chain { hops: 3, hold: 20 * SECOND },
    }
}

fn exchange(config: config::Exchange) -> Arc<Exchange> {
    let families = metrics::Families::register(&prometheus::Registry::new()).expect("new metrics");
    Exchange::new(config, families.of("x"))
}

fn submit(exchange: &Arc<Exchange>, is_idempotent: bool, body: &'static [u8]) -> Consumer {
    let item = ItemId::of(random());
    let body = Full::new(Bytes::from_static(body)).map_err(|never| match never {}).boxed_unsync();
    let body = Arc::new(RequestBody::coming(body, exchange.config().body.replay));
    let request = Request { method: Method::POST, target: "/x".into(), headers: (&HeaderMap::new()).into(), body };
    let submission = Submission {
        item,
        client: "c".into(),
        key: None,
        urgency: 3,
        is_async: false,
        is_idempotent,
        once: None,
        share: None,
    };
    exchange.submit(submission, request).expect("there is room")
}

fn details() -> WorkerDetails {
    WorkerDetails::new(Transport::Claims, (None, Some(&"w".into())), ([127, 0, 0, 1], 1).into(), 1)
}

async fn poll(exchange: &Arc<Exchange>) -> Job {
    let seat = Seat { client: "w".into(), agent: "w".into(), slot: "0".into() };
    let Seated::Waits(mut slot) = exchange.poll(None, Some(seat), &details()) else { panic!("it has a claim") };
    let Given::Job(job) = slot.given().await else { panic!("it is the only one") };
    job
}

fn holds_nothing(exchange: &Exchange) -> bool {
    let state = exchange.state();
    let is_empty = state.offers.is_empty() && state.live.is_empty() && state.over.is_empty() && state.held.is_empty();
    is_empty && state.entries.is_empty() && state.core.workers() == 0
}

/// Runs `test` while the time is kept.
async fn timed<T>(exchange: &Arc<Exchange>, test: impl Future<Output = T>) -> T {
    tokio::select! {
        () = Arc::clone(exchange).keep_time() => panic!("it has no end"),
        result = test => result,
    }
}

#[tokio::test(start_paused = true)]
async fn a_touch_may_shorten_a_lease_and_its_end_is_not_missed() {
    let exchange = exchange(config::Exchange { lease: Lease { first: 10 * SECOND, length: SECOND }, ..config() });
    timed(&exchange, async {
        let consumer = submit(&exchange, false, b"");
        let job = poll(&exchange).await;
        sleep(SECOND).await;
        exchange.touch(job.claim()).expect("it lives");
        let begun = Instant::now();
        assert!(matches!(consumer.entry().ended().await, Outcome::Failed(Failure::Broke)));
        assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_time_takes_from_a_worker_is_not_given_to_another_if_its_body_is_gone() {
    let exchange = exchange(config());
    timed(&exchange, async {
        for (body, is_repeated) in [(&b"0123"[..], true), (b"0123456789", false)] {
            let consumer = submit(&exchange, true, body);
            let job = poll(&exchange).await;
            assert_eq!(job.body().collect().await.expect("all of it").to_bytes(), body);
            exchange.touch(job.claim()).expect("it lives");
            exchange.hold_job(job);
            sleep(31 * SECOND).await;
            if is_repeated {
                let again = poll(&exchange).await;
                assert_eq!((again.attempt(), again.body().collect().await.expect("all").to_bytes()), (2, body.into()));
                again.finish(None).await.expect("it counts");
            } else {
                assert!(matches!(consumer.entry().outcome(), Outcome::Failed(Failure::Broke)));
            }
        }
    })
    .await;
    assert!(holds_nothing(&exchange));
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_broke_takes_no_claim_from_the_poll_that_has_followed() {
    let exchange = exchange(config());
    let consumer = submit(&exchange, false, b"");
    let job = poll(&exchange).await;
    let (claim, first) = (job.claim(), job.body().number());
    exchange.hold_job(job);
    // The same seat asks again, before the end of its first connection is seen.
    let job = exchange.take_job(claim).expect("it lives");
    let second = job.body().number();
    exchange.hold_job(job);
    exchange.not_handed(claim, first);
    assert!(exchange.is_claimed(consumer.entry().id), "its worker has it by the second poll, and may have begun");
    exchange.not_handed(claim, second);
    assert!(!exchange.is_claimed(consumer.entry().id));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_end_of_its_item_is_none() {
    let exchange = exchange(config());
    let consumer = submit(&exchange, false, b"");
    let job = poll(&exchange).await;
    let answer = |body| entry::Answer { status: StatusCode::OK, headers: HeaderMap::new(), body };
    consumer.entry().fail(Failure::Deleted);
    assert!(!consumer.entry().answer(answer(Buffer::new(Arc::clone(exchange.budget()), 1, None))));
    assert!(matches!(consumer.entry().outcome(), Outcome::Failed(Failure::Deleted)));
    drop((job, consumer));
    assert!(holds_nothing(&exchange));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_comes_after_the_end_of_an_answer_and_stalls_is_cut_off() {
    let exchange = exchange(config());
    let consumer = submit(&exchange, false, b"");
    let mut job = poll(&exchange).await;
    job.answer(StatusCode::OK, HeaderMap::new()).expect("it lives");
    job.write("ab".into()).await.expect("there is room");
    job.finish(None).await.expect("it counts");
    let Outcome::Answer(answer) = consumer.entry().outcome() else { panic!("it is answered") };
    let reader = consumer.read(&answer).expect("its start");
    sleep(crate::bounds::EXCHANGE_STALLED + SECOND).await;
    assert!(reader.collect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_while_its_consumer_is_told_to_come_back_is_kept_for_it() {
    let exchange = exchange(config());
    let consumer = submit(&exchange, false, b"");
    let (id, mut job) = (consumer.entry().id, poll(&exchange).await);
    assert_eq!(exchange.tell(id).map(|pending| pending.state), Some("claimed"));
    job.answer(StatusCode::OK, HeaderMap::new()).expect("it lives");
    job.finish(None).await.expect("it counts");
    consumer.told(5 * SECOND);
    assert!(exchange.attach(id).is_some_and(|again| matches!(again.entry().outcome(), Outcome::Answer(_))));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_the_time_has_taken_from_all_workers_is_counted_as_dead() {
    let exchange = exchange(config());
    timed(&exchange, async {
        let consumer = submit(&exchange, true, b"");
        for _ in 0..3 {
            let job = poll(&exchange).await;
            exchange.touch(job.claim()).expect("it lives");
            exchange.hold_job(job);
            sleep(31 * SECOND).await;
        }
        assert!(matches!(consumer.entry().outcome(), Outcome::Failed(Failure::Broke)));
    })
    .await;
    assert_eq!((exchange.metrics.dead.get(), exchange.shown().dead.len()), (1, 1));
}

/// Whatever a thread does to an item while another answers it: who waits for the end sees it.
#[test]
fn no_answer_is_left_without_an_end() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let exchange = exchange(config());
    for round in 0..3000 {
        let consumer = submit(&exchange, false, b"");
        let entry = Arc::clone(consumer.entry());
        let mut job = runtime.block_on(poll(&exchange));
        let together = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _in_runtime = runtime.enter();
                together.wait();
                if job.answer(StatusCode::OK, HeaderMap::new()).is_err() {
                    return drop(job);
                }
                // The consumer may have left before.
                if round % 2 == 0 {
                    let _ = job.finish(None).now_or_never();
                } else {
                    drop(job);
                }
            });
            together.wait();
            match round % 3 {
                0 => drop(consumer),
                1 => drop(exchange.delete(entry.id)),
                _ => exchange.act(|core, now| core.leave(now, entry.id, Leave::Gone)),
            }
        });
        match entry.outcome() {
            Outcome::Pending => panic!("nothing has come of it"),
            Outcome::Failed(_) => {}
            Outcome::Answer(answer) => {
                let all = answer.body.read().map(|reader| reader.collect().now_or_never());
                assert!(all.is_none_or(|all| all.is_some()), "it has no end in round {round}");
            }
        }
    }
    assert!(holds_nothing(&exchange));
}

/// Slots that come and go, and consumers that come and go, on several threads: each item ends, and nothing is left.
#[test]
fn whoever_comes_and_goes_nothing_is_left_and_no_job_is_lost() {
    let exchange = exchange(config());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let keeping = runtime.spawn(Arc::clone(&exchange).keep_time());
        let workers = (0..4).map(|number| {
            let exchange = Arc::clone(&exchange);
            runtime.spawn(async move {
                for round in 0..500_u32 {
                    let mut slot = exchange.offer(None, None);
                    if (round + number) % 5 == 0 {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    let Ok(Given::Job(mut job)) = tokio::time::timeout(SECOND / 1000, slot.given()).await else {
                        continue;
                    };
                    match round % 4 {
                        0 => drop(job),
                        1 => job.lost(Lost::Unwritten),
                        _ => {
                            job.written();
                            if job.answer(StatusCode::OK, HeaderMap::new()).is_ok()
                                && job.write("ab".into()).await.is_ok()
                            {
                                // Its consumer may have left.
                                let _ = job.finish(None).await;
                            }
                        }
                    }
                }
            })
        });
        let consumers = (0..4).map(|number| {
            let exchange = Arc::clone(&exchange);
            runtime.spawn(async move {
                for round in 0..300_u32 {
                    let consumer = submit(&exchange, true, b"0123");
                    let patience = if (round + number) % 3 == 0 { Duration::ZERO } else { SECOND / 200 };
                    if let Ok(Outcome::Answer(answer)) = tokio::time::timeout(patience, consumer.entry().ended()).await
                    {
                        let reader = consumer.read(&answer).expect("nobody else reads it");
                        assert_eq!(reader.collect().await.expect("all of it").to_bytes(), "ab");
                    }
                }
            })
        });
        let all: Vec<_> = workers.chain(consumers).collect();
        for task in all {
            task.await.expect("it does not panic");
        }
        keeping.abort();
    });
    assert!(holds_nothing(&exchange));
}
