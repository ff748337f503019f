//! What is looked for at NATS, since this replica may not know it yet.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Lookup, State, run, store};
use crate::bounds::{EXCHANGE_CATCH_UP, EXCHANGE_GIVE_UP, EXCHANGE_NATS};
use crate::exchange::Exchange;
use crate::exchange::core::{Cause, Over};
use crate::exchange::id::{ClaimId, ItemId};

/// How often a claim is moved here before its worker is told that it is elsewhere.
const MOVES: usize = 4;

impl Exchange {
    /// Waits until all replicas could know what this one knows of an item.
    pub async fn recorded(&self, id: ItemId) -> Result<(), NotRecorded> {
        let wait = {
            let mut state = self.state();
            let State { shared: Some(shared), .. } = &mut *state else { return Ok(()) };
            let Some(line) = shared.lines.get_mut(&id).filter(|line| line.is_busy) else { return Ok(()) };
            let (tell, wait) = oneshot::channel();
            line.waits.push(tell);
            wait
        };
        match timeout(EXCHANGE_NATS, wait).await {
            // It is told of the end too.
            Ok(_) => Ok(()),
            Err(_) => Err(NotRecorded),
        }
    }

    /// Whether other replicas know of an item, if perhaps not all that this one does.
    #[must_use]
    pub fn is_written(&self, id: ItemId) -> bool {
        let state = self.state();
        let line = state.shared.as_ref().and_then(|shared| shared.lines.get(&id));
        line.is_some_and(|line| line.written.is_some())
    }

    /// Says that this replica goes, once all was written, so that others go on at once.
    pub async fn leave(&self) {
        let Some(lookup) = self.lookup.get() else { return };
        let waits: Vec<_> = {
            let mut state = self.state();
            let lines = state.shared.iter_mut().flat_map(|shared| shared.lines.values_mut());
            let busy = lines.filter(|line| line.is_busy).map(|line| {
                let (tell, wait) = oneshot::channel();
                line.waits.push(tell);
                wait
            });
            busy.collect()
        };
        let _ = timeout(EXCHANGE_GIVE_UP, futures::future::join_all(waits)).await;
        run::leave(self, &lookup.client).await;
    }

    /// Looks for an item that may be known elsewhere alone, and for an answer that is stored. An error: it is not known whether there
    /// is such an item.
    pub async fn find(self: &Arc<Self>, id: ItemId) -> Result<(), NotRecorded> {
        let is_known = self.entry(id).is_some();
        let Some(lookup) = self.lookup.get() else { return known_if(is_known || !self.is_shared()) };
        if !is_known {
            match lookup.store.get(id).await {
                Ok(Some((record, revision))) => self.told(id, record, revision),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(exchange = self.name(), error, "an item could not be looked up");
                    return Err(NotRecorded);
                }
            }
        }
        self.read_stored(id, &lookup.store).await;
        Ok(())
    }

    /// Whether [`Self::find`] may find more than is known here.
    #[must_use]
    pub fn may_find(&self, id: ItemId) -> bool {
        let state = self.state();
        let Some(shared) = &state.shared else { return false };
        !state.entries.contains_key(&id) || shared.lines.get(&id).is_some_and(|line| line.answer.is_some())
    }

    async fn read_stored(self: &Arc<Self>, id: ItemId, store: &store::Store) {
        let line =
            |state: &mut State| state.shared.as_mut().and_then(|shared| shared.lines.get_mut(&id)?.answer.clone());
        let Some(answer) = line(&mut self.state()) else { return };
        match store.load(&format!("{id}.answer")).await {
            Ok(bytes) => self.answered(id, &answer, bytes),
            Err(error) => tracing::debug!(exchange = self.name(), error, "an answer could not be read"),
        }
        if let Some(line) = self.state().shared.as_mut().and_then(|shared| shared.lines.get_mut(&id)) {
            line.answer = None;
        }
    }

    /// A worker comes with a claim that may be of another replica: from now on it is of this one. An error: it is not known whether
    /// there is such a claim.
    pub async fn find_claim(self: &Arc<Self>, claim: ClaimId) -> Result<(), NotRecorded> {
        let is_here = self.state().core.claimed(claim).is_some();
        let Some(lookup) = self.lookup.get() else { return known_if(is_here || !self.is_shared()) };
        if is_here {
            return self.confirmed(claim).await;
        }
        let mut found = self.act(|core, now| core.move_here(now, claim));
        if found.is_none() && self.over(claim) == Over::Gone(Cause::Unknown) {
            lookup.catch_up().await?;
            found = self.act(|core, now| core.move_here(now, claim));
        }
        // Another replica may have written of it at the same time: then it is moved once more.
        for _ in 0..MOVES {
            let Some(item) = found else { break };
            self.recorded(item).await?;
            found = self.act(|core, now| core.move_here(now, claim));
        }
        Ok(())
    }

    /// Waits until a claim counts that came here from another replica.
    async fn confirmed(&self, claim: ClaimId) -> Result<(), NotRecorded> {
        let item = {
            let state = self.state();
            if state.core.is_confirmed(claim) { None } else { state.core.claimed(claim) }
        };
        match item {
            Some(item) => self.recorded(item).await,
            None => Ok(()),
        }
    }
}

fn known_if(is_known: bool) -> Result<(), NotRecorded> {
    if is_known { Ok(()) } else { Err(NotRecorded) }
}

/// Other replicas may not know of an item yet: the servers of NATS do not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("NATS does not answer")]
pub struct NotRecorded;

impl Lookup {
    /// Waits until all is seen that is written now.
    async fn catch_up(&self) -> Result<(), NotRecorded> {
        let last = self.store.last().await.map_err(|_| NotRecorded)?;
        let mut seen = self.seen.clone();
        // What was written last may have been removed.
        let _ = timeout(EXCHANGE_CATCH_UP, seen.wait_for(|seen| *seen >= last)).await;
        Ok(())
    }
}
