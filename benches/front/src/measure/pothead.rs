//! Consumers of two workers: those of POTHEAD, which dial in at its own hub and at Tidewait, and such as speak HTTP/2.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Response;
use tokio::time::timeout;

use super::{Extent, millis, number};
use crate::candidates::Place;
use crate::candidates::hyper::page;
use crate::exchange::consumers::{Consumer, ask_often};
use crate::exchange::workers::PAGE;
use crate::exchange::{Exchange, pothead};
use crate::figures::{Figures, What};
use crate::outcome::{Outcome, because};
use crate::process::Process;

/// Numbers of consumers.
pub(crate) const CONSUMERS: [usize; 4] = [1, 2, 4, 10];
/// How many work at a time.
pub(crate) const SLOTS: usize = 2;
const JOB: Duration = Duration::from_millis(100);
/// How long a consumer waits for an answer that may never come.
const PATIENCE: Duration = Duration::from_secs(6);
/// What a consumer sends.
const BODY: usize = 100_000;

/// Whose hub it is, and which workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hub {
    Pothead,
    /// The workers of POTHEAD dial in at the raw port.
    Tidewait,
    /// Workers over reverse HTTP/2.
    Http2,
}

impl Hub {
    /// All, as tables list them.
    pub(crate) const ALL: [Self; 3] = [Self::Pothead, Self::Tidewait, Self::Http2];

    /// What tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pothead => "POTHEAD",
            Self::Tidewait => "tidewait",
            Self::Http2 => "tidewait, workers over HTTP/2",
        }
    }

    fn start(self, place: &Place) -> Outcome<Exchange> {
        match self {
            Self::Pothead => Exchange::pothead(place),
            Self::Tidewait | Self::Http2 => Exchange::tidewait(place),
        }
    }
}

/// One round of one of them.
pub(crate) fn run(hub: Hub, place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut exchange = hub.start(place)?;
    let (_workers, expected) = match hub {
        Hub::Pothead | Hub::Tidewait => {
            (vec![worker(place, &exchange)?, worker(place, &exchange)?], Bytes::from_static(b"done"))
        }
        Hub::Http2 => (vec![exchange.dial(place, SLOTS, 1, JOB)?], page(PAGE).into()),
    };
    runtime.block_on(times(hub, exchange.address, &expected, extent.jobs, figures))?;
    if hub == Hub::Http2 {
        return Ok(());
    }
    for (what, is_kept) in runtime.block_on(kept(hub, place))? {
        if hub == Hub::Tidewait && !is_kept {
            return Err(because(format!("{what:?} is lost")));
        }
        figures.add(what, hub.name(), 1, f64::from(u8::from(is_kept)));
    }
    Ok(())
}

async fn times(hub: Hub, to: SocketAddr, expected: &Bytes, requests: usize, figures: &mut Figures) -> Outcome<()> {
    // Then Python is loaded, and both workers are there.
    ask_often(to, 2 * SLOTS, 4 * SLOTS, "sleep=0.1", expected).await?;
    for consumers in CONSUMERS {
        let (times, all) = ask_often(to, consumers, requests, "sleep=0.1", expected).await?;
        // The least that so many of a hundred are not above.
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
        figures.add(What::JobMedian, hub.name(), consumers, millis(at(50)));
        figures.add(What::JobTail, hub.name(), consumers, millis(at(99)));
        let ideal = JOB.as_secs_f64() * number(requests as u64) / number(consumers.min(SLOTS) as u64);
        figures.add(What::JobRate, hub.name(), consumers, 100.0 * ideal / all.as_secs_f64());
    }
    Ok(())
}

/// What consumers get of that which they and the worker have sent. Each is tried at a hub of its own, since one of them never
/// gets over some of it.
async fn kept(hub: Hub, place: &Place) -> Outcome<[(What, bool); 4]> {
    let answer = {
        let exchange = hub.start(place)?;
        let _worker = worker(place, &exchange)?;
        ask(exchange.address, "GET", "teapot", Bytes::new()).await
    };
    let status = answer.as_ref().is_some_and(|answer| answer.status() == 418);
    let field = answer.as_ref().is_some_and(|answer| answer.headers().get("x-a").is_some_and(|value| value == "b"));
    let body = {
        let exchange = hub.start(place)?;
        let _worker = worker(place, &exchange)?;
        let sent = Bytes::from(page(BODY));
        ask(exchange.address, "POST", "echo", sent.clone()).await.is_some_and(|answer| *answer.body() == sent)
    };
    let work = killed(hub, place).await?;
    Ok([(What::KeptStatus, status), (What::KeptField, field), (What::KeptBody, body), (What::KeptWork, work)])
}

/// Whether a request whose worker is killed is answered by another.
async fn killed(hub: Hub, place: &Place) -> Outcome<bool> {
    let exchange = hub.start(place)?;
    let begun = place.folder.join(pothead::BEGUN);
    let _ = fs::remove_file(&begun);
    let first = worker(place, &exchange)?;
    let asking = tokio::spawn(ask(exchange.address, "GET", "sleep=1", Bytes::new()));
    let start = Instant::now();
    while !begun.exists() {
        if start.elapsed() > PATIENCE {
            return Err(because("no worker has begun"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(first);
    let _second = worker(place, &exchange)?;
    Ok(asking.await?.is_some_and(|answer| **answer.body() == *b"done"))
}

/// The answer to one request; none: it did not come.
async fn ask(to: SocketAddr, method: &'static str, job: &'static str, body: Bytes) -> Option<Response<Bytes>> {
    let asked = async { Consumer::connect(to).await.ok()?.ask(method, job, body).await.ok() };
    timeout(PATIENCE, asked).await.ok().flatten()
}

fn worker(place: &Place, exchange: &Exchange) -> Outcome<Process> {
    pothead::worker(place, exchange.raw)
}
