//! Several replicas share a queue: whatever order they write and read in, and whichever of them dies, each item ends once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;
use crate::exchange::id::ReplicaId;

/// Replicas at the beginning.
const REPLICAS: usize = 3;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// At the replica of this number.
    At(usize, What),
    Later(Duration),
}

#[derive(Debug, Clone)]
enum What {
    Consumer(OfConsumer),
    Worker(OfWorker),
    Write { which: usize },
    Read,
    Kill,
}

#[derive(Debug, Clone)]
enum OfConsumer {
    Submit { is_async: bool, is_idempotent: bool },
    Leave { which: usize },
    Come { which: usize },
}

#[derive(Debug, Clone)]
enum OfWorker {
    Offer { polls: bool },
    Touch { which: usize },
    Finish { which: usize },
    Lose { which: usize },
    Move { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..8_usize;
    let consumer = prop_oneof![
        3 => any::<(bool, bool)>()
            .prop_map(|(is_async, is_idempotent)| OfConsumer::Submit { is_async, is_idempotent }),
        1 => which.clone().prop_map(|which| OfConsumer::Leave { which }),
        1 => which.clone().prop_map(|which| OfConsumer::Come { which }),
    ];
    let worker = prop_oneof![
        3 => any::<bool>().prop_map(|polls| OfWorker::Offer { polls }),
        1 => which.clone().prop_map(|which| OfWorker::Touch { which }),
        2 => which.clone().prop_map(|which| OfWorker::Finish { which }),
        1 => which.clone().prop_map(|which| OfWorker::Lose { which }),
        1 => which.clone().prop_map(|which| OfWorker::Move { which }),
    ];
    let what = prop_oneof![
        5 => consumer.prop_map(What::Consumer),
        8 => worker.prop_map(What::Worker),
        6 => which.prop_map(|which| What::Write { which }),
        6 => Just(What::Read),
        1 => Just(What::Kill),
    ];
    let step = prop_oneof![
        26 => (0..REPLICAS, what).prop_map(|(at, what)| Step::At(at, what)),
        1 => (1..20_u64).prop_map(|seconds| Step::Later(Duration::from_secs(seconds))),
    ];
    prop::collection::vec(step, 1..120)
}

/// One of these, if there are any.
fn pick<T: Copy>(all: &[T], which: usize) -> Option<T> {
    all.get(which % all.len().max(1)).copied()
}

/// What was written, one after the other.
#[derive(Debug, Clone)]
struct Written {
    item: ItemId,
    by: ReplicaId,
    shared: SharedItem,
}

struct Replica {
    id: ReplicaId,
    core: Core,
    lives: bool,
    /// How much of what was written it has read.
    read: usize,
    /// What it knows to be written of each item, and as which.
    lines: BTreeMap<ItemId, (usize, SharedItem)>,
    /// Consumers that wait here.
    consumers: Vec<ItemId>,
}

struct World {
    now: Instant,
    stream: Vec<Written>,
    replicas: Vec<Replica>,
    count: u128,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "any time will do, and none passes but what the test says")]
    fn new() -> Self {
        let now = Instant::now();
        let replica = |number: usize| {
            let id = ReplicaId::of(number as u128 + 1);
            let mut core = Core::new(Rules { queue_length: 1000, per_client: 1000, ..rules() }, now);
            core.share(id);
            Replica { id, core, lives: true, read: 0, lines: BTreeMap::new(), consumers: Vec::new() }
        };
        Self { now, stream: Vec::new(), replicas: (0..REPLICAS).map(replica).collect(), count: 1000 }
    }

    fn gone(&self) -> Vec<ReplicaId> {
        self.replicas.iter().filter(|replica| !replica.lives).map(|replica| replica.id).collect()
    }

    /// The newest of an item, and which it is, from 1.
    fn last(&self, item: ItemId) -> Option<(usize, &Written)> {
        let found = self.stream.iter().enumerate().rev().find(|(_, written)| written.item == item);
        found.map(|(at, written)| (at + 1, written))
    }

    /// What a replica is to write.
    fn unwritten(&self, at: usize) -> Vec<ItemId> {
        let Replica { core, id, lines, .. } = &self.replicas[at];
        let gone = self.gone();
        let mut items: Vec<_> = core.items.keys().copied().collect();
        items.sort_unstable();
        items.retain(|item| {
            let shared = core.shared(*item).unwrap_or_else(|| panic!("{:?}", core.items.get(item)));
            let written = lines.get(item).map(|(_, written)| written);
            shared.differs(written, *id, core.answered_claim(*item), |replica| gone.contains(&replica))
        });
        items
    }

    fn write(&mut self, at: usize, item: ItemId) -> Result<(), TestCaseError> {
        let last = self.last(item).map(|(revision, written)| (revision, written.clone()));
        let replica = &mut self.replicas[at];
        let known = replica.lines.get(&item).map_or(0, |(revision, _)| *revision);
        match last {
            Some((revision, written)) if revision != known => {
                replica.lines.insert(item, (revision, written.shared.clone()));
                replica.core.told(self.now, item, written.shared, written.by, Duration::ZERO);
            }
            before => {
                let shared = replica.core.shared(item).expect("it is there");
                if let Some((_, before)) = &before {
                    prop_assert!(!matches!(before.shared.at, At::Ended(_)), "it had ended");
                    if let At::Ended(Ended::Done) = shared.at
                        && let Some(claim) = replica.core.answered_claim(item)
                    {
                        let At::Claimed { claim: of_worker, .. } = before.shared.at else {
                            return Err(TestCaseError::fail("done without a claim"));
                        };
                        prop_assert_eq!(claim, of_worker, "another claim had followed");
                    }
                }
                let by = replica.id;
                self.stream.push(Written { item, by, shared: shared.clone() });
                replica.lines.insert(item, (self.stream.len(), shared.clone()));
                match shared.at {
                    At::Claimed { claim, .. } => replica.core.confirm(claim),
                    At::Ended(_) => replica.core.settled(item),
                    At::Queued => {}
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        let Some(Written { item, by, shared }) = self.stream.get(replica.read).cloned() else { return };
        replica.read += 1;
        let known = replica.lines.get(&item).map_or(0, |(revision, _)| *revision);
        if by == replica.id || known >= replica.read {
            return;
        }
        replica.lines.insert(item, (replica.read, shared.clone()));
        if matches!(shared.at, At::Ended(_)) && !shared.is_known && replica.core.shared(item).is_none() {
            return;
        }
        replica.core.told(self.now, item, shared, by, Duration::ZERO);
    }

    /// Claims that the workers of a replica have.
    fn claims(&self, at: usize) -> Vec<ClaimId> {
        let core = &self.replicas[at].core;
        let mut claims: Vec<_> = core.claims.keys().copied().filter(|claim| core.is_confirmed(*claim)).collect();
        claims.sort_unstable();
        claims
    }

    /// Consumers read answers of workers at other replicas.
    fn answer_elsewhere(&mut self) {
        for at in 0..REPLICAS {
            let replica = &self.replicas[at];
            let done = |item: &ItemId| {
                let last = self.last(*item);
                last.is_some_and(|(_, written)| written.shared.at == At::Ended(Ended::Done))
            };
            let read: Vec<_> = replica.consumers.iter().copied().filter(done).collect();
            for item in read {
                self.replicas[at].core.answered_elsewhere(self.now, item, Ended::Done);
            }
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let (at, what) = match step {
            Step::Later(time) => {
                self.now += *time;
                for replica in self.replicas.iter_mut().filter(|replica| replica.lives) {
                    replica.core.tick(self.now, |_| true);
                }
                return Ok(());
            }
            Step::At(at, what) => (*at, what),
        };
        if !self.replicas[at].lives {
            return Ok(());
        }
        match what {
            What::Consumer(what) => self.consumer(at, what),
            What::Worker(what) => self.worker(at, what),
            What::Write { which } => {
                if let Some(item) = pick(&self.unwritten(at), *which) {
                    self.write(at, item)?;
                }
            }
            What::Read => self.read(at),
            What::Kill => {
                let lives = self.replicas.iter().filter(|replica| replica.lives).count();
                self.replicas[at].lives = lives == 1;
            }
        }
        Ok(())
    }

    fn consumer(&mut self, at: usize, what: &OfConsumer) {
        self.count += 1;
        let (now, item) = (self.now, ItemId::of(self.count));
        let Replica { core, consumers, .. } = &mut self.replicas[at];
        match *what {
            OfConsumer::Submit { is_async, is_idempotent } => {
                let (client, key, once, share) = ("a".into(), None, None, None);
                core.submit(now, Submission { item, client, key, urgency: 3, is_async, is_idempotent, once, share })
                    .expect("there is room");
                if !is_async {
                    consumers.push(item);
                }
            }
            OfConsumer::Leave { which } => {
                if let Some(item) = pick(consumers, which) {
                    let left = consumers.iter().position(|other| *other == item);
                    left.map(|left| consumers.remove(left));
                    let how = if which % 2 == 0 { Leave::Gone } else { Leave::Told(Duration::from_secs(2)) };
                    if how != Leave::Gone {
                        core.tell(item);
                    }
                    core.leave(now, item, how);
                }
            }
            OfConsumer::Come { which } => {
                let known = core.items.iter().filter(|(_, item)| item.is_known);
                let mut known: Vec<_> = known.map(|(id, _)| *id).collect();
                known.sort_unstable();
                if let Some(item) = pick(&known, which) {
                    core.come_here(item);
                    if core.attach(item, false) {
                        consumers.push(item);
                    }
                }
            }
        }
    }

    fn worker(&mut self, at: usize, what: &OfWorker) {
        self.count += 1;
        let (now, claims) = (self.now, self.claims(at));
        let new = ClaimId::of(self.count);
        let core = &mut self.replicas[at].core;
        match *what {
            OfWorker::Offer { polls } => {
                core.offer(now, Offer { claim: new, key: None, polls, seat: None });
            }
            OfWorker::Touch { which } => {
                if let Some(claim) = pick(&claims, which) {
                    let _ = core.touch(now, claim);
                }
            }
            OfWorker::Finish { which } => {
                if let Some(claim) = pick(&claims, which) {
                    let _ = core.head(claim);
                    core.finish(now, claim);
                }
            }
            OfWorker::Lose { which } => {
                if let Some(claim) = pick(&claims, which) {
                    core.lost(now, claim, Lost::Written);
                }
            }
            OfWorker::Move { which } => {
                let mut elsewhere: Vec<_> = core.elsewhere.keys().copied().collect();
                elsewhere.sort_unstable();
                if let Some(claim) = pick(&elsewhere, which) {
                    core.move_here(now, claim);
                }
            }
        }
    }

    /// Lets all that is possible happen, until nothing is left.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for round in 0..200 {
            let before = self.stream.len();
            let mut idle = true;
            let gone = self.gone();
            for at in 0..REPLICAS {
                if !self.replicas[at].lives {
                    continue;
                }
                while self.replicas[at].read < self.stream.len() {
                    self.read(at);
                }
                for gone_one in &gone {
                    let now = self.now;
                    self.replicas[at].core.replica_gone(now, *gone_one, |replica| gone.contains(&replica));
                }
                for item in self.unwritten(at) {
                    self.write(at, item)?;
                    idle = false;
                }
                for claim in self.claims(at) {
                    let (now, core) = (self.now, &mut self.replicas[at].core);
                    let _ = core.head(claim);
                    core.finish(now, claim);
                    idle = false;
                }
                if self.replicas[at].core.queue.len() > self.replicas[at].core.idle.len() {
                    self.worker(at, &OfWorker::Offer { polls: round % 2 == 0 });
                    idle = false;
                }
            }
            self.answer_elsewhere();
            if idle && before == self.stream.len() {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("it does not come to an end"))
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let mut ends: BTreeMap<ItemId, usize> = BTreeMap::new();
        for Written { item, shared, .. } in &self.stream {
            *ends.entry(*item).or_default() += usize::from(matches!(shared.at, At::Ended(_)));
        }
        for (item, ends) in ends {
            prop_assert_eq!(ends, 1, "{} ends once: {:?}", item, self.last(item));
        }
        for replica in self.replicas.iter().filter(|replica| replica.lives) {
            for (id, item) in &replica.core.items {
                prop_assert!(matches!(item.phase, Phase::Ended { .. }), "{} at {}: {:?}", id, replica.id, item);
            }
            prop_assert!(replica.core.claims.is_empty() && replica.core.elsewhere.is_empty());
            prop_assert!(replica.core.queue.holds_nothing());
        }
        Ok(())
    }
}

#[test]
fn whatever_happens_each_item_ends_once() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let result = runner.run(&steps(), |steps| {
        let mut world = World::new();
        for step in &steps {
            world.step(step)?;
        }
        world.settle()?;
        world.check()
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
