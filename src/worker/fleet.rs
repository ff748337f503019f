//! The addresses of all exchanges, looked up again and again, and the seats at each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::offer::{Gated, Terms};
use super::plan::{Place, shares};
use super::seat::{Seat, Told};
use crate::bounds::WORKER_RESOLVED;
use crate::client::Dialer;

/// What dials.
pub(super) struct Fleet {
    context: Arc<Context>,
    /// One for each URL.
    dialers: Vec<Arc<Dialer>>,
    slots: usize,
    lines: BTreeMap<Place, Line>,
    seats: JoinSet<()>,
    /// Why a name was not found, by its URL.
    told: Vec<Option<String>>,
}

/// The seats at an address.
struct Line {
    told: Arc<Told>,
    turn: Arc<Semaphore>,
    seats: Vec<(usize, CancellationToken)>,
}

impl Fleet {
    pub(super) fn new(context: Arc<Context>, dialers: Vec<Dialer>, slots: usize) -> Self {
        let told = vec![None; dialers.len()];
        let dialers = dialers.into_iter().map(Arc::new).collect();
        Self { context, dialers, slots, lines: BTreeMap::new(), seats: JoinSet::new(), told }
    }

    /// Dials until the worker ends, and then until all that runs is finished.
    pub(super) async fn run(mut self) {
        let stop = self.context.stop.clone();
        let mut places = BTreeSet::new();
        loop {
            let looked_up = tokio::select! {
                () = stop.cancelled() => break,
                looked_up = self.look_up(&places) => looked_up,
            };
            places = looked_up;
            self.follow(&places);
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(WORKER_RESOLVED) => {}
            }
            while self.seats.try_join_next().is_some() {}
        }
        self.follow(&BTreeSet::new());
        while self.seats.join_next().await.is_some() {}
    }

    /// The addresses of all names; those of a name that is not found stay as they were.
    async fn look_up(&mut self, before: &BTreeSet<Place>) -> BTreeSet<Place> {
        let found = join_all(self.dialers.iter().map(|dialer| dialer.addresses())).await;
        let mut places = BTreeSet::new();
        for (url, found) in found.into_iter().enumerate() {
            let why = match found {
                Ok(addresses) => {
                    places.extend(addresses.into_iter().map(|address| (url, address)));
                    None
                }
                Err(failure) => {
                    places.extend(before.iter().filter(|(of, _)| *of == url));
                    Some(failure.text)
                }
            };
            if let Some(why) = why.as_ref().filter(|_| why != self.told[url]) {
                tracing::warn!(
                    exchange = self.dialers[url].name(None),
                    why,
                    "an exchange is not found: looked up again"
                );
            }
            self.told[url] = why;
        }
        places
    }

    /// Makes the seats those of these addresses.
    fn follow(&mut self, places: &BTreeSet<Place>) {
        let shares = shares(self.slots, places);
        self.lines.retain(|place, line| {
            let stays = shares.contains_key(place);
            if !stays {
                line.seats.iter().for_each(|(_, drain)| drain.cancel());
            }
            stays
        });
        for (place, share) in shares {
            let wanted = self.wanted(share);
            let line = self.lines.entry(place).or_insert_with(Line::new);
            // Those that stay as they are: the others are drained, and end when what runs on them does.
            let same = line.seats.iter().zip(&wanted).take_while(|((slots, _), wanted)| slots == *wanted).count();
            line.seats.drain(same..).for_each(|(_, drain)| drain.cancel());
            for slots in &wanted[same..] {
                let drain = CancellationToken::new();
                line.seats.push((*slots, drain.clone()));
                let gate = self.context.gate.clone().map(|verdict| Gated {
                    verdict,
                    slots: Arc::clone(&self.context.slots),
                    turn: Arc::clone(&line.turn),
                });
                let seat = Seat {
                    context: Arc::clone(&self.context),
                    dialer: Arc::clone(&self.dialers[place.0]),
                    address: place.1,
                    slots: *slots,
                    terms: Terms { up: self.context.server.up(), gate, drain },
                    told: Arc::clone(&line.told),
                };
                self.seats.spawn(seat.run());
            }
        }
    }

    /// The slots of each connection to an address.
    fn wanted(&self, share: usize) -> Vec<usize> {
        match &self.context.gate {
            // Any address may get all that the gates let in.
            Some(_) => vec![1; self.slots],
            None if self.context.has_one_slot_each() => vec![1; share],
            None => vec![share],
        }
    }
}

impl Line {
    fn new() -> Self {
        Self { told: Arc::default(), turn: Arc::new(Semaphore::new(1)), seats: Vec::new() }
    }
}
