//! PURE. What an answer asks for: how long to wait, and what it says of the work's place in a queue.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header};

use super::target::cut;

/// `Retry-After` (RFC 9110, 10.2.3); none: there is none that can be read. A date counts from the `Date` of the same answer
/// where it has one, since the two are of one clock; else from `now`, the time since 1970.
pub(super) fn retry_after(fields: &HeaderMap, now: Duration) -> Option<Duration> {
    let text = fields.get(header::RETRY_AFTER)?.to_str().ok()?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only one that is beyond counting is none.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = fields.get(header::DATE).and_then(since_1970);
    Some(since_1970(fields.get(header::RETRY_AFTER)?)?.saturating_sub(date.unwrap_or(now)))
}

fn since_1970(value: &HeaderValue) -> Option<Duration> {
    let date = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok()
}

/// What an answer says of the work that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// `state`, such as `queued`: escaped, on one line.
    pub state: Option<String>,
    /// `position` in the queue.
    pub position: Option<u64>,
}

/// Reads `{"state": ..., "position": ...}`; what is something else says nothing.
pub(super) fn progress(body: &[u8]) -> Progress {
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(body) else { return Progress::default() };
    let state = body.get("state").and_then(serde_json::Value::as_str).filter(|state| !state.is_empty());
    Progress { state: state.map(cut), position: body.get("position").and_then(serde_json::Value::as_u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Sunday, 06 Nov 1994 08:49:37 GMT.
        const NOW: u64 = 784_111_777;
        let date = "Sun, 06 Nov 1994 08:50:07 GMT";
        let read = |text: &str, answered: Option<&str>| {
            let mut fields = HeaderMap::new();
            fields.insert(header::RETRY_AFTER, HeaderValue::from_bytes(text.as_bytes()).expect("a value"));
            if let Some(answered) = answered {
                fields.insert(header::DATE, HeaderValue::from_str(answered).expect("a value"));
            }
            retry_after(&fields, Duration::from_secs(NOW)).map(|wait| wait.as_secs())
        };
        for (text, expected) in [
            ("3", Some(3)),
            ("0", Some(0)),
            ("007", Some(7)),
            ("86400", Some(86_400)),
            ("99999999999999999999999999", Some(u64::MAX)),
            (date, Some(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("Sun Nov  6 08:50:07 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799 - NOW)),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1, 2", None),
            ("10s", None),
            ("", None),
            ("soon", None),
            ("\u{663}", None),
            ("Sun, 06 Nov 1994", None),
        ] {
            assert_eq!(read(text, None), expected, "{text}");
        }
        assert_eq!(read(date, Some("Sun, 06 Nov 1994 08:50:02 GMT")), Some(5), "by the clock of the server");
        assert_eq!(read(date, Some("today")), Some(30));
        assert_eq!(read("9", Some("Sun, 06 Nov 1994 08:50:02 GMT")), Some(9));
        assert_eq!(retry_after(&HeaderMap::new(), Duration::ZERO), None);
    }

    #[test]
    fn progress_is_read_where_there_is_some() {
        let read = |body: &str| {
            let Progress { state, position } = progress(body.as_bytes());
            (state.unwrap_or_default(), position)
        };
        let of = |state: &str, position| (state.to_owned(), position);
        assert_eq!(read(r#"{"state":"queued","position":4,"retryAfter":3}"#), of("queued", Some(4)));
        assert_eq!(read(r#"{"state":"a\u001b[2J\n","position":-1}"#), of("a\\u{1b}[2J\\n", None));
        assert_eq!(read(r#"{"state":7,"position":"4"}"#), of("", None));
        for nothing in ["", "not ready", "[]", "4", "{\"state\":", &"[".repeat(10_000)] {
            assert_eq!(read(nothing), of("", None));
        }
        assert!(read(&format!("{{\"state\":\"{}\"}}", "x".repeat(9000))).0.len() < 300);
    }
}
