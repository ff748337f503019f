//! What was promised of the front, and whether this run keeps it.

use super::Table;
use crate::candidates::Kind;
use crate::figures::{Figures, What, short};
use crate::measure::http2::Shared;
use crate::measure::pothead::{self, Hub};
use crate::measure::{Extent, agents, http2, nodes, proxy, reverse};

/// A promise: at most so much.
struct Target {
    what: String,
    most: f64,
    measured: Option<f64>,
}

/// The table of all.
pub(super) fn table(figures: &Figures, extent: &Extent) -> Table {
    let mut table = Table::new("Targets", 1, &["what", "at most", "measured", ""]);
    for Target { what, most, measured } in [parked, others, exchanges].into_iter().flat_map(|of| of(figures, extent)) {
        let Some(measured) = measured else { continue };
        let verdict = if measured <= most { "hit" } else { "**missed**" };
        table.row(vec![what, short(most), short(measured), verdict.to_owned()]);
    }
    table
}

fn parked(figures: &Figures, extent: &Extent) -> Vec<Target> {
    let tidewait = Kind::Tidewait.name();
    let most = extent.most();
    let one = |what, who| figures.median(what, who, most);
    let target = |what: &str, most, measured| Target { what: what.to_owned(), most, measured };
    let worst = [What::Resident, What::ResidentAfterChanges, What::ResidentAfterStorm];
    let worst = worst.into_iter().filter_map(|what| one(what, tidewait)).reduce(f64::max);
    let selection = figures.median(What::Resident, nodes::WHO, extent.nodes);
    let plain = one(What::Resident, tidewait);
    let mut targets = vec![
        target(
            "HTTP/1.1: kB resident per parked client, the worst of before, after 20 changes and after a storm",
            1.0,
            worst,
        ),
        target("the same with an Agent-Id, kB", 1.6, one(What::Resident, agents::WHO)),
        target("what a selection of its own adds, kB", 2.5, selection.zip(plain).map(|(with, without)| with - without)),
    ];
    for Shared { sharing, who, .. } in http2::SHARED.into_iter().filter(|shared| shared.kind == Kind::Tidewait) {
        let windows = if who == http2::DEFAULT { " and default windows" } else { "" };
        let name = format!("HTTP/2, {sharing} streams a connection{windows}");
        targets.push(target(&format!("{name}: kB resident per stream"), 1.0, one(What::Resident, who)));
        targets.push(target(&format!("{name}: us of CPU per stream told"), 4.0, one(What::Cpu, who)));
    }
    targets
}

fn others(figures: &Figures, extent: &Extent) -> Vec<Target> {
    let (tidewait, floor) = (Kind::Tidewait.name(), Kind::Floor.name());
    let most = extent.most();
    let beside_floor = |what| figures.ratio(what, tidewait, floor, most);
    let [(_, proxied), (_, nginx)] = proxy::BOTH;
    let beside_nginx = |what| figures.ratio(what, proxied, nginx, proxy::CLIENTS);
    let selected = figures.median(What::Cpu, nodes::WHO, extent.nodes);
    let whole = figures.median(What::Cpu, tidewait, most);
    let of = |what| figures.median(what, nodes::WHO, extent.nodes);
    let target = |what: &str, most, measured| Target { what: what.to_owned(), most, measured };
    vec![
        target("CPU per client told, times the floor's", 1.1, beside_floor(What::Cpu)),
        target("time until the last is told, times the floor's", 1.0, beside_floor(What::Last)),
        target("CPU per reconnecting client until it is parked, times the floor's", 1.5, beside_floor(What::StormCpu)),
        target(
            &format!("s until {most} that reconnect at once are parked"),
            2.0,
            figures.median(What::StormTime, tidewait, most),
        ),
        target("proxying 1 kB: CPU per request, times nginx's", 1.2, beside_nginx(What::ProxySmall)),
        target("proxying 256 kB: CPU per request, times nginx's", 0.6, beside_nginx(What::ProxyLarge)),
        target("one node changes: ms from the change to the one answer", 30.0, of(What::LastOfOne)),
        target("all selections change: ms that another request waits at most", 20.0, of(What::Probe)),
        target(
            "all selections change: CPU per client, times that of the whole model",
            1.5,
            selected.zip(whole).map(|(selected, whole)| selected / whole),
        ),
    ]
}

fn exchanges(figures: &Figures, extent: &Extent) -> Vec<Target> {
    let of = |what| figures.median(what, reverse::WHO, reverse::CONSUMERS);
    let beside = |what, consumers| figures.ratio(what, Hub::Tidewait.name(), Hub::Pothead.name(), consumers);
    let rate = |consumers| figures.median(What::JobRate, Hub::Http2.name(), consumers);
    let target = |what: &str, most, measured| Target { what: what.to_owned(), most, measured };
    let worst = pothead::CONSUMERS.into_iter().filter_map(rate).reduce(f64::min);
    let waits = |what, count| figures.median(what, reverse::WHO, count);
    vec![
        target(
            "2 workers over HTTP/2, 1 to 10 consumers: % of the ideal throughput that is lost, at worst",
            3.0,
            worst.map(|rate| 100.0 - rate),
        ),
        target(
            "2 workers of POTHEAD, 10 consumers: 99th percentile, times that of its own hub",
            1.0,
            beside(What::JobTail, 10),
        ),
        target(
            "reverse HTTP/2: us from one answer to the next, which are 5000 requests a second",
            200.0,
            of(What::ExchangeRate).map(|rate| 1e6 / rate),
        ),
        target(
            "reverse HTTP/2: % of the requests that met no free slot",
            5.0,
            of(What::Immediate).map(|immediate| 100.0 - immediate),
        ),
        target("a request of a consumer that waits, kB resident", 1.0, waits(What::Queued, extent.queued)),
        target("a poll of a worker that waits, kB resident", 1.6, waits(What::Polling, extent.queued / 2)),
    ]
}
