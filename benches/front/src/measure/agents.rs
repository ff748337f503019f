//! What an `Agent-Id` adds.

use super::{Extent, Stage, Subject};
use crate::candidates::{Kind, Place, Running};
use crate::clients::{Again, Request};
use crate::crowd::Crowd;
use crate::figures::{Figures, What};
use crate::outcome::Outcome;

/// What tables call it.
pub(crate) const WHO: &str = "tidewait, an Agent-Id each";

/// One round.
pub(crate) fn run(place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let mut running = Running::start(Kind::Tidewait, place, &Subject::Small.model(1))?;
    let make = |address, expected| Crowd::new(address, Request::Agent, expected);
    let mut stage = Stage::new(&mut running, Subject::Small, make)?;
    stage.grow(extent.most())?;
    stage.add_memory(figures, WHO, What::Resident, Some(What::Charged));
    stage.cycles(5, Again::WhenAsked, figures, WHO, (What::Cpu, What::Last))?;
    stage.add_memory(figures, WHO, What::ResidentAfterChanges, None);
    Ok(())
}
