//! Memory, CPU and time against the number of clients.

use super::Stage;
use crate::candidates::{Kind, Place, Running};
use crate::figures::Figures;
use crate::model;
use crate::outcome::Outcome;

/// kB resident for each parked client.
pub(crate) const RESIDENT: &str = "kB resident per parked client";
/// Microseconds.
pub(crate) const CPU: &str = "us of CPU per client told";
/// Milliseconds.
pub(crate) const LAST: &str = "ms until the last client is told";

/// One round of one server; `sizes` ascend.
pub(crate) fn run(kind: Kind, place: &Place, sizes: &[usize], figures: &mut Figures) -> Outcome<()> {
    let mut running = Running::start(kind, place, &model::small(0))?;
    let mut stage = Stage::new(&mut running)?;
    let idle = stage.running.process.resident();
    for &clients in sizes {
        stage.grow(clients)?;
        let resident = stage.running.process.resident().saturating_sub(idle);
        figures.add(RESIDENT, kind.name(), clients, each(resident, clients) / 1000.0);
        for _ in 0..cycles(clients) {
            let cycle = stage.cycle()?;
            figures.add(CPU, kind.name(), clients, cycle.cpu.as_secs_f64() * 1e6 / count(clients));
            figures.add(LAST, kind.name(), clients, cycle.last_told.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

/// More where a cycle is short.
fn cycles(clients: usize) -> usize {
    (20_000 / clients).clamp(5, 10)
}

#[expect(clippy::cast_precision_loss, reason = "far less than 2^52 bytes")]
fn each(bytes: u64, clients: usize) -> f64 {
    bytes as f64 / count(clients)
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn count(clients: usize) -> f64 {
    clients as f64
}
