//! Tables of exchanges.

use super::Table;
use crate::figures::{Figures, What};
use crate::measure::pothead::{CONSUMERS, Hub, SLOTS};
use crate::measure::{Extent, reverse};

pub(super) fn beside_pothead(figures: &Figures, extent: &Extent) -> Table {
    let title = format!("{} requests for a job of 100 ms, with {SLOTS} workers of one slot each", extent.jobs);
    let head = ["consumers", "hub", "% of the ideal throughput", "ms, median", "ms, 99th percentile"];
    let mut table = Table::new(title, 2, &head);
    for consumers in CONSUMERS {
        for hub in Hub::ALL {
            let cell = |what| figures.cell(what, hub.name(), consumers);
            let (rate, median, tail) = (cell(What::JobRate), cell(What::JobMedian), cell(What::JobTail));
            table.row(vec![consumers.to_string(), hub.name().into(), rate, median, tail]);
        }
    }
    table
}

pub(super) fn kept(figures: &Figures) -> Table {
    let head = ["hub", "status 418", "a field of the answer", "a body of 100 kB", "work whose worker is killed"];
    let mut table = Table::new("What consumers of the same workers get", 1, &head);
    for hub in Hub::ALL {
        let cell = |what| match figures.median(what, hub.name(), 1) {
            None => String::new(),
            Some(kept) if kept > 0.5 => "kept".to_owned(),
            Some(_) => "**lost**".to_owned(),
        };
        let (status, field) = (cell(What::KeptStatus), cell(What::KeptField));
        table.row(vec![hub.name().into(), status, field, cell(What::KeptBody), cell(What::KeptWork)]);
    }
    table
}

pub(super) fn through_workers(figures: &Figures) -> Table {
    let title = format!(
        "Requests through {} workers over reverse HTTP/2, of {} slots each, from {} consumers",
        reverse::WORKERS,
        reverse::SLOTS,
        reverse::CONSUMERS
    );
    let head = ["server", "requests a second", "us of CPU per request", "% that met a free slot"];
    let mut table = Table::new(title, 1, &head);
    let cell = |what| figures.cell(what, reverse::WHO, reverse::CONSUMERS);
    let (rate, cpu, immediate) = (cell(What::ExchangeRate), cell(What::ExchangeCpu), cell(What::Immediate));
    table.row(vec![reverse::WHO.into(), rate, cpu, immediate]);
    table
}

pub(super) fn waiting(figures: &Figures, extent: &Extent) -> Table {
    let mut table = Table::new("What waits at an exchange", 2, &["what", "number", "kB resident each"]);
    for (name, number, what) in [
        ("requests of consumers", extent.queued, What::Queued),
        ("polls of workers, an Agent-Id each", extent.queued / 2, What::Polling),
    ] {
        table.row(vec![name.into(), number.to_string(), figures.cell(what, reverse::WHO, number)]);
    }
    table
}
