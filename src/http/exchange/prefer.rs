//! PURE. What a consumer prefers: `Prefer` (RFC 7240) and `Priority` (RFC 9218).

use http::{HeaderMap, HeaderName};

use crate::protocol::fields::{PREFER as PREFER_FIELD, PRIORITY as PRIORITY_FIELD};

static PREFER: HeaderName = PREFER_FIELD;
static PRIORITY: HeaderName = PRIORITY_FIELD;

/// The urgency of a request that names none (RFC 9218, section 4.1).
const URGENCY: u8 = 3;

/// What a consumer prefers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    /// The longest hold, in seconds.
    pub(super) wait: Option<u64>,
    /// It does not wait for the answer.
    pub(super) respond_async: bool,
}

impl Preferences {
    /// Those of a request. Of repeated ones the first counts (RFC 7240, section 2); those of no form are left out.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for preference in elements(headers, &PREFER) {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("respond-async") {
                found.respond_async = true;
            } else if name.eq_ignore_ascii_case("wait") && found.wait.is_none() {
                found.wait = value.parse().ok();
            }
        }
        found
    }
}

/// The urgency of a request, 0 to 7.
pub(super) fn urgency(headers: &HeaderMap) -> u8 {
    let urgency = elements(headers, &PRIORITY).filter_map(|member| match member.split_once('=') {
        Some(("u", value)) => value.trim().parse().ok().filter(|urgency| *urgency <= 7),
        Some(_) | None => None,
    });
    // Of repeated members the last one counts (RFC 9651, section 4.2.2).
    urgency.last().unwrap_or(URGENCY)
}

/// The elements of a list, without their parameters.
fn elements<'a>(headers: &'a HeaderMap, name: &'static HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|element| element.split(';').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn preferences_are_read_and_those_of_no_form_left_out() {
        for (values, wait, respond_async) in [
            (&["wait=5"][..], Some(5), false),
            (&["respond-async, wait=10"], Some(10), true),
            (&["Respond-Async; x=y", "WAIT=\"7\""], Some(7), true),
            (&["wait=-1"], None, false),
            (&["wait=1, wait=2"], Some(1), false),
            (&["waits=1", "return=minimal"], None, false),
            (&[], None, false),
        ] {
            let found = Preferences::of(&headers(&PREFER, values));
            assert_eq!(found, Preferences { wait, respond_async }, "{values:?}");
        }
    }

    #[test]
    fn an_urgency_is_0_to_7_and_3_without_one() {
        for (values, expected) in [
            (&["u=0"][..], 0),
            (&["u=7, i"], 7),
            (&["i, u=1"], 1),
            (&["u=8"], 3),
            (&["u=1", "u=5"], 5),
            (&["x"], 3),
            (&[], 3),
        ] {
            assert_eq!(urgency(&headers(&PRIORITY, values)), expected, "{values:?}");
        }
    }
}
