//! PURE. What relays report of the agents below them, for one operation.
//!
//! | a relay | its agents count |
//! |---|---|
//! | reported on the state that is current, and has been ever since | as reported |
//! | reported on another state, or the state has changed since | as lagging, all |
//! | has not renewed its report for too long: it is gone | as lagging, all, for as long as they may take to come back elsewhere |
//! | is gone for longer | not: who came back is known by where it came back to |
//!
//! So neither a change nor the end of a relay makes anybody converged. A relay that starts anew has another instance, and
//! reports beside the one that it was. Whose credential it is counts: nobody replaces the report of another caller.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::{Connection, Current, Totals};
use crate::bounds::{AGENT_SKEW, RELAY_REPORT_PAUSE, RELAY_REPORT_RENEW};
use crate::model::{Since, StateId, SupersededAt};
use crate::protocol::answer::time_to_reconnect;
use crate::protocol::report::WorstAgent;
use crate::protocol::{InvalidParameter, Report};

/// The relays of an operation. `V` is what a relay holds that has a part of the model, as
/// [`AgentRegistry`](super::AgentRegistry) has it for agents.
#[derive(Debug)]
pub struct Relays<V> {
    known: HashMap<RelayKey, Entry<V>>,
    capacity: usize,
    /// A relay that has not reported for this long is gone.
    silence: Duration,
    /// When the last one was evicted, and how many agents in that spell.
    evicted: Option<(Instant, u64)>,
}

/// Which relay: who sends its reports, and which of its processes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayKey {
    /// Its identity; absent: nobody has asked.
    pub identity: Option<Arc<str>>,
    /// As it names itself.
    pub instance: SmolStr,
}

/// A report that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayReport {
    instance: SmolStr,
    seq: u64,
    state: Option<Since>,
    counts: RelayCounts,
    oldest_lag: Duration,
    worst: Vec<WorstAgent>,
}

/// How the agents below a relay stand to the current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayCounts {
    /// They hold it.
    pub converged: u64,
    /// They do not, or nobody knows.
    pub lagging: u64,
    /// They could not apply it.
    pub rejecting: u64,
    /// Those of the lagging ones that are busy with it.
    pub applying: u64,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It takes the place of the one before.
    Taken,
    /// A newer one is known.
    Older,
}

/// A report came too soon after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this instance has reported less than {RELAY_REPORT_PAUSE:?} ago")]
pub struct TooSoon {
    /// When the one before came.
    pub ago: Duration,
}

/// A relay, for operators.
#[derive(Debug)]
pub struct Relay<V> {
    /// Which one.
    pub key: RelayKey,
    /// What it holds; absent: the whole model.
    pub selected: Option<Arc<V>>,
    /// What it served when it reported; absent: nothing.
    pub state: Option<Since>,
    /// How its agents count.
    pub counts: RelayCounts,
    /// How long the one lags or rejects that has done so for longest; absent: none does.
    pub oldest_lag: Option<Duration>,
    /// How long ago it reported.
    pub age: Duration,
    /// Whether it is gone.
    pub gone: bool,
    /// The agents that it names.
    pub worst: Vec<WorstAgent>,
    /// The other end of the connection that its report came by, which may be a proxy.
    pub peer: SocketAddr,
}

/// An agent below a relay that does not hold the current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reportedly {
    /// Its name behind that of the relay: `relay/agent`, or `relay/*` for all of a relay. Nothing proves it.
    pub name: String,
    /// Why it could not apply the state; absent: it lags.
    pub reason: Option<String>,
    /// For how long at most.
    pub lag: Duration,
}

#[derive(Debug)]
struct Entry<V> {
    report: RelayReport,
    selected: Option<Arc<V>>,
    basis: Basis,
    seen: Instant,
    connection: Arc<Connection>,
}

/// What a report says of the state that is current.
#[derive(Debug)]
enum Basis {
    /// It named the state that was current when it came, which ends here.
    Current(Arc<SupersededAt>),
    /// It named another one, and its agents lag since then.
    Another(Instant),
}

impl RelayReport {
    /// A report whose state may be one of ours.
    pub fn of(report: Report) -> Result<Self, InvalidParameter> {
        let state = |id: String| {
            Since::parse(&id).ok_or_else(|| InvalidParameter {
                name: "state",
                value: id,
                remedy: "give the State-Id of what is served, as it came, or null".to_owned(),
            })
        };
        let Report { instance, seq, state: id, total: _, converged, lagging, rejecting, applying, .. } = report;
        Ok(Self {
            instance: instance.into(),
            seq,
            state: id.map(state).transpose()?,
            counts: RelayCounts { converged, lagging, rejecting, applying },
            oldest_lag: Duration::from_secs(report.oldest_lag_seconds),
            worst: report.worst,
        })
    }
}

impl RelayCounts {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.converged.saturating_add(self.lagging).saturating_add(self.rejecting)
    }

    fn all_lag(self) -> Self {
        Self { lagging: self.total(), ..Self::default() }
    }
}

impl<V> Relays<V> {
    /// At most `capacity` relays of an operation whose longest wait is `wait`.
    #[must_use]
    pub fn new(capacity: usize, wait: Duration) -> Self {
        Self { known: HashMap::new(), capacity: capacity.max(1), silence: silence(wait), evicted: None }
    }

    /// The longest wait is `wait` from now on.
    pub fn set_wait(&mut self, wait: Duration) {
        self.silence = silence(wait);
    }

    /// A report comes from a caller over a connection, while `current` is the state of what the relay holds (absent: none).
    pub fn report(
        &mut self,
        identity: Option<Arc<str>>,
        report: RelayReport,
        current: Option<Current<'_, V>>,
        connection: Arc<Connection>,
        now: Instant,
    ) -> Result<Reported, TooSoon> {
        self.sweep(now);
        let key = RelayKey { identity, instance: report.instance.clone() };
        let before = self.known.get(&key);
        if let Some(before) = before {
            if report.seq <= before.report.seq {
                return Ok(Reported::Older);
            }
            let ago = now.saturating_duration_since(before.seen);
            if ago < RELAY_REPORT_PAUSE {
                return Err(TooSoon { ago });
            }
        }
        let named = |current: &Current<'_, V>| report.state.is_some_and(|state| current.id.is_same_state(&state));
        let basis = match current.filter(named) {
            Some(current) => Basis::Current(Arc::clone(current.superseded_at)),
            None => Basis::Another(before.map_or(now, |before| before.basis.ended().unwrap_or(now))),
        };
        if before.is_none() {
            self.make_room(now);
        }
        let selected = current.and_then(|current| current.selected).map(Arc::clone);
        self.known.insert(key, Entry { report, selected, basis, seen: now, connection });
        Ok(Reported::Taken)
    }

    /// Adds the agents below relays to `totals`, as they stand to `current`, the state of the whole model; those below a relay
    /// of a part, to what is current of that.
    pub fn add_to(&mut self, totals: &mut Totals, current: Option<&StateId>, now: Instant) {
        self.sweep(now);
        totals.relays = self.known.len();
        totals.agents.evicted = totals.agents.evicted.saturating_add(self.spell(now).unwrap_or(0));
        for entry in self.known.values() {
            totals.add(entry.counts(current, self.silence, now), entry.oldest_lag(current, self.silence, now));
        }
    }

    /// The relays, by key.
    #[must_use]
    pub fn list(&self, current: Option<&StateId>, now: Instant) -> Vec<Relay<V>> {
        let mut all: Vec<_> = self.alive(now).map(|(key, entry)| entry.view(key, current, self.silence, now)).collect();
        all.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        all
    }

    /// At most `limit` agents below relays that do not hold `current`: the rejecting ones before the lagging ones, and of
    /// each those first of whose relay it is said for longest.
    #[must_use]
    pub fn worst(&self, limit: usize, current: Option<&StateId>, now: Instant) -> Vec<Reportedly> {
        let worst = self.alive(now).flat_map(|(key, entry)| entry.worst(key, current, self.silence, now)).collect();
        super::first(limit, worst, |one: &Reportedly, other| one.rank().cmp(&other.rank()))
    }

    fn alive(&self, now: Instant) -> impl Iterator<Item = (&RelayKey, &Entry<V>)> {
        self.known.iter().filter(move |(_, entry)| !entry.is_forgotten(self.silence, now))
    }

    fn sweep(&mut self, now: Instant) {
        self.known.retain(|_, entry| !entry.is_forgotten(self.silence, now));
    }

    /// Room for one more.
    fn make_room(&mut self, now: Instant) {
        if self.known.len() < self.capacity {
            return;
        }
        let oldest = self.known.iter().min_by_key(|(key, entry)| (entry.seen, *key)).map(|(key, _)| key.clone());
        if let Some(entry) = oldest.and_then(|oldest| self.known.remove(&oldest)) {
            // Itself, if nobody else: a relay that nobody knows has agents that nobody knows.
            let count = entry.report.counts.total().max(1);
            self.evicted = Some((now, self.spell(now).unwrap_or(0).saturating_add(count)));
        }
    }

    /// Agents evicted in the spell that lasts at `now`: a relay that lives has reported again before its end, and has found
    /// room or has evicted another.
    fn spell(&self, now: Instant) -> Option<u64> {
        self.evicted.filter(|(last, _)| now < *last + self.silence).map(|(_, count)| count)
    }
}

/// How long a relay is not heard of before it is gone, where its clients wait for so long at most.
fn silence(wait: Duration) -> Duration {
    (2 * wait).max(2 * RELAY_REPORT_RENEW)
}

impl Basis {
    /// Since when the agents lag; none: they do not.
    fn ended(&self) -> Option<Instant> {
        match self {
            Self::Current(superseded_at) => superseded_at.get(),
            Self::Another(since) => Some(*since),
        }
    }
}

impl<V> Entry<V> {
    /// Whether the counts are those of the state that is current.
    fn holds(&self, current: Option<&StateId>) -> bool {
        let is_current = || current.zip(self.report.state).is_some_and(|(id, state)| id.is_same_state(&state));
        self.basis.ended().is_none() && (self.selected.is_some() || is_current())
    }

    /// Whether its counts hold: they are of what is current, and it has not fallen silent.
    fn is_said(&self, current: Option<&StateId>, silence: Duration, now: Instant) -> bool {
        self.holds(current) && now < self.gone_at(silence)
    }

    /// When it is gone, if it does not report before. Behind some proxies a connection ends with each request: so its end
    /// says something only once a report is overdue.
    fn gone_at(&self, silence: Duration) -> Instant {
        let overdue = |ended: Instant| ended.max(self.seen + RELAY_REPORT_RENEW + AGENT_SKEW);
        let silent = self.seen + silence;
        self.connection.ended().map_or(silent, |ended| overdue(ended).min(silent))
    }

    /// Whether its agents have had the time to come back elsewhere.
    fn is_forgotten(&self, silence: Duration, now: Instant) -> bool {
        now >= self.gone_at(silence) + time_to_reconnect(self.report.counts.total()) + AGENT_SKEW
    }

    fn counts(&self, current: Option<&StateId>, silence: Duration, now: Instant) -> RelayCounts {
        let is_said = self.is_said(current, silence, now);
        if is_said { self.report.counts } else { self.report.counts.all_lag() }
    }

    fn oldest_lag(&self, current: Option<&StateId>, silence: Duration, now: Instant) -> Option<Duration> {
        let RelayCounts { converged, lagging, rejecting, .. } = self.report.counts;
        let since = |at: Instant| now.saturating_duration_since(at);
        let said = (lagging > 0 || rejecting > 0).then(|| self.report.oldest_lag.saturating_add(since(self.seen)));
        let is_said = self.is_said(current, silence, now);
        let others = (converged > 0 && !is_said)
            .then(|| since(self.basis.ended().unwrap_or_else(|| self.gone_at(silence).min(now))));
        said.max(others)
    }

    fn worst(&self, key: &RelayKey, current: Option<&StateId>, silence: Duration, now: Instant) -> Vec<Reportedly> {
        let Some(lag) = self.oldest_lag(current, silence, now) else { return Vec::new() };
        let instance = &key.instance;
        if !self.is_said(current, silence, now) {
            return vec![Reportedly { name: format!("{instance}/*"), reason: None, lag }];
        }
        let one = |WorstAgent { agent, reason }: &WorstAgent| Reportedly {
            name: format!("{instance}/{agent}"),
            reason: reason.clone(),
            lag,
        };
        self.report.worst.iter().map(one).collect()
    }

    fn view(&self, key: &RelayKey, current: Option<&StateId>, silence: Duration, now: Instant) -> Relay<V> {
        Relay {
            key: key.clone(),
            selected: self.selected.clone(),
            state: self.report.state,
            counts: self.counts(current, silence, now),
            oldest_lag: self.oldest_lag(current, silence, now),
            age: now.saturating_duration_since(self.seen),
            gone: now >= self.gone_at(silence),
            worst: self.report.worst.clone(),
            peer: self.connection.peer,
        }
    }
}

impl Reportedly {
    fn rank(&self) -> (bool, Reverse<Duration>, &str) {
        (self.reason.is_none(), Reverse(self.lag), &self.name)
    }
}

#[cfg(test)]
mod tests;
