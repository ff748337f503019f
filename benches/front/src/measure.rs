//! The measurements. Each starts the servers that it compares in turn, and fails where a client was told something else
//! than it should have been.

use std::time::{Duration, Instant};

use crate::candidates::Running;
use crate::crowd::{Again, Crowd, Expected, PATIENCE, Request};
use crate::model;
use crate::outcome::{Outcome, because};

pub(crate) mod curve;

/// Clients that come and go before anything is measured, so that code and tables are in memory.
const FIRST_CLIENTS: usize = 10;
/// Longer than Tidewait keeps between two states (`--min-interval`).
const BETWEEN_CHANGES: Duration = Duration::from_millis(120);

/// A server and its clients while they are measured.
struct Stage<'a> {
    running: &'a mut Running,
    crowd: Crowd,
    generation: u64,
    changed: Instant,
}

/// What one change cost.
#[derive(Debug, Clone, Copy)]
struct Cycle {
    /// The CPU time of the server until all were parked again.
    cpu: Duration,
    /// From the change to the last client that was told.
    last_told: Duration,
}

impl<'a> Stage<'a> {
    /// A server that serves the small model of generation 0, after its first clients have left.
    fn new(running: &'a mut Running) -> Outcome<Self> {
        let expected = Expected::Whole(model::small(0));
        let crowd = Crowd::new(running.address, Request::Whole, expected)?;
        let mut stage = Self { running, crowd, generation: 0, changed: Instant::now() };
        stage.grow(FIRST_CLIENTS)?;
        for _ in 0..3 {
            stage.cycle()?;
        }
        stage.crowd.leave();
        stage.until_parked(0)?;
        stage.crowd = Crowd::new(stage.running.address, Request::Whole, stage.expected())?;
        Ok(stage)
    }

    fn expected(&self) -> Expected {
        Expected::Whole(model::small(self.generation))
    }

    /// Adds clients until this many are parked.
    fn grow(&mut self, clients: usize) -> Outcome<()> {
        self.crowd.grow(clients)?;
        self.until_parked(clients)
    }

    /// Waits until the server has so many parked.
    fn until_parked(&mut self, clients: usize) -> Outcome<()> {
        let start = Instant::now();
        loop {
            let parked = self.running.parked()?;
            if parked == clients {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(because(format!("{parked} are parked, where {clients} should be")));
            }
            self.crowd.rest(Duration::from_millis(10))?;
        }
    }

    /// Changes the small model: everyone is told, and polls again after that.
    fn cycle(&mut self) -> Outcome<Cycle> {
        self.generation += 1;
        let model = model::small(self.generation);
        let clients = self.crowd.len();
        self.crowd.rest(BETWEEN_CHANGES.saturating_sub(self.changed.elapsed()))?;
        self.crowd.expect(Expected::Whole(model.clone()), Again::WhenAsked);
        let before = self.running.process.cpu();
        self.changed = Instant::now();
        self.running.change(&model)?;
        let last_told = self.crowd.until_told(clients)? - self.changed;
        self.crowd.poll_again()?;
        self.until_parked(clients)?;
        self.crowd.verdict(clients)?;
        Ok(Cycle { cpu: self.running.process.cpu().saturating_sub(before), last_told })
    }
}
