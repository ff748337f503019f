//! Random schedules of events: the core beside its reference, and what always holds, checked without it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::reference::{self, Did, Reference, State};
use super::*;
use crate::bounds::EXCHANGE_ENDED;
use crate::bounds::{EXCHANGE_COMPLETED, EXCHANGE_GONE};

/// What may happen. Items and claims are counted back from the newest.
#[derive(Debug, Clone)]
enum Event {
    Submit(Submit),
    Attach(usize),
    Tell(usize),
    Leave(usize, Leave),
    Delete(usize),
    Offer {
        key: Option<u8>,
        polls: bool,
        seat: Option<u8>,
    },
    Withdraw(usize),
    Touch(usize),
    Head(usize),
    Finish(usize),
    Lost(usize, Lost),
    Unread(usize),
    /// The body of an item cannot be sent again.
    BodyLost(usize),
    CompleteShared(Option<u8>),
    ForgetOldest,
    /// Time passes, and nobody looks.
    Sleep(u64),
    /// Time passes.
    Wait(u64),
}

#[derive(Debug, Clone)]
struct Submit {
    client: u8,
    key: Option<u8>,
    urgency: u8,
    is_async: bool,
    is_idempotent: bool,
    once: Option<(u8, u8)>,
    share: Option<u8>,
}

fn any_submit() -> impl Strategy<Value = Submit> {
    let once = prop::option::weighted(0.2, (0_u8..2, 0_u8..2));
    let share = prop::option::weighted(0.3, 0_u8..2);
    let key = || prop::option::of(0_u8..2);
    let urgency = prop_oneof![4 => Just(3_u8), 1 => 0_u8..9];
    (0_u8..3, key(), urgency, prop::bool::weighted(0.2), any::<bool>(), once, share).prop_map(
        |(client, key, urgency, is_async, is_idempotent, once, share)| Submit {
            client,
            key,
            urgency,
            is_async,
            is_idempotent,
            once,
            share,
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    let at = || prop_oneof![3 => 0_usize..3, 1 => 0_usize..12];
    let told = (0_u64..40).prop_map(|seconds| Leave::Told(Duration::from_secs(seconds)));
    let leave = prop_oneof![2 => Just(Leave::Gone), 1 => Just(Leave::Served), 2 => told];
    let lost = prop::sample::select(vec![
        Lost::Unwritten,
        Lost::GivenBack,
        Lost::Written,
        Lost::Written,
        Lost::AfterHead,
        Lost::Malformed,
    ]);
    let millis = || prop_oneof![1 => Just(0_u64), 3 => 1_u64..3000, 3 => (1_u64..13).prop_map(|tens| tens * 5000), 1 => 60_000_u64..700_000];
    let offer = (prop::option::weighted(0.3, 0_u8..2), any::<bool>(), prop::option::of(0_u8..2));
    prop_oneof![
        8 => any_submit().prop_map(Event::Submit),
        1 => at().prop_map(Event::Attach),
        1 => at().prop_map(Event::Tell),
        3 => (at(), leave).prop_map(|(at, how)| Event::Leave(at, how)),
        1 => at().prop_map(Event::Delete),
        6 => offer.prop_map(|(key, polls, seat)| Event::Offer { key, polls, seat: seat.filter(|_| polls) }),
        1 => at().prop_map(Event::Withdraw),
        2 => at().prop_map(Event::Touch),
        3 => at().prop_map(Event::Head),
        3 => at().prop_map(Event::Finish),
        3 => (at(), lost).prop_map(|(at, how)| Event::Lost(at, how)),
        1 => at().prop_map(Event::Unread),
        1 => at().prop_map(Event::BodyLost),
        1 => prop::option::of(0_u8..2).prop_map(Event::CompleteShared),
        1 => Just(Event::ForgetOldest),
        1 => millis().prop_map(Event::Sleep),
        5 => millis().prop_map(Event::Wait),
    ]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let repeat = prop::sample::select(vec![Repeat::Idempotent, Repeat::Idempotent, Repeat::Always, Repeat::Never]);
    (repeat, prop::option::weighted(0.3, 0_u64..40), 1_u32..4, 1_u64..40).prop_map(
        |(repeat, refuses, attempts, lease)| Rules {
            repeat,
            refuse_after: refuses.map(Duration::from_secs),
            attempts,
            lease: Duration::from_secs(lease),
            ..rules()
        },
    )
}

/// A core and its reference, and what has become of each item.
struct Beside {
    core: Core,
    reference: Reference,
    start: Instant,
    now: Duration,
    items: u64,
    claims: u64,
    /// Items that the core has taken, with how often they ended, and how often they were forgotten.
    taken: BTreeMap<u64, (u32, u32)>,
    /// The newest claim on each item.
    newest: BTreeMap<u64, u64>,
    /// The keys of offers.
    keys: BTreeMap<u64, Option<u8>>,
}

fn name(number: u8) -> Arc<str> {
    number.to_string().into()
}

fn item_id(number: u64) -> ItemId {
    ItemId::of(number.into())
}

fn claim_id(number: u64) -> ClaimId {
    ClaimId::of(number.into())
}

impl Beside {
    #[expect(clippy::disallowed_methods, reason = "any time will do, and none passes but what the test says")]
    fn new(rules: Rules) -> Self {
        let start = Instant::now();
        Self {
            core: Core::new(rules.clone(), start),
            reference: Reference::new(rules),
            start,
            now: Duration::ZERO,
            items: 0,
            claims: 0,
            taken: BTreeMap::new(),
            newest: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    fn at(&self) -> Instant {
        self.start + self.now
    }

    fn item_of(&self, id: ItemId) -> u64 {
        (1..=self.items).find(|item| item_id(*item) == id).expect("an item of this test")
    }

    fn claim_of(&self, id: ClaimId) -> u64 {
        (1..=self.claims).find(|claim| claim_id(*claim) == id).expect("a claim of this test")
    }

    /// Lets an event happen to both; what it returns is the same.
    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        let (now, at) = (self.now, self.at());
        let item = |back: usize| self.items.saturating_sub(back as u64);
        let claim = |back: usize| self.claims.saturating_sub(back as u64);
        let (core, reference) = (&mut self.core, &mut self.reference);
        match event {
            Event::Submit(submit) => return self.submit(submit),
            Event::Offer { key, polls, seat } => return self.offer(*key, *polls, *seat),
            Event::Attach(back) => {
                prop_assert_eq!(core.attach(item_id(item(*back)), false), reference.attach(item(*back), false));
            }
            Event::Tell(back) => {
                prop_assert_eq!(core.tell(item_id(item(*back))).is_some(), reference.tell(item(*back)));
            }
            Event::Leave(back, how) => {
                core.leave(at, item_id(item(*back)), *how);
                reference.leave(now, item(*back), *how);
            }
            Event::Delete(back) => {
                let is_new = core.delete(at, item_id(item(*back)));
                prop_assert_eq!(is_new, reference.delete(now, item(*back)));
            }
            Event::Withdraw(back) => {
                core.withdraw(at, claim_id(claim(*back)));
                reference.withdraw(now, claim(*back));
            }
            Event::Touch(back) => {
                prop_assert_eq!(core.touch(at, claim_id(claim(*back))), reference.touch(now, claim(*back)));
            }
            Event::Head(back) => {
                let keeps = core.head(claim_id(claim(*back)));
                prop_assert_eq!(keeps, reference.head(claim(*back)));
                prop_assert!(keeps.is_err() || self.newest.values().any(|newest| *newest == claim(*back)));
            }
            Event::Finish(back) => return self.finish(claim(*back)),
            Event::Lost(back, how) => {
                core.lost(at, claim_id(claim(*back)), *how);
                reference.lost(now, claim(*back), *how);
            }
            Event::Unread(back) => {
                core.unread(at, claim_id(claim(*back)));
                reference.unread(now, claim(*back));
            }
            Event::BodyLost(back) => {
                core.not_replayable(item_id(item(*back)));
                reference.not_replayable(item(*back));
            }
            Event::CompleteShared(key) => {
                let ended = core.complete_shared(at, key.map(name).as_ref(), Some);
                let expected = reference.complete_shared(now, *key);
                let expected_ids: Vec<_> = expected.iter().map(|(item, count)| (item_id(*item), *count)).collect();
                prop_assert!(ended == expected_ids, "{expected:?}");
                for (item, _) in &expected {
                    self.ended(*item);
                }
            }
            Event::ForgetOldest => prop_assert_eq!(core.forget_oldest(), reference.forget_oldest()),
            Event::Sleep(millis) => self.now += Duration::from_millis(*millis),
            Event::Wait(millis) => self.wait(*millis),
        }
        Ok(())
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.core.tick(self.at(), |_| true);
        self.reference.tick(self.now);
    }

    fn finish(&mut self, claim: u64) -> Result<(), TestCaseError> {
        let took = self.core.finish(self.at(), claim_id(claim));
        prop_assert_eq!(took, self.reference.finish(self.now, claim));
        if took.is_some() {
            let item = self.newest.iter().find(|(_, newest)| **newest == claim).map(|(item, _)| *item);
            self.ended(item.expect("a claim that another has followed completes nothing"));
        }
        Ok(())
    }

    fn ended(&mut self, item: u64) {
        self.taken.entry(item).or_default().0 += 1;
    }

    fn submit(&mut self, submit: &Submit) -> Result<(), TestCaseError> {
        let (now, at) = (self.now, self.at());
        self.items += 1;
        let Submit { client, key, urgency, is_async, is_idempotent, once, share } = *submit;
        let submission = Submission {
            item: item_id(self.items),
            client: name(client),
            key: key.map(name),
            urgency,
            is_async,
            is_idempotent,
            once: once.map(|(key, digest)| Once { key: name(key), digest: [digest; 32] }),
            share: share.map(name),
        };
        let rules = rules();
        let item = reference::Item {
            id: self.items,
            client,
            key,
            declared: urgency.min(7),
            urgency: urgency.min(7),
            consumers: u32::from(!is_async),
            kept_until: None,
            is_async,
            is_known: is_async || once.is_some(),
            once,
            share,
            is_lost_with_worker: false,
            is_replayable: true,
            submitted: now,
            expires: now + if is_async { rules.async_age } else { rules.queue_age },
            attempts: 0,
            untouched: 0,
            state: State::Queued { since: now },
        };
        let submitted = self.core.submit(at, submission);
        let expected = self.reference.submit(now, &item, is_idempotent);
        if submitted == Ok(Submitted::New) {
            self.taken.insert(self.items, (0, 0));
        }
        let submitted = submitted.map(|submitted| match submitted {
            Submitted::New => None,
            Submitted::Attached(found) => Some(self.item_of(found)),
        });
        prop_assert_eq!(submitted, expected);
        Ok(())
    }

    fn offer(&mut self, key: Option<u8>, polls: bool, seat: Option<u8>) -> Result<(), TestCaseError> {
        self.claims += 1;
        let claim = self.claims;
        self.keys.insert(claim, key);
        let seat_of = |slot| Seat { client: "c".into(), agent: "w".into(), slot: name(slot) };
        let offer = Offer { claim: claim_id(claim), key: key.map(name), polls, seat: seat.map(seat_of) };
        let offered = match self.core.offer(self.at(), offer) {
            Offered::Taken => None,
            Offered::Again { claim, .. } => Some(self.claim_of(claim)),
        };
        prop_assert_eq!(offered, self.reference.offer(self.now, reference::Offer { claim, key, polls, seat }));
        Ok(())
    }

    /// Both did the same; the order of what workers are given is the same too.
    fn compare_effects(&mut self) -> Result<(), TestCaseError> {
        let did: Vec<_> = self
            .core
            .effects()
            .into_iter()
            .map(|effect| match effect {
                Effect::Assign { claim, item, attempt, queued } => {
                    Did::Assign { claim: self.claim_of(claim), item: self.item_of(item), attempt, queued }
                }
                Effect::Superseded(claim) => Did::Superseded(self.claim_of(claim)),
                Effect::Cancel(claim) => Did::Cancel(self.claim_of(claim)),
                Effect::PutBack(item, how) => Did::PutBack(self.item_of(item), how),
                Effect::End(Failed { item, failure, lost, attempts, claim, is_dead, is_told: _ }) => Did::End {
                    item: self.item_of(item),
                    failure,
                    lost,
                    attempts,
                    claim: claim.map(|claim| self.claim_of(claim)),
                    is_dead,
                },
                Effect::Forget(item) => Did::Forget(self.item_of(item)),
                Effect::Overruled(_) => unreachable!("it shares its items with nobody"),
            })
            .collect();
        let expected = std::mem::take(&mut self.reference.did);
        let assigned = |did: &[Did]| {
            did.iter().filter(|did| matches!(did, Did::Assign { .. })).map(|did| format!("{did:?}")).collect::<Vec<_>>()
        };
        prop_assert_eq!(assigned(&did), assigned(&expected));
        let sorted = |did: &[Did]| did.iter().map(|did| format!("{did:?}")).collect::<BTreeSet<_>>();
        prop_assert_eq!(sorted(&did), sorted(&expected));
        prop_assert_eq!(did.len(), expected.len());
        // What is put back may be older than what was given before.
        let is_put_back = did.iter().any(|did| matches!(did, Did::PutBack(..)));
        for did in did {
            match did {
                Did::Assign { claim, item, .. } => self.is_next(claim, item, is_put_back)?,
                Did::End { item, .. } => self.ended(item),
                Did::Forget(item) => self.taken.entry(item).or_default().1 += 1,
                Did::Superseded(_) | Did::Cancel(_) | Did::PutBack(..) => {}
            }
        }
        Ok(())
    }

    /// Who is given an item is wanted, and no older item of its client waits that is as urgent and that this worker takes.
    fn is_next(&mut self, claim: u64, item: u64, is_put_back: bool) -> Result<(), TestCaseError> {
        self.newest.insert(item, claim);
        let Some(given) = self.core.items.get(&item_id(item)) else { return Ok(()) };
        let is_kept = given.kept_until.is_some_and(|until| self.at() < until);
        prop_assert!(given.consumers > 0 || given.is_async || given.once.is_some() || is_kept, "{item} is unwanted");
        let key = self.keys[&claim].map(name);
        for (other, waiting) in &self.core.items {
            let waits = matches!(waiting.phase, Phase::Queued { .. }) && (key.is_none() || waiting.place.key == key);
            let (place, of_given) = (&waiting.place, &given.place);
            let is_older =
                place.client == of_given.client && place.urgency == of_given.urgency && other < &item_id(item);
            prop_assert!(!waits || !is_older || is_put_back, "{item} before an older one");
        }
        Ok(())
    }

    fn compare_states(&self) -> Result<(), TestCaseError> {
        let (core, reference) = (&self.core, &self.reference);
        prop_assert_eq!(core.items.len(), reference.items.len());
        for expected in &reference.items {
            let found = core.items.get(&item_id(expected.id)).expect("the reference has it");
            let state = match found.phase {
                Phase::Queued { .. } => "queued",
                Phase::Claimed { .. } => "claimed",
                Phase::Streaming { .. } => "streaming",
                Phase::Elsewhere { .. } => "elsewhere",
                Phase::Ended { .. } => "ended",
            };
            let expected_state = match expected.state {
                State::Queued { .. } => "queued",
                State::Claimed { .. } => "claimed",
                State::Streaming { .. } => "streaming",
                State::Ended { .. } => "ended",
            };
            prop_assert_eq!(state, expected_state, "{:?}", expected);
            prop_assert_eq!(found.claim(), expected.claim().map(claim_id), "{:?}", expected);
            prop_assert_eq!(
                (found.place.urgency, found.consumers, found.attempts, found.is_known, found.kept_until),
                (
                    expected.urgency,
                    expected.consumers,
                    expected.attempts,
                    expected.is_known,
                    expected.kept_until.map(|at| self.start + at)
                ),
                "{:?}",
                expected
            );
            let position = core.pending(item_id(expected.id)).map_or(0, |pending| pending.position);
            prop_assert_eq!(position, reference.position(expected.id), "{:?}", expected);
        }
        let counts = (reference.queued(), reference.claims.len(), reference.offers.len(), reference.ended.len());
        prop_assert_eq!((core.queued(), core.in_flight(), core.free(), core.kept()), counts);
        prop_assert_eq!(core.seats.len(), reference.seats.len());
        prop_assert_eq!(core.next(), reference.due().map(|due| self.start + due));
        for key in [None, Some(0), Some(1)] {
            let next = core.queue.next(key.map(name).as_ref()).map(|item| self.item_of(item));
            prop_assert_eq!(next, reference.next(key), "of key {:?}", key);
        }
        let order = self.order();
        prop_assert_eq!(&order, &reference.order());
        self.is_in_turn(&order)
    }

    /// All that is queued, in the order in which it is taken if nothing else happens.
    fn order(&self) -> Vec<u64> {
        let mut queue = self.core.queue.clone();
        let mut order = Vec::new();
        while let Some(id) = queue.next(None) {
            queue.take(&self.core.items[&id].place);
            order.push(self.item_of(id));
        }
        order
    }

    /// Between two items of a client, each other client that has more has one.
    fn is_in_turn(&self, order: &[u64]) -> Result<(), TestCaseError> {
        let place = |item: &u64| &self.core.items[&item_id(*item)].place;
        for of_one_urgency in order.chunk_by(|a, b| place(a).urgency == place(b).urgency) {
            let clients: Vec<_> = of_one_urgency.iter().map(|item| &place(item).client).collect();
            for (at, client) in clients.iter().enumerate() {
                let rest = &clients[at + 1..];
                let Some(again) = rest.iter().position(|other| other == client) else { continue };
                let between: BTreeSet<_> = rest[..again].iter().collect();
                let others: BTreeSet<_> = rest.iter().filter(|other| *other != client).collect();
                prop_assert_eq!(between.len(), again, "one each: {:?}", clients);
                prop_assert_eq!(between, others, "{:?}", clients);
            }
        }
        Ok(())
    }

    /// What always holds.
    fn holds(&self) -> Result<(), TestCaseError> {
        let core = &self.core;
        let claimed = core.items.values().filter(|item| item.claim().is_some()).count();
        prop_assert_eq!(core.claims.len(), claimed);
        for (claim, live) in &core.claims {
            prop_assert_eq!(core.items.get(&live.item).and_then(|item| item.claim()), Some(*claim));
        }
        for (item, (ended, forgotten)) in &self.taken {
            let found = core.items.get(&item_id(*item));
            let has_ended = found.is_none_or(|found| matches!(found.phase, Phase::Ended { .. }));
            prop_assert_eq!((*ended, *forgotten), (u32::from(has_ended), u32::from(found.is_none())), "{}", item);
        }
        let timed = core.items.iter().filter_map(|(id, item)| Some((item.timer?, *id)));
        prop_assert!(core.timers == timed.collect::<BTreeSet<_>>(), "each timer is an item's");
        let names = |has: fn(&Item) -> bool| core.items.values().filter(|item| has(item)).count();
        prop_assert_eq!(core.once.len(), names(|item| item.once.is_some()));
        prop_assert!(core.shared.len() <= names(|item| item.share.is_some()));
        prop_assert!(core.seats.len() <= core.workers());
        prop_assert!(core.completed.len() <= EXCHANGE_COMPLETED && core.gone.len() <= EXCHANGE_GONE);
        prop_assert!(core.dead.len() <= EXCHANGE_DEAD);
        prop_assert!(core.ended.len() <= EXCHANGE_ENDED && core.ended.len() >= core.kept());
        Ok(())
    }

    /// All workers go, and time passes until nothing is left.
    fn wind_up(&mut self) -> Result<(), TestCaseError> {
        for claim in 0..self.claims {
            let back = usize::try_from(claim).expect("few");
            self.step(&Event::Lost(back, Lost::Written))?;
            self.step(&Event::Withdraw(back))?;
        }
        // Those whose consumers wait are queued, and expire; the others are kept for a time.
        for _ in 0..4 {
            self.step(&Event::Wait(700_000))?;
        }
        let core = &self.core;
        prop_assert!(core.items.is_empty() && core.queue.is_empty() && core.queue.holds_nothing());
        prop_assert!(core.claims.is_empty() && core.idle.holds_nothing() && core.seats.is_empty());
        prop_assert!(core.shared.is_empty() && core.unanswered.is_empty());
        prop_assert!(core.once.is_empty() && core.timers.is_empty());
        prop_assert!(core.ended.is_empty() && core.effects.is_empty());
        prop_assert!(self.taken.values().all(|ends| *ends == (1, 1)), "each ended once: {:?}", self.taken);
        Ok(())
    }

    fn step(&mut self, event: &Event) -> Result<(), TestCaseError> {
        self.happen(event)?;
        self.compare_effects()?;
        self.compare_states()?;
        self.holds()
    }
}

proptest! {
    #[test]
    fn the_core_does_what_its_reference_does(
        rules in any_rules(),
        events in prop::collection::vec(any_event(), 1..60),
    ) {
        let mut beside = Beside::new(rules);
        for event in &events {
            beside.step(event)?;
        }
        beside.wind_up()?;
    }
}
