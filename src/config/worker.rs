//! What `tidewait worker` is asked for: the options of its command line, and the same, resolved. What is wrong is reported all at
//! once.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;

use super::problem::Problems;
use super::reader::Reader;
use super::{Log, LogFormat, Protocol, agent, ranges, value};
use crate::bounds::{WORKER_GATED_SLOTS, WORKER_SLOTS};
use crate::client;

pub(crate) mod layers;
mod options;
mod values;

pub use options::WorkerOptions;

/// What `tidewait worker` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The server that answers the requests.
    pub to: Authority,
    /// The exchanges, and what is shown there.
    pub exchange: client::Settings,
    /// Only requests of this key are taken.
    pub key: Option<String>,
    /// What is spoken on the connections that it dials.
    pub protocol: Protocol,
    /// Requests at a time at most.
    pub slots: usize,
    /// What has to be free for one more slot.
    pub gates: Vec<Gate>,
    /// The control group that is read; absent: that of the process.
    pub cgroup: Option<PathBuf>,
    /// Where consumers fetch answers themselves.
    pub redirect: Option<Redirect>,
    /// How long requests may still take after SIGTERM.
    pub grace: Duration,
    /// Where operators and the kubelet ask.
    pub admin: Option<SocketAddr>,
    /// The log.
    pub log: Log,
}

/// What has to be free for one more slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// So many thousandths of a core.
    Cpu(u32),
    /// So many bytes.
    Memory(u64),
    /// This command of a shell ends with 0.
    Command(String),
    /// This URL answers 2xx.
    Url(Uri),
}

/// Where consumers fetch answers themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The address that listens.
    pub listen: SocketAddr,
    /// The URL by which consumers reach it, without a slash at its end.
    pub advertise: String,
}

/// What is asked for, if all of it can be: options win over the environment. `host` is the name of the host.
pub fn resolve(options: &WorkerOptions, variables: &[(String, OsString)], host: &str) -> Result<Worker, Problems> {
    let mut problems = Problems::default();
    let flags = layers::from_flags(options);
    let environment = layers::from_environment(variables, &mut problems);
    let mut reader = Reader { layers: vec![&flags, &environment], problems: &mut problems };
    let to = reader.optional("to", values::to);
    if to.is_none() && !reader.contains("to") {
        reader.problems.push("--to", "is missing: give the URL of the server, such as http://127.0.0.1:8080");
    }
    let exchange = exchange(&mut reader, host);
    let key = reader.optional("key", values::key);
    let protocol = reader.optional("protocol", values::protocol).unwrap_or(Protocol::Http2);
    let gates = reader.list("gate", values::gate);
    let slots = reader.optional("slots", |text| value::number(text, &(1..=WORKER_SLOTS)));
    let slots = slots.unwrap_or(if gates.is_empty() { 1 } else { WORKER_GATED_SLOTS });
    let cgroup = reader.optional("cgroup", value::file_path);
    let reads_cgroup = gates.iter().any(|gate| matches!(gate, Gate::Cpu(_) | Gate::Memory(_)));
    if let (Some(given), false) = (reader.given("cgroup"), reads_cgroup) {
        reader.wrong(given, "is of no use without --gate cpu or --gate memory: give one too, or leave this out");
    }
    let redirect = redirect(&mut reader);
    let grace = reader.optional("grace", |text| value::duration(text, &ranges::GRACE));
    let grace = grace.unwrap_or(Duration::from_secs(20));
    let admin = reader.optional("admin", value::address);
    let format = reader.optional("log-format", value::log_format).unwrap_or(LogFormat::Text);
    let level = reader.optional("log-level", value::log_level).unwrap_or_else(|| "info".to_owned());
    let log = Log { format, level, access: false };
    match to {
        Some(to) if problems.is_empty() => {
            Ok(Worker { to, exchange, key, protocol, slots, gates, cgroup, redirect, grace, admin, log })
        }
        _ => Err(problems),
    }
}

fn exchange(reader: &mut Reader<'_>, host: &str) -> client::Settings {
    let endpoints = reader.list("exchange", values::exchange);
    if endpoints.is_empty() && !reader.contains("exchange") {
        let remedy = "is missing: give the URL of the exchange's endpoint, such as http://tidewait:8480/exchange/work";
        reader.problems.push("--exchange", remedy);
    }
    let certificate = match ["certificate", "certificate-key"].map(|name| reader.optional(name, value::file_path)) {
        [Some(certificate), Some(key)] => Some((certificate, key)),
        [None, None] => None,
        [Some(_), None] => {
            reader.problems.push("--certificate-key", "is missing: give the key of --certificate");
            None
        }
        [None, Some(_)] => {
            reader.problems.push("--certificate", "is missing: give the certificate of --certificate-key");
            None
        }
    };
    let settings = client::Settings {
        endpoints,
        agent_id: reader.optional("agent-id", |text| Ok(text.to_owned())).or_else(|| agent::of_host(host)),
        ca: reader.optional("ca", value::file_path),
        certificate,
        token_file: reader.optional("token-file", value::file_path),
        clear_credentials: reader.optional("allow-clear-credentials", value::switch).unwrap_or(false),
        ..client::Settings::new("", "/reverse")
    };
    if let (false, Err(error)) = (settings.endpoints.is_empty(), settings.validate()) {
        let flag = match error.name {
            "endpoints" => "--exchange",
            "agent_id" => "--agent-id",
            _ => "the connection",
        };
        let remedy = error.remedy.replace("a token_file", "a --token-file");
        let remedy = remedy.replace("clear_credentials", "--allow-clear-credentials");
        reader.problems.push(flag, format!("{:?}: {remedy}", error.value));
    }
    settings
}

fn redirect(reader: &mut Reader<'_>) -> Option<Redirect> {
    let listen = reader.optional("redirect-response", value::address);
    let advertise = reader.optional("advertise", values::advertise);
    if let (Some(given), None) = (reader.given("redirect-response"), reader.given("advertise")) {
        reader
            .wrong(given, "needs --advertise: give the URL by which consumers reach it, such as http://10.0.0.7:8490");
    }
    if let (Some(given), None) = (reader.given("advertise"), reader.given("redirect-response")) {
        reader.wrong(given, "is of no use without --redirect-response: give that too, or leave this out");
    }
    Some(Redirect { listen: listen?, advertise: advertise? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> String {
        text.to_owned()
    }

    fn options() -> WorkerOptions {
        let exchange = vec!["http://hub:8480/exchange/work".to_owned()];
        WorkerOptions { to: Some(given("http://127.0.0.1:8080")), exchange, ..WorkerOptions::default() }
    }

    #[test]
    fn the_least_that_is_asked_for_has_these_defaults() {
        let worker = resolve(&options(), &[], "node-1").expect("good");
        assert_eq!((worker.slots, worker.protocol, worker.grace), (1, Protocol::Http2, Duration::from_secs(20)));
        assert_eq!((worker.to.as_str(), worker.exchange.agent_id.as_deref()), ("127.0.0.1:8080", Some("node-1")));
        let gated = WorkerOptions { gate: vec!["cpu=1".to_owned()], ..options() };
        assert_eq!(resolve(&gated, &[], "a").expect("good").slots, WORKER_GATED_SLOTS);
    }

    #[test]
    fn options_win_over_the_environment() {
        let variables = ["SLOTS=4", "GRACE=5s", "EXCHANGE=http://a,http://b", "KEY="];
        let variables = variables.map(|pair| {
            let (name, value) = pair.split_once('=').expect("a variable");
            (format!("TIDEWAIT_WORKER_{name}"), value.into())
        });
        let options = WorkerOptions { exchange: Vec::new(), slots: Some(given("2")), ..options() };
        let worker = resolve(&options, &variables, "a").expect("good");
        assert_eq!((worker.slots, worker.grace, worker.key), (2, Duration::from_secs(5), None));
        assert_eq!(worker.exchange.endpoints, ["http://a", "http://b"]);
    }

    #[test]
    fn what_is_wrong_is_told_all_at_once_with_its_remedy() {
        let wrong = WorkerOptions {
            to: None,
            exchange: vec!["http://hub/x?key=a".to_owned()],
            slots: Some(given("0")),
            advertise: Some(given("http://h")),
            cgroup: Some(given("/sys")),
            certificate: Some(given("c")),
            ..WorkerOptions::default()
        };
        let problems = resolve(&wrong, &[], "a").expect_err("wrong").to_string();
        for expected in [
            "--to: is missing: give the URL of the server",
            "--exchange: \"http://hub/x?key=a\" has a query",
            "--slots: \"0\" is out of bounds: write 1 to 256",
            "--advertise: \"http://h\" is of no use without --redirect-response",
            "--cgroup: \"/sys\" is of no use without --gate",
            "--certificate-key: is missing",
        ] {
            assert!(problems.contains(expected), "{expected:?} is not in\n{problems}");
        }
        let far = WorkerOptions { token_file: Some(given("t")), ..options() };
        let problems = resolve(&far, &[], "a").expect_err("wrong").to_string();
        assert!(problems.starts_with("--exchange: ") && problems.contains("--allow-clear-credentials"), "{problems}");
    }
}
