//! A topic with one publisher, read in each way: how late messages come, and what that takes.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Extent, micros_each, millis, number};
use crate::candidates::Place;
use crate::figures::{Figures, What};
use crate::outcome::{Outcome, because};
use crate::topic::{Mode, Reader, Server, Told, publish};

/// Up to so many messages a second, servers are measured beside each other: there is nothing that one could take from another.
const FEW: usize = 10;

/// One round: each rate, each way to read.
pub(crate) fn run(place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for &rate in &extent.rates {
        let at_once = if rate <= FEW { Mode::ALL.len() } else { 1 };
        for modes in Mode::ALL.chunks(at_once) {
            runtime.block_on(beside(modes, rate, place, extent, figures))?;
        }
    }
    Ok(())
}

/// Measures ways to read at the same time, with a server for each.
async fn beside(modes: &[Mode], rate: usize, place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let most = u32::try_from(extent.readers)?;
    let messages = rate * if rate <= FEW { extent.published.0 } else { extent.published.1 };
    let mut servers = Vec::new();
    for &mode in modes {
        let server = Server::start(place, mode)?;
        let mut readers = Vec::new();
        for _ in 0..most {
            readers.push(Reader::open(mode, server.address).await?);
        }
        servers.push((mode, server, readers));
    }
    let base = Instant::now();
    let mut running = Vec::new();
    for (mode, mut server, readers) in servers {
        let (before, mut tasks) = (server.process.cpu(), JoinSet::new());
        for (number, reader) in (0..most).zip(readers) {
            tasks.spawn(reader.read(messages, Duration::from_secs(3) * number / most, base));
        }
        let publishing = tokio::spawn(publish(server.address, messages, rate, base));
        running.push((mode, server, before, tasks, publishing));
    }
    for (mode, mut server, before, mut tasks, publishing) in running {
        publishing.await??;
        let mut all = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            all.push(ended??);
        }
        let cpu = server.process.cpu().saturating_sub(before);
        add(&all, cpu, (mode, rate, messages), figures)?;
        server.process.must_run()?;
    }
    Ok(())
}

fn add(
    all: &[Told],
    cpu: Duration,
    (mode, rate, messages): (Mode, usize, usize),
    figures: &mut Figures,
) -> Outcome<()> {
    if let Some(other) = all.iter().find(|told| told.delays.len() != messages) {
        return Err(because(format!("{} messages were told of {messages}", other.delays.len())));
    }
    let mut delays: Vec<_> = all.iter().flat_map(|told| told.delays.iter().copied()).collect();
    delays.sort_unstable();
    let told = delays.len();
    let of = |percent| delays.get(told * percent / 100).copied().unwrap_or_default();
    let each = |count: usize| number(count as u64) / number(told as u64);
    for (what, sample) in [
        (What::TopicMedian, millis(of(50))),
        (What::TopicTail, millis(of(99))),
        (What::TopicRequests, each(all.iter().map(|told| told.requests).sum())),
        (What::TopicBytes, each(all.iter().map(|told| told.bytes).sum())),
        (What::TopicCpu, micros_each(cpu, told)),
    ] {
        figures.add(what, mode.name(), rate, sample);
    }
    Ok(())
}
