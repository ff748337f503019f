//! What becomes of items, event by event.

use std::collections::HashSet;
use std::time::Duration;

use super::*;

mod reference;
mod replicas;
mod schedules;

/// A core, and the time.
struct Run {
    core: Core,
    now: Instant,
    count: u128,
}

fn rules() -> Rules {
    Rules {
        queue_length: 4,
        per_client: 3,
        queue_age: Duration::from_secs(300),
        async_age: Duration::from_secs(600),
        deadline: Duration::from_secs(600),
        first_touch: Duration::from_secs(10),
        lease: Duration::from_secs(30),
        attempts: 3,
        repeat: Repeat::Idempotent,
        keep: Duration::from_secs(60),
        refuse_after: None,
    }
}

impl Run {
    #[expect(clippy::disallowed_methods, reason = "any time will do, and none passes but what the test says")]
    fn with(rules: Rules) -> Self {
        let now = Instant::now();
        Self { core: Core::new(rules, now), now, count: 0 }
    }

    fn new() -> Self {
        Self::with(rules())
    }

    fn submission(&mut self, client: &str) -> Submission {
        self.count += 1;
        Submission {
            item: ItemId::of(self.count),
            client: client.into(),
            key: None,
            urgency: 3,
            is_async: false,
            is_idempotent: true,
            once: None,
            share: None,
        }
    }

    fn submit(&mut self, submission: Submission) -> ItemId {
        let item = submission.item;
        match self.core.submit(self.now, submission).expect("there is room") {
            Submitted::New => item,
            Submitted::Attached(found) => found,
        }
    }

    fn item(&mut self, client: &str) -> ItemId {
        let submission = self.submission(client);
        self.submit(submission)
    }

    fn offer(&mut self, polls: bool) -> ClaimId {
        self.count += 1;
        let claim = ClaimId::of(self.count);
        self.core.offer(self.now, Offer { claim, key: None, polls, seat: None });
        claim
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.core.tick(self.now, |_| true);
    }

    /// What was assigned since the effects were looked at last.
    fn assigned(&mut self) -> Vec<(ClaimId, ItemId, u32)> {
        let assigned = |effect| match effect {
            Effect::Assign { claim, item, attempt, .. } => Some((claim, item, attempt)),
            Effect::Superseded(_)
            | Effect::Cancel(_)
            | Effect::PutBack(..)
            | Effect::End(_)
            | Effect::Forget(_)
            | Effect::Overruled(_) => None,
        };
        self.core.effects().into_iter().filter_map(assigned).collect()
    }

    fn failures(&mut self) -> Vec<(ItemId, Failure)> {
        let failed = |effect| match effect {
            Effect::End(failed) => Some((failed.item, failed.failure)),
            Effect::Assign { .. }
            | Effect::Superseded(_)
            | Effect::Cancel(_)
            | Effect::PutBack(..)
            | Effect::Forget(_)
            | Effect::Overruled(_) => None,
        };
        self.core.effects().into_iter().filter_map(failed).collect()
    }
}

#[test]
fn an_item_meets_a_worker_whichever_of_them_comes_first() {
    let mut run = Run::new();
    let first = run.item("a");
    assert_eq!(run.core.pending(first).map(|pending| (pending.state, pending.position)), Some(("queued", 1)));
    let claim = run.offer(false);
    assert_eq!(run.assigned(), [(claim, first, 1)]);
    let waiting = run.offer(false);
    let second = run.item("a");
    assert_eq!(run.assigned(), [(waiting, second, 1)]);
    assert_eq!((run.core.queued(), run.core.in_flight(), run.core.free()), (0, 2, 0));
    assert_eq!(run.core.head(claim), Ok(false));
    run.core.finish(run.now, claim);
    assert_eq!(run.core.effects(), [Effect::Forget(first)]);
    assert_eq!(
        run.core.head(claim),
        Err(Over::Gone(Cause::Unknown)),
        "of a worker that polls alone more is remembered"
    );
}

#[test]
fn the_newest_free_slot_is_taken_first() {
    let mut run = Run::new();
    let (older, newer) = (run.offer(false), run.offer(false));
    let (first, second) = (run.item("a"), run.item("a"));
    assert_eq!(run.assigned(), [(newer, first, 1), (older, second, 1)]);
}

#[test]
fn the_queue_is_bounded_as_a_whole_and_for_each_client() {
    let mut run = Run::new();
    for _ in 0..3 {
        run.item("a");
    }
    let fourth = run.submission("a");
    assert_eq!(run.core.submit(run.now, fourth), Err(Refused::OfClient(3)));
    run.item("b");
    let fifth = run.submission("c");
    assert_eq!(run.core.submit(run.now, fifth), Err(Refused::Full(4)));
    run.offer(false);
    run.item("c");
}

#[test]
fn who_leaves_is_not_worked_for_unless_it_comes_back() {
    let mut run = Run::new();
    let gone = run.item("a");
    run.core.leave(run.now, gone, Leave::Gone);
    assert_eq!(run.failures(), [(gone, Failure::Abandoned)]);
    let told = run.item("a");
    run.core.leave(run.now, told, Leave::Told(Duration::from_secs(5)));
    run.later(34);
    assert_eq!(run.failures(), []);
    assert!(run.core.attach(told, false));
    run.later(100);
    assert_eq!(run.failures(), []);
    run.core.leave(run.now, told, Leave::Told(Duration::from_secs(5)));
    run.later(35);
    assert_eq!(run.failures(), [(told, Failure::Abandoned)]);
    let claimed = run.item("a");
    let claim = run.offer(false);
    assert_eq!(run.assigned(), [(claim, claimed, 1)]);
    run.core.leave(run.now, claimed, Leave::Gone);
    let effects = run.core.effects();
    let failed = Failed {
        item: claimed,
        failure: Failure::Abandoned,
        lost: None,
        attempts: 1,
        claim: Some(claim),
        is_dead: false,
        is_told: false,
    };
    assert_eq!(effects, [Effect::Cancel(claim), Effect::End(failed), Effect::Forget(claimed)]);
}

#[test]
fn who_has_all_of_an_answer_may_leave_before_its_end_is_seen() {
    let mut run = Run::new();
    let item = run.item("a");
    let claim = run.offer(false);
    run.core.head(claim).expect("it lives");
    run.core.effects();
    run.core.leave(run.now, item, Leave::Served);
    assert_eq!(run.core.effects(), []);
    assert!(run.core.finish(run.now, claim).is_some());
    assert_eq!(run.core.effects(), [Effect::Forget(item)]);
}

#[test]
fn an_item_that_nobody_takes_expires_and_an_asynchronous_one_later() {
    let mut run = Run::new();
    let held = run.item("a");
    let submission = Submission { is_async: true, ..run.submission("a") };
    let later = run.submit(submission);
    run.later(299);
    assert_eq!(run.failures(), []);
    run.later(1);
    assert_eq!(run.failures(), [(held, Failure::NotClaimed)]);
    run.later(300);
    assert_eq!(run.failures(), [(later, Failure::NotClaimed)]);
    run.later(60);
    assert_eq!(run.core.effects(), [Effect::Forget(later)]);
}

#[test]
fn a_claim_that_is_not_touched_goes_to_another_worker_and_the_third_time_it_counts() {
    let mut run = Run::new();
    let item = run.item("a");
    let mut attempts = Vec::new();
    let mut claims = HashSet::new();
    for _ in 0..9 {
        let claim = run.offer(true);
        let assigned = run.assigned();
        assert_eq!(assigned.iter().map(|(claim, item, _)| (*claim, *item)).collect::<Vec<_>>(), [(claim, item)]);
        attempts.push(assigned[0].2);
        assert!(claims.insert(claim));
        run.later(10);
        assert_eq!(run.core.touch(run.now, claim), Err(Over::Gone(Cause::Untouched)));
    }
    assert_eq!(attempts, [1, 1, 1, 2, 2, 2, 3, 3, 3]);
    assert_eq!(run.failures(), [(item, Failure::Broke)]);
    assert_eq!(run.core.last_dead(100).iter().map(|dead| dead.attempts).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_lease_lasts_as_long_as_it_is_renewed_and_never_beyond_the_deadline() {
    let mut run = Run::new();
    let item = run.item("a");
    let claim = run.offer(true);
    for _ in 0..20 {
        assert_eq!(run.core.touch(run.now, claim), Ok(Duration::from_secs(30)));
        run.later(29);
    }
    assert_eq!(run.core.touch(run.now, claim), Ok(Duration::from_secs(30)));
    run.core.effects();
    run.later(20);
    assert_eq!(run.failures(), [(item, Failure::TooSlow)]);
    assert_eq!(run.core.touch(run.now, claim), Err(Over::Gone(Cause::TooSlow)));
}

#[test]
fn a_worker_that_is_lost_is_replaced_only_where_the_request_may_be_repeated() {
    for (repeat, is_idempotent, replayable, expected) in [
        (Repeat::Idempotent, true, true, None),
        (Repeat::Idempotent, false, true, Some(Failure::Broke)),
        (Repeat::Idempotent, true, false, Some(Failure::Broke)),
        (Repeat::Always, false, true, None),
        (Repeat::Never, true, true, Some(Failure::Broke)),
    ] {
        let mut run = Run::with(Rules { repeat, ..rules() });
        let submission = Submission { is_idempotent, ..run.submission("a") };
        let item = run.submit(submission);
        if !replayable {
            run.core.not_replayable(item);
        }
        let claim = run.offer(false);
        run.core.effects();
        run.core.lost(run.now, claim, Lost::Written);
        let failures: Vec<_> = run.failures().into_iter().map(|(_, failure)| failure).collect();
        assert_eq!(failures, Vec::from_iter(expected), "{repeat:?} {is_idempotent} {replayable}");
        // Without an answer, and without anything written, it goes on in any case.
        let item = run.item("b");
        for _ in 0..10 {
            let claim = run.offer(false);
            run.core.effects();
            run.core.lost(run.now, claim, Lost::Unwritten);
        }
        assert!(run.core.pending(item).is_some());
    }
}

#[test]
fn what_is_put_back_is_next_and_a_late_worker_cannot_complete_it() {
    let mut run = Run::new();
    let first = run.item("a");
    let late = run.offer(true);
    assert_eq!(run.core.touch(run.now, late), Ok(Duration::from_secs(30)));
    run.item("b");
    run.later(30);
    run.core.effects();
    let claim = run.offer(true);
    assert_eq!(run.assigned(), [(claim, first, 2)]);
    assert_eq!(run.core.head(late), Err(Over::Gone(Cause::Another)));
    assert_eq!(run.core.head(claim), Ok(false));
    assert_eq!(run.core.head(claim), Err(Over::Completed));
    run.core.finish(run.now, claim);
    assert_eq!(run.core.head(claim), Err(Over::Completed));
}

#[test]
fn a_seat_has_one_offer_and_is_given_the_same_claim_until_it_touches_it() {
    let mut run = Run::new();
    let seat = Seat { client: "c".into(), agent: "w".into(), slot: "0".into() };
    let offer = |claim| Offer { claim: ClaimId::of(claim), key: None, polls: true, seat: Some(seat.clone()) };
    assert_eq!(run.core.offer(run.now, offer(101)), Offered::Taken);
    assert_eq!(run.core.offer(run.now, offer(102)), Offered::Taken);
    assert_eq!(run.core.effects(), [Effect::Superseded(ClaimId::of(101))]);
    let item = run.item("a");
    assert_eq!(run.assigned(), [(ClaimId::of(102), item, 1)]);
    let again = Offered::Again { claim: ClaimId::of(102), item, attempt: 1 };
    assert_eq!(run.core.offer(run.now, offer(103)), again);
    run.core.touch(run.now, ClaimId::of(102)).expect("it lives");
    assert_eq!(run.core.offer(run.now, offer(104)), Offered::Taken);
    assert_eq!((run.core.free(), run.core.in_flight()), (1, 1));
}

#[test]
fn requests_that_share_an_item_get_one_and_it_ends_with_the_last_of_them() {
    let mut run = Run::new();
    let shared = |run: &mut Run, client: &str| Submission { share: Some("GET /x".into()), ..run.submission(client) };
    let (one, two) = (shared(&mut run, "a"), shared(&mut run, "b"));
    let (first, second) = (run.submit(one), run.submit(two));
    assert_eq!(first, second);
    run.core.leave(run.now, first, Leave::Gone);
    assert_eq!(run.failures(), []);
    let claim = run.offer(false);
    run.core.head(claim).expect("it lives");
    let three = shared(&mut run, "c");
    assert_ne!(run.submit(three), first, "who comes while it streams starts a new one");
    run.core.effects();
    run.core.leave(run.now, first, Leave::Gone);
    assert_eq!(run.failures(), [(first, Failure::Abandoned)]);
}

#[test]
fn an_idempotency_key_stands_for_one_request_of_one_client() {
    let mut run = Run::new();
    let once = |digest| Some(Once { key: "k".into(), digest: [digest; 32] });
    let submission = Submission { once: once(1), is_idempotent: false, ..run.submission("a") };
    let item = run.submit(submission);
    run.core.leave(run.now, item, Leave::Gone);
    assert_eq!(run.failures(), [], "it stays for who repeats the request");
    let again = Submission { once: once(1), ..run.submission("a") };
    assert_eq!(run.submit(again), item);
    let other = Submission { once: once(2), ..run.submission("a") };
    assert_eq!(run.core.submit(run.now, other), Err(Refused::KeyReused));
    let others = Submission { once: once(2), ..run.submission("b") };
    assert_ne!(run.submit(others), item);
    let claim = run.offer(false);
    run.core.head(claim).expect("it lives");
    run.core.finish(run.now, claim);
    let done = Submission { once: once(1), ..run.submission("a") };
    assert_eq!(run.submit(done), item, "also after its end");
    run.later(60);
    let anew = Submission { once: once(2), ..run.submission("a") };
    assert_ne!(run.submit(anew), item);
}

#[test]
fn where_no_worker_has_been_seen_requests_are_refused_if_that_is_wanted() {
    let mut run = Run::with(Rules { refuse_after: Some(Duration::from_secs(30)), ..rules() });
    let item = run.item("a");
    run.later(30);
    assert_eq!(run.failures(), [(item, Failure::NoWorker)]);
    let late = run.submission("a");
    assert_eq!(run.core.submit(run.now, late), Err(Refused::NoWorker(Duration::from_secs(30))));
    let claim = run.offer(false);
    run.core.withdraw(run.now, claim);
    let begun = run.item("a");
    let claim = run.offer(false);
    run.core.lost(run.now, claim, Lost::Written);
    run.core.effects();
    run.later(30);
    assert_eq!(run.failures(), [(begun, Failure::Broke)], "not that nothing was done");
}

#[test]
fn one_answer_ends_all_shared_items_of_its_key() {
    let mut run = Run::new();
    let key = Some(Key::from("cam"));
    let shared =
        |run: &mut Run, share: &str| Submission { share: Some(share.into()), key: key.clone(), ..run.submission("a") };
    let (one, two) = (shared(&mut run, "x"), shared(&mut run, "y"));
    let (one, two) = (run.submit(one), run.submit(two));
    assert!(run.core.attach(one, false));
    let alone = Submission { key: key.clone(), ..run.submission("b") };
    let alone = run.submit(alone);
    let claim = run.offer(true);
    run.core.effects();
    assert_eq!(run.core.complete_shared(run.now, Some(&"cam".into()), Some), [(one, 2), (two, 1)]);
    assert_eq!(run.core.touch(run.now, claim), Err(Over::Gone(Cause::Pushed)));
    assert!(run.core.pending(alone).is_some());
    assert_eq!(run.core.complete_shared(run.now, Some(&"cam".into()), Some), Vec::new());
}

#[test]
fn waiting_makes_an_item_more_urgent() {
    let mut run = Run::new();
    let submission = Submission { urgency: 7, ..run.submission("a") };
    let patient = run.submit(submission);
    run.later(45);
    let item = run.item("b");
    let claim = run.offer(false);
    assert_eq!(run.assigned(), [(claim, patient, 1)]);
    let claim = run.offer(false);
    assert_eq!(run.assigned(), [(claim, item, 1)]);
}

#[test]
fn an_answer_that_was_read_to_its_end_is_not_looked_at_for_ever_when_the_time_to_come_back_is_over() {
    let mut run = Run::new();
    let item = run.item("a");
    let claim = run.offer(false);
    run.core.leave(run.now, item, Leave::Told(Duration::from_secs(5)));
    run.core.head(claim).expect("it lives");
    assert!(run.core.attach(item, false));
    run.core.leave(run.now, item, Leave::Served);
    run.later(35);
    assert!(run.core.next().is_none_or(|next| next > run.now));
    assert!(run.core.finish(run.now, claim).is_some());
}

#[test]
fn what_has_begun_to_be_answered_is_never_given_to_another_worker() {
    for how in [Lost::Unwritten, Lost::GivenBack, Lost::Written] {
        let mut run = Run::new();
        let item = run.item("a");
        let claim = run.offer(false);
        run.core.head(claim).expect("it lives");
        run.core.effects();
        run.core.lost(run.now, claim, how);
        assert_eq!(run.failures(), [(item, Failure::Cut)], "{how:?}");
    }
}

#[test]
fn what_cannot_be_sent_again_is_not_put_back_however_its_worker_was_lost() {
    for how in [Lost::Unwritten, Lost::GivenBack, Lost::Written] {
        let mut run = Run::with(Rules { repeat: Repeat::Always, ..rules() });
        let item = run.item("a");
        let claim = run.offer(true);
        run.core.effects();
        run.core.not_replayable(item);
        run.core.lost(run.now, claim, how);
        assert_eq!(run.failures(), [(item, Failure::Broke)], "{how:?}");
        assert_eq!(run.core.last_dead(100).len(), 0, "it is no repeated failure");
    }
}

#[test]
fn what_nobody_took_may_be_sent_again_with_its_key() {
    for refuse_after in [None, Some(Duration::from_secs(300))] {
        let mut run = Run::with(Rules { refuse_after, ..rules() });
        let keyed =
            |run: &mut Run| Submission { once: Some(Once { key: "k".into(), digest: [1; 32] }), ..run.submission("a") };
        let submission = keyed(&mut run);
        let item = run.submit(submission);
        run.later(300);
        assert_eq!(run.failures().first().map(|(failed, _)| *failed), Some(item));
        run.offer(false);
        let again = keyed(&mut run);
        assert_ne!(run.submit(again), item);
    }
}

#[test]
fn a_worker_that_comes_late_is_told_why_its_claim_is_over() {
    type End = fn(&mut Run, ItemId, ClaimId);
    let ends: [(Cause, End); 8] = [
        (Cause::Left, |run, item, _| run.core.leave(run.now, item, Leave::Gone)),
        (Cause::Left, |run, _, claim| run.core.unread(run.now, claim)),
        (Cause::Deleted, |run, item, _| assert_eq!(run.core.delete(run.now, item), Some(true))),
        (Cause::GivenBack, |run, _, claim| run.core.lost(run.now, claim, Lost::GivenBack)),
        (Cause::Unwritten, |run, _, claim| run.core.withdraw(run.now, claim)),
        (Cause::Malformed, |run, _, claim| run.core.lost(run.now, claim, Lost::Malformed)),
        (Cause::Broke, |run, _, claim| run.core.lost(run.now, claim, Lost::AfterHead)),
        (Cause::BodyBroke, |run, item, _| run.core.broken_off(run.now, item)),
    ];
    for (cause, end) in ends {
        let mut run = Run::new();
        let item = run.item("a");
        let claim = run.offer(true);
        end(&mut run, item, claim);
        assert_eq!(run.core.touch(run.now, claim), Err(Over::Gone(cause)));
    }
    let mut run = Run::new();
    run.item("a");
    let late = run.offer(true);
    run.later(10);
    assert_eq!(run.core.over(late), Over::Gone(Cause::Untouched));
    run.offer(true);
    assert_eq!(run.core.over(late), Over::Gone(Cause::Another));
}

#[test]
fn what_a_lost_worker_may_have_begun_is_known() {
    for (how, expected) in
        [(Lost::Unwritten, false), (Lost::GivenBack, false), (Lost::Untouched, true), (Lost::Written, true)]
    {
        let mut run = Run::new();
        let item = run.item("a");
        let claim = run.offer(true);
        run.core.lost(run.now, claim, how);
        assert_eq!((run.core.may_have_begun(item), run.core.is_claimed(item)), (expected, false), "{how:?}");
    }
}

#[test]
fn a_claim_keeps_the_deadline_that_it_was_told_whatever_the_rules_become() {
    for (other, polls) in [(5, true), (5, false), (5000, true), (5000, false)] {
        let mut run = Run::new();
        let item = run.item("a");
        let claim = run.offer(polls);
        run.core.change(Rules { deadline: Duration::from_secs(other), lease: Duration::from_secs(5000), ..rules() });
        run.later(5);
        run.core.touch(run.now, claim).expect("it lives");
        run.later(594);
        assert_eq!(run.failures(), [], "{other} s from now on");
        run.later(1);
        assert_eq!(run.failures(), [(item, Failure::TooSlow)], "{other} s from now on");
    }
}

#[test]
fn workers_are_given_nothing_once_it_is_withheld_and_what_is_queued_stays_so() {
    let mut run = Run::new();
    let first = run.item("a");
    let claim = run.offer(true);
    let free = run.offer(false);
    run.core.withhold();
    let second = run.item("b");
    run.core.lost(run.now, claim, Lost::Unwritten);
    let late = run.offer(true);
    assert_eq!((run.core.queued(), run.core.in_flight(), run.core.free()), (2, 0, 2));
    assert!([first, second].into_iter().all(|item| !run.core.is_claimed(item)), "{free:?} and {late:?} get nothing");
    assert!(run.failures().is_empty());
}
