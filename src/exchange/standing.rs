//! An exchange that changes, or ends, while consumers wait and workers are connected.

use std::sync::Arc;

use super::core::{Core, Rules};
use super::metrics::Transport;
use super::{Exchange, Given};
use crate::config::{self, Transports};

/// Which workers an exchange takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    transports: Transports,
    is_closed: bool,
}

impl Standing {
    pub(super) fn of(config: &config::Exchange) -> Self {
        Self { transports: config.transports, is_closed: false }
    }

    fn takes(self, transport: Transport) -> bool {
        let Transports { claims, http1, http2 } = self.transports;
        let is_on = match transport {
            Transport::Claims => claims,
            Transport::Http1 => http1,
            Transport::Http2 => http2,
            Transport::Raw => true,
        };
        is_on && !self.is_closed
    }
}

impl Exchange {
    /// Changes how it is configured. What comes from now on goes by that; what is queued stays queued, until the time that it was
    /// given when it came, and workers of a transport that is no more end what they have.
    pub fn change(self: &Arc<Self>, config: config::Exchange) {
        let (rules, transports) = (Rules::of(&config), config.transports);
        self.config.store(Arc::new(config));
        self.standing.send_modify(|standing| standing.transports = transports);
        self.act(|core, _| core.change(rules));
        self.let_polls_go();
    }

    /// Takes nothing more: what is queued ends, workers are let go, and what they have already they may answer.
    pub fn close(self: &Arc<Self>) {
        self.standing.send_modify(|standing| standing.is_closed = true);
        self.act(|core, _| core.close());
        self.let_polls_go();
    }

    /// Gives workers nothing more, since the process stops: what is queued would not be answered in time.
    pub fn withhold(self: &Arc<Self>) {
        self.act(|core, _| core.withhold());
    }

    /// Tells polls that wait to go, if it takes none. A poll that comes is told under the same lock, so that none falls in between.
    fn let_polls_go(self: &Arc<Self>) {
        self.act_with(|state, now| {
            if self.takes(Transport::Claims) {
                return;
            }
            for claim in state.core.let_polls_go(now) {
                if let Some(offer) = state.offers.remove(&claim) {
                    // Nobody waits for it any more.
                    let _ = offer.give.send(Given::Unwelcome);
                }
            }
        });
    }

    pub(super) fn takes(&self, transport: Transport) -> bool {
        self.standing.borrow().takes(transport)
    }

    /// Ends what workers have still.
    pub fn cut(self: &Arc<Self>) {
        let items = self.act(Core::cut);
        self.tell_of_given_up(&items);
    }

    /// Ends what workers have still and have not begun to answer.
    pub fn give_up(self: &Arc<Self>) {
        let items = self.act(Core::give_up);
        self.tell_of_given_up(&items);
    }

    /// Waits until it does not take workers that dial in so.
    pub async fn unwelcome(&self, transport: Transport) {
        // The sender lives as long as this.
        let _ = self.standing.subscribe().wait_for(|standing| !standing.takes(transport)).await;
    }

    /// Whether workers work on requests.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        *self.in_flight.borrow() > 0
    }
}
