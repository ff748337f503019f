//! Never backwards: what happens to a request whose client may hold a newer state than this replica.
//!
//! It waits for the watch, which is mostly a few milliseconds behind another replica's, then for
//! one consistent read that began after it arrived. What the read shows is published before the
//! request goes on, and is authoritative, whatever the client claims.

use std::sync::PoisonError;

use tokio::time::{Instant, timeout, timeout_at};

use super::Operation;
use crate::bounds::CATCH_UP_WATCH;
use crate::describe::Consistency;
use crate::describe::decision::may_be_newer;
use crate::model::{Epoch, Since, StateId};
use crate::sources::reads::Number;

impl Operation {
    /// What is known at once of whether a client that holds this state is ahead of what is published; none: only
    /// [`Self::catch_up`] can tell.
    #[must_use]
    pub fn known_consistency(&self, held: &Since) -> Option<Consistency> {
        let Some(current) = self.hub.current().map(|served| served.snapshot.id) else {
            return Some(Consistency::Unconfirmed);
        };
        (!self.is_ahead(held, &current)).then_some(Consistency::Confirmed)
    }

    /// Finds out whether a client that holds this state is ahead of what is published; takes at most [`CATCH_UP`](crate::bounds::CATCH_UP).
    pub async fn catch_up(&self, held: &Since) -> Consistency {
        // Read first: a source that comes to life now has a newer state on its way, for which is
        // waited below. Read last, the state before it would pass for what the source holds.
        let live = self.freshness.is_live();
        let read = self.reads.next();
        let Some(current) = self.hub.current().map(|served| served.snapshot.id) else {
            return Consistency::Unconfirmed;
        };
        if !self.is_ahead(held, &current) {
            return Consistency::Confirmed;
        }
        // Another replica has sent it what is suppressed here: it must not be given an older state.
        if self.suppresses(held) {
            return Consistency::Unconfirmed;
        }
        let deadline = Instant::now() + self.lineage.time_to_catch_up();
        let confirmed = if let Some(read) = read {
            timeout(CATCH_UP_WATCH, self.caught_up(held)).await.is_ok()
                || timeout_at(deadline, self.confirmed(read, held)).await.unwrap_or(false)
        } else {
            // Its source reports on its own and cannot be read on demand. Another epoch belongs
            // to another source.
            let waits = self.facts.borrow().waiting.is_some_and(|waiting| brings(&waiting, held));
            let caught_up = waits && timeout_at(deadline, self.caught_up(held)).await.is_ok();
            caught_up || live || held.epoch != current.epoch
        };
        if confirmed && !self.suppresses(held) { Consistency::Confirmed } else { Consistency::Unconfirmed }
    }

    /// Waits until what is published is not older than what the client holds. What only waits for
    /// its turn is published for it.
    async fn caught_up(&self, held: &Since) {
        let hurry = async {
            let mut facts = self.facts.subscribe();
            // The sender lives in `self`.
            let _ = facts.wait_for(|facts| facts.waiting.is_some_and(|waiting| brings(&waiting, held))).await;
            self.hurry.notify_one();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.hub.wait_for(|current| !self.is_ahead(held, current)) => {}
            () = hurry => {}
        }
    }

    /// Waits for this read or a later one, and until what it showed is published. Says whether that is what the source
    /// holds.
    async fn confirmed(&self, read: Number, held: &Since) -> bool {
        let confirmed = self.reads.ask_for(read, held).await;
        self.published().await;
        confirmed
    }

    /// Waits until what waits for its turn now is published, which is made to happen at once, or until nothing waits.
    async fn published(&self) {
        // Looked at first: whatever is published after it is no older than what waits now.
        let before = self.hub.current().map(|served| served.snapshot.id);
        let mut facts = self.facts.subscribe();
        let nothing_waits = facts.wait_for(|facts| {
            if facts.waiting.is_some() {
                self.hurry.notify_one();
            }
            facts.waiting.is_none()
        });
        tokio::select! {
            // The sender lives in `self`.
            _ = nothing_waits => {}
            () = self.hub.wait_for(|current| Some(*current) != before) => {}
        }
    }

    /// Whether `held` names a state that is suppressed, or one between that and what is published. Another replica has
    /// given it to the client (it was told to pause a moment later, or to go on a moment sooner), who must not be taken
    /// back.
    fn suppresses(&self, held: &Since) -> bool {
        let facts = self.facts.borrow();
        let ahead = facts.state_id().is_some_and(|published| published.is_before(held));
        ahead && facts.suppressed.is_some_and(|id| id.epoch == held.epoch && held.version <= Some(id.version))
    }

    fn is_ahead(&self, held: &Since, current: &StateId) -> bool {
        let ended = held.epoch != current.epoch
            && self.ended.lock().unwrap_or_else(PoisonError::into_inner).contains(held.epoch);
        may_be_newer(held, current, ended)
    }

    /// An epoch begins to be served, after another.
    pub(super) fn begins(&self, before: Option<Epoch>, epoch: Epoch) {
        if let Some(before) = before {
            self.ended.lock().unwrap_or_else(PoisonError::into_inner).follows(before, epoch);
        }
    }
}

/// Whether a state that waits for its turn is as new as what the client holds.
fn brings(waiting: &StateId, held: &Since) -> bool {
    waiting.epoch == held.epoch && !may_be_newer(held, waiting, false)
}
