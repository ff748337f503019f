//! PURE. How fast clients publish. Of each it is known when it would be at its rate again, if it published no more (GCRA): one
//! moment, whatever it has published.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Client;
use crate::bounds::TOPIC_CLIENTS;
use crate::config::PublishRate;

#[derive(Debug)]
pub(super) struct Rates {
    /// The share of a second that a message takes.
    each: Duration,
    /// How far a client may be ahead of its rate.
    ahead: Duration,
    clients: HashMap<Client, Instant>,
}

impl Rates {
    pub(super) fn new(rate: PublishRate) -> Self {
        let mut rates = Self { each: Duration::ZERO, ahead: Duration::ZERO, clients: HashMap::new() };
        rates.change(rate);
        rates
    }

    /// Goes by this rate from now on.
    pub(super) fn change(&mut self, rate: PublishRate) {
        self.each = Duration::from_secs(1) / rate.per_second;
        self.ahead = self.each * (rate.burst - 1);
    }

    /// Counts a message of a client; an error: it is too early, by so much.
    pub(super) fn take(&mut self, client: &Client, now: Instant) -> Result<(), Duration> {
        let even = self.clients.get(client).map_or(now, |even| now.max(*even));
        let ahead = even.saturating_duration_since(now);
        if let Some(early) = ahead.checked_sub(self.ahead).filter(|early| !early.is_zero()) {
            return Err(early);
        }
        if self.clients.len() >= TOPIC_CLIENTS && !self.clients.contains_key(client) {
            self.forget(now);
        }
        self.clients.insert(Client::clone(client), even + self.each);
        Ok(())
    }

    /// Forgets those that are at their rate: nothing is lost by that. Where none is, the one that is nearest to it.
    fn forget(&mut self, now: Instant) {
        self.clients.retain(|_, even| *even > now);
        if self.clients.len() >= TOPIC_CLIENTS
            && let Some(nearest) =
                self.clients.iter().min_by_key(|(_, even)| **even).map(|(client, _)| Client::clone(client))
        {
            self.clients.remove(&nearest);
        }
    }
}
