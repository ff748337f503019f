//! When a connection may be offered to an exchange, and until when: the server can be reached, the gates are open, nobody ends it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::gate::Verdict;
use super::slots::Slots;

/// What decides.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The server can be reached.
    pub(super) up: watch::Receiver<bool>,
    /// What the gates say; none: there are none.
    pub(super) gate: Option<Gated>,
    /// The connection is to end.
    pub(super) drain: CancellationToken,
}

/// What gates decide by.
#[derive(Debug, Clone)]
pub(super) struct Gated {
    pub(super) verdict: watch::Receiver<Verdict>,
    pub(super) slots: Arc<Slots>,
    /// One idle connection at a time is offered to an address.
    pub(super) turn: Arc<Semaphore>,
}

/// A connection that may be offered.
#[derive(Debug)]
pub(super) struct Offer {
    terms: Terms,
    turn: Option<OwnedSemaphorePermit>,
}

impl Terms {
    /// Waits until a connection may be offered; none: it never will.
    pub(super) async fn offer(&self) -> Option<Offer> {
        let mut terms = self.clone();
        let may = async {
            let turn = match &terms.gate {
                Some(gate) => Some(Arc::clone(&gate.turn).acquire_owned().await.ok()?),
                None => None,
            };
            loop {
                terms.up.wait_for(|up| *up).await.ok()?;
                let Some(gate) = &mut terms.gate else { break };
                // A look that was before the last request began says nothing about one more.
                let is_open = |verdict: &Verdict| verdict.is_open && verdict.begun >= gate.slots.begun();
                gate.verdict.wait_for(is_open).await.ok()?;
                if *terms.up.borrow() {
                    break;
                }
            }
            Some(turn)
        };
        let turn = tokio::select! {
            biased;
            () = self.drain.cancelled() => return None,
            turn = may => turn?,
        };
        Some(Offer { terms, turn })
    }
}

impl Offer {
    /// Waits until nothing more is to be offered on the connection. `busy`: how many requests run on it.
    pub(super) async fn over(mut self, busy: watch::Receiver<usize>) {
        let Terms { up, gate, drain } = &mut self.terms;
        tokio::select! {
            () = drain.cancelled() => {}
            _ = up.wait_for(|up| !*up) => {}
            () = shut(gate.as_mut(), &mut self.turn, busy) => {}
        }
    }
}

/// Waits until the gates shut for a connection that is idle, or another one is offered in its place.
async fn shut(gate: Option<&mut Gated>, turn: &mut Option<OwnedSemaphorePermit>, mut busy: watch::Receiver<usize>) {
    let Some(gate) = gate else { return std::future::pending().await };
    loop {
        if *busy.borrow() > 0 {
            // The turn is the next one's.
            *turn = None;
            if busy.wait_for(|busy| *busy == 0).await.is_err() {
                return;
            }
        }
        if turn.is_none() {
            *turn = Arc::clone(&gate.turn).try_acquire_owned().ok();
        }
        if turn.is_none() {
            return;
        }
        tokio::select! {
            _ = gate.verdict.wait_for(|verdict| !verdict.is_open) => return,
            began = busy.wait_for(|busy| *busy > 0) => if began.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn gated(slots: &Arc<Slots>) -> (Terms, watch::Sender<bool>, watch::Sender<Verdict>) {
        let (up, verdict) = (watch::Sender::new(true), watch::Sender::new(Verdict { is_open: true, begun: 0 }));
        let gate = Gated { verdict: verdict.subscribe(), slots: Arc::clone(slots), turn: Arc::new(Semaphore::new(1)) };
        let terms = Terms { up: up.subscribe(), gate: Some(gate), drain: CancellationToken::new() };
        (terms, up, verdict)
    }

    async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
        timeout(Duration::from_secs(1), future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn one_idle_connection_is_offered_and_the_next_when_it_is_busy_and_the_gates_were_looked_at_since() {
        let slots = Arc::new(Slots::new(4));
        let (terms, _up, verdict) = gated(&slots);
        let first = soon(terms.offer()).await.flatten().expect("it is open");
        assert!(soon(terms.offer()).await.is_none(), "one at a time");
        let busy = watch::Sender::new(0);
        let mut over = Box::pin(first.over(busy.subscribe()));
        assert!(soon(&mut over).await.is_none());
        let _taken = slots.begin();
        busy.send_replace(1);
        assert!(soon(&mut over).await.is_none());
        assert!(soon(terms.offer()).await.is_none(), "the gates were not looked at since");
        verdict.send_replace(Verdict { is_open: true, begun: 1 });
        let second = soon(terms.offer()).await.flatten().expect("it is open");
        busy.send_replace(0);
        assert!(soon(&mut over).await.is_some(), "the other one is offered");
        let idle = watch::Sender::new(0);
        let mut over = Box::pin(second.over(idle.subscribe()));
        assert!(soon(&mut over).await.is_none());
        verdict.send_replace(Verdict { is_open: false, begun: 1 });
        assert!(soon(&mut over).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_offered_without_the_server_or_at_the_end() {
        let (terms, up, _verdict) = gated(&Arc::new(Slots::new(1)));
        up.send_replace(false);
        assert!(soon(terms.offer()).await.is_none());
        up.send_replace(true);
        let offer = soon(terms.offer()).await.flatten().expect("it may be");
        let busy = watch::Sender::new(1);
        let mut over = Box::pin(offer.over(busy.subscribe()));
        assert!(soon(&mut over).await.is_none());
        up.send_replace(false);
        assert!(soon(&mut over).await.is_some(), "also while a request runs");
        terms.drain.cancel();
        assert!(soon(terms.offer()).await.expect("at once").is_none());
    }
}
