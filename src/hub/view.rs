//! What clients look at: the whole model or a selection of it, with its current state. A change replaces the state of
//! the views that it touches and of no others.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
    pub(super) state: Made,
    pub(super) cohort: Arc<Cohort>,
    /// The operation has ended: no request waits any more.
    pub(super) closed: bool,
}

/// The state of a view.
pub(super) type State = Result<Arc<Served>, Missing>;

/// A state, made when somebody looks first: one change may touch the views of thousands, and it is those who look that
/// have the cores.
#[derive(Debug)]
pub(super) struct Made {
    state: OnceLock<State>,
    /// Of which state of the whole it is yet to be made. Taken then, so that it keeps no past state in memory.
    of: Mutex<Option<Arc<Served>>>,
}

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
            Ok(whole) => Made::part(whole, &selection),
            Err(missing) => Made::now(Err(*missing)),
        };
        Self {
            id: ViewId::next(),
            selection,
            current: watch::Sender::new(Current { state, cohort: Arc::default(), closed }),
        }
    }

    /// What is served now.
    pub(super) fn state(&self) -> State {
        self.current.borrow().state.get(&self.selection).clone()
    }

    /// Serves its part of a new state, and releases every request that is parked here.
    pub(super) fn publish(&self, whole: &Arc<Served>, fan_out: &Arc<FanOut>) {
        let next = Made::part(whole, &self.selection);
        self.current.send_modify(|current| {
            // Released before anyone can see the new state, so that the last to leave measures.
            current.cohort.release(fan_out);
            current.cohort = Arc::default();
            // What nobody has looked at, nobody holds.
            if let Some(Ok(before)) = std::mem::replace(&mut current.state, next).state.get() {
                before.superseded_at.set(tokio::time::Instant::now().into_std());
            }
        });
    }

    /// Serves a state before anyone can be parked.
    pub(super) fn restore(&self, snapshot: &Snapshot) {
        let whole = Arc::new(Served::new(snapshot.clone()));
        self.current.send_modify(|current| current.state = Made::part(&whole, &self.selection));
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
            if let Ok(served) = current.state.get(&self.selection)
                && concerns(served)
            {
                current.state = Made::now(Ok(Arc::new(served.at_version(version))));
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

impl Made {
    fn now(state: State) -> Self {
        Self { state: state.into(), of: Mutex::default() }
    }

    /// The part of `whole` that is selected.
    fn part(whole: &Arc<Served>, selection: &Selection) -> Self {
        if selection.is_whole() {
            return Self::now(Ok(Arc::clone(whole)));
        }
        Self { state: OnceLock::new(), of: Mutex::new(Some(Arc::clone(whole))) }
    }

    /// The state; `selection` is that of the view.
    pub(super) fn get(&self, selection: &Selection) -> &State {
        self.state.get_or_init(|| {
            let whole = self.of.lock().unwrap_or_else(PoisonError::into_inner).take();
            let part = whole.and_then(|whole| whole.snapshot.select(selection));
            part.map(|part| Arc::new(Served::new(part))).ok_or(Missing::NoParts)
        })
    }
}
