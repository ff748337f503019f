//! The last report of a source in Kubernetes, so that the right one is repeated once contact is regained.

use super::{Draft, Report, Unusable};

/// The last report.
#[derive(Debug, Default)]
pub(super) struct LastReport {
    /// Why what the source holds cannot be served, if so.
    unusable: Option<Unusable>,
    /// Whether contact is lost.
    pub(super) lost: bool,
}

impl LastReport {
    /// The source answered with this.
    pub(super) fn answered(&mut self, result: Result<Draft, Unusable>) -> Report {
        self.lost = false;
        self.unusable = result.as_ref().err().cloned();
        result.map_or_else(Report::Unusable, Report::Holds)
    }

    /// It cannot be asked; `report` says why.
    pub(super) fn lost(&mut self, report: Report) -> Report {
        self.lost = true;
        report
    }

    /// Nothing changed. While the object cannot be served nothing is confirmed: that would make
    /// the last good state look fresh.
    pub(super) fn same(&mut self) -> Option<Report> {
        let was_lost = std::mem::take(&mut self.lost);
        match &self.unusable {
            None => Some(Report::Confirmed),
            Some(unusable) => was_lost.then(|| Report::Unusable(unusable.clone())),
        }
    }
}
