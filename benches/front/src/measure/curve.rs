//! Memory, CPU and time against the number of HTTP/1.1 clients; and, with most clients, all of them reconnecting at once
//! after more than twenty changes.

use std::time::Instant;

use super::{Extent, Stage, Subject, micros_each, millis};
use crate::candidates::{Kind, Place, Running};
use crate::clients::{Again, Clients as _};
use crate::crowd::Crowd;
use crate::figures::{Figures, What};
use crate::outcome::Outcome;
use crate::probe::Probe;

/// Changes in each way, with most clients.
const CHANGES: usize = 5;

/// One round of one server.
pub(crate) fn run(kind: Kind, place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let who = kind.name();
    let mut running = Running::start(kind, place, &Subject::Small.model(1))?;
    let mut stage =
        Stage::new(&mut running, Subject::Small, |address, expected| Crowd::new(address, kind.request(), expected))?;
    for &clients in &extent.clients {
        stage.grow(clients)?;
        stage.add_memory(figures, who, What::Resident, Some(What::Charged));
        let count = if clients == extent.most() { CHANGES } else { cycles(clients) };
        stage.cycles(count, Again::WhenAsked, figures, who, (What::Cpu, What::Last))?;
    }
    // nchan would park the probe.
    let probe = (kind != Kind::Nchan).then(|| Probe::start(stage.running.address, "/describe")).transpose()?;
    stage.cycles(CHANGES, Again::AtOnce, figures, who, (What::CpuAtOnce, What::LastAtOnce))?;
    if let Some(probe) = probe {
        figures.add(What::Probe, who, extent.most(), millis(probe.longest()?));
    }
    stage.add_memory(figures, who, What::ResidentAfterChanges, None);
    storm(&mut stage, figures, who)
}

/// Everyone's connection is lost, and everyone comes back at once with the state that it had.
fn storm(stage: &mut Stage<'_, Crowd>, figures: &mut Figures, who: &'static str) -> Outcome<()> {
    let clients = stage.clients.len();
    stage.clients.leave();
    stage.until_parked(0)?;
    let before = stage.running.process.cpu();
    let start = Instant::now();
    stage.clients.storm()?;
    stage.until_parked(clients)?;
    figures.add(What::StormTime, who, clients, start.elapsed().as_secs_f64());
    let cpu = stage.running.process.cpu().saturating_sub(before);
    figures.add(What::StormCpu, who, clients, micros_each(cpu, clients));
    // They had the current state: nobody is told anything.
    stage.clients.verdict(0)?;
    stage.add_memory(figures, who, What::ResidentAfterStorm, None);
    stage.cycle(Again::WhenAsked)?;
    Ok(())
}

/// More where a cycle is short.
fn cycles(clients: usize) -> usize {
    (20_000 / clients).clamp(3, 8)
}
