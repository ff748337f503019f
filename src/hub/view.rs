//! What clients look at: the whole model or a selection of it, with its current state. A change replaces the state of
//! the views that it touches and of no others.

use std::sync::Arc;

use tokio::sync::watch;

use super::Served;
use super::changes::ViewId;
use super::fan_out::{Cohort, FanOut};
use crate::model::{Selection, Snapshot, StateId};

/// The whole model or a selection of it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) id: ViewId,
    pub(super) selection: Selection,
    current: watch::Sender<Current>,
}

/// What is served now, and the requests that wait for the next state.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) state: State,
    pub(super) cohort: Arc<Cohort>,
    /// The operation has ended: no request waits any more.
    pub(super) closed: bool,
}

/// The state of a view.
pub(super) type State = Result<Arc<Served>, Missing>;

/// Why a view has no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The source has not reported one yet.
    NoState,
    /// The model is opaque, and this is a selection of it.
    NoParts,
}

impl View {
    /// A view of `whole`, of which its own state is made.
    pub(super) fn of(selection: Selection, whole: &State, closed: bool) -> Self {
        let state = match whole {
            Ok(whole) => part(&whole.snapshot, &selection),
            Err(missing) => Err(*missing),
        };
        Self {
            id: ViewId::next(),
            selection,
            current: watch::Sender::new(Current { state, cohort: Arc::default(), closed }),
        }
    }

    /// What is served now.
    pub(super) fn state(&self) -> State {
        self.current.borrow().state.clone()
    }

    /// Serves its part of a new state, and releases every request that is parked here.
    pub(super) fn publish(&self, whole: &Snapshot, fan_out: &Arc<FanOut>) {
        let next = part(whole, &self.selection);
        self.current.send_modify(|current| {
            // Released before anyone can see the new state, so that the last to leave measures.
            current.cohort.release(fan_out);
            current.cohort = Arc::default();
            if let Ok(before) = std::mem::replace(&mut current.state, next) {
                before.superseded_at.set(tokio::time::Instant::now().into_std());
            }
        });
    }

    /// Serves a state before anyone can be parked.
    pub(super) fn restore(&self, snapshot: &Snapshot) {
        self.current.send_modify(|current| current.state = part(snapshot, &self.selection));
    }

    /// Serves the same state at another version: no request is released, and the bytes stay shared.
    pub(super) fn bump_version(&self, version: u64) {
        self.bump(|served| served.snapshot.id.version != version, version);
    }

    /// The same, unless another state than `id` is served by now.
    pub(super) fn bump_version_of(&self, id: &StateId, version: u64) {
        self.bump(|served| served.snapshot.id == *id, version);
    }

    fn bump(&self, concerns: impl Fn(&Served) -> bool, version: u64) {
        self.current.send_if_modified(|current| {
            if let Ok(served) = &mut current.state
                && concerns(served)
            {
                *served = Arc::new(served.at_version(version));
            }
            false
        });
    }

    /// Ends every wait, now and later.
    pub(super) fn close(&self) {
        self.current.send_modify(|current| current.closed = true);
    }

    /// Whether the operation has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.current.borrow().closed
    }

    /// For a request that waits here. It is registered before it compares, so that no change falls in between.
    pub(super) fn follow(&self) -> watch::Receiver<Current> {
        self.current.subscribe()
    }
}

fn part(whole: &Snapshot, selection: &Selection) -> State {
    whole.select(selection).map(|part| Arc::new(Served::new(part))).ok_or(Missing::NoParts)
}
