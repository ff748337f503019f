//! From a write that the API server has committed to the last client that is told.

use super::{Extent, Stage, Subject, millis};
use crate::candidates::{Kind, Place, Running};
use crate::clients::Again;
use crate::cluster::{self, Cluster};
use crate::crowd::Crowd;
use crate::figures::{Figures, What};
use crate::outcome::{Outcome, because};

/// What tables call it.
pub(crate) const WHO: &str = "tidewait, from a ConfigMap";
const CHANGES: usize = 5;

/// One round.
pub(crate) fn run(place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let programs = cluster::installed().map_err(because)?;
    let cluster = Cluster::start(&programs, &place.folder)?;
    let mut running = Running::from_cluster(cluster, place, &Subject::Small.model(1))?;
    let make = |address, expected| Crowd::new(address, Kind::Tidewait.request(), expected);
    let mut stage = Stage::new(&mut running, Subject::Small, make)?;
    stage.grow(extent.most())?;
    for _ in 0..CHANGES {
        let cycle = stage.cycle(Again::WhenAsked)?;
        figures.add(What::Last, WHO, extent.most(), millis(cycle.last_told));
        figures.add(What::LastAfterCommit, WHO, extent.most(), millis(cycle.last_told.saturating_sub(cycle.written)));
    }
    Ok(())
}
