//! From text to values. Every refusal is the rest of a sentence that begins with the value:
//! what is wrong, a colon, what to write instead.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use http::uri::{Authority, PathAndQuery};
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use super::ranges::{FILE_PATH_BYTES, FORMAT_BYTES, PATH_BYTES, POINTER_BYTES};
use super::{Format, LogFormat, Protocol, Relays};

mod duration;
mod kubernetes;

pub(crate) use duration::brief;
pub(super) use duration::duration;
use kubernetes::is_label;
pub(super) use kubernetes::{
    api_version, config_map, config_map_name, field, is_label_key, is_label_value, key, kind, namespace, object_name,
    operations, replica, uid,
};

/// What refusals are: the rest of the sentence.
type Parsed<T> = Result<T, String>;

/// A whole number within bounds.
pub(super) fn number(text: &str, bounds: &RangeInclusive<usize>) -> Parsed<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && bounds.contains(number)).ok_or_else(|| {
        let what = if digits { "is out of bounds" } else { "is not a whole number" };
        format!("{what}: write {} to {}", bounds.start(), bounds.end())
    })
}

/// A number of bytes, perhaps with a unit of Kubernetes: `65536`, `64Ki`.
pub(super) fn bytes(text: &str, bounds: &RangeInclusive<usize>) -> Parsed<usize> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30)];
    let (digits, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    let number = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
    let number = number.ok_or_else(|| "is no number of bytes: write one such as 65536, 64Ki or 8Mi".to_owned())?;
    self::number(&number.to_string(), bounds)
}

pub(super) fn switch(text: &str) -> Parsed<bool> {
    text.parse().map_err(|_| "is neither true nor false: write one of them".to_owned())
}

pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| {
        "is not an IP address with a port: write one such as 127.0.0.1:8480, 0.0.0.0:8480 or [::1]:8480".to_owned()
    })
}

/// A network, or one address of its own.
pub(super) fn network(text: &str) -> Parsed<IpNet> {
    let text = text.trim();
    let net = text.parse::<IpNet>().map(|net| net.trunc());
    net.or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "is not a network: write an address and the length of its prefix, such as 10.0.0.0/8".to_owned())
}

/// A path of the file system; read relative to the working directory.
pub(super) fn file_path(text: &str) -> Parsed<PathBuf> {
    if text.trim().is_empty() {
        return Err("is empty: write a path, or leave the setting out".to_owned());
    }
    if text.contains('\0') {
        return Err("holds a NUL, which no path can: write it without".to_owned());
    }
    if text.len() > FILE_PATH_BYTES {
        return Err(format!("has {} bytes: write at most {FILE_PATH_BYTES}", text.len()));
    }
    Ok(PathBuf::from(text))
}

/// Host and port of an `http://` URL that has nothing else.
pub(super) fn upstream(text: &str) -> Parsed<Authority> {
    let such = "such as http://127.0.0.1:3000";
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
            return Err(format!("is https, but the way to the app is not encrypted: write a URL {such}"));
        }
        _ => return Err(format!("is not a URL that begins with http://: write one {such}")),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return Err(format!("has a path, a query or a fragment, but requests bring their own: write a URL {such}"));
    }
    if rest.contains('@') {
        return Err(format!("has a user, but credentials are passed on as they come: write a URL {such}"));
    }
    let malformed = || format!("has no host, or no port from 1 to 65535: write a URL {such}");
    let authority = Authority::try_from(rest).map_err(|_| malformed())?;
    let port = authority.as_str().strip_prefix(authority.host()).ok_or_else(malformed)?;
    match port.strip_prefix(':').map(str::parse::<u16>) {
        _ if authority.host().is_empty() => Err(malformed()),
        None => Authority::try_from(format!("{}:80", authority.host())).map_err(|_| malformed()),
        Some(Ok(1..)) => Ok(authority),
        Some(_) => Err(malformed()),
    }
}

/// The version of HTTP that the app speaks.
pub(super) fn protocol(text: &str) -> Parsed<Protocol> {
    match text {
        "http1" => Ok(Protocol::Http1),
        "h2c" => Ok(Protocol::Http2),
        _ => Err("is not what an app can speak: write http1, or h2c for HTTP/2 without TLS such as gRPC".to_owned()),
    }
}

/// An http URL that spans can be sent to.
pub(super) fn collector(text: &str) -> Parsed<String> {
    let url = text.parse::<http::Uri>().ok().filter(|url| url.host().is_some_and(|host| !host.is_empty()));
    match url.as_ref().and_then(http::Uri::scheme_str) {
        Some("http") if !text.contains('#') => Ok(text.to_owned()),
        Some("https") => Err("is https, but the way to the collector is not encrypted: \
             send to one on this host, such as http://127.0.0.1:4318"
            .to_owned()),
        _ => Err("is not an http URL: write one such as http://127.0.0.1:4318".to_owned()),
    }
}

/// A format as it is named: what `opaque` alone means depends on the name of what is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatName {
    /// `json`.
    Json,
    /// `yaml`.
    Yaml,
    /// `opaque`, or `opaque:` with a media type.
    Opaque(Option<String>),
}

impl FormatName {
    pub(super) fn of(self, name: &str) -> Format {
        match (self, Format::of_name(name)) {
            (Self::Json, _) => Format::Json,
            (Self::Yaml, _) => Format::Yaml,
            (Self::Opaque(Some(media_type)), _) | (Self::Opaque(None), Format::Opaque(media_type)) => {
                Format::Opaque(media_type)
            }
            (Self::Opaque(None), Format::Json) => Format::Opaque("application/json".to_owned()),
            // RFC 9512.
            (Self::Opaque(None), Format::Yaml) => Format::Opaque("application/yaml".to_owned()),
        }
    }
}

pub(super) fn format(text: &str) -> Parsed<FormatName> {
    if text.len() > FORMAT_BYTES {
        return Err(format!("has {} bytes: write at most {FORMAT_BYTES}", text.len()));
    }
    match text.split_once(':') {
        None if text == "json" => Ok(FormatName::Json),
        None if text == "yaml" => Ok(FormatName::Yaml),
        None if text == "opaque" => Ok(FormatName::Opaque(None)),
        Some(("opaque", media_type)) if is_media_type(media_type) => {
            Ok(FormatName::Opaque(Some(media_type.to_owned())))
        }
        Some(("opaque", _)) => Err("has no media type after opaque: write one such as opaque:text/plain".to_owned()),
        _ => Err("is not a format: write json, yaml, opaque or opaque:MEDIA/TYPE".to_owned()),
    }
}

/// RFC 9110, section 8.3.1, strictly enough that it can stand in a header.
fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(fits)
    };
    let quoted = |text: &str| {
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        inner.is_some_and(|inner| inner.bytes().all(|byte| !b"\"\\;".contains(&byte)))
    };
    let pair =
        |text: &str| text.split_once('=').is_some_and(|(name, value)| token(name) && (token(value) || quoted(value)));
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let mut parts = text.split(';');
    let essence = parts.next().and_then(|part| part.trim_end().split_once('/'));
    printable && essence.is_some_and(|(kind, sub)| token(kind) && token(sub)) && parts.all(|part| pair(part.trim()))
}

/// Whom relays may serve.
pub(super) fn relays(text: &str) -> Parsed<Relays> {
    match text {
        "open" => Ok(Relays::Open),
        "same" => Ok(Relays::Same),
        "none" => Ok(Relays::None),
        _ => Err("is none of open, same and none: write one of them".to_owned()),
    }
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is not a log format: write text or json".to_owned()),
    }
}

/// A level, or a filter of `tracing_subscriber`. It would read a misspelt level as the name of a
/// module and log nothing, so a bare word has to be a level.
pub fn log_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let bare = |part: &str| !part.contains(['=', '[', ':']) && !LEVELS.contains(&part.to_ascii_lowercase().as_str());
    if text.split(',').any(|part| bare(part.trim())) || EnvFilter::builder().parse(text).is_err() {
        return Err("is not a log level: write off, error, warn, info, debug or trace, \
                    or a filter such as info,tidewait=debug"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// The path of an operation, which requests must match byte for byte.
pub(super) fn operation_path(text: &str) -> Parsed<String> {
    if !text.starts_with('/') {
        return Err("does not begin with /: write a path such as /describe".to_owned());
    }
    if text.len() > PATH_BYTES {
        return Err(format!("has {} bytes: write at most {PATH_BYTES}", text.len()));
    }
    let fits = |c: char| c.is_ascii_graphic() && c != '?' && c != '#';
    if let Some(odd) = text.chars().find(|c| !fits(*c)) {
        return Err(format!("holds {odd:?}, which no path of a request can: percent-encode it"));
    }
    let escaped = |part: &str| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(escaped) {
        return Err("has a % without two hexadecimal digits: write %25 for the sign itself".to_owned());
    }
    if PathAndQuery::try_from(text).is_err() {
        return Err("is not a path that a request can have: percent-encode what is special".to_owned());
    }
    Ok(text.to_owned())
}

/// What the app is asked for: a path as requests have it, with a query or without.
pub(super) fn request_target(text: &str) -> Parsed<String> {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    operation_path(path)?;
    if text.len() > PATH_BYTES {
        return Err(format!("has {} bytes: write at most {PATH_BYTES}", text.len()));
    }
    let fits = |c: char| c.is_ascii_graphic() && c != '#';
    if !query.unwrap_or_default().chars().all(fits) || PathAndQuery::try_from(text).is_err() {
        return Err("has a query that no request can have: percent-encode what is special".to_owned());
    }
    Ok(text.to_owned())
}

/// A directory below which files may be named: what it holds must not depend on the working directory.
pub(super) fn file_root(text: &str) -> Parsed<PathBuf> {
    let path = file_path(text)?;
    if !path.is_absolute() || climbs(&path) {
        return Err("is not an absolute path without ..: write one such as /var/lib/models".to_owned());
    }
    Ok(path)
}

/// Whether a path goes up somewhere.
pub(super) fn climbs(path: &Path) -> bool {
    path.components().any(|component| component == Component::ParentDir)
}

pub(super) fn operation_name(text: &str) -> Parsed<String> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err("is not a name: write at most 63 of a-z, 0-9 and -, not beginning or ending with -".to_owned())
}

/// The name of an operation that has none: its path in lower case, anything but letters and
/// digits as `-`. `/` alone is `root`.
pub(super) fn name_of_path(path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    name.truncate(63);
    let name = name.trim_end_matches('-');
    if name.is_empty() { "root".to_owned() } else { name.to_owned() }
}

/// The pointer of a member: the empty pointer is syntax, but the model itself is no integer.
pub(super) fn pointer(text: &str) -> Parsed<String> {
    let such = "write a JSON Pointer such as /metadata/version";
    if text.len() > POINTER_BYTES {
        return Err(format!("has {} bytes: write at most {POINTER_BYTES}", text.len()));
    }
    match text.strip_prefix('/') {
        None if text.is_empty() => Err(format!("is the whole model, which is no integer: {such}")),
        None => Err(format!("does not begin with /: {such}")),
        Some(_) if text.split('~').skip(1).all(|part| part.starts_with(['0', '1'])) => Ok(text.to_owned()),
        Some(_) => Err("has a ~ without 0 or 1: write ~0 for ~ and ~1 for / within a key".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text with what becomes of it: the value, or the beginning of the refusal.
    #[track_caller]
    pub(super) fn table<T: std::fmt::Debug>(
        parse: impl Fn(&str) -> Parsed<T>,
        show: impl Fn(T) -> String,
        cases: &[(&str, &str)],
    ) {
        for (text, expected) in cases {
            let found = parse(text).map_or_else(|error| error, &show);
            assert!(found.starts_with(expected) && !expected.is_empty(), "{text:?}: {found}");
        }
    }

    #[test]
    fn numbers_and_switches() {
        table(
            |text| number(text, &crate::config::ranges::COUNT),
            |number| number.to_string(),
            &[
                ("1", "1"),
                ("1000000", "1000000"),
                ("0", "is out of bounds: write 1 to 1000000"),
                ("1000001", "is out of bounds"),
                ("99999999999999999999999", "is out of bounds"),
                ("+1", "is not a whole number"),
                ("1.0", "is not a whole number"),
                ("20k", "is not a whole number"),
                ("", "is not a whole number"),
            ],
        );
        table(
            switch,
            |yes| yes.to_string(),
            &[("true", "true"), ("false", "false"), ("yes", "is neither true nor false")],
        );
    }

    #[test]
    fn addresses_and_networks() {
        table(
            address,
            |address| address.to_string(),
            &[
                ("127.0.0.1:0", "127.0.0.1:0"),
                ("[::]:8480", "[::]:8480"),
                (":8480", "is not an IP address with a port"),
                ("localhost:8480", "is not an IP address with a port"),
                ("127.0.0.1", "is not an IP address with a port"),
            ],
        );
        table(
            network,
            |net| net.to_string(),
            &[
                ("10.0.0.0/8", "10.0.0.0/8"),
                (" 10.1.2.3/8", "10.0.0.0/8"),
                ("192.0.2.7", "192.0.2.7/32"),
                ("2001:db8::/32", "2001:db8::/32"),
                ("10.0.0.0/33", "is not a network"),
                ("", "is not a network"),
            ],
        );
    }

    #[test]
    fn upstreams() {
        table(
            upstream,
            |authority| authority.to_string(),
            &[
                ("http://127.0.0.1:3000", "127.0.0.1:3000"),
                ("HTTP://app.default.svc/", "app.default.svc:80"),
                ("http://[::1]:3000", "[::1]:3000"),
                ("http://[::1]", "[::1]:80"),
                ("https://app", "is https"),
                ("app:3000", "is not a URL that begins with http://"),
                ("unix:///run/app", "is not a URL that begins with http://"),
                ("http://app/base", "has a path"),
                ("http://app?x", "has a path"),
                ("http://app#x", "has a path"),
                ("http://me:secret@app", "has a user"),
                ("http://", "has no host"),
                ("http://:80", "has no host"),
                ("http://app:", "has no host, or no port"),
                ("http://app:0", "has no host, or no port"),
                ("http://app:99999", "has no host, or no port"),
                ("http://a b", "has no host, or no port"),
            ],
        );
        table(
            collector,
            |url| url,
            &[
                ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
                ("http://collector/x/v1/traces", "http://collector/x/v1/traces"),
                ("https://collector", "is https, but the way to the collector is not encrypted"),
                ("127.0.0.1:4317", "is not an http URL"),
                ("grpc://collector", "is not an http URL"),
                ("http://", "is not an http URL"),
            ],
        );
    }

    #[test]
    fn protocols() {
        let name = |protocol| format!("{protocol:?}");
        let wrong = "is not what an app can speak: write http1, or h2c";
        table(protocol, name, &[("http1", "Http1"), ("h2c", "Http2"), ("h2", wrong), ("grpc", wrong), ("", wrong)]);
    }

    #[test]
    fn log_levels_are_not_names_of_modules() {
        table(
            log_level,
            |level| level,
            &[
                ("info", "info"),
                ("DEBUG", "DEBUG"),
                ("info,tidewait=debug", "info,tidewait=debug"),
                ("tidewait::http=trace,off", "tidewait::http=trace,off"),
                ("inof", "is not a log level"),
                ("info,", "is not a log level"),
                ("tidewait=loud", "is not a log level"),
                ("", "is not a log level"),
            ],
        );
        assert_eq!(log_format("json"), Ok(LogFormat::Json));
        assert!(log_format("JSON").is_err());
    }

    #[test]
    fn paths_and_the_names_made_of_them() {
        let long = format!("/{}", "x".repeat(PATH_BYTES));
        table(
            operation_path,
            |path| name_of_path(&path),
            &[
                ("/describe", "describe"),
                ("/a/b", "a-b"),
                ("/", "root"),
                ("/v1.0/Describe/", "v1-0-describe"),
                ("/a%20b", "a-20b"),
                ("describe", "does not begin with /"),
                ("", "does not begin with /"),
                ("/a?b", "holds '?'"),
                ("/a#b", "holds '#'"),
                ("/a b", "holds ' '"),
                ("/a\n", "holds '\\n'"),
                ("/é", "holds 'é'"),
                ("/a%2", "has a % without"),
                ("/a%zz", "has a % without"),
                (&long, "has 1025 bytes: write at most 1024"),
            ],
        );
        let cut = name_of_path(&format!("/{}/b", "x".repeat(62)));
        assert_eq!(cut, "x".repeat(62), "63 characters would end with -");
        assert!(operation_name(&cut).is_ok() && operation_name("a--b").is_ok());
        for bad in ["", "A", "-a", "a-", "a.b", "é", &"x".repeat(64)] {
            assert!(operation_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pointers() {
        table(
            pointer,
            |pointer| pointer,
            &[
                ("/version", "/version"),
                ("/", "/"),
                ("/a~1b/~0/0", "/a~1b/~0/0"),
                ("", "is the whole model, which is no integer"),
                ("version", "does not begin with /"),
                ("/a~", "has a ~ without 0 or 1"),
                ("/a~2", "has a ~ without 0 or 1"),
            ],
        );
    }

    #[test]
    fn formats() {
        for (text, name, expected) in [
            ("json", "x.yaml", Format::Json),
            ("yaml", "x", Format::Yaml),
            ("opaque", "x.json", Format::Opaque("application/json".into())),
            ("opaque", "x.yml", Format::Opaque("application/yaml".into())),
            ("opaque", "x.csv", Format::Opaque("text/csv; charset=utf-8".into())),
            ("opaque", "x", Format::Opaque("application/octet-stream".into())),
            ("opaque:text/plain; charset=utf-8", "x.json", Format::Opaque("text/plain; charset=utf-8".into())),
            ("opaque:a/b;c=\"d e\"", "x", Format::Opaque("a/b;c=\"d e\"".into())),
        ] {
            assert_eq!(format(text).expect(text).of(name), expected, "{text} of {name}");
        }
        for bad in
            ["", "xml", "JSON", "opaque:", "opaque:text", "opaque:text/", "opaque:a/b;c", "opaque:a/b\n", "yaml:x"]
        {
            assert!(format(bad).is_err(), "{bad}");
        }
    }
}
