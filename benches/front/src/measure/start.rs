//! From the start of the process to its first answer.

use super::millis;
use crate::candidates::{Kind, Place, Running};
use crate::figures::{Figures, What};
use crate::outcome::{Outcome, because};

/// What tables call it.
pub(crate) const WHO: &str = "tidewait";
const STARTS: usize = 5;

/// The example model, of 200 kB.
pub(crate) const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples/network.json");

/// One round.
pub(crate) fn run(place: &Place, figures: &mut Figures) -> Outcome<()> {
    let model = std::fs::read(MODEL).map_err(|error| because(format!("{MODEL}: {error}")))?;
    for _ in 0..STARTS {
        let running = Running::start(Kind::Tidewait, place, &model)?;
        figures.add(What::Start, WHO, 1, millis(running.ready));
    }
    Ok(())
}
