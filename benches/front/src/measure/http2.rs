//! Clients that share HTTP/2 connections without TLS.

use super::{Extent, Stage, Subject};
use crate::candidates::{Kind, Place, Running};
use crate::clients::Again;
use crate::figures::{Figures, What};
use crate::outcome::Outcome;
use crate::streams::Streams;

/// Clients that share connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) kind: Kind,
    /// How many share one.
    pub(crate) sharing: usize,
    /// Bytes that may be on their way on a connection; `None`: the 64 kB that HTTP/2 begins with, which many clients leave
    /// as they are, and which is less than what all streams are told at once.
    pub(crate) window: Option<u32>,
    /// What tables call it.
    pub(crate) who: &'static str,
}

/// What tables call the one with the default windows.
pub(crate) const DEFAULT: &str = "tidewait, 250 streams, default windows";
const WIDE: Option<u32> = Some(1024 * 1024);

/// All that are measured.
pub(crate) const SHARED: [Shared; 4] = [
    Shared { kind: Kind::Tidewait, sharing: 100, window: WIDE, who: "tidewait, 100 streams a connection" },
    Shared { kind: Kind::Tidewait, sharing: 250, window: WIDE, who: "tidewait, 250 streams a connection" },
    Shared { kind: Kind::Hyper, sharing: 100, window: WIDE, who: "hyper, 100 streams a connection" },
    Shared { kind: Kind::Tidewait, sharing: 250, window: None, who: DEFAULT },
];

/// One round of one of them.
pub(crate) fn run(shared: Shared, place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let who = shared.who;
    let mut running = Running::start(shared.kind, place, &Subject::Small.model(1))?;
    let make = |address, expected| Streams::new(address, shared, expected);
    let mut stage = Stage::new(&mut running, Subject::Small, make)?;
    stage.grow(extent.most())?;
    stage.add_memory(figures, who, What::Resident, Some(What::Charged));
    stage.cycles(5, Again::WhenAsked, figures, who, (What::Cpu, What::Last))?;
    stage.add_memory(figures, who, What::ResidentAfterChanges, None);
    Ok(())
}
