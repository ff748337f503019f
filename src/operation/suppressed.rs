//! The state that the source holds and that is not published: paused, or blocked by the guard.

use std::sync::{MutexGuard, PoisonError};

use super::Operation;
use crate::model::{BlockedChange, Since, StateId};

/// The newest state, while it may not be published.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Suppressed {
    pub(super) id: Option<StateId>,
    /// By the guard, paused or not.
    pub(super) held: Option<BlockedChange>,
}

impl Operation {
    /// The change that waits to be confirmed, since it removes too much.
    #[must_use]
    pub fn blocked_change(&self) -> Option<BlockedChange> {
        self.suppressed().held
    }

    /// Whether `since` names a state that is suppressed here, or one between that and what is
    /// published. Another replica has sent it to the client (it paused a moment later, or resumed
    /// a moment sooner), which must not be given an older state.
    #[must_use]
    pub fn suppresses(&self, since: &Since) -> bool {
        let ahead = self.hub.current().is_some_and(|served| served.snapshot.id.is_before(since));
        ahead && self.suppressed().id.is_some_and(|id| id.epoch == since.epoch && since.version <= Some(id.version))
    }

    pub(super) fn set_suppressed(&self, suppressed: Suppressed) {
        self.metrics.held.set(suppressed.held.is_some().into());
        let before = std::mem::replace(&mut *self.suppressed(), suppressed);
        let Some(BlockedChange { id, removed_percent, limit_percent }) = suppressed.held else { return };
        let known = before.held.is_some_and(|before| before.id.is_same_state(&id.into()));
        if !known {
            let removes = format!("{removed_percent:.1} %");
            tracing::warn!(
                operation = %self.name, %id, %removes, limit = %format!("{limit_percent} %"),
                "change held: it removes more of the published model than guard.maxRemovedPercent allows; \
                 to publish it annotate the DescribeOperation with tidewait.dev/confirm-removal: {id}, \
                 or raise the limit; otherwise correct the source"
            );
        }
    }

    fn suppressed(&self) -> MutexGuard<'_, Suppressed> {
        self.suppressed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
