//! PURE. Which agent holds, lacks or rejects which state, for one operation.
//!
//! Each poll of an agent reports what it holds (`since`) what it could not apply (`rejected`) and what it is busy
//! with (`applying`); the report
//! counts until the agent is sent another state. An agent is converged only if it self-reports the current
//! state; whatever is not known counts as lagging. No entry is visited when a
//! state changes, a request is released or a connection ends: each of these writes into a cell that it shares with the
//! entry ([`LivePoll`], [`Connection`], [`SupersededAt`]), which is read on demand.
//!
//! Agents that repeat themselves are paced here, too: one that is sent the same state three times in a
//! row, for the same `since`, is held before the next. By agent and never by connection, since
//! proxies share those; clients without a key meet admission limits only.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use crate::access::Connection;
use crate::model::{Since, StateId, SupersededAt};

mod entry;
mod poll;
pub mod relays;
mod totals;

use entry::AgentEntry;
pub use poll::{AgentParkPermit, LivePoll, TooMany};
pub use relays::Relays;
pub use totals::{AGES, AgentCounts, Totals};

/// The table is not swept below this many agents.
const SWEEP_FROM: usize = 1024;

/// One in so many agents is forgotten when the table is full: so the search for those seen least lately is rare.
const EVICTED_SHARE: usize = 16;

/// All agents of an operation. `V` is what an agent looks at that selects a part of the model; it is kept for as
/// long as the agent is known, since only the views that somebody keeps learn when their state is superseded.
#[derive(Debug)]
pub struct AgentRegistry<V> {
    /// Boxed, since a table has up to twice the room that it needs.
    agents: HashSet<Box<AgentEntry<V>>>,
    capacity: usize,
    /// A silent agent is forgotten after this.
    expiry: Duration,
    sweep_at: usize,
    /// When the last agents were evicted, and how many in that spell.
    evicted: Option<(Instant, u64)>,
    evictions: u64,
    rejections: u64,
    started: Instant,
}

/// Which agent. A self-reported name never passes for an authenticated identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentKey {
    name: SmolStr,
    authenticated: bool,
}

/// What a poll of an agent reports.
#[derive(Debug, Clone)]
pub struct Acknowledgement {
    /// Who polls.
    pub key: AgentKey,
    /// The state that it holds; absent: none yet.
    pub acknowledged: Option<Since>,
    /// The state that it could not apply.
    pub rejected: Option<Since>,
    /// Why, in its words.
    pub reason: Option<String>,
    /// The newest state that it was given and is busy with.
    pub applying: Option<Since>,
    /// What it polls on.
    pub connection: Arc<Connection>,
}

/// The current state of what an agent looks at.
#[derive(Debug)]
pub struct Current<'a, V> {
    /// Its id.
    pub id: &'a StateId,
    /// When another state took its place.
    pub superseded_at: &'a Arc<SupersededAt>,
    /// What it looks at; absent: the whole model.
    pub selected: Option<&'a Arc<V>>,
}

impl<V> Clone for Current<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Current<'_, V> {}

/// How an agent stands to the current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncStatus {
    /// Its last poll rejected it. Whether or not it also claims to hold it.
    Rejecting,
    /// It does not hold it, or was sent another state after its last poll.
    Lagging,
    /// It is busy with it, by its last poll. It counts as lagging.
    Applying,
    /// It holds it, by its last poll.
    Converged,
}

/// What is known of an agent, for operators.
#[derive(Debug)]
pub struct Agent<V> {
    /// Which agent.
    pub key: AgentKey,
    /// What it looks at; absent: the whole model.
    pub selected: Option<Arc<V>>,
    /// How it stands to the current state of that.
    pub sync_status: SyncStatus,
    /// The state that it holds, by its last poll; absent: none.
    pub acknowledged: Option<Since>,
    /// The state that its last poll was answered with; absent: none.
    pub sent: Option<StateId>,
    /// The state that its last poll rejected, which may have been replaced since.
    pub rejects: Option<Since>,
    /// Why, in its words.
    pub reason: Option<String>,
    /// For how long it has rejected that.
    pub rejecting: Option<Duration>,
    /// The newest state that it was given and is busy with, by its last poll.
    pub applying: Option<Since>,
    /// For how long it has not held the current state; absent: it does.
    pub lagging: Option<Duration>,
    /// How long ago its last poll arrived; zero while one is under way.
    pub last_seen: Duration,
    /// Polls under way; more than one: several agents may share the name.
    pub polls: usize,
    /// The other end of its last connection, which may be a proxy.
    pub peer: SocketAddr,
}

/// A page of agents to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Only those whose key comes after this one; absent: from the first.
    pub after: Option<AgentKey>,
    /// Only those that stand so; absent: however they stand.
    pub sync_status: Option<SyncStatus>,
    /// At most so many.
    pub limit: usize,
}

impl<V: PartialEq> AgentRegistry<V> {
    /// A registry of at most `capacity` agents, of which silent ones are forgotten after `expiry`.
    #[must_use]
    pub fn new(capacity: usize, expiry: Duration, started: Instant) -> Self {
        Self {
            agents: HashSet::new(),
            capacity: capacity.max(1),
            expiry,
            sweep_at: 0,
            evicted: None,
            evictions: 0,
            rejections: 0,
            started,
        }
    }

    /// Silent agents are forgotten after `expiry` from now on.
    pub fn set_expiry(&mut self, expiry: Duration) {
        self.expiry = expiry;
    }

    /// An agent polls while `current` is the state; `sends`: it is to be answered with that at once.
    #[must_use]
    pub fn arrive(
        &mut self,
        acknowledgement: Acknowledgement,
        current: Current<'_, V>,
        sends: bool,
        now: Instant,
    ) -> LivePoll {
        let before = self.agents.take(&acknowledgement.key).filter(|before| !before.is_expired(self.expiry, now));
        let mut entry = before.unwrap_or_else(|| {
            self.make_room(now);
            let connection = Arc::clone(&acknowledgement.connection);
            Box::new(AgentEntry::new(acknowledgement.key.clone(), connection, now))
        });
        let (poll, is_new_rejection) = entry.poll(acknowledgement, current, sends, now);
        self.rejections += u64::from(is_new_rejection);
        self.agents.insert(entry);
        poll
    }

    /// How many agents stand where to `current`, the state of the whole model; those that select, to what is current
    /// of that. Looks at each agent.
    pub fn totals(&mut self, current: Option<&StateId>, now: Instant) -> Totals {
        self.sweep(now);
        let mut totals = Totals {
            agents: AgentCounts { evicted: self.spell(now).unwrap_or(0), ..AgentCounts::default() },
            evictions: self.evictions,
            rejections: self.rejections,
            tracked: now.saturating_duration_since(self.started),
            ..Totals::default()
        };
        for entry in &self.agents {
            let lag = now.saturating_duration_since(entry.lags_since(now));
            totals.count(entry.sync_status(current), lag, entry.polls());
        }
        totals
    }

    /// The first `limit` of those that do not hold `current`: the rejecting ones before the lagging
    /// ones, and of each those first that have been so for longest.
    #[must_use]
    pub fn worst(&self, limit: usize, current: Option<&StateId>, now: Instant) -> Vec<Agent<V>> {
        let ranked =
            self.known(now).map(|entry| (entry.sync_status(current), entry.lags_since(now), entry.key(), entry));
        let behind = ranked.filter(|(sync_status, ..)| *sync_status != SyncStatus::Converged);
        let worst =
            first(limit, behind.collect(), |one, other| (one.0, one.1, one.2).cmp(&(other.0, other.1, other.2)));
        worst.into_iter().map(|(.., entry)| entry.view(current, now)).collect()
    }

    /// The agents that `listing` asks for, by key, as they stand to `current`; and whether more follow.
    #[must_use]
    pub fn page(&self, listing: &Listing, current: Option<&StateId>, now: Instant) -> (Vec<Agent<V>>, bool) {
        let follows = |key: &AgentKey| listing.after.as_ref().is_none_or(|after| key > after);
        let stands = |entry: &AgentEntry<V>| {
            listing.sync_status.is_none_or(|sync_status| entry.sync_status(current).counts_as(sync_status))
        };
        let wanted: Vec<_> = self.known(now).filter(|entry| follows(entry.key()) && stands(entry)).collect();
        let more = wanted.len() > listing.limit;
        let page = first(listing.limit, wanted, |one, other| one.key().cmp(other.key()));
        (page.into_iter().map(|entry| entry.view(current, now)).collect(), more)
    }

    fn known(&self, now: Instant) -> impl Iterator<Item = &AgentEntry<V>> {
        self.agents.iter().map(Box::as_ref).filter(move |entry| !entry.is_expired(self.expiry, now))
    }

    fn sweep(&mut self, now: Instant) {
        self.agents.retain(|entry| !entry.is_expired(self.expiry, now));
        self.sweep_at = SWEEP_FROM.max(2 * self.agents.len());
    }

    /// Room for one more.
    fn make_room(&mut self, now: Instant) {
        if self.agents.len() < self.sweep_at.min(self.capacity) {
            return;
        }
        self.sweep(now);
        if self.agents.len() < self.capacity {
            return;
        }
        // Those with a poll under way are seen now.
        let mut all: Vec<_> =
            self.agents.iter().map(|entry| (entry.polls() > 0, entry.seen(), entry.key().clone())).collect();
        let count = (self.capacity / EVICTED_SHARE).clamp(1, all.len());
        all.select_nth_unstable(count - 1);
        for (_, _, key) in &all[..count] {
            self.agents.remove(key);
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.evicted = Some((now, self.spell(now).unwrap_or(0) + count));
        self.evictions += count;
    }

    /// Agents evicted in the spell that lasts at `now`: one that was evicted would be known for
    /// `expiry` after that, unless it polled again and is known.
    fn spell(&self, now: Instant) -> Option<u64> {
        self.evicted.filter(|(last, _)| now < *last + self.expiry).map(|(_, count)| count)
    }
}

/// The first `limit` of `all` in an order, sorted: it costs a look at each, and a sort of those.
fn first<T>(limit: usize, mut all: Vec<T>, order: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    if all.len() > limit {
        all.select_nth_unstable_by(limit, &order);
        all.truncate(limit);
    }
    all.sort_unstable_by(order);
    all
}

impl AgentKey {
    /// The agent behind a caller. An identity that was proved (none: it is anonymous) counts, subdivided by `Agent-Id`; without one the name that
    /// the agent reports does; none: it is no agent.
    #[must_use]
    pub fn of(identity: Option<&Arc<str>>, agent_id: Option<&str>) -> Option<Self> {
        match (identity, agent_id) {
            (Some(name), None) => Some(Self { name: SmolStr::from(Arc::clone(name)), authenticated: true }),
            (Some(name), Some(id)) => {
                // A space is in no Agent-Id, so that no two agents share a key.
                Some(Self { name: format!("{name} {id}").into(), authenticated: true })
            }
            (None, Some(id)) => Some(Self::claimed(id)),
            (None, None) => None,
        }
    }

    /// An agent that says who it is (`Agent-Id`), and nothing proves it.
    #[must_use]
    pub fn claimed(name: &str) -> Self {
        Self { name: name.into(), authenticated: false }
    }

    /// The name, unique among those of the same proof.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was proved.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }
}

impl SyncStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Converged, Self::Lagging, Self::Applying, Self::Rejecting];

    /// Whether an agent that stands so is among those that are asked for as `asked`.
    #[must_use]
    pub fn counts_as(self, asked: Self) -> bool {
        self == asked || (self == Self::Applying && asked == Self::Lagging)
    }

    /// As metrics and `/agents` spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Lagging => "lagging",
            Self::Applying => "applying",
            Self::Rejecting => "rejecting",
        }
    }
}

#[cfg(test)]
mod tests;
