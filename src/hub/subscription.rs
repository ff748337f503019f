//! The views of selections, kept while someone looks at them, and the share in one that a request
//! or the memory of an agent holds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::changes::{Change, Followers, Mailbox, ViewId, What, Who};
use super::delta::Past;
use super::fan_out::FanOut;
use super::parking::Parking;
use super::view::{Missing, State, View};
use super::{Metrics, ParkPermit, Served, Telling, Waiter};
use crate::model::{Content, Index, Selection, Snapshot, StateId};

/// What the views of an operation share.
#[derive(Debug)]
pub(super) struct Views {
    pub(super) whole: View,
    /// The state of the whole, at its newest version: what everything else is published before. Views that a change does
    /// not touch learn their version here when somebody looks, and those who wait for a version wait here.
    pub(super) newest: watch::Sender<Option<StateId>>,
    parts: Mutex<PartViews>,
    followers: Followers,
    told: watch::Sender<Telling>,
    pub(super) past: Arc<Past>,
    pub(super) parking: Arc<Parking>,
    pub(super) metrics: Metrics,
}

/// Those of selections.
#[derive(Debug)]
struct PartViews {
    index: Index<PartView>,
    limit: usize,
    closed: bool,
    /// The state of the whole that is being published.
    next: Option<Snapshot>,
}

#[derive(Debug)]
struct PartView {
    view: Arc<View>,
    subscriptions: usize,
}

/// A share in a view, which is there for as long as anyone has one.
#[derive(Debug)]
pub struct Subscription {
    /// None: the whole model.
    part: Option<Arc<View>>,
    pub(super) views: Arc<Views>,
}

/// So many selections are looked at already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} different selections are in use, as many as are allowed")]
pub struct TooManySelections {
    /// As many as are allowed.
    pub limit: usize,
}

impl Views {
    pub(super) fn new(past: Past, parking: Arc<Parking>, selections: usize, metrics: Metrics) -> Self {
        let whole = View::of(Selection::whole(), &Err(Missing::NoState), false);
        let parts = Mutex::new(PartViews { index: Index::new(), limit: selections, closed: false, next: None });
        let followers = Followers::default();
        let (newest, told) = (watch::Sender::default(), watch::Sender::default());
        Self { whole, newest, parts, followers, told, past: Arc::new(past), parking, metrics }
    }

    pub(super) fn set_limit(&self, selections: usize) {
        self.parts().limit = selections;
    }

    /// Serves a state before anyone looks.
    pub(super) fn restore(&self, snapshot: &Snapshot) {
        self.whole.restore(snapshot);
        self.newest.send_replace(Some(snapshot.id));
    }

    /// Serves a new state to whoever looks at what changed. Gives the views of selections among them: what they serve is
    /// yet to be made, by whoever looks first.
    pub(super) fn publish(&self, snapshot: &Snapshot, fan_out: &Arc<FanOut>) -> Vec<Arc<View>> {
        let before = self.whole.state().ok();
        let before = before.as_deref().map(|before| &before.snapshot);
        self.remember(before, snapshot);
        // Not locked while views are told: requests need the lock to come and to go.
        let touched = self.begin(before, snapshot);
        let whole = Arc::new(Served::new(snapshot.clone()));
        // The parts first: who sees the new state of the whole may rely on theirs being superseded.
        for view in &touched {
            view.publish(&whole, fan_out);
        }
        self.whole.publish(&whole, fan_out);
        {
            let mut parts = self.parts();
            parts.next = None;
            self.newest.send_replace(Some(snapshot.id));
        }
        // Last: whoever reads of it sees all of it.
        let parts = touched.iter().map(|view| view.id).collect();
        self.followers.tell(Change::touched(self.whole.id, parts, fan_out));
        self.trim(snapshot);
        touched
    }

    /// From now on views are made of `next`. Gives those that are there and that it touches.
    fn begin(&self, before: Option<&Snapshot>, next: &Snapshot) -> Vec<Arc<View>> {
        let mut parts = self.parts();
        parts.next = Some(next.clone());
        let (touched, visited) = parts.touched(before, next);
        self.metrics.selections_visited.inc_by(visited as u64);
        self.metrics.selections_changed.inc_by(touched.len() as u64);
        touched
    }

    /// What was served becomes the past of what follows.
    fn remember(&self, before: Option<&Snapshot>, next: &Snapshot) {
        let mut past = self.past.lock();
        match (before.map(|before| (before.id.epoch, &before.content)), &next.content) {
            (Some((epoch, Content::Json(before))), Content::Json(_)) if epoch == next.id.epoch => {
                past.take(before.clone());
            }
            _ => past.clear(),
        }
    }

    /// Brings the past within its bounds, once everyone is told.
    fn trim(&self, now: &Snapshot) {
        let mut past = self.past.lock();
        if let Content::Json(document) = &now.content {
            past.trim(document);
        }
        self.metrics.history_states.set(i64::try_from(past.len()).unwrap_or(i64::MAX));
        self.metrics.history_bytes.set(i64::try_from(past.bytes()).unwrap_or(i64::MAX));
    }

    /// The same state at another version.
    pub(super) fn bump_version(&self, version: u64) {
        {
            let _parts = self.parts();
            self.whole.bump_version(version);
            let newest = self.whole.state().ok().map(|served| served.snapshot.id);
            self.newest.send_if_modified(|now| std::mem::replace(now, newest) != newest);
        }
        self.followers.tell(Change::of(What::Version(self.whole.id)));
    }

    pub(super) fn tell(&self, who: Who, within: Duration) {
        self.told.send_modify(|told| *told = Telling { count: told.count + 1, who, within });
        self.followers.tell(Change::of(What::Told { whole: self.whole.id, who, within }));
    }

    pub(super) fn close(&self) {
        {
            let mut parts = self.parts();
            parts.closed = true;
            parts.index.values().for_each(|part| part.view.close());
            self.whole.close();
        }
        self.followers.tell(Change::of(What::Ended(self.whole.id)));
    }

    fn parts(&self) -> MutexGuard<'_, PartViews> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartViews {
    /// The views that a change touches, and how many changed paths were looked at to find them.
    fn touched(&self, before: Option<&Snapshot>, next: &Snapshot) -> (Vec<Arc<View>>, usize) {
        if let Some(before) = before
            && before.id.epoch == next.id.epoch
            && let (Content::Json(old), Content::Json(new)) = (&before.content, &next.content)
        {
            let touched = self.index.touched(old, new);
            return (touched.changed.into_iter().map(|(_, part)| Arc::clone(&part.view)).collect(), touched.visited);
        }
        // Another history, or no parts to compare: every id is another one.
        let all: Vec<_> = self.index.values().map(|part| Arc::clone(&part.view)).collect();
        let visited = all.len();
        (all, visited)
    }
}

impl Subscription {
    /// A share in the view of the whole model.
    pub(super) fn of_whole(views: &Arc<Views>) -> Self {
        Self { part: None, views: Arc::clone(views) }
    }

    /// A share in the view of a selection.
    pub(super) fn of_part(views: &Arc<Views>, selection: &Selection) -> Result<Self, TooManySelections> {
        let mut parts = views.parts();
        let view = if let Some(part) = parts.index.get_mut(selection) {
            part.subscriptions += 1;
            Arc::clone(&part.view)
        } else {
            if parts.index.len() >= parts.limit {
                return Err(TooManySelections { limit: parts.limit });
            }
            let whole = match &parts.next {
                Some(next) => Ok(Arc::new(Served::new(next.clone()))),
                None => views.whole.state(),
            };
            let view = Arc::new(View::of(selection.clone(), &whole, parts.closed));
            parts.index.insert(selection.clone(), PartView { view: Arc::clone(&view), subscriptions: 1 });
            views.metrics.selections.inc();
            view
        };
        Ok(Self { part: Some(view), views: Arc::clone(views) })
    }

    /// Names the view.
    #[must_use]
    pub fn view_id(&self) -> ViewId {
        self.view().id
    }

    /// Names the view of the whole model, and so the operation.
    #[must_use]
    pub fn whole_id(&self) -> ViewId {
        self.views.whole.id
    }

    /// Leaves all changes of the operation from now on in this mailbox.
    pub fn follow(&self, mailbox: &Arc<Mailbox>) {
        self.views.followers.add(mailbox);
    }

    /// When those who wait were told of another freshness, as that happens.
    #[must_use]
    pub fn told(&self) -> watch::Receiver<Telling> {
        self.views.told.subscribe()
    }

    /// Whether the operation has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.view().is_closed()
    }

    /// The selection; none: the whole model.
    #[must_use]
    pub fn selection(&self) -> Option<&Selection> {
        self.part.as_deref().map(|view| &view.selection)
    }

    /// What is served now, at the newest version.
    pub fn current(&self) -> Result<Arc<Served>, Missing> {
        let state = self.view().state();
        let Some(view) = &self.part else { return state };
        let newest = self.views.newest.borrow().map(|newest| newest.version);
        if state.as_ref().is_ok_and(|served| Some(served.snapshot.id.version) != newest) {
            return self.at_newest_version(view);
        }
        state
    }

    /// The state of a view whose version is not the newest one: a change has not touched it, or is under way and has.
    fn at_newest_version(&self, view: &View) -> State {
        let parts = self.views.parts();
        let state = view.state();
        let (Ok(served), Some(newest)) = (&state, *self.views.newest.borrow()) else { return state };
        let is_next = parts.next.as_ref().is_some_and(|next| next.id.version == served.snapshot.id.version);
        if !is_next {
            view.bump_version_of(&served.snapshot.id, newest.version);
        }
        view.state()
    }

    /// Parks a request here.
    #[must_use]
    pub fn park(self: &Arc<Self>, permit: ParkPermit) -> Waiter {
        Waiter::new(Arc::clone(self), self.view().follow(), permit)
    }

    /// The state of the whole model, at its newest version.
    pub(super) fn newest(&self) -> watch::Receiver<Option<StateId>> {
        self.views.newest.subscribe()
    }

    pub(super) fn view(&self) -> &View {
        self.part.as_deref().unwrap_or(&self.views.whole)
    }
}

impl PartialEq for Subscription {
    /// Whether both look at the same.
    fn eq(&self, other: &Self) -> bool {
        match (&self.part, &other.part) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => Arc::ptr_eq(&self.views, &other.views),
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(view) = &self.part else { return };
        let mut parts = self.views.parts();
        let Some(part) = parts.index.get_mut(&view.selection) else { return };
        part.subscriptions -= 1;
        if part.subscriptions == 0 {
            parts.index.remove(&view.selection);
            self.views.metrics.selections.dec();
        }
    }
}
