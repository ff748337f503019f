//! Whether a relay reaches the server that it polls.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::bounds::RELAY_CUT_OFF;

/// How it stands with the server above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// It has not answered in this run.
    Never,
    /// It answers.
    Answers,
    /// It has not answered since then.
    Lost(Instant),
}

/// The contact of an operation, as it changes.
#[derive(Debug)]
pub(super) struct Contacts(watch::Sender<Contact>);

impl Default for Contacts {
    fn default() -> Self {
        Self(watch::Sender::new(Contact::Never))
    }
}

impl Contacts {
    /// The server has answered.
    pub(super) fn answered(&self) {
        self.0.send_if_modified(|known| std::mem::replace(known, Contact::Answers) != Contact::Answers);
    }

    /// It was asked, and has not.
    pub(super) fn lost(&self) {
        self.0.send_if_modified(|known| {
            let was_there = *known == Contact::Answers;
            if was_there {
                *known = Contact::Lost(Instant::now());
            }
            was_there
        });
    }

    /// As it changes.
    #[must_use]
    pub(super) fn subscribe(&self) -> watch::Receiver<Contact> {
        self.0.subscribe()
    }

    /// Why the relay is not ready; none: it is.
    #[must_use]
    pub(super) fn missing(&self) -> Option<&'static str> {
        match *self.0.borrow() {
            Contact::Never => Some("no server has confirmed it yet"),
            Contact::Answers => None,
            Contact::Lost(at) => (at.elapsed() >= RELAY_CUT_OFF).then_some("cut off from its server"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_relay_is_ready_once_it_was_answered_and_until_it_was_cut_off_for_half_a_minute() {
        let contacts = Contacts::default();
        contacts.lost();
        assert_eq!(contacts.missing(), Some("no server has confirmed it yet"));
        contacts.answered();
        contacts.lost();
        tokio::time::advance(RELAY_CUT_OFF / 2).await;
        contacts.lost();
        assert_eq!(contacts.missing(), None, "not each short fault is one");
        tokio::time::advance(RELAY_CUT_OFF / 2).await;
        assert_eq!(contacts.missing(), Some("cut off from its server"));
        contacts.answered();
        assert_eq!(contacts.missing(), None);
    }
}
