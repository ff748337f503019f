//! Clients that select a node of the model each: one change touches one of them, or all.

use super::{Extent, Stage, Subject, micros_each, millis};
use crate::candidates::{Kind, Place, Running};
use crate::clients::{Again, Request};
use crate::crowd::Crowd;
use crate::figures::{Figures, What};
use crate::model;
use crate::outcome::Outcome;
use crate::probe::Probe;

/// What tables call those that are given the whole of their part, and those that are given a patch.
pub(crate) const WHO: &str = "tidewait, a selection each";
pub(crate) const PATCHES: &str = "tidewait, a selection each, as JSON Patch";

/// Changes that touch all.
const CHANGES: usize = 4;

/// One round of one of the two.
pub(crate) fn run(patches: bool, place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let clients = extent.nodes;
    let (subject, request, who) = if patches {
        (Subject::Patches(clients), Request::Patch, PATCHES)
    } else {
        (Subject::Nodes(clients), Request::Node, WHO)
    };
    let mut running = Running::start_with(Kind::Tidewait, place, &subject.model(1), patches)?;
    // The first answers are whole in any case.
    let make = |address, expected| Crowd::new(address, request, expected);
    let mut stage = Stage::new(&mut running, subject, make)?;
    stage.grow(clients)?;
    stage.add_memory(figures, who, What::Resident, Some(What::Charged));
    for _ in 0..CHANGES {
        stage.generation += 1;
        let model = subject.model(stage.generation);
        let probe = Probe::start(stage.running.address, "/describe?select=/nodes/00000/mtu")?;
        let all = stage.change(&model, subject.expected(stage.generation), clients, Again::WhenAsked)?;
        figures.add(What::Probe, who, clients, millis(probe.longest()?));
        figures.add(What::Cpu, who, clients, micros_each(all.cpu, clients));
        figures.add(What::Last, who, clients, millis(all.last_told));
    }
    // From here on the first node is newer than all others.
    let others = stage.generation;
    for _ in 0..CHANGES {
        stage.generation += 1;
        let model = model::nodes(clients, others, stage.generation);
        let one = stage.change(&model, subject.expected(stage.generation), 1, Again::WhenAsked)?;
        figures.add(What::LastOfOne, who, clients, millis(one.last_told));
        figures.add(What::CpuOfOne, who, clients, millis(one.cpu));
    }
    stage.add_memory(figures, who, What::ResidentAfterChanges, None);
    Ok(())
}
