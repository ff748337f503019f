//! Random answers and failures over a simulated clock.

use proptest::prelude::*;

use super::*;

/// What a simulated server does with a poll.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// What it should.
    Answer,
    /// It parks, and the model changes while it does.
    Change,
    Fail(FailureKind),
    /// The same state as always, at once.
    Repeat,
    /// It says that nothing has changed, at once.
    Shrug,
    /// It goes back to an older state.
    Restore,
}

/// What the user does with a state.
#[derive(Debug, Clone, Copy)]
enum Use {
    Hold,
    Reject,
    /// It takes so long that other things happen before.
    Later,
    Ask,
}

fn deeds() -> impl Strategy<Value = Vec<(Deed, Use, u16)>> {
    let kinds = prop_oneof![
        Just(FailureKind::Unreachable),
        Just(FailureKind::Lost),
        (0_u64..500).prop_map(|seconds| FailureKind::Busy(Some(SECS(seconds)))),
        Just(FailureKind::Busy(None)),
        Just(FailureKind::Denied),
        Just(FailureKind::Refused),
        Just(FailureKind::Untrue),
        Just(FailureKind::Patch),
    ];
    let deed = prop_oneof![
        4 => Just(Deed::Answer),
        4 => Just(Deed::Change),
        4 => kinds.prop_map(Deed::Fail),
        1 => Just(Deed::Repeat),
        1 => Just(Deed::Shrug),
        1 => Just(Deed::Restore),
    ];
    let uses = prop_oneof![6 => Just(Use::Hold), 2 => Just(Use::Reject), 2 => Just(Use::Later), 1 => Just(Use::Ask)];
    prop::collection::vec((deed, uses, 0_u16..30_000), 0..80)
}

/// The server, the user, and what must hold between them.
struct World {
    rig: Rig,
    /// What the server has: number and version.
    model: (u64, u64),
    /// No poll before, by the rules of the pace; as it is known outside of the machine.
    not_before: Instant,
    unjudged: Vec<State>,
    under_way: bool,
}

impl World {
    fn new(urls: usize, seed: u64) -> Self {
        let mut rig = Rig::new(urls, None);
        rig.machine.random = Random::new(seed);
        let not_before = rig.now;
        Self { rig, model: (1, 1), not_before, unjudged: Vec::new(), under_way: false }
    }

    fn current(&self) -> State {
        state(self.model.0, self.model.1)
    }

    /// Goes on until there is a poll, or an event is waited for.
    fn poll(&mut self) -> Option<Poll> {
        for _ in 0..200 {
            match self.rig.machine.step(self.rig.now) {
                Action::Poll(poll) => {
                    assert!(!std::mem::replace(&mut self.under_way, true), "a second poll");
                    assert!(self.rig.now >= self.not_before, "{:?} too early", self.not_before - self.rig.now);
                    return Some(*poll);
                }
                Action::LookUp(url) => {
                    let last = u8::try_from(url).expect("few");
                    let addresses = [1, 2].map(|net| SocketAddr::from(([10, 0, net, last], 80)));
                    self.rig.machine.resolved(Ok(&addresses), self.rig.now);
                }
                Action::Wait(Some(until)) => self.rig.now = until,
                Action::Wait(None) => return None,
                Action::Abandon => {
                    assert!(std::mem::replace(&mut self.under_way, false), "nothing to give up");
                }
            }
        }
        panic!("neither a poll nor a wait");
    }

    fn ends(&mut self, after: Duration, outcome: Outcome) {
        self.under_way = false;
        let may_be_at_once = match &outcome {
            // Once, and other addresses of the name.
            Outcome::Failed(failure) => matches!(failure.kind, FailureKind::Denied | FailureKind::Unreachable),
            Outcome::State(_) | Outcome::Same { .. } => true,
        };
        if let Some(given) = self.rig.ends(after, outcome) {
            self.unjudged.push(given);
        }
        self.not_before = if may_be_at_once { self.rig.now } else { self.rig.now + CLIENT_BACKOFF_LEAST };
    }

    /// What a server should say to a poll.
    fn answer(&mut self, poll: &Poll) {
        let current = self.current();
        let is_known = named(poll).iter().flatten().any(|id| is_same(id, &current.id));
        if is_known {
            self.ends(SECS(25), Outcome::Same { id: current.id, age: Duration::ZERO });
        } else {
            self.ends(Duration::from_millis(3), Outcome::State(Box::new(current)));
        }
    }

    fn does(&mut self, deed: Deed, poll: &Poll, millis: u16) {
        let after = Duration::from_millis(millis.into());
        match deed {
            Deed::Answer => self.answer(poll),
            Deed::Change => {
                self.model = (self.model.0 + 1, self.model.1 + 1);
                let outcome = Outcome::State(Box::new(self.current()));
                self.ends(after, outcome);
            }
            Deed::Fail(kind) => self.ends(after, Outcome::Failed(Failure::new(kind, "on purpose"))),
            Deed::Repeat => {
                let outcome = Outcome::State(Box::new(self.current()));
                self.ends(Duration::ZERO, outcome);
            }
            Deed::Shrug => {
                let id = self.current().id;
                self.ends(Duration::ZERO, Outcome::Same { id, age: Duration::ZERO });
            }
            Deed::Restore => {
                self.model = (self.model.0 + 1, self.model.1.saturating_sub(2).max(1));
                self.answer(poll);
            }
        }
    }

    fn uses(&mut self, what: Use) {
        match what {
            Use::Later => {}
            Use::Ask => {
                self.rig.machine.asked(self.rig.now);
                self.not_before = self.rig.now;
            }
            Use::Hold | Use::Reject => {
                for given in std::mem::take(&mut self.unjudged) {
                    if matches!(what, Use::Hold) {
                        self.rig.machine.holds(&given.id);
                    } else {
                        self.rig.machine.rejects(&given.id, "on purpose");
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Never two polls at once, never faster than the pace, and once the server is well and the user applies what comes,
    /// what is held is what the server has: within minutes, and with few polls.
    #[test]
    fn whatever_happens_it_ends_converged(deeds in deeds(), urls in 1_usize..4, seed in any::<u64>()) {
        let mut world = World::new(urls, seed);
        for (deed, what, millis) in deeds {
            if let Some(poll) = world.poll() {
                world.does(deed, &poll, millis);
            }
            world.uses(what);
        }
        // What was rejected may be the last state: a new one is not.
        world.uses(Use::Hold);
        world.model = (world.model.0 + 1, world.model.1 + 1);
        let (began, polls) = (world.rig.now, world.rig.counters().polls);
        let want = world.current().id;
        while world.rig.machine.status(|_| String::new()).held.is_none_or(|held| !is_same(&held, &want)) {
            let poll = world.poll();
            prop_assert!(poll.is_some(), "it waits for a verdict that it has");
            if let Some(poll) = poll {
                world.answer(&poll);
            }
            world.uses(Use::Hold);
            prop_assert!(world.rig.now - began < SECS(400), "{:?}", world.rig.machine);
        }
        prop_assert!(world.rig.counters().polls - polls <= 12, "{}", world.rig.counters().polls - polls);
    }
}
