//! What is printed in the end, in Markdown.

use std::fmt::Write as _;
use std::path::Path;

use self::table::Table;
use crate::candidates::Kind;
use crate::figures::{Figures, What, short};
use crate::machine;
use crate::measure::{Extent, agents, cluster, http2, nodes, proxy, start};

mod exchange;
mod table;
mod targets;
mod topics;

/// The servers that park, as tables list them.
pub(crate) const KINDS: [Kind; 4] = [Kind::Floor, Kind::Tidewait, Kind::Hyper, Kind::Nchan];

/// All tables; `notes` say what is missing and why.
pub(crate) fn write(figures: &Figures, extent: &Extent, rounds: usize, tidewait: &Path, notes: &[String]) -> String {
    let mut text = format!(
        "Measured on {} in {rounds} rounds: {}. A cell is the median of all samples (and the least to the most).\n\n",
        machine::date(),
        machine::describe(tidewait)
    );
    for sentence in notes {
        let _ = writeln!(text, "{sentence}.\n");
    }
    let most = extent.most();
    let tables = [
        memory(figures, extent),
        told(figures, extent),
        curve(figures, extent, "kB resident per parked client", What::Resident),
        curve(figures, extent, "us of CPU per client told", What::Cpu),
        curve(figures, extent, "ms from the change to the last client told", What::Last),
        at_once(figures, most),
        storm(figures, most),
        one_of_many(figures, extent),
        proxied(figures),
        started(figures),
        committed(figures, most),
        exchange::beside_pothead(figures, extent),
        exchange::kept(figures),
        exchange::through_workers(figures),
        exchange::waiting(figures, extent),
        topics::read(figures, extent),
        targets::table(figures, extent),
        million(figures, most),
    ];
    for table in tables {
        let _ = write!(text, "{table}");
    }
    text
}

/// Everyone who parks, and with how many clients.
fn everyone(extent: &Extent) -> Vec<(&'static str, usize)> {
    let most = extent.most();
    let mut all: Vec<_> = KINDS.into_iter().map(|kind| (kind.name(), most)).collect();
    all.push((agents::WHO, most));
    all.extend([nodes::WHO, nodes::PATCHES].map(|who| (who, extent.nodes)));
    all.extend(http2::SHARED.map(|shared| (shared.who, most)));
    all
}

fn memory(figures: &Figures, extent: &Extent) -> Table {
    let head = ["server", "clients", "kB resident", "after changes", "after a storm", "kB as a cgroup counts"];
    let mut table = Table::new("Memory per parked client", 2, &head);
    for (who, clients) in everyone(extent) {
        let cell = |what| figures.cell(what, who, clients);
        let after = [What::ResidentAfterChanges, What::ResidentAfterStorm];
        let [changes, storm] = after.map(cell);
        table.row(vec![who.into(), clients.to_string(), cell(What::Resident), changes, storm, cell(What::Charged)]);
    }
    table
}

fn told(figures: &Figures, extent: &Extent) -> Table {
    let head = ["server", "clients", "us of CPU per client", "x floor", "ms until the last", "x floor"];
    let mut table = Table::new("A change that all clients are told", 2, &head);
    for (who, clients) in everyone(extent) {
        let cell = |what| figures.cell(what, who, clients);
        let ratio = |what| {
            let floor = figures.median(what, Kind::Floor.name(), extent.most());
            // Per client; the time is that of all of them.
            figures.median(what, who, clients).zip(floor).map_or_else(String::new, |(it, floor)| short(it / floor))
        };
        let last = if clients == extent.most() { ratio(What::Last) } else { String::new() };
        table.row(vec![who.into(), clients.to_string(), cell(What::Cpu), ratio(What::Cpu), cell(What::Last), last]);
    }
    table
}

fn curve(figures: &Figures, extent: &Extent, title: &str, what: What) -> Table {
    let mut head = vec!["clients"];
    head.extend(KINDS.map(Kind::name));
    let mut table = Table::new(format!("The curve: {title}"), 1, &head);
    for &clients in &extent.clients {
        let mut row = vec![clients.to_string()];
        row.extend(KINDS.map(|kind| figures.cell(what, kind.name(), clients)));
        table.row(row);
    }
    table
}

fn at_once(figures: &Figures, clients: usize) -> Table {
    let head = ["server", "us of CPU per client", "ms until the last", "ms that another request waits at most"];
    let mut table = Table::new(format!("The same with {clients} clients that poll again at once"), 1, &head);
    for kind in KINDS {
        let cell = |what| figures.cell(what, kind.name(), clients);
        table.row(vec![kind.name().into(), cell(What::CpuAtOnce), cell(What::LastAtOnce), cell(What::Probe)]);
    }
    table
}

fn storm(figures: &Figures, clients: usize) -> Table {
    let head = ["server", "us of CPU per client", "x floor", "s until all are parked"];
    let mut table = Table::new(format!("{clients} clients that reconnect at once"), 1, &head);
    for kind in KINDS {
        let cell = |what| figures.cell(what, kind.name(), clients);
        let ratio = figures.ratio(What::StormCpu, kind.name(), Kind::Floor.name(), clients);
        let ratio = ratio.map(short).unwrap_or_default();
        table.row(vec![kind.name().into(), cell(What::StormCpu), ratio, cell(What::StormTime)]);
    }
    table
}

fn one_of_many(figures: &Figures, extent: &Extent) -> Table {
    let head = ["server", "ms until the one is told", "ms of CPU", "ms that another request waits while all are told"];
    let mut table = Table::new(format!("A change of one of {} selections", extent.nodes), 1, &head);
    for who in [nodes::WHO, nodes::PATCHES] {
        let cell = |what| figures.cell(what, who, extent.nodes);
        table.row(vec![who.into(), cell(What::LastOfOne), cell(What::CpuOfOne), cell(What::Probe)]);
    }
    table
}

fn proxied(figures: &Figures) -> Table {
    let head = ["server", "us of CPU per request, 1 kB", "x nginx", "256 kB", "x nginx"];
    let mut table = Table::new("Requests for the app", 1, &head);
    let [_, (_, nginx)] = proxy::BOTH;
    for (_, who) in proxy::BOTH {
        let cell = |what| figures.cell(what, who, proxy::CLIENTS);
        let ratio = |what| figures.ratio(what, who, nginx, proxy::CLIENTS).map(short).unwrap_or_default();
        let (small, large) = (What::ProxySmall, What::ProxyLarge);
        table.row(vec![who.into(), cell(small), ratio(small), cell(large), ratio(large)]);
    }
    table
}

fn started(figures: &Figures) -> Table {
    let mut table = Table::new("Start with the example model", 1, &["server", "ms until it answers"]);
    table.row(vec![start::WHO.into(), figures.cell(What::Start, start::WHO, 1)]);
    table
}

fn committed(figures: &Figures, clients: usize) -> Table {
    let head = ["server", "ms from the write to the last client told", "ms from the answer to the write"];
    let mut table = Table::new(format!("A ConfigMap is written, and {clients} clients are told"), 1, &head);
    let cell = |what| figures.cell(what, cluster::WHO, clients);
    table.row(vec![cluster::WHO.into(), cell(What::Last), cell(What::LastAfterCommit)]);
    table
}

/// What the figures come to, multiplied.
fn million(figures: &Figures, most: usize) -> Table {
    let [shared, ..] = http2::SHARED;
    let servers = [Kind::Floor.name(), Kind::Tidewait.name(), shared.who];
    let head = [&["of all"][..], &servers].concat();
    let mut table = Table::new("The same multiplied: a million clients", 1, &head);
    let mut row = |name: &str, what| {
        // kB for each client are GB for a million; microseconds are seconds.
        let cells = servers.map(|who| figures.median(what, who, most).map(short).unwrap_or_default());
        table.row([&[name.to_owned()][..], &cells].concat());
    };
    row("GB of memory, as cgroups count it", What::Charged);
    row("seconds of CPU for a change that all are told: the cores that tell them in a second", What::Cpu);
    row("seconds of CPU until all that reconnect are parked", What::StormCpu);
    table
}
