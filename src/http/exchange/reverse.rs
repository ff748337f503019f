//! Workers that dial in: the roles on their connection are turned (`Upgrade: ptth`, draft-kazuho-ptth), and they are asked by
//! HTTP/1.1 or HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use http_body::Body as _;
use hyper_util::rt::TokioIo;

use super::claims::key_of;
use super::{Answered, Arrived, empty, only};
use crate::access::Caller;
use crate::bounds::EXCHANGE_SLOTS;
use crate::describe::Problem;
use crate::describe::problem::Kind;
use crate::exchange::Exchange;
use crate::exchange::core::Key;
use crate::exchange::metrics::Transport;
use crate::exchange::workers::WorkerDetails;
use crate::http::request_body::RequestBody;
use crate::lifecycle::stop;
use crate::protocol::fields::{AGENT_ID, ALPN, EXCHANGE_SLOTS as SLOTS};

mod http1;
mod http2;
mod posted;
mod pump;

pub(super) use http1::{message, serve as serve_http1};

/// The protocol of the upgrade.
const PTTH: &str = "ptth";

/// A worker that has dialled in.
pub(super) struct ReverseWorker {
    pub(super) exchange: Arc<Exchange>,
    /// It takes items of this key alone.
    pub(super) key: Option<Key>,
    pub(super) details: WorkerDetails,
    /// Who it is: it is asked for nothing once it may not work any more.
    pub(super) caller: Caller,
    pub(super) stop: stop::Watch,
}

impl ReverseWorker {
    /// Waits until it is to go, since the process drains, or the exchange does not take it any more: why.
    async fn leaves(&self) -> &'static str {
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = stop.left(stop::Phase::default()) => "this server stops",
            () = self.exchange.unwelcome(self.details.transport()) => "the exchange does not take it any more",
        }
    }
}

/// Answers a worker that dials in.
pub(super) async fn answer(arrived: Arrived<'_>, body: RequestBody) -> Answered {
    let is_plain = body.is_end_stream();
    let (transport, key, slots) = match wanted(&arrived, is_plain) {
        Ok(wanted) => wanted,
        Err(problem) => {
            let mut answered = arrived.refuse(problem, body).await;
            if answered.response.status() == StatusCode::UPGRADE_REQUIRED && arrived.parts.version != Version::HTTP_2 {
                let headers = answered.response.headers_mut();
                headers.insert(header::UPGRADE, HeaderValue::from_static(PTTH));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
            return answered;
        }
    };
    let (exchanges, exchange) = (arrived.exchanges, Arc::clone(arrived.exchange));
    let agent = arrived.parts.headers.get(AGENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()).into());
    let details = arrived.worker(transport, agent.as_ref(), slots);
    let worker = ReverseWorker { exchange, key, details, caller: arrived.caller.clone(), stop: arrived.stop.clone() };
    let mut request = Request::from_parts(arrived.received.parts, ());
    let upgraded = hyper::upgrade::on(&mut request);
    let (tasks, cut) = (exchanges.tasks.clone(), exchanges.cut.clone());
    let serving = async move {
        match upgraded.await {
            Ok(upgraded) => {
                let io = TokioIo::new(upgraded);
                match transport {
                    Transport::Http2 => http2::serve(io, worker, slots).await,
                    Transport::Http1 | Transport::Raw | Transport::Claims => http1::serve(io, worker, &tasks).await,
                }
            }
            Err(error) => tracing::debug!(%error, "a worker left before its connection was turned"),
        }
    };
    exchanges.tasks.spawn(async move {
        cut.run_until_cancelled(serving).await;
    });
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.remove(header::CACHE_CONTROL);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PTTH));
    let alpn = if transport == Transport::Http2 { "h2" } else { "http%2F1.1" };
    headers.insert(ALPN, HeaderValue::from_static(alpn));
    Answered { response, is_read: true, held: Duration::ZERO }
}

/// What a worker wants: by which protocol it is asked, for which key, and for how many requests at once.
fn wanted(arrived: &Arrived<'_>, is_plain: bool) -> Result<(Transport, Option<Key>, usize), Problem> {
    let (parts, transports) = (&arrived.parts, arrived.config.transports);
    if parts.method != Method::GET {
        let detail = format!("{} does not turn a connection: send GET", parts.method);
        return Err(Problem::new(Kind::MethodNotAllowed, detail));
    }
    let asks = |name: header::HeaderName, word: &str| {
        let values = parts.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    let upgrades =
        parts.version == Version::HTTP_11 && asks(header::CONNECTION, "upgrade") && asks(header::UPGRADE, PTTH);
    only(parts, &["key"])?;
    if !upgrades || !is_plain {
        let detail = "a worker dials in by HTTP/1.1 with Connection: upgrade, Upgrade: ptth and without a body; a proxy in \
                      between has to pass these on";
        return Err(Problem::new(Kind::UpgradeRequired, detail));
    }
    // In the order of the worker's liking; without the field it is HTTP/1.1.
    let values = parts.headers.get_all(ALPN).into_iter().filter_map(|value| value.to_str().ok());
    let mut protocols: Vec<_> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    if protocols.is_empty() {
        protocols.push("http%2F1.1");
    }
    let transport = protocols.iter().find_map(|protocol| match *protocol {
        "h2" if transports.http2 => Some(Transport::Http2),
        "http%2F1.1" | "http%2f1.1" if transports.http1 => Some(Transport::Http1),
        _ => None,
    });
    let transport = transport.ok_or_else(|| {
        let known = [(transports.http2, "h2"), (transports.http1, "http%2F1.1")];
        let known: Vec<_> = known.into_iter().filter_map(|(is_on, name)| is_on.then_some(name)).collect();
        Problem::parameter("ALPN", &protocols.join(", "), &format!("this exchange speaks {}", known.join(" and ")))
    })?;
    let slots = match parts.headers.get(SLOTS) {
        None => {
            if transport == Transport::Http2 {
                EXCHANGE_SLOTS
            } else {
                1
            }
        }
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            let slots = text.parse().ok().filter(|slots| *slots >= 1);
            slots.ok_or_else(|| Problem::parameter("Exchange-Slots", &text, "give a number from 1"))?
        }
    };
    Ok((transport, key_of(arrived)?, slots.min(EXCHANGE_SLOTS)))
}
