//! The query of a poll: clients write it, the server reads it.

use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use crate::bounds::{ID_BYTES, SINCE_BYTES};

/// The state that the client has.
pub const SINCE: &str = "since";
/// The longest hold in seconds.
pub const WAIT: &str = "wait";
/// A JSON Pointer to a part of the model that is asked for; any number of times.
pub const SELECT: &str = "select";
/// The state that the client was given and could not apply.
pub const REJECTED: &str = "rejected";

/// The newest state that the client was given and is busy with.
pub const APPLYING: &str = "applying";

/// Of a stream: its longest life in seconds.
pub const LIFE: &str = "life";
/// Of a stream: `1` for events where nothing happens.
pub const PING: &str = "ping";
/// Of a stream: `json-patch` for patches.
pub const DELTA: &str = "delta";

/// Of a topic: where a reader begins that has read nothing, `earliest` or `latest`.
pub const FROM: &str = "from";
/// Of a topic: how many of the last messages such a reader is given.
pub const TAIL: &str = "tail";
/// Of a topic: how many messages a poll is given at most.
pub const LIMIT: &str = "limit";
/// Of a topic: how many bytes of messages a poll is given.
pub const MAX_BYTES: &str = "max-bytes";
/// Of a topic: `close` where a reader that has missed messages does not go on.
pub const ON_GAP: &str = "on-gap";
/// Of a topic: `1` where a stream is told who reads.
pub const PRESENCE: &str = "presence";
/// Of a topic: `1` where events carry the whole object of a message.
pub const ENVELOPE: &str = "envelope";
/// Of a topic: who publishes, where no credential and no `Agent-Id` says it.
pub const NAME: &str = "name";

/// The parameters that have a meaning here; others are only handed on in `Link`.
pub const PARAMETERS: [&str; 8] = [SINCE, WAIT, SELECT, REJECTED, APPLYING, LIFE, PING, DELTA];

/// The query of a poll. Its text, without a `?`, is what [`fmt::Display`] writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// `State-Id` of the answer whose state the client has, as it was; absent, or empty: the null state.
    pub since: Option<String>,
    /// `State-Id` of the answer whose state the client could not apply, as it was.
    pub rejected: Option<String>,
    /// `State-Id` of the newest answer whose state the client has received and neither has nor rejects yet, as it was.
    pub applying: Option<String>,
    /// The longest hold, in whole milliseconds; absent: the server's default.
    pub wait: Option<Duration>,
    /// JSON Pointers (RFC 6901) to the parts that are asked for; none: the whole model.
    pub select: Vec<String>,
}

/// A parameter that the server refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value:?}: {remedy}")]
pub struct InvalidParameter {
    /// Its name.
    pub name: &'static str,
    /// Its value, decoded.
    pub value: String,
    /// What is allowed.
    pub remedy: String,
}

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Query {
    /// Reads a query. Whether ids and pointers are good is for those who know them.
    pub fn parse(text: &str) -> Result<Self, InvalidParameter> {
        let mut query = Self::default();
        let mut wait = None;
        for (name, value) in pairs(text) {
            let value = value.unwrap_or_default();
            match std::str::from_utf8(&name) {
                Ok(SINCE) => once(SINCE, &mut query.since, id_text(SINCE, &value)?)?,
                Ok(REJECTED) => once(REJECTED, &mut query.rejected, id_text(REJECTED, &value)?)?,
                Ok(APPLYING) => once(APPLYING, &mut query.applying, id_text(APPLYING, &value)?)?,
                Ok(WAIT) => once(WAIT, &mut wait, String::from_utf8_lossy(&value).into_owned())?,
                Ok(SELECT) => query.select.push(pointer(&value)?),
                Ok(_) | Err(_) => {}
            }
        }
        query.wait = wait.as_deref().map(|wait| seconds(WAIT, wait)).transpose()?;
        for id in [&mut query.since, &mut query.rejected, &mut query.applying] {
            *id = id.take().filter(|id| !id.is_empty());
        }
        Ok(query)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut begun = false;
        let mut write = |name: &str, value: &str| {
            let and = if std::mem::replace(&mut begun, true) { "&" } else { "" };
            write!(f, "{and}{name}={}", percent_encode(value.as_bytes(), RESERVED))
        };
        if let Some(since) = &self.since {
            write(SINCE, since)?;
        }
        if let Some(rejected) = &self.rejected {
            write(REJECTED, rejected)?;
        }
        if let Some(applying) = &self.applying {
            write(APPLYING, applying)?;
        }
        if let Some(wait) = self.wait {
            let text = format!("{}.{:03}", wait.as_secs(), wait.subsec_millis());
            write(WAIT, text.trim_end_matches('0').trim_end_matches('.'))?;
        }
        self.select.iter().try_for_each(|pointer| write(SELECT, pointer))
    }
}

/// What follows the id in `Link`: every parameter but `since`, `rejected` and `applying`, each with its `&`.
#[must_use]
pub fn link_tail(text: &str) -> String {
    let mut tail = String::new();
    for (name, value) in
        pairs(text).filter(|(name, _)| ![SINCE, REJECTED, APPLYING].map(str::as_bytes).contains(&&**name))
    {
        tail.push('&');
        tail.extend(percent_encode(&name, RESERVED));
        if let Some(value) = value {
            tail.push('=');
            tail.extend(percent_encode(&value, RESERVED));
        }
    }
    tail
}

/// The value of a parameter, decoded; none: it is not there.
pub fn value_of(text: &str, name: &'static str) -> Result<Option<String>, InvalidParameter> {
    let mut found = None;
    for (_, value) in pairs(text).filter(|(given, _)| given == name.as_bytes()) {
        once(name, &mut found, String::from_utf8_lossy(&value.unwrap_or_default()).into_owned())?;
    }
    Ok(found)
}

/// The same, in seconds.
pub fn seconds_of(text: &str, name: &'static str) -> Result<Option<Duration>, InvalidParameter> {
    value_of(text, name)?.map(|value| seconds(name, &value)).transpose()
}

/// Names and values, decoded; a name without `=` has no value.
fn pairs(text: &str) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, value)) => (form_decode(name), Some(form_decode(value))),
        None => (form_decode(pair), None),
    })
}

/// A name or value as HTML forms encode it: `+` is a space.
fn form_decode(text: &str) -> Vec<u8> {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).collect()
}

/// The same, as the text of an id; none: it is not there, or empty.
pub fn id_of(text: &str, name: &'static str) -> Result<Option<String>, InvalidParameter> {
    match value_of(text, name)?.filter(|value| !value.is_empty()) {
        Some(value) if value.len() > SINCE_BYTES => {
            let remedy = format!(
                "it has {} bytes, and no id has more than {SINCE_BYTES}: send the one that was read",
                value.len()
            );
            Err(InvalidParameter { name, value, remedy })
        }
        value => Ok(value),
    }
}

fn id_text(name: &'static str, value: &[u8]) -> Result<String, InvalidParameter> {
    let text = String::from_utf8_lossy(value).into_owned();
    if value.len() > SINCE_BYTES {
        let remedy =
            format!("it has {} bytes, an id has at most {ID_BYTES}: send State-Id of the last answer", value.len());
        return Err(InvalidParameter { name, value: text, remedy });
    }
    Ok(text)
}

fn pointer(value: &[u8]) -> Result<String, InvalidParameter> {
    std::str::from_utf8(value).map(str::to_owned).map_err(|error| InvalidParameter {
        name: SELECT,
        value: String::from_utf8_lossy(value).into_owned(),
        remedy: format!("byte {} is not UTF-8: encode it so", error.valid_up_to()),
    })
}

fn once(name: &'static str, slot: &mut Option<String>, value: String) -> Result<(), InvalidParameter> {
    match slot.replace(value) {
        None => Ok(()),
        Some(value) => {
            Err(InvalidParameter { name, value, remedy: "it stands twice or more: give it once".to_owned() })
        }
    }
}

/// Digits, optionally a point and up to three more.
fn seconds(name: &'static str, text: &str) -> Result<Duration, InvalidParameter> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if !digits(whole) || !fraction.is_none_or(|fraction| digits(fraction) && fraction.len() <= 3) {
        let remedy = format!("give seconds, digits with at most three decimals, as {name}=25");
        return Err(InvalidParameter { name, value: text.to_owned(), remedy });
    }
    // More than a number holds is more than any limit.
    let whole = Duration::from_secs(whole.parse().unwrap_or(u64::from(u32::MAX)));
    let millis = fraction.map_or(0, |fraction| format!("{fraction:0<3}").parse().unwrap_or(0));
    Ok(whole.saturating_add(Duration::from_millis(millis)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries_are_written_so() {
        let query = Query {
            since: Some("0a.7.b~gzip".to_owned()),
            rejected: Some("0a.8.c".to_owned()),
            applying: Some("0a.9.d".to_owned()),
            wait: Some(Duration::from_millis(25_500)),
            select: vec!["/a b/c+d".to_owned(), String::new()],
        };
        let text = "since=0a.7.b~gzip&rejected=0a.8.c&applying=0a.9.d&wait=25.5&select=%2Fa%20b%2Fc%2Bd&select=";
        assert_eq!((query.to_string(), Query::parse(text)), (text.to_owned(), Ok(query)));
        for (millis, written) in [(0, "wait=0"), (10_000, "wait=10"), (1, "wait=0.001"), (100_100, "wait=100.1")] {
            assert_eq!(Query { wait: Some(Duration::from_millis(millis)), ..Query::default() }.to_string(), written);
        }
        assert_eq!(Query::default().to_string(), "");
    }

    #[test]
    fn what_is_refused_is_named_with_its_remedy() {
        let long = format!("rejected={}", "x".repeat(SINCE_BYTES + 1));
        for (text, name, remedy) in [
            ("since=a&since=", "since", "it stands twice or more: give it once"),
            (&long, "rejected", "it has 257 bytes, an id has at most 128: send State-Id of the last answer"),
            ("wait=1.", "wait", "give seconds, digits with at most three decimals, as wait=25"),
            ("select=/%ff", "select", "byte 1 is not UTF-8: encode it so"),
        ] {
            let invalid = Query::parse(text).expect_err(text);
            assert_eq!((invalid.name, &*invalid.remedy), (name, remedy), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(
            since in prop::option::of("\\PC{1,64}"),
            rejected in prop::option::of("[ -~]{1,256}"),
            applying in prop::option::of("[ -~]{1,256}"),
            wait in prop::option::of(any::<u32>()),
            select in prop::collection::vec(any::<String>(), 0..5),
        ) {
            let wait = wait.map(|millis| Duration::from_millis(millis.into()));
            let query = Query { since, rejected, applying, wait, select };
            let text = query.to_string();
            prop_assert_eq!(Query::parse(&text), Ok(query.clone()));
            let alone = Query { since: None, rejected: None, applying: None, ..query };
            let tail = link_tail(&text);
            prop_assert_eq!(tail.strip_prefix('&').unwrap_or_default(), alone.to_string());
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%=&".contains(&byte)));
        }
    }
}
