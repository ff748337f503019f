//! The one writer of an operation's state, and the one place that decides whether it changed.
//!
//! A change is published at once when the last one is `min_interval` ago, else when it is; of
//! several in between only the newest. A change that is
//! rolled back within the interval is never published.
//!
//! A change may also be suppressed: all of them while paused, and by the guard one that removes too
//! much of what is published, until it is confirmed. Again only the newest is remembered, and
//! what the source offers next is compared anew.

use std::time::{Duration, Instant};

use super::removal::{Baseline, BlockedChange, Removal, RemovalApproval};
use super::{Content, Epoch, Snapshot, SourceRevisions};

/// What is published and what waits for its turn.
#[derive(Debug)]
pub struct Store {
    rules: Rules,
    confirmed: Option<RemovalApproval>,
    published: Option<Snapshot>,
    /// What it was made from, or is confirmed by; absent until the source has reported that.
    revisions: Option<SourceRevisions>,
    /// What is published, as the guard compares it; kept only while there is one.
    baseline: Option<Baseline>,
    last: Option<Instant>,
    next: Option<Next>,
}

/// When what is offered is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Least time between two publications.
    pub min_interval: Duration,
    /// Nothing is published.
    pub paused: bool,
    /// What removes more than this percentage is not published before it is confirmed; absent: everything is.
    pub guard: Option<u8>,
}

/// The newest state, not yet published.
#[derive(Debug)]
struct Next {
    snapshot: Snapshot,
    revisions: SourceRevisions,
    content: Content,
    /// Known while there is a guard, and something published to compare with.
    removal: Option<Removal>,
    seen: Instant,
}

/// How the source read a state, which says whether its version is authoritative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// From a stream, which may repeat or reorder: a version lower than the newest one is dropped.
    Stream,
    /// From a consistent read: authoritative, even where its version is lower (a store restored from a backup).
    Read,
}

/// What became of a state that was offered.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer {
    /// It differs from the newest one: it is published when [`Store::due`].
    Changed {
        /// Its version is lower than the one before it, and it is authoritative: a store was restored from a backup.
        restored: bool,
    },
    /// It is the published state at a newer version: serve this one; no request is released.
    VersionOnly,
    /// It is the newest state already.
    Same,
    /// Its version is lower than that of the newest one, and not authoritative: dropped.
    Older,
}

/// A state to publish.
#[derive(Debug, Clone)]
pub struct Publication {
    /// What to serve.
    pub snapshot: Snapshot,
    /// When the change was first seen.
    pub seen: Instant,
}

impl Rules {
    /// Nothing is suppressed.
    #[must_use]
    pub fn every(min_interval: Duration) -> Self {
        Self { min_interval, paused: false, guard: None }
    }
}

impl Store {
    /// An empty store: the first offer is published at once.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, confirmed: None, published: None, revisions: None, baseline: None, last: None, next: None }
    }

    /// The store of a restarted process, which goes on serving `snapshot`.
    #[must_use]
    pub fn restored(rules: Rules, snapshot: Snapshot) -> Self {
        Self { published: Some(snapshot), ..Self::new(rules) }
    }

    /// Goes by these rules from `now` on, also with what waits already.
    pub fn set_rules(&mut self, rules: Rules, now: Instant) {
        self.changes(now, |store| {
            store.rules = rules;
            if rules.guard.is_none() {
                store.baseline = None;
            }
            if let Some(next) = store.next.take() {
                let removal = store.removal(&next.content);
                store.next = Some(Next { removal, ..next });
            }
        });
    }

    /// The state that `confirmed` names may be published whatever it removes, once: now, or when it
    /// is offered. Absent: none may.
    pub fn confirm(&mut self, confirmed: Option<RemovalApproval>, now: Instant) {
        self.changes(now, |store| store.confirmed = confirmed);
    }

    /// Forgets the newest state if it is not published: its source no longer holds it.
    pub fn discard(&mut self) {
        self.next = None;
    }

    /// What was suppressed and is not any more counts as seen `now`: the time before was wanted.
    fn changes(&mut self, now: Instant, change: impl FnOnce(&mut Self)) {
        let suppressed = self.suppressed().is_some();
        change(self);
        if suppressed
            && self.suppressed().is_none()
            && let Some(next) = &mut self.next
        {
            next.seen = now;
        }
    }

    /// Takes a state that the source holds. `revisions`, what it was made from, are kept also where nothing else is new.
    pub fn offer(
        &mut self,
        epoch: Epoch,
        version: u64,
        content: &Content,
        revisions: SourceRevisions,
        provenance: Provenance,
        seen: Instant,
    ) -> Offer {
        let digest = content.digest();
        let newest = self.next.as_ref().map(|next| &next.snapshot).or(self.published.as_ref());
        let lower = newest.is_some_and(|newest| newest.id.epoch == epoch && version < newest.id.version);
        if lower && provenance == Provenance::Stream {
            return Offer::Older;
        }
        if let Some(published) = &mut self.published
            && published.id.epoch == epoch
            && published.id.digest == digest
        {
            // What was waiting is rolled back: A-B-A within the interval releases no request.
            let back = self.next.take().is_some();
            self.revisions = Some(revisions);
            if !back && published.id.version == version {
                return Offer::Same;
            }
            *published = published.at_version(version);
            return Offer::VersionOnly;
        }
        if let Some(next) = &mut self.next
            && next.snapshot.id.epoch == epoch
            && next.snapshot.id.digest == digest
        {
            next.snapshot = next.snapshot.at_version(version);
            next.revisions = revisions;
            return Offer::Same;
        }
        let waiting = self.next.as_ref().filter(|_| self.suppressed().is_none());
        let seen = waiting.map_or(seen, |next| next.seen);
        let removal = self.removal(content);
        let (snapshot, content) = (Snapshot::of(epoch, version, content), content.clone());
        self.next = Some(Next { snapshot, revisions, content, removal, seen });
        Offer::Changed { restored: lower }
    }

    /// What `content` removes of what is published, where that matters.
    fn removal(&mut self, content: &Content) -> Option<Removal> {
        self.rules.guard?;
        let published = self.published.as_ref()?;
        let baseline = self.baseline.get_or_insert_with(|| Baseline::of(published.content.clone()));
        Some(baseline.removal(content))
    }

    /// When the next state may be published; absent: nothing waits, or it is suppressed.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.waiting()?;
        Some(self.last.map_or(now, |last| last + self.rules.min_interval))
    }

    /// What would be published, were it due; [`Store::publish`] follows once it is safe on disk.
    #[must_use]
    pub fn waiting(&self) -> Option<&Snapshot> {
        self.next.as_ref().map(|next| &next.snapshot).filter(|_| self.suppressed().is_none())
    }

    /// The newest state, if it may not be published: [`Store::blocked_change`] by the guard, or paused.
    #[must_use]
    pub fn suppressed(&self) -> Option<&Snapshot> {
        let next = self.next.as_ref()?;
        (self.rules.paused || self.blocked_change().is_some()).then_some(&next.snapshot)
    }

    /// The change that waits to be confirmed, paused or not.
    #[must_use]
    pub fn blocked_change(&self) -> Option<BlockedChange> {
        let Next { snapshot, removal, .. } = self.next.as_ref()?;
        let (removal, limit_percent) = ((*removal)?, self.rules.guard?);
        let is_confirmed = self.confirmed.is_some_and(|confirmed| confirmed.names(&snapshot.id));
        let held = BlockedChange { id: snapshot.id, removed_percent: removal.percent(), limit_percent };
        (removal.exceeds(limit_percent) && !is_confirmed).then_some(held)
    }

    /// Publishes what waits, unless it is suppressed.
    pub fn publish(&mut self, now: Instant) -> Option<Publication> {
        self.waiting()?;
        let Next { snapshot, content, revisions, seen, .. } = self.next.take()?;
        self.last = Some(now);
        self.revisions = Some(revisions);
        // Spent: the same removal another time is another accident.
        self.confirmed = self.confirmed.filter(|confirmed| !confirmed.names(&snapshot.id));
        self.baseline = self.rules.guard.map(|_| Baseline::of(content));
        self.published = Some(snapshot.clone());
        Some(Publication { snapshot, seen })
    }

    /// What the published state was made from, or is confirmed by.
    #[must_use]
    pub fn revisions(&self) -> Option<SourceRevisions> {
        self.revisions
    }

    /// What is published.
    #[must_use]
    pub fn published(&self) -> Option<&Snapshot> {
        self.published.as_ref()
    }
}

#[cfg(test)]
mod tests;
