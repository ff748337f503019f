//! What an owner of clients keeps for their polls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::answers::Answers;
use super::parked::Parked;
use super::streams::Events;
use super::waits::{BodyKey, ClientRef};
use crate::http::access::Access;
use crate::hub::FanOutGuard;
use crate::lifecycle::stop;

/// The polls of an owner. `W`: an answer as it is sent.
#[derive(Debug)]
pub struct Polls<W> {
    /// Those that are parked.
    pub(in crate::http) parked: Parked<u32>,
    pub(in crate::http) answers: Answers<W>,
    pub(super) events: Events<W>,
    /// Who waits for bodies that are being made.
    pub(super) making: HashMap<BodyKey, Vec<ClientRef>>,
}

impl<W> Polls<W> {
    pub(in crate::http) fn new(parked: Parked<u32>) -> Self {
        Self { parked, answers: Answers::default(), events: Events::default(), making: HashMap::new() }
    }

    /// Keeps the fan-out of a change open for an answer that is sent later.
    pub(in crate::http) fn fan_out(&self, fan_out: Option<FanOutGuard>, held: Duration) -> Option<FanOutGuard> {
        if held.is_zero() { fan_out } else { fan_out.or_else(|| self.parked.fan_out()) }
    }

    /// Keeps nothing for others who may be told the same.
    pub(in crate::http) fn release_kept(&mut self) {
        self.events.release();
    }

    /// The process drains, or closes.
    pub(in crate::http) fn on_phase(&mut self, phase: stop::Phase) {
        self.parked.on_phase(phase);
    }

    /// Credentials or permissions were withdrawn.
    pub(in crate::http) fn on_withdrawal(&mut self, access: &Access) {
        self.parked.on_withdrawal(access);
    }

    /// Notes what a change touches.
    pub(in crate::http) fn on_change(&mut self, change: &Arc<crate::hub::Change>) {
        // Their states are not the current ones any more.
        self.answers.forget();
        self.events.forget();
        self.parked.on_change(change);
    }
}
