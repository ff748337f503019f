//! The parked polls of one owner: an event loop, or a connection of HTTP/2. It knows no sockets; its owner passes it changes
//! and the time, and takes out the polls that are over.
//!
//! ```text
//!  by_view:  view -> list <-> poll <-> poll <-> poll
//!                     |  a change touches the view: the list becomes due as a whole, at once,
//!                     v  and who is parked after that gets into a new one
//!  due:              list <-> poll <-> poll        -> released: one after the other
//! ```
//! So a change costs what it touches, an owner can do other work between two releases, and no poll is visited but those
//! of views that have changed.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::timers::Timers;
use crate::access::{Caller, Loss};
use crate::describe::Poll;
use crate::describe::poll::{Action, Reason, Release};
use crate::http::describe::{Asking, ParkedAgent, Parking, effect, slot, told_slot};
use crate::hub::{Change, Effect, FanOutGuard, Mailbox, Missing, ParkPermit, Served, Subscription, ViewId, What, Who};
use crate::lifecycle::stop;
use crate::model::StateId;
use crate::registry::LivePoll;
use links::{List, NONE, Taken, index};

mod links;
mod lost;

/// Parked polls, each for a client `C`.
#[derive(Debug)]
pub struct Parked<C> {
    polls: Slab<Entry<C>>,
    lists: Slab<List>,
    /// Where a poll of a view is put.
    by_view: HashMap<ViewId, u32>,
    /// Lists whose view has changed, in the order of the changes.
    due: VecDeque<Due>,
    /// Polls whose caller may no longer, and why. With its number: the key may be another one's by the time.
    lost: Vec<(u32, Instant, Loss)>,
    timers: Timers,
    /// Polls that a higher version alone would release, by the operation's view.
    blocked: BTreeSet<(ViewId, u32)>,
    /// The operations whose changes are left in the mailbox.
    followed: HashSet<ViewId>,
    mailbox: Arc<Mailbox>,
    phase: stop::Phase,
}

/// A parked poll.
#[derive(Debug)]
struct Entry<C> {
    client: C,
    poll: Poll,
    _permit: ParkPermit,
    agent: Option<Box<ParkedAgent>>,
    caller: Caller,
    parked: Instant,
    /// Keeps the fan-out of the change open by which it was released, while its answer is put off.
    put_off: Option<Box<FanOutGuard>>,
    list: u32,
    previous: u32,
    next: u32,
}

/// A list whose polls are to be compared with the current state.
#[derive(Debug)]
struct Due {
    list: u32,
    change: Option<Arc<Change>>,
    /// Looked up once for many polls.
    current: Option<Current>,
}

/// The state of a view, and whether its operation has ended.
#[derive(Debug, Clone)]
struct Current {
    state: Result<Arc<Served>, Missing>,
    is_closed: bool,
}

/// A poll that is over.
#[derive(Debug)]
pub struct Released<C> {
    /// Whose it was.
    pub client: C,
    /// What it asked for.
    pub asking: Asking,
    /// As its agent's entry knows it.
    pub live: Option<LivePoll>,
    /// Why and how it is answered.
    pub release: Release,
    /// With which state.
    pub current: Result<Arc<Served>, Missing>,
    /// How long it was held.
    pub held: Duration,
    /// Kept until the answer is written, if that was put off.
    pub put_off: Option<FanOutGuard>,
    /// Why its caller may no longer; absent: it may.
    pub lost: Option<Loss>,
}

impl<C> Parked<C> {
    /// None yet. Changes are taken from `mailbox`.
    #[must_use]
    pub fn new(mailbox: Arc<Mailbox>, phase: stop::Phase, now: Instant) -> Self {
        Self {
            polls: Slab::new(),
            lists: Slab::new(),
            by_view: HashMap::new(),
            due: VecDeque::new(),
            lost: Vec::new(),
            timers: Timers::new(now),
            blocked: BTreeSet::new(),
            followed: HashSet::new(),
            mailbox,
            phase,
        }
    }

    /// None yet, and never more than one.
    #[must_use]
    pub fn of_one(mailbox: Arc<Mailbox>, phase: stop::Phase, now: Instant) -> Self {
        Self { polls: Slab::with_capacity(1), lists: Slab::with_capacity(1), ..Self::new(mailbox, phase, now) }
    }

    /// From now on the changes of this operation are left in the mailbox. To be called before a poll is compared with the
    /// current state: then a change that the comparison has missed is still to come.
    pub fn follow(&mut self, subscription: &Subscription) {
        if self.followed.insert(subscription.whole_id()) {
            subscription.follow(&self.mailbox);
        }
    }

    /// Parks a poll.
    pub fn park(&mut self, asking: &Asking, parking: Parking, client: C, now: Instant) -> u32 {
        let Parking { mut poll, permit, agent } = parking;
        if self.drains() {
            poll.on_drain(slot(self.phase));
        }
        let deadline = poll.deadline();
        let entry = Entry {
            client,
            poll,
            _permit: permit,
            agent,
            caller: asking.caller.clone(),
            parked: now,
            put_off: None,
            list: NONE,
            previous: NONE,
            next: NONE,
        };
        let key = index(self.polls.insert(entry));
        self.timers.set(key, Some(deadline));
        let list = self.list_of(&asking.operation, &asking.subscription);
        self.link(key, list);
        // An operation that ends while a request is on its way to it.
        if asking.subscription.is_closed() {
            self.on_ended(asking.subscription.whole_id());
        }
        key
    }

    /// Takes a poll out whose client is gone.
    pub fn abandon(&mut self, key: u32) -> Option<C> {
        let Taken { entry, list } = self.take(key)?;
        list.operation.hub.metrics().released(None).inc();
        Some(entry.client)
    }

    /// Takes a poll out whose client has closed its sending side.
    pub fn half_closed(&mut self, key: u32, now: Instant) -> Option<Released<C>> {
        let list = self.polls.get(key as usize)?.list;
        let current = Current::of(&self.lists[list as usize].subscription);
        match self.polls[key as usize].poll.on_half_closed(current.id()) {
            Action::Answer(release) => self.release(key, release, current.state, now),
            Action::Wait => None,
        }
    }

    /// Notes what a change touches.
    pub fn on_change(&mut self, change: &Arc<Change>) {
        match &change.what {
            What::Touched { whole, parts } => {
                for view in parts.iter().chain([whole]) {
                    if let Some(list) = self.by_view.remove(view) {
                        self.due.push_back(Due::new(list, Some(change)));
                    }
                }
                self.on_version(*whole);
            }
            What::Version(whole) => self.on_version(*whole),
            What::Ended(whole) => self.on_ended(*whole),
            What::Told { whole, who, within } => self.on_told(*whole, *who, *within),
            What::Many => {
                for (_, list) in self.by_view.drain() {
                    self.due.push_back(Due::new(list, Some(change)));
                }
            }
        }
    }

    /// The process drains, or closes.
    pub fn on_phase(&mut self, phase: stop::Phase) {
        self.phase = phase;
        for (key, entry) in &mut self.polls {
            entry.poll.on_drain(slot(phase));
            self.timers.set(index(key), Some(entry.poll.deadline()));
        }
    }

    /// The freshness of the state of an operation has turned. Each poll is looked at, which happens seldom.
    fn on_told(&mut self, whole: ViewId, who: Who, within: Duration) {
        for (key, entry) in &mut self.polls {
            let is_of_it = self.lists[entry.list as usize].subscription.whole_id() == whole;
            let request = entry.poll.request();
            if is_of_it && (who == Who::All || request.relay.is_some() || request.stream.is_some()) {
                entry.poll.on_told(told_slot(within));
                self.timers.set(index(key), Some(entry.poll.deadline()));
            }
        }
    }

    /// Whether the process drains, or closes.
    #[must_use]
    pub fn drains(&self) -> bool {
        self.phase.drain.is_some() || self.phase.closing
    }

    /// When [`Self::next_released`] has something to do, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether polls are to be compared with a changed state, or lose their place.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.due.is_empty() || !self.lost.is_empty()
    }

    /// The state of a view is looked up again: to be called after other work.
    pub fn refresh(&mut self) {
        if let Some(due) = self.due.front_mut() {
            due.current = None;
        }
    }

    /// Takes out the next poll that is over; none: there is none at `now`.
    pub fn next_released(&mut self, now: Instant) -> Option<Released<C>> {
        self.next_lost(now).or_else(|| self.next_due(now)).or_else(|| self.next_expired(now))
    }

    /// Keeps the fan-out open of the change that has released the last poll, for an answer that is written later.
    #[must_use]
    pub fn fan_out(&self) -> Option<FanOutGuard> {
        self.due.front()?.change.as_ref()?.guard()
    }

    fn next_due(&mut self, now: Instant) -> Option<Released<C>> {
        while let Some(due) = self.due.front_mut() {
            let list = &self.lists[due.list as usize];
            let key = list.first;
            if key == NONE {
                self.lists.remove(due.list as usize);
                self.due.pop_front();
                continue;
            }
            let current = due.current.get_or_insert_with(|| Current::of(&list.subscription)).clone();
            let poll = &mut self.polls[key as usize].poll;
            let action = match (current.is_closed, &current.state) {
                (true, _) => poll.on_ended(current.id()),
                (false, Err(Missing::NoState)) => Action::Wait,
                (false, Ok(_) | Err(Missing::NoParts)) => {
                    poll.on_state(current.id(), list.operation.wake_spread(), now, fastrand::f64())
                }
            };
            match action {
                Action::Wait => self.wait_on(key, &current),
                Action::Answer(release) => {
                    if let Some(change) = &due.change {
                        change.has_released();
                    }
                    return self.release(key, release, current.state, now);
                }
            }
        }
        None
    }

    /// A poll of the first due list goes on waiting.
    fn wait_on(&mut self, key: u32, current: &Current) {
        let list = self.unlink(key);
        let (operation, subscription) =
            (Arc::clone(&self.lists[list as usize].operation), Arc::clone(&self.lists[list as usize].subscription));
        let whole = subscription.whole_id();
        let list = self.list_of(&operation, &subscription);
        self.link(key, list);
        let entry = &mut self.polls[key as usize];
        if entry.poll.is_put_off() {
            let change = self.due.front().and_then(|due| due.change.as_ref());
            entry.put_off = change.and_then(|change| change.guard()).map(Box::new);
        }
        if effect(&entry.poll, current.id()) == Effect::Blocked {
            self.blocked.insert((whole, key));
        } else {
            self.blocked.remove(&(whole, key));
        }
        self.timers.set(key, Some(entry.poll.deadline()));
    }

    fn next_expired(&mut self, now: Instant) -> Option<Released<C>> {
        while let Some(key) = self.timers.expired(now) {
            let Some(entry) = self.polls.get_mut(key as usize) else { continue };
            let current = Current::of(&self.lists[entry.list as usize].subscription);
            match entry.poll.on_deadline(current.id(), now) {
                Action::Answer(release) => return self.release(key, release, current.state, now),
                Action::Wait => {
                    // What released it was rolled back.
                    entry.put_off = None;
                    self.timers.set(key, Some(entry.poll.deadline()));
                    if effect(&entry.poll, current.id()) == Effect::Blocked {
                        let whole = self.lists[entry.list as usize].subscription.whole_id();
                        self.blocked.insert((whole, key));
                    }
                }
            }
        }
        None
    }

    fn on_version(&mut self, whole: ViewId) {
        let keys: Vec<_> = self.blocked.range((whole, 0)..=(whole, NONE)).map(|(_, key)| *key).collect();
        for key in keys {
            let list = self.unlink(key);
            let list = &self.lists[list as usize];
            let alone = List::new(&list.operation, &list.subscription);
            let alone = index(self.lists.insert(alone));
            self.link(key, alone);
            self.due.push_back(Due::new(alone, None));
        }
    }

    fn on_ended(&mut self, whole: ViewId) {
        self.followed.remove(&whole);
        let lists = &self.lists;
        let of_it = self.by_view.extract_if(|_, list| lists[*list as usize].subscription.whole_id() == whole);
        self.due.extend(of_it.map(|(_, list)| Due::new(list, None)));
    }

    fn release(
        &mut self,
        key: u32,
        release: Release,
        current: Result<Arc<Served>, Missing>,
        now: Instant,
    ) -> Option<Released<C>> {
        let Taken { entry, list } = self.take(key)?;
        let is_silence = release.reason == Reason::Expired && entry.poll.request().stream.is_some();
        if !is_silence {
            list.operation.hub.metrics().released(Some(release.reason)).inc();
        }
        let asking = Asking {
            operation: list.operation,
            subscription: list.subscription,
            request: Arc::clone(entry.poll.request()),
            caller: entry.caller,
        };
        Some(Released {
            client: entry.client,
            asking,
            live: entry.agent.map(|agent| agent.live),
            release,
            current,
            held: now.saturating_duration_since(entry.parked),
            put_off: entry.put_off.map(|guard| guard.put_off(release.put_off)),
            lost: None,
        })
    }
}

impl Due {
    fn new(list: u32, change: Option<&Arc<Change>>) -> Self {
        Self { list, change: change.map(Arc::clone), current: None }
    }
}

impl Current {
    fn of(subscription: &Subscription) -> Self {
        Self { state: subscription.current(), is_closed: subscription.is_closed() }
    }

    fn id(&self) -> Option<&StateId> {
        self.state.as_ref().ok().map(|served| &served.snapshot.id)
    }
}
