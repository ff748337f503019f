//! PURE. The NATS servers of a process, and which exchanges and topics need them.

use http::uri::Authority;

use crate::config::problem::Problems;
use crate::config::reader::Reader;
use crate::config::{Backend, Exchange, Nats, Topic, ranges, value};

/// The servers, where some are named.
pub(super) fn nats(reader: &mut Reader<'_>) -> Option<Nats> {
    let servers = reader.list("nats", server);
    let credentials = reader.optional("nats-credentials", value::file_path);
    let ca = reader.optional("nats-ca", value::file_path);
    let replicas = reader.setting("nats-replicas", |text| value::number(text, &ranges::NATS_REPLICAS));
    without_servers(reader);
    if servers.is_empty() {
        return None;
    }
    Some(Nats { servers, credentials, ca, replicas: replicas? })
}

/// What is given, and where.
type Given<T> = (String, T);

/// Exchanges and topics that are kept at servers which nobody names.
pub(super) fn needed(
    (exchanges, topics): (&[Given<Exchange>], &[Given<Topic>]),
    is_given: bool,
    problems: &mut Problems,
) {
    let exchanges = exchanges.iter().map(|(origin, exchange)| (origin, exchange.backend));
    let all = exchanges.chain(topics.iter().map(|(origin, topic)| (origin, topic.backend)));
    for (origin, _) in all.filter(|(_, backend)| *backend == Backend::Nats && !is_given) {
        let message = "\"nats\" needs NATS servers, and none is named: name them with --nats (nats.servers in the configuration \
                       file), or write memory";
        problems.push(format!("{origin}.backend"), message);
    }
}

/// What is of no use, or missing, where no server is named.
fn without_servers(reader: &mut Reader<'_>) {
    if reader.contains("nats") {
        // An empty list is there, and names none.
        if let (None, Some(object)) = (reader.given("nats"), reader.given("nats object")) {
            let place = format!("{}.servers", object.origin);
            reader.problems.push(place, "is empty: list URLs such as nats://nats:4222, or leave nats out");
        }
        return;
    }
    let mut is_told = false;
    for flag in ["nats-credentials", "nats-ca", "nats-replicas"] {
        if let Some(given) = reader.given(flag) {
            reader.wrong(given, "is of no use without --nats: name the servers too, or leave this out");
            is_told = true;
        }
    }
    if let (false, Some(object)) = (is_told, reader.given("nats object")) {
        let place = format!("{}.servers", object.origin);
        reader.problems.push(place, "is missing: list URLs such as nats://nats:4222, or leave nats out");
    }
}

const SUCH: &str = "such as nats://nats:4222 or tls://nats.example:4222";

/// A URL of a server, with its port.
fn server(text: &str) -> Result<String, String> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("nats") => ("nats", rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tls") => ("tls", rest),
        _ => return Err(format!("is not a URL that begins with nats:// or tls://: write one {SUCH}")),
    };
    if rest.contains('@') {
        // Messages do not show it.
        return Err(
            "has a user or a password in it, which whoever lists processes can read: leave it out, and name a file of \
                    credentials with --nats-credentials"
                .to_owned(),
        );
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return Err(format!("has a path, a query or a fragment, which no NATS server has: write a URL {SUCH}"));
    }
    let malformed = || format!("has no host, or no port from 1 to 65535: write a URL {SUCH}");
    let authority = Authority::try_from(rest).map_err(|_| malformed())?;
    let host = authority.host();
    let port = rest.strip_prefix(host).filter(|_| !host.is_empty()).ok_or_else(malformed)?;
    match port.strip_prefix(':').map(str::parse::<u16>) {
        None if port.is_empty() => Ok(format!("{scheme}://{host}:4222")),
        Some(Ok(port @ 1..)) => Ok(format!("{scheme}://{host}:{port}")),
        None | Some(_) => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::file::ConfigFile;
    use crate::config::resolve::{Layers, resolve};
    use crate::config::settings::Options;
    use crate::config::{Backend, Config};

    fn resolved(flags: &[&str], yaml: &str) -> Result<Config, String> {
        let head = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n";
        let file = (!yaml.is_empty()).then(|| ConfigFile { name: "f".to_owned(), text: Ok(format!("{head}{yaml}")) });
        let nats = flags.iter().map(|url| (*url).to_owned()).collect();
        let flags = Options { exchange: vec!["/own".to_owned()], nats, ..Options::default() };
        resolve(&Layers { flags, environment: Vec::new(), file }).map_err(|problems| problems.to_string())
    }

    #[test]
    fn servers_are_read_with_their_ports_and_the_rest_has_defaults() {
        assert_eq!(resolved(&[], "").expect("good").nats, None);
        for (url, expected) in [
            ("nats://a", "nats://a:4222"),
            ("nats://a:1", "nats://a:1"),
            ("TLS://a.example/", "tls://a.example:4222"),
            (" nats://[::1]", "nats://[::1]:4222"),
            ("nats://[::1]:9", "nats://[::1]:9"),
        ] {
            let nats = resolved(&[url], "").expect(url).nats.expect("given");
            assert_eq!(
                (nats.servers, nats.credentials, nats.ca, nats.replicas),
                (vec![expected.to_owned()], None, None, 1)
            );
        }
        let yaml = "nats: {servers: ['nats://a', 'nats://b'], credentials: c, ca: d, replicas: 3}\n\
                    exchanges: [{path: /a, backend: nats}, {path: /b, backend: memory}, {path: /c}]";
        let config = resolved(&[], yaml).expect("good");
        let nats = config.nats.expect("given");
        assert_eq!((nats.servers.len(), nats.replicas), (2, 3));
        assert_eq!((nats.credentials, nats.ca), (Some("c".into()), Some("d".into())));
        let backends: Vec<_> = config.exchanges.iter().map(|exchange| exchange.backend).collect();
        assert_eq!(backends, [Backend::Nats, Backend::Memory, Backend::Memory, Backend::Memory]);
        let topics = resolved(&["nats://a"], "topics: [{path: /a, backend: nats}, {path: /b}]").expect("good").topics;
        assert_eq!(topics.iter().map(|topic| topic.backend).collect::<Vec<_>>(), [Backend::Nats, Backend::Memory]);
        let flag = resolved(&["nats://c"], yaml).expect("good").nats.expect("given");
        assert_eq!(flag.servers, ["nats://c:4222"], "a flag wins");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_its_remedy() {
        let needs = "f: exchanges[0].backend: \"nats\" needs NATS servers, and none is named: name them with --nats";
        for (flags, yaml, expected) in [
            (&[][..], "exchanges: [{path: /a, backend: nats}]", needs),
            (
                &[],
                "topics: [{path: /a}, {path: /b, backend: nats}]",
                "f: topics[1].backend: \"nats\" needs NATS servers, and none is named: name them with --nats",
            ),
            (
                &[],
                "exchanges: [{path: /a, backend: redis}]",
                "f: exchanges[0].backend: \"redis\" is no backend: write memory or nats",
            ),
            (
                &["a:4222"],
                "",
                "--nats: \"a:4222\" is not a URL that begins with nats:// or tls://: write one such as nats://",
            ),
            (&["ws://a"], "", "--nats: \"ws://a\" is not a URL that begins with nats:// or tls://"),
            (&["nats://"], "", "--nats: \"nats://\" has no host, or no port"),
            (&["nats://:4222"], "", "--nats: \"nats://:4222\" has no host, or no port"),
            (&["nats://a:0"], "", "--nats: \"nats://a:0\" has no host, or no port"),
            (&["nats://a:x"], "", "--nats: \"nats://a:x\" has no host, or no port"),
            (&["nats://a/b"], "", "--nats: \"nats://a/b\" has a path, a query or a fragment"),
            (&["nats://u:secret@a"], "", "--nats: \"nats://***@a\" has a user or a password in it"),
            (&["u:secret@a"], "", "--nats: \"***@a\" is not a URL that begins with nats:// or tls://"),
            (
                &[],
                "nats: {servers: ['nats://secret@a']}",
                "f: nats.servers[0]: \"nats://***@a\" has a user or a password in it",
            ),
            (&[], "nats: {servers: []}", "f: nats.servers: is empty: list URLs such as nats://nats:4222"),
            (&[], "nats: {}", "f: nats.servers: is missing: list URLs such as nats://nats:4222"),
            (
                &[],
                "nats: {credentials: c}",
                "f: nats.credentials: \"c\" is of no use without --nats: name the servers too",
            ),
            (&[], "nats: {ca: c}", "f: nats.ca: \"c\" is of no use without --nats"),
            (&[], "nats: {replicas: 3}", "f: nats.replicas: \"3\" is of no use without --nats"),
            (&["nats://a"], "nats: {replicas: 0}", "f: nats.replicas: \"0\" is out of bounds: write 1 to 5"),
            (&["nats://a"], "nats: {replicas: 6}", "f: nats.replicas: \"6\" is out of bounds: write 1 to 5"),
            (&["nats://a"], "nats: {credentials: ''}", "f: nats.credentials: \"\" is empty"),
            (&[], "nats: {server: a}", "f: nats.server: is no field: did you mean servers?"),
        ] {
            let told = resolved(flags, yaml).expect_err(expected);
            assert!(told.contains(expected), "{flags:?} {yaml}: {told}");
            assert!(!told.contains("secret"), "{told}");
        }
        let bad = resolved(&["nats://"], "exchanges: [{path: /a, backend: nats}]").expect_err("no host");
        assert_eq!(bad.lines().count(), 1, "servers are named, if badly: {bad}");
    }
}
