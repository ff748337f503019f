//! What people, service managers and the server are told of a running agent.

use super::Running;
use crate::agent::apply::WITHDRAWN;
use crate::agent::status::Report;
use crate::agent::wording::in_options;
use crate::client::{State, Status, is_same};

impl Running {
    /// Says everywhere that a state is rejected.
    pub(super) fn reject(&mut self, id: &str, why: String) {
        if self.applier.output().is_unsettled() {
            tracing::error!(id, why, "the state is rejected, and its output stays (--rollback=false)");
        } else {
            tracing::error!(id, why, "the state is rejected, and the one before is kept");
        }
        self.rejected = Some((id.to_owned(), why.clone()));
        self.around.notify.status(&self.standing());
        self.reports.rejected(id, why);
    }

    /// A state that settles is left, where the server has gone back to what is held.
    pub(super) fn withdraw(&mut self) {
        if !self.holds_newest() {
            return;
        }
        if let Some(id) = self.states.withdraw() {
            tracing::info!(id, why = WITHDRAWN, "the state is left");
            self.reports.rejected(&id, WITHDRAWN);
        }
    }

    /// Says how the agent is, where people look.
    pub(super) fn report(&self, retries: Option<&str>) {
        self.publish();
        let status = self.status.borrow().clone();
        let store = self.applier.store();
        let (rejects, reason) = self.rejected_newest().cloned().unzip();
        let holds = store.held().map(|held| held.body.id().to_owned());
        let report = Report {
            pid: std::process::id(),
            operation: self.operation.clone(),
            output: self.applier.output().path().display().to_string(),
            is_whole: self.is_looked_at && self.broken.is_none() && holds.is_some(),
            holds,
            // One is kept only once it is begun.
            applies: store.pending().map(|pending| pending.body.id().to_owned()).or_else(|| self.applies.clone()),
            retries: retries.map(str::to_owned),
            rejects,
            reason,
            broken: self.broken.clone(),
            failed: self.failed.clone(),
            is_stale: self.around.max_age_is_given().then(|| self.applier.commands().stale().is_stale()),
            ..Report::default()
        };
        self.journal.write(report.with(&status));
    }

    /// Shows what is held to who serves it.
    fn publish(&self) {
        let held = self.applier.held_id();
        if self.held.receiver_count() > 0 && self.held.borrow().as_ref().map(State::id) != held.as_deref() {
            self.held.send_replace(self.applier.held());
        }
    }

    /// Says once that the server is not reached, or again, and why.
    pub(super) fn tell_of_contact(&mut self, why: Option<String>) {
        if let Some(why) = why.as_deref().map(in_options) {
            tracing::warn!(why, "no state comes, and what is held stays");
            self.around.notify.status(&format!("no state comes: {why}"));
        } else {
            tracing::info!(endpoint = self.status.borrow().endpoint, "the server answers again");
            self.around.notify.status(&self.standing());
        }
        self.told = why;
    }

    /// What the agent holds, lacks or rejects, in one line.
    pub(super) fn standing(&self) -> String {
        let held = self.applier.store().held().map(|held| held.body.id());
        let age = if self.applier.commands().stale().is_stale() { "stale: " } else { "" };
        match (self.rejected_newest(), held) {
            (Some((id, why)), _) => format!("{age}rejected {id}: {why}"),
            (None, Some(id)) => format!("{age}holds {id}"),
            (None, None) => "waits for the first state".to_owned(),
        }
    }

    /// The state that was rejected, unless the server is known to have another one by now.
    pub(super) fn rejected_newest(&self) -> Option<&(String, String)> {
        let status = self.status.borrow();
        let newest = status.newest.as_deref();
        self.rejected.as_ref().filter(|(id, _)| newest.is_none_or(|newest| is_same(id, newest)))
    }

    /// Whether the server is known to have what is held.
    pub(super) fn holds_newest(&self) -> bool {
        has_newest(&self.status.borrow(), self.applier.held_id().as_deref())
    }
}

/// Whether the server is known to have the state of this id.
pub(super) fn has_newest(status: &Status, held: Option<&str>) -> bool {
    held.zip(status.newest.as_deref()).is_some_and(|(held, newest)| is_same(held, newest))
}

/// Why the last poll brought no state.
pub(in crate::agent) fn failure(status: &Status) -> Option<&str> {
    // That credentials are refused is for people to mend, whatever else fails.
    let last = status.failure.as_ref().map(|(failure, _)| failure);
    status.denied.as_ref().or(last).map(|failure| failure.text.as_str())
}
