//! What a relay asks when a client may hold a newer state than it does: one question to a server, answered at once.

use super::driver::Network as _;
use super::endpoints::Place;
use super::failure::{Failure, FailureKind};
use super::line::Line;
use super::poll::{Confirms, Ended, Outcome, Poll};
use super::settings::{InvalidSetting, Settings};
use super::state::{State, is_before};
use super::status::Status;
use crate::bounds::CLIENT_FAILURES;

/// Asks servers, on a connection of its own, so that the parked poll goes on meanwhile.
#[derive(Debug)]
pub struct Confirmer {
    line: Line,
}

impl Confirmer {
    /// Asks the servers of these settings.
    pub fn new(settings: &Settings) -> Result<Self, InvalidSetting> {
        let endpoints = settings.check()?;
        Ok(Self { line: Line::new(settings, endpoints) })
    }

    /// What the server has that a client with this status uses, while somebody holds the state `since`: no older state of that
    /// history, unless that is what the server's source has. It acknowledges nothing.
    pub async fn newest(&mut self, status: &Status, since: &str) -> Result<State, Failure> {
        match self.ask(status, Confirms::Held(since.to_owned())).await? {
            Outcome::State(state) => Ok(*state),
            // The client has what is current. Whoever answers next may be another server, with less.
            Outcome::Same { id, .. } => match self.ask(status, Confirms::Whole).await? {
                Outcome::State(state) if !is_before(&state.id, &id) => Ok(*state),
                Outcome::State(_) | Outcome::Same { .. } => {
                    let text = "it has an older state than it has just confirmed: ask one server, and not several under one URL";
                    Err(Failure::new(FailureKind::Busy(None), text))
                }
                Outcome::Failed(failure) => Err(failure),
            },
            Outcome::Failed(failure) => Err(failure),
        }
    }

    async fn ask(&mut self, status: &Status, confirms: Confirms) -> Result<Outcome, Failure> {
        let Place { url, address: in_use } = status.place.unwrap_or(Place { url: 0, address: None });
        let mut addresses = match in_use {
            Some(address) => vec![address],
            None => self.line.look_up(url).await?,
        };
        let mut last = None;
        addresses.truncate(CLIENT_FAILURES as usize);
        for address in addresses {
            let place = Place { url, address: Some(address) };
            if let Err(failure) = self.line.open(place).await {
                last = Some(failure);
                continue;
            }
            let poll = Poll {
                place,
                since: None,
                rejected: None,
                applying: None,
                takes_patches: false,
                confirms: Some(confirms),
            };
            let Ended { outcome, keeps, .. } = self.line.exchange(&poll).await;
            if !keeps {
                self.line.drop_connection();
            }
            return match outcome {
                Outcome::Failed(failure) => Err(failure),
                outcome @ (Outcome::State(_) | Outcome::Same { .. }) => Ok(outcome),
            };
        }
        Err(last.unwrap_or_else(|| Failure::new(FailureKind::Unreachable, "no address is known")))
    }
}
