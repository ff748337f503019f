//! PURE. Exchanges: those of the configuration file, and those that `--exchange` names by their paths alone.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;

use super::{Layer, Problems, Reader, collide};
use crate::config::problem::quote;
use crate::config::{
    Backend, BodyLimits, Chain, Config, Conflict, ConflictField, Exchange, Hold, Lease, Operation, PathPattern,
    QueueLimits, Repeat, ResultLimits, Transports, ranges, value,
};

/// All exchanges, each with its origin: `flags` has the paths of `--exchange`, which come last.
pub(super) fn exchanges(
    flags: &mut Reader<'_>,
    listed: Option<&[Layer]>,
    operations: &[Operation],
) -> Vec<(String, Exchange)> {
    let mut found: Vec<(String, Exchange)> = Vec::new();
    let given: Vec<_> = flags
        .layers
        .iter()
        .find(|layer| layer.contains("exchange"))
        .map_or(&[][..], |layer| layer.all("exchange"))
        .to_vec();
    let of_flags = given.into_iter().map(|given| {
        let mut layer = Layer::new(&given.origin);
        layer.add("exchange.path", given.origin, given.text);
        layer
    });
    let of_flags: Vec<_> = of_flags.collect();
    let listed = listed.unwrap_or_default();
    let mut of_file = 0;
    for (at, layer) in listed.iter().chain(&of_flags).enumerate() {
        let mut reader = Reader { layers: vec![layer], problems: flags.problems };
        if let Some(exchange) = exchange(&mut reader) {
            found.push((layer.origin.clone(), exchange));
            of_file += usize::from(at < listed.len());
        }
    }
    let (of_file, of_flags) = found.split_at(of_file);
    distinct(of_file, of_flags, operations, flags.problems);
    found
}

/// Each raw port is a port of its own.
pub(super) fn ports(found: &[(String, Exchange)], process: Option<&Config>, problems: &mut Problems) {
    let mut taken: Vec<(SocketAddr, String)> = Vec::new();
    if let Some(process) = process {
        taken.extend([(process.listen, "--listen".to_owned()), (process.admin, "--admin".to_owned())]);
    }
    for (origin, exchange) in found {
        let Some(raw) = exchange.raw else { continue };
        let field = format!("{origin}.workers.raw");
        if let Some((_, other)) = taken.iter().find(|(other, _)| collide(raw, *other)) {
            problems
                .push(&field, format!("{} is also the port of {other}: give each its own", quote(&raw.to_string())));
        }
        taken.push((raw, field));
    }
}

/// No two exchanges, and no exchange and operation, are at one path.
fn distinct(
    of_file: &[(String, Exchange)],
    of_flags: &[(String, Exchange)],
    operations: &[Operation],
    problems: &mut Problems,
) {
    // A flag has no fields, and its exchange is known by the path.
    let of_file = of_file.iter().map(|(origin, exchange)| (true, origin.clone(), exchange));
    let of_flags =
        of_flags.iter().map(|(origin, exchange)| (false, format!("{origin} {}", exchange.path.as_str()), exchange));
    let all: Vec<_> = of_file.chain(of_flags).collect();
    for (at, (has_fields, origin, exchange)) in all.iter().enumerate() {
        let others = all[..at].iter().filter_map(|(_, whose, other)| exchange.conflict(other, whose));
        let operations = operations.iter();
        let operations = operations.filter_map(|it| exchange.conflict_with_operation(&it.name, &it.path));
        for Conflict { field, message } in others.chain(operations).chain(exchange.conflict_with_itself()) {
            match field {
                _ if *has_fields => problems.push(format!("{origin}.{}", field.as_str()), message),
                ConflictField::Path => problems.push(origin, message),
                ConflictField::Name | ConflictField::Endpoint => {
                    let remedy = "a flag gives only the path, so write it into the configuration file (--config)";
                    problems.push(origin, format!("its {} {message}; {remedy}", field.as_str()));
                }
            }
        }
    }
}

/// One exchange, wherever it is described.
pub(super) fn exchange(reader: &mut Reader<'_>) -> Option<Exchange> {
    if !reader.contains("exchange.path") {
        reader.wrong_field("path", "is missing: write the path of the requests that wait for workers");
    }
    let path = reader.optional("exchange.path", PathPattern::parse);
    let name = reader.optional("exchange.name", value::operation_name);
    let endpoint = reader.optional("exchange.endpoint", endpoint);
    let methods = reader.list("exchange.methods", method);
    let hold = hold(reader);
    let deadline = duration(reader, "deadline", Duration::from_secs(600));
    let (length, per_client) = places(reader);
    let queue = QueueLimits {
        length,
        per_client,
        age: duration(reader, "queue.age", Duration::from_secs(300)),
        async_age: duration(reader, "queue.asyncAge", Duration::from_secs(600)),
    };
    let lease = Lease { first: first_touch(reader, deadline), length: lease(reader) };
    let result = ResultLimits {
        keep: duration(reader, "result.keep", Duration::from_secs(60)),
        bytes: bytes(reader, "result.bytes", 8 << 20),
        window: bytes(reader, "result.window", 256 << 10),
    };
    let body =
        BodyLimits { bytes: bytes(reader, "body.bytes", 1 << 20), replay: bytes(reader, "body.replay", 64 << 10) };
    let attempts = reader.optional("exchange.attempts", |text| value::number(text, &ranges::EXCHANGE_ATTEMPTS));
    let chain = Chain {
        hops: reader
            .optional("exchange.chain.hops", |text| value::number(text, &ranges::EXCHANGE_HOPS))
            .map_or(3, |hops| u32::try_from(hops).unwrap_or(u32::MAX)),
        hold: duration(reader, "chain.hold", Duration::from_secs(20)).min(hold.max),
    };
    let (transports, raw) = (transports(reader), raw(reader));
    let path = path?;
    let name = name.unwrap_or_else(|| name_of(&path));
    Some(Exchange {
        endpoint: endpoint.unwrap_or_else(|| format!("/exchange/{name}")),
        name,
        path,
        methods,
        queue,
        hold,
        deadline,
        lease,
        attempts: attempts.map_or(3, |attempts| u32::try_from(attempts).unwrap_or(u32::MAX)),
        repeat: reader.optional("exchange.repeat", repeat).unwrap_or(Repeat::Idempotent),
        share: reader.optional("exchange.share", share).unwrap_or(false),
        result,
        body,
        transports,
        raw,
        refuse_after: refuse_after(reader),
        chain,
        backend: reader.optional("exchange.backend", backend).unwrap_or_default(),
    })
}

/// The last word of a path, as it is where rules of access can name it.
fn name_of(path: &PathPattern) -> String {
    let word = path.last_word();
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_plain { word.to_owned() } else { value::name_of_path(&format!("/{word}")) }
}

fn duration(reader: &mut Reader<'_>, field: &str, default: Duration) -> Duration {
    reader
        .optional(&format!("exchange.{field}"), |text| value::duration(text, &ranges::EXCHANGE_TIME))
        .unwrap_or(default)
}

fn number(reader: &mut Reader<'_>, field: &str, default: usize) -> usize {
    reader.optional(&format!("exchange.{field}"), |text| value::number(text, &ranges::COUNT)).unwrap_or(default)
}

fn bytes(reader: &mut Reader<'_>, field: &str, default: usize) -> usize {
    reader.optional(&format!("exchange.{field}"), |text| value::bytes(text, &ranges::EXCHANGE_BYTES)).unwrap_or(default)
}

/// A default that nobody chose gives way to a shorter maximum.
fn hold(reader: &mut Reader<'_>) -> Hold {
    let of = |reader: &mut Reader<'_>, field: &str| {
        reader.optional(&format!("exchange.hold.{field}"), |text| value::duration(text, &ranges::DEFAULT_WAIT))
    };
    let (default, max) = (of(reader, "default"), of(reader, "max"));
    let longest = max.unwrap_or(Duration::from_secs(55));
    if let (Some(default), Some(given)) = (default, reader.given("exchange.hold.default"))
        && default > longest
    {
        let message = format!("is longer than the longest hold, {}: lower it, or raise that", value::brief(longest));
        reader.wrong(given, &message);
    }
    Hold { default: default.unwrap_or(Duration::from_secs(25)).min(longest), max: longest }
}

/// How many may be queued, and how many of one client. A default that nobody chose gives way.
fn places(reader: &mut Reader<'_>) -> (usize, usize) {
    let length = number(reader, "queue.length", 1000);
    let per_client = number(reader, "queue.perClient", 16);
    if let Some(given) = reader.given("exchange.queue.perClient")
        && per_client > length
    {
        reader.wrong(given, &format!("is more than the whole queue has, {length}: lower it, or raise queue.length"));
    }
    (length, per_client.min(length))
}

/// How long a claim may be untouched: not longer than its answer may take. A default that nobody chose gives way.
fn first_touch(reader: &mut Reader<'_>, deadline: Duration) -> Duration {
    let first = duration(reader, "lease.first", Duration::from_secs(10));
    if let Some(given) = reader.given("exchange.lease.first")
        && first > deadline
    {
        let message = format!("is longer than the deadline, {}: lower it, or raise that", value::brief(deadline));
        reader.wrong(given, &message);
    }
    first.min(deadline)
}

/// A lease is longer than the time before its end at which a held beat is answered.
fn lease(reader: &mut Reader<'_>) -> Duration {
    let read = |text: &str| value::duration(text, &ranges::EXCHANGE_LEASE);
    reader.optional("exchange.lease.length", read).unwrap_or(Duration::from_secs(30))
}

fn endpoint(text: &str) -> Result<String, String> {
    let path = value::operation_path(text)?;
    if path == "/" || path.ends_with('/') {
        return Err("ends with a slash: write a path such as /exchange/cameras".to_owned());
    }
    Ok(path)
}

fn method(text: &str) -> Result<Method, String> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    let method = method.filter(|method| *method != Method::CONNECT && *method != Method::TRACE);
    method.ok_or_else(|| "is no method that an exchange takes: write one such as GET or POST".to_owned())
}

fn repeat(text: &str) -> Result<Repeat, String> {
    match text {
        "idempotent" => Ok(Repeat::Idempotent),
        "always" => Ok(Repeat::Always),
        "never" => Ok(Repeat::Never),
        _ => Err("does not say what is repeated: write idempotent, always or never".to_owned()),
    }
}

fn share(text: &str) -> Result<bool, String> {
    match text {
        "identicalGets" => Ok(true),
        "none" => Ok(false),
        _ => Err("does not say what is shared: write identicalGets or none".to_owned()),
    }
}

pub(super) fn backend(text: &str) -> Result<Backend, String> {
    let known = [Backend::Memory, Backend::Nats].into_iter().find(|backend| backend.as_str() == text);
    known.ok_or_else(|| "is no backend: write memory or nats".to_owned())
}

fn transports(reader: &mut Reader<'_>) -> Transports {
    if !reader.contains("exchange.workers.transports") {
        return Transports { claims: true, http1: true, http2: true };
    }
    let known = |text: &str| match text {
        "claims" | "http1" | "http2" => Ok(text.to_owned()),
        _ => Err("is no transport: write claims, http1 or http2".to_owned()),
    };
    let is_empty = reader.given("exchange.workers.transports").is_none();
    if is_empty && !reader.contains("exchange.workers.raw") {
        reader.wrong_field(
            "workers.transports",
            "is [], and there is no workers.raw, so that no worker could come: list claims, http1 or http2, or leave it out for all",
        );
    }
    let listed = reader.list("exchange.workers.transports", known);
    let has = |name: &str| listed.iter().any(|listed| listed == name);
    Transports { claims: has("claims"), http1: has("http1"), http2: has("http2") }
}

/// Nobody shows there who it is, so it is on this host unless that is said otherwise.
fn raw(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let anywhere = reader.optional("exchange.workers.allowRawFromAnywhere", value::switch) == Some(true);
    let address = reader.optional("exchange.workers.raw", value::address)?;
    if let Some(given) = reader.given("exchange.workers.raw")
        && !anywhere
        && !address.ip().to_canonical().is_loopback()
    {
        let message = "is reached from other machines, and workers show nobody there who they are: write a loopback address such as \
                       127.0.0.1:4040, or allowRawFromAnywhere: true where the network is trusted";
        reader.wrong(given, message);
    }
    Some(address)
}

fn refuse_after(reader: &mut Reader<'_>) -> Option<Duration> {
    let refuses = reader.optional("exchange.noWorker.action", |text| match text {
        "wait" => Ok(false),
        "refuse" => Ok(true),
        _ => Err("does not say what to do: write wait or refuse".to_owned()),
    });
    let after = duration(reader, "noWorker.after", Duration::from_secs(30));
    if let (Some(given), true) = (reader.given("exchange.noWorker.after"), refuses != Some(true)) {
        reader.wrong(given, "is of no use without action: refuse: write that too, or leave this out");
    }
    (refuses == Some(true)).then_some(after)
}

#[cfg(test)]
mod tests {
    use crate::config::file::ConfigFile;
    use crate::config::resolve::{Layers, resolve};
    use crate::config::settings::Options;
    use crate::config::{Exchange, Transports};

    fn resolved(flags: &[&str], yaml: &str) -> Result<Vec<Exchange>, String> {
        let head = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n";
        let file = (!yaml.is_empty()).then(|| ConfigFile { name: "f".to_owned(), text: Ok(format!("{head}{yaml}")) });
        let exchange = flags.iter().map(|path| (*path).to_owned()).collect();
        let config =
            resolve(&Layers { flags: Options { exchange, ..Options::default() }, environment: Vec::new(), file });
        config.map(|config| config.exchanges).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_path_is_enough_for_an_exchange() {
        let all = resolved(&["/start_work", "/cameras/{key}/logs"], "").expect("good");
        let names: Vec<_> = all.iter().map(|exchange| (&*exchange.name, &*exchange.endpoint)).collect();
        assert_eq!(names, [("start_work", "/exchange/start_work"), ("logs", "/exchange/logs")]);
        assert_eq!((all[0].queue.length, all[0].attempts, all[0].chain.hops), (1000, 3, 3));
    }

    #[test]
    fn all_fields_of_the_file_are_read() {
        let yaml = "exchanges: [{name: cameras, path: '/cameras/{key}/logs', methods: [GET], share: identicalGets, \
                    hold: {default: 5s, max: 10s}, queue: {length: 7, perClient: 2, age: 9s, asyncAge: 8s}, deadline: 90s, \
                    lease: {first: 3s, length: 4s}, attempts: 2, repeat: always, endpoint: /x, \
                    result: {keep: 6s, bytes: 1Mi, window: 64Ki}, body: {bytes: 2Ki, replay: 1Ki}, \
                    workers: {transports: [claims, http2], raw: '127.0.0.1:4040'}, \
                    noWorker: {action: refuse, after: 11s}, chain: {hops: 1, hold: 2s}, backend: memory}]";
        let all = resolved(&[], yaml).expect("good");
        let one = &all[0];
        assert_eq!(one.transports, Transports { claims: true, http1: false, http2: true });
        assert_eq!(
            (one.result.bytes, one.result.window, one.body.bytes, one.body.replay),
            (1 << 20, 65536, 2048, 1024)
        );
        assert!(one.share && one.raw.is_some() && one.refuse_after.is_some_and(|after| after.as_secs() == 11));
    }

    #[test]
    fn what_nobody_chose_gives_way_and_a_raw_port_alone_is_a_way_in() {
        let yaml =
            "exchanges: [{path: /a, deadline: 5s, queue: {length: 4}, workers: {transports: [], raw: '127.0.0.1:0'}}]";
        let one = resolved(&[], yaml).expect("good").remove(0);
        assert_eq!((one.lease.first.as_secs(), one.queue.per_client), (5, 4));
        assert_eq!(one.transports, Transports { claims: false, http1: false, http2: false });
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        for (flags, yaml, expected) in [
            (&["x"][..], "", "--exchange: \"x\" is no path: write one such as /start_work"),
            (
                &["/a", "/b/a"],
                "",
                "--exchange /b/a: its name \"a\" is also the name of --exchange /a: give each exchange its own; a flag gives \
                 only the path, so write it into the configuration file (--config)",
            ),
            (
                &["/exchange/a"],
                "exchanges: [{name: b, path: /b, endpoint: /exchange/a}]",
                "--exchange /exchange/a: its endpoint \"/exchange/a\" is also the endpoint of f: exchanges[0]: give each its",
            ),
            (&["/a/{key}"], "exchanges: [{name: n, path: /a/b}]", "have paths in common: tell them apart"),
            (&[], "exchanges: [{name: n}]", "f: exchanges[0].path: is missing: write the path"),
            (&[], "exchanges: [{path: /a, hold: {default: 60s}}]", "is longer than the longest hold, 55s"),
            (
                &[],
                "exchanges: [{path: /a, repeat: once}]",
                "f: exchanges[0].repeat: \"once\" does not say what is repeated",
            ),
            (&[], "exchanges: [{path: /a, workers: {raw: '0.0.0.0:1'}}]", "is reached from other machines"),
            (
                &[],
                "exchanges: [{path: /a, workers: {transports: []}}]",
                "f: exchanges[0].workers.transports: is [], and there is no workers.raw",
            ),
            (
                &[],
                "exchanges: [{path: /a, workers: {raw: '127.0.0.1:8480'}}]",
                "f: exchanges[0].workers.raw: \"127.0.0.1:8480\" is also the port of --listen: give each its own",
            ),
            (&[], "exchanges: [{path: /a, workers: {raw: '127.0.0.1:8481'}}]", "is also the port of --admin"),
            (
                &[],
                "exchanges: [{path: /a, workers: {raw: '127.0.0.1:1'}}, {path: /b, workers: {raw: '127.0.0.1:1'}}]",
                "f: exchanges[1].workers.raw: \"127.0.0.1:1\" is also the port of f: exchanges[0].workers.raw",
            ),
            (
                &[],
                "exchanges: [{path: /a, deadline: 5s, lease: {first: 6s}}]",
                "f: exchanges[0].lease.first: \"6s\" is longer than the deadline, 5s: lower it, or raise that",
            ),
            (
                &[],
                "exchanges: [{path: /a, queue: {length: 4, perClient: 5}}]",
                "f: exchanges[0].queue.perClient: \"5\" is more than the whole queue has, 4: lower it, or raise queue.length",
            ),
            (&[], "exchanges: [{path: /a, noWorker: {after: 5s}}]", "is of no use without action: refuse"),
            (&[], "exchanges: [{path: /a, result: {bytes: 8MB}}]", "\"8MB\" is no number of bytes"),
            (&[], "exchanges: [{path: /a, methods: [TRACE]}]", "\"TRACE\" is no method that an exchange takes"),
            (&[], "exchanges: [{path: /exchange/a/x, name: a}]", "is at or above its own path"),
            (
                &["/describe"],
                "operations: [{path: /describe, source: {file: {path: x}}}]",
                "takes the path \"/describe\" of operation describe: choose another",
            ),
        ] {
            let told = resolved(flags, yaml).expect_err(expected);
            assert!(told.contains(expected), "{flags:?} {yaml}: {told}");
        }
    }
}
