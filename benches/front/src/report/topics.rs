//! The table of topics.

use super::Table;
use crate::figures::{Figures, What};
use crate::measure::Extent;
use crate::topic::Mode;

pub(super) fn read(figures: &Figures, extent: &Extent) -> Table {
    let title = format!("A topic with {} readers, and a publisher of messages of 100 bytes", extent.readers);
    let head = [
        "messages a second",
        "read by",
        "ms until it is read, median",
        "99th percentile",
        "requests per message",
        "bytes per message",
        "us of CPU per message",
    ];
    let mut table = Table::new(title, 2, &head);
    for &rate in &extent.rates {
        for mode in Mode::ALL {
            let cell = |what| figures.cell(what, mode.name(), rate);
            let mut row = vec![rate.to_string(), mode.name().to_owned()];
            let whats = [What::TopicMedian, What::TopicTail, What::TopicRequests, What::TopicBytes, What::TopicCpu];
            row.extend(whats.map(cell));
            table.row(row);
        }
    }
    table
}
