//! What a connection has of its slots: offered, or busy.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;
use tokio::sync::watch;

use super::metrics::Metrics;

/// The slots of a connection.
#[derive(Debug)]
pub(super) struct Standing {
    counts: Mutex<Counts>,
    busy: watch::Sender<usize>,
    open: IntGauge,
}

#[derive(Debug)]
struct Counts {
    slots: usize,
    busy: usize,
    withdrawn: bool,
}

/// A request that runs on it, until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Standing>);

/// A connection that stands, until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) standing: Arc<Standing>,
    gauge: IntGauge,
    connections: watch::Sender<usize>,
}

impl Standing {
    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.change(|counts| counts.busy += 1);
        Busy(Arc::clone(self))
    }

    /// Nothing more is offered.
    pub(super) fn withdraw(&self) {
        self.change(|counts| counts.withdrawn = true);
    }

    /// How many requests run.
    pub(super) fn busy(&self) -> watch::Receiver<usize> {
        self.busy.subscribe()
    }

    fn change(&self, how: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = counts.open();
        how(&mut counts);
        self.open.add(counts.open() - before);
        self.busy.send_replace(counts.busy);
    }
}

impl Counts {
    fn open(&self) -> i64 {
        let open = if self.withdrawn { 0 } else { self.slots.saturating_sub(self.busy) };
        i64::try_from(open).unwrap_or(i64::MAX)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|counts| counts.busy = counts.busy.saturating_sub(1));
    }
}

impl Counted {
    /// One that offers so many slots, and is counted in `connections`.
    pub(super) fn new(slots: usize, metrics: &Metrics, connections: &watch::Sender<usize>) -> Self {
        let (gauge, open) = (metrics.connections.clone(), metrics.open.clone());
        gauge.inc();
        connections.send_modify(|count| *count += 1);
        let counts = Counts { slots, busy: 0, withdrawn: false };
        open.add(counts.open());
        let standing = Standing { counts: Mutex::new(counts), busy: watch::Sender::new(0), open };
        Self { standing: Arc::new(standing), gauge, connections: connections.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.standing.withdraw();
        self.gauge.dec();
        self.connections.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_what_is_neither_busy_nor_withdrawn() {
        let metrics = Metrics::new().expect("names that differ");
        let connections = watch::Sender::new(0);
        let counted = Counted::new(3, &metrics, &connections);
        let busy = counted.standing.begin();
        assert_eq!((metrics.open.get(), *counted.standing.busy().borrow(), *connections.borrow()), (2, 1, 1));
        counted.standing.withdraw();
        assert_eq!(metrics.open.get(), 0);
        drop(busy);
        assert_eq!((metrics.open.get(), metrics.connections.get()), (0, 1));
        let other = Counted::new(2, &metrics, &connections);
        let left = other.standing.begin();
        drop(other);
        // A request that runs on after its connection has gone offers nothing.
        drop(left);
        drop(counted);
        assert_eq!((metrics.open.get(), metrics.connections.get(), *connections.borrow()), (0, 0, 0));
    }
}
