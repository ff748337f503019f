//! What is known of an operation at one moment: one value, which [`Run`](super::Run) replaces whole, so that who reads
//! it once has parts that belong together.

use std::sync::Arc;

use super::Operation;
use crate::model::{BlockedChange, Snapshot, SourceRevisions, StateId};
use crate::sources::{SourceObjects, Unusable};

/// What an operation serves, what its source gave, and how that source is.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What is published; absent: nothing yet. The hub serves it before it is named here.
    pub published: Option<Published>,
    /// The newest state that the source gave; absent until it has given one.
    pub applied: Option<Applied>,
    /// The state that waits for its turn to be published.
    pub waiting: Option<StateId>,
    /// The newest state, while it may not be published: paused, or held by the guard.
    pub suppressed: Option<StateId>,
    /// The change that waits to be confirmed, since it removes too much; paused or not.
    pub blocked_change: Option<BlockedChange>,
    /// The health of the source.
    pub status: Status,
}

/// The state that is published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The state.
    pub snapshot: Snapshot,
    /// Which versions of which objects it was made from, or is confirmed by; absent until the source has said so.
    pub revisions: Option<SourceRevisions>,
}

/// The newest state that the source gave, be it published or not.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Its id.
    pub id: StateId,
    /// What it was made from.
    pub revisions: SourceRevisions,
    /// The objects among these whose statuses are ours to write.
    pub source_objects: SourceObjects,
}

/// The health of the source, for operators.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Status {
    /// It has not said anything yet.
    #[default]
    Starting,
    /// It holds what is served, now.
    Live,
    /// It cannot be asked.
    Lost(String),
    /// It holds nothing that can be served.
    Unusable(Unusable),
}

impl Facts {
    /// The id of the state that is published, with which agents are compared.
    #[must_use]
    pub fn state_id(&self) -> Option<&StateId> {
        self.published.as_ref().map(|published| &published.snapshot.id)
    }
}

impl Operation {
    /// What is known of it now.
    #[must_use]
    pub fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.borrow())
    }

    /// Replaces what is known, and tells the log what is new about it.
    pub(super) fn set_facts(&self, facts: Facts) {
        self.metrics.held.set(facts.blocked_change.is_some().into());
        let now = Arc::new(facts);
        let before = self.facts.send_replace(Arc::clone(&now));
        if before.status != now.status {
            self.log_status(&now);
        }
        if let Some(blocked) = &now.blocked_change
            && !before.blocked_change.is_some_and(|before| before.id.is_same_state(&blocked.id.into()))
        {
            self.log_blocked(blocked);
        }
    }

    fn log_status(&self, facts: &Facts) {
        let name = &self.name;
        let meanwhile = if facts.published.is_some() {
            "serving the last good state"
        } else {
            "there is no state to serve: requests are answered 503"
        };
        match &facts.status {
            Status::Starting => {}
            Status::Live => tracing::info!(operation = %name, "source is live"),
            Status::Lost(reason) => tracing::warn!(operation = %name, %reason, "source lost, {meanwhile}"),
            Status::Unusable(unusable) => {
                let (kind, detail) = (unusable.kind.as_str(), &unusable.detail);
                tracing::warn!(operation = %name, kind, %detail, "source unusable, {meanwhile}");
            }
        }
    }

    fn log_blocked(&self, BlockedChange { id, removed_percent, limit_percent }: &BlockedChange) {
        let removes = format!("{removed_percent:.1} %");
        tracing::warn!(
            operation = %self.name, %id, %removes, limit = %format!("{limit_percent} %"),
            "change held: it removes more of the published model than guard.maxRemovedPercent allows; \
             to publish it annotate the DescribeOperation with tidewait.dev/confirm-removal: {id}, \
             or raise the limit; otherwise correct the source"
        );
    }
}
