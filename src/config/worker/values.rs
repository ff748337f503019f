//! PURE. From text to values of a worker. Every refusal is the rest of a sentence that begins with the value.

use http::Uri;

use super::Gate;
use crate::config::Protocol;
use crate::config::value;

/// Bytes of a key: its place is a target.
const KEY_BYTES: usize = 256;

pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "http1" => Ok(Protocol::Http1),
        "http2" => Ok(Protocol::Http2),
        _ => Err("is not what an exchange speaks: write http2, or http1".to_owned()),
    }
}

pub(super) fn key(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > KEY_BYTES {
        return Err(format!("has {} bytes: write 1 to {KEY_BYTES}", text.len()));
    }
    Ok(text.to_owned())
}

/// The URL of an exchange. What else is wrong with it the client says.
pub(super) fn exchange(text: &str) -> Result<String, String> {
    if text.contains(['?', '#']) {
        return Err("has a query or a fragment: give the key as --key, and the URL of the endpoint alone".to_owned());
    }
    Ok(text.to_owned())
}

/// A URL that consumers ask.
pub(super) fn advertise(text: &str) -> Result<String, String> {
    let such = "such as http://10.0.0.7:8490";
    let wrong = |what: &str| Err(format!("{what}: write a URL {such}"));
    let Ok(uri) = text.parse::<Uri>() else { return wrong("is no URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return wrong("is no URL of http or https with a host");
    }
    if text.contains(['@', '?', '#']) {
        return wrong("has a user, a query or a fragment");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// `KIND=VALUE`.
pub(super) fn gate(text: &str) -> Result<Gate, String> {
    let kinds = "write cpu=1, memory=512Mi, command=COMMAND or url=http://HOST:PORT/PATH";
    let Some((kind, rest)) = text.split_once('=') else { return Err(format!("is no KIND=VALUE: {kinds}")) };
    match kind {
        "cpu" => cores(rest).map(Gate::Cpu).ok_or_else(|| "is no number of cores: write cpu=0.001 to 1024".to_owned()),
        "memory" => {
            let remedy = "is no number of bytes: write it with Ki, Mi, Gi or without, such as memory=512Mi";
            bytes(rest).map(Gate::Memory).ok_or_else(|| remedy.to_owned())
        }
        "command" if rest.trim().is_empty() || rest.contains('\0') => {
            Err("has no command: write what /bin/sh shall run, such as command='test ! -e /run/busy'".to_owned())
        }
        "command" => Ok(Gate::Command(rest.to_owned())),
        "url" => url(rest).map(Gate::Url),
        _ => Err(format!("is no gate that there is: {kinds}")),
    }
}

/// Thousandths of a core.
fn cores(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let cores = text.parse::<f64>().ok().filter(|cores| plain && (0.001..=1024.0).contains(cores))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 1..=1024000")]
    Some((cores * 1000.0).round() as u32)
}

fn bytes(text: &str) -> Option<u64> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let unit = units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|number| plain && *number > 0)?;
    number.checked_mul(1 << shift)
}

fn url(text: &str) -> Result<Uri, String> {
    let remedy = "is no http URL with a host: write one such as url=http://127.0.0.1:8080/free";
    let uri = text.parse::<Uri>().map_err(|_| remedy.to_owned())?;
    let is_good = uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
    if is_good && !text.contains(['@', '#']) { Ok(uri) } else { Err(remedy.to_owned()) }
}

/// The server that works.
pub(super) fn to(text: &str) -> Result<http::uri::Authority, String> {
    value::upstream(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_and_what_is_none_is_refused_with_its_remedy() {
        for (text, expected) in [
            ("cpu=1", Gate::Cpu(1000)),
            ("cpu=0.25", Gate::Cpu(250)),
            ("memory=512Mi", Gate::Memory(512 << 20)),
            ("memory=1000", Gate::Memory(1000)),
            ("command=test a = a", Gate::Command("test a = a".to_owned())),
            ("url=http://h:1/x?y", Gate::Url("http://h:1/x?y".parse().expect("a URL"))),
        ] {
            assert_eq!(gate(text), Ok(expected), "{text}");
        }
        for text in [
            "cpu",
            "cpu=",
            "cpu=-1",
            "cpu=0",
            "cpu=1e3",
            "cpu=NaN",
            "cpu=2000",
            "memory=0",
            "memory=1Zi",
            "memory=1.5Gi",
            "memory=99999999Ti",
            "command= ",
            "url=https://h/",
            "url=/x",
            "url=http://u:p@h/",
            "load=1",
        ] {
            let refused = gate(text).expect_err(text);
            assert!(refused.contains(": write ") || refused.contains("write cpu="), "{refused}");
        }
    }

    #[test]
    fn urls_that_consumers_ask_have_a_host_and_nothing_secret() {
        assert_eq!(advertise("http://10.0.0.7:8490/"), Ok("http://10.0.0.7:8490".to_owned()));
        assert_eq!(advertise("https://h/a/b"), Ok("https://h/a/b".to_owned()));
        for text in ["", "10.0.0.7:8490", "ftp://h", "http://u:p@h", "http://h/?a", "http:///x"] {
            assert!(advertise(text).is_err(), "{text}");
        }
    }
}
