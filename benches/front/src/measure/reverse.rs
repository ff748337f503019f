//! Requests through workers over reverse HTTP/2, and what requests and polls take that wait.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Extent, micros_each, number};
use crate::candidates::Place;
use crate::candidates::hyper::page;
use crate::clients::{Again, Clients as _, Expected, Request};
use crate::crowd::Crowd;
use crate::exchange::workers::PAGE;
use crate::exchange::{Exchange, PATH};
use crate::figures::{Figures, What};
use crate::outcome::Outcome;

/// What tables call it.
pub(crate) const WHO: &str = "tidewait";
/// Connections of workers, and the slots of each.
pub(crate) const WORKERS: usize = 8;
pub(crate) const SLOTS: usize = 32;
/// Consumers, of which each asks again when it was answered: fewer than there are slots.
pub(crate) const CONSUMERS: usize = 64;

/// One round of requests that meet a free slot.
pub(crate) fn run(place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let mut exchange = Exchange::tidewait(place)?;
    let _workers = exchange.dial(place, WORKERS, SLOTS, Duration::ZERO)?;
    let expected = Expected::Whole(page(PAGE));
    let mut crowd = Crowd::new(exchange.address, Request::Page(PATH), expected.clone())?;
    crowd.grow(CONSUMERS)?;
    crowd.until_told(4 * CONSUMERS)?;
    let immediate = |exchange: &Exchange| exchange.metric("tidewait_exchange_immediate_total", "");
    let done = |exchange: &Exchange| exchange.metric("tidewait_exchange_ended_total", "as=\"done\"");
    crowd.expect(expected.clone(), Again::AtOnce);
    let before = (exchange.process.cpu(), immediate(&exchange)?, done(&exchange)?, Instant::now());
    let last = crowd.until_told(extent.exchanged)?;
    let (cpu, elapsed) = (exchange.process.cpu().saturating_sub(before.0), last - before.3);
    crowd.expect(expected, Again::WhenAsked);
    crowd.until_told(CONSUMERS)?;
    crowd.verdict(CONSUMERS)?;
    let (immediate, done) = (immediate(&exchange)? - before.1, done(&exchange)? - before.2);
    let requests = number(extent.exchanged as u64);
    figures.add(What::ExchangeRate, WHO, CONSUMERS, requests / elapsed.as_secs_f64());
    figures.add(What::ExchangeCpu, WHO, CONSUMERS, micros_each(cpu, extent.exchanged));
    figures.add(What::Immediate, WHO, CONSUMERS, 100.0 * number(immediate) / number(done));
    Ok(())
}

/// One round of what waits: requests that no worker takes, and polls of workers for which there is no request.
pub(crate) fn wait(place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
    let fields = "Host: bench\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n";
    let consumer = |_| format!("GET {PATH} HTTP/1.1\r\n{fields}Prefer: wait=55\r\n\r\n");
    let poll = |number| {
        let target = "/exchange/work/claims?wait=55";
        format!("POST {target} HTTP/1.1\r\n{fields}Agent-Id: worker-{number:05}\r\nContent-Length: 0\r\n\r\n")
    };
    park(place, "tidewait_exchange_queued", extent.queued, What::Queued, consumer, figures)?;
    park(place, "tidewait_exchange_polls", extent.queued / 2, What::Polling, poll, figures)
}

fn park(
    place: &Place,
    gauge: &str,
    count: usize,
    what: What,
    head: impl Fn(usize) -> String,
    figures: &mut Figures,
) -> Outcome<()> {
    let mut exchange = Exchange::tidewait(place)?;
    let mut connections = Vec::with_capacity(count);
    let mut idle = 0;
    // What is made once is there before it is measured.
    let first = count / 50;
    for at in 0..first + count {
        if at == first {
            exchange.until(gauge, "", first)?;
            idle = exchange.process.resident();
        }
        let mut connection = TcpStream::connect(exchange.address)?;
        connection.write_all(head(at).as_bytes())?;
        connections.push(connection);
    }
    exchange.until(gauge, "", first + count)?;
    let grown = exchange.process.resident().saturating_sub(idle);
    figures.add(what, WHO, count, number(grown) / number(count as u64) / 1000.0);
    Ok(())
}
