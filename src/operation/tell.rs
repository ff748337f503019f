//! Who waits is told when the state turns from fresh to stale or back: relays, since a parked poll does not tell them, and
//! all clients once a relay is cut off, since they may know another server.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, sleep_until};

use super::Operation;
use super::contact::Contact;
use crate::bounds::{RELAY_CUT_OFF, RELAY_TOLD_EVERY, RELAY_TOLD_WITHIN, RELEASES_A_SECOND};
use crate::hub::Who;

impl Operation {
    /// Tells them, until it is dropped.
    pub async fn tell(self: Arc<Self>) {
        tokio::join!(self.tell_relays(), self.tell_all());
    }

    async fn tell_relays(&self) {
        let mut turns = self.freshness.turns();
        let mut seen = *turns.borrow();
        // The sender lives in `self`. One that turns twice is told too: who was answered in between knows the other.
        while turns.wait_for(|count| *count != seen).await.is_ok() {
            seen = *turns.borrow();
            self.hub.tell(Who::Relays, RELAY_TOLD_WITHIN);
            sleep(RELAY_TOLD_EVERY).await;
        }
    }

    async fn tell_all(&self) {
        let mut contact = self.contact.subscribe();
        loop {
            let Ok(lost) = contact.wait_for(|contact| matches!(contact, Contact::Lost(_))).await.map(|it| *it) else {
                return;
            };
            let Contact::Lost(at) = lost else { continue };
            tokio::select! {
                _ = contact.wait_for(|contact| *contact == Contact::Answers) => continue,
                () = sleep_until(at + RELAY_CUT_OFF) => {}
            }
            let parked = self.hub.parked();
            tracing::warn!(operation = %self.name, parked, "cut off from its server: those who wait are told the age");
            self.hub.tell(Who::All, spread(parked));
            let _ = contact.wait_for(|contact| *contact == Contact::Answers).await;
            tracing::info!(operation = %self.name, lost_for = ?at.elapsed(), "its server answers again");
        }
    }
}

/// Over how long so many answers are spread: who is told may poll again at once.
pub(super) fn spread(parked: usize) -> Duration {
    let seconds = u64::try_from(parked.div_ceil(RELEASES_A_SECOND)).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).max(RELAY_TOLD_WITHIN)
}
