//! What people and the user are told of a client.

use super::{Machine, Phase, Place};
use crate::client::holdings::Names;
use crate::client::status::{Doing, Status, Told};

impl Machine {
    /// Whether a server has refused what was shown to it, and none has let the client in since.
    pub(in crate::client) fn is_denied(&self) -> bool {
        self.denied.is_some()
    }

    /// How the client is doing; `endpoint` writes a place.
    pub(in crate::client) fn status(&self, endpoint: impl Fn(Place) -> String) -> Status {
        let doing = match &self.phase {
            Phase::Polling(sent) if sent.is_with_server => Doing::Polling,
            Phase::Polling(_) | Phase::LookingUp(_) => Doing::Connecting,
            Phase::Idle if self.awaits_verdict => Doing::AwaitingVerdict,
            Phase::Idle => Doing::Pausing,
        };
        let Names { since, rejected, applying } = self.holdings.names();
        Status {
            endpoint: endpoint(self.endpoints.current()),
            place: Some(self.endpoints.current()),
            doing,
            failure: self.failure.as_ref().map(|(failure, place, at)| (failure.of(&endpoint(*place)), *at)),
            held: since,
            applying,
            rejected,
            newest: self.newest.clone(),
            lacking: self.holdings.lacking(self.newest.as_deref()),
            confirmed: self.confirmed,
            terms: self.terms.clone(),
            told: self.told.as_ref().map(|names| Told { held: names.since.clone(), rejected: names.rejected.clone() }),
            denied: self.denied.as_ref().map(|(failure, place)| failure.of(&endpoint(*place))),
            is_answered: self.is_answered,
            counters: self.counters,
        }
    }
}
