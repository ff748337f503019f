//! What a client reads of an answer before its body.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::Coding;
use super::fields::{DELTA_BASE, RECONNECT_WITHIN, STATE_AGE, STATE_DIGEST, STATE_ID};
use super::media_type::JSON_PATCH;
use crate::bounds::{ID_BYTES, RECONNECT_RATE, RECONNECT_WITHIN_MOST};

/// An answer without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerHead {
    /// 200: the body is the state, or what leads to it.
    State(State, Body),
    /// 204: the wait ended, and the client has the state.
    Unchanged(State),
    /// 304: a conditional request matched.
    NotModified(State),
    /// Any other status: the body may be a problem.
    Refused {
        /// The status.
        status: StatusCode,
        /// How long to wait before the next attempt.
        retry_after: Option<Duration>,
    },
}

/// The state that an answer is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// `State-Id`: the `since` of the next poll, once the state is applied.
    pub id: String,
    /// `State-Age`: how long ago the source last confirmed the state.
    pub age: Duration,
}

/// What is known of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// `Content-Encoding`.
    pub coding: Coding,
    /// `State-Digest`: what [`state_digest`](super::state_digest) gives of the state that the client then has.
    pub digest: String,
    /// `Delta-Base`: the body is a JSON Patch, to be applied to the state of this id; absent: it is the state.
    pub delta_base: Option<String>,
    /// `Content-Type`.
    pub media_type: String,
}

/// A field without which an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// It is not there.
    #[error("the answer has no {0}: it is not from a describe endpoint")]
    Missing(HeaderName),
    /// It is there, and wrong.
    #[error("{name} of the answer is {value:?}: {wanted} is what it should be")]
    Invalid {
        /// Its name.
        name: HeaderName,
        /// Its value.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

impl AnswerHead {
    /// Reads status and header fields.
    pub fn read(status: StatusCode, fields: &HeaderMap) -> Result<Self, InvalidAnswer> {
        match status {
            StatusCode::OK => Ok(Self::State(State::read(fields)?, Body::read(fields)?)),
            StatusCode::NO_CONTENT => State::read(fields).map(Self::Unchanged),
            StatusCode::NOT_MODIFIED => State::read(fields).map(Self::NotModified),
            _ => {
                // A date (RFC 9110, section 10.2.3) is not what a server of ours sends; a proxy in between may.
                let seconds = optional(fields, &header::RETRY_AFTER).and_then(|text| text.parse().ok());
                Ok(Self::Refused { status, retry_after: seconds.map(Duration::from_secs) })
            }
        }
    }
}

impl State {
    fn read(fields: &HeaderMap) -> Result<Self, InvalidAnswer> {
        let id = id(&STATE_ID, required(fields, &STATE_ID)?)?;
        let age = required(fields, &STATE_AGE)?;
        let seconds: u64 = age.parse().map_err(|_| invalid(&STATE_AGE, &age, "whole seconds"))?;
        // Ages are added up.
        Ok(Self { id, age: Duration::from_secs(seconds.min(u64::from(u32::MAX))) })
    }
}

impl Body {
    fn read(fields: &HeaderMap) -> Result<Self, InvalidAnswer> {
        let coding = match optional(fields, &header::CONTENT_ENCODING) {
            None => Coding::Identity,
            Some(name) => {
                Coding::named(&name).ok_or_else(|| invalid(&header::CONTENT_ENCODING, &name, "gzip or zstd"))?
            }
        };
        let media_type = required(fields, &header::CONTENT_TYPE)?;
        let delta_base = optional(fields, &DELTA_BASE).map(|base| id(&DELTA_BASE, base)).transpose()?;
        // A patch that is taken for the state, or the other way round, would be found out by the digest only.
        if delta_base.is_some() && media_type != JSON_PATCH {
            return Err(invalid(&header::CONTENT_TYPE, &media_type, JSON_PATCH));
        }
        Ok(Self { coding, digest: required(fields, &STATE_DIGEST)?, delta_base, media_type })
    }
}

/// `Reconnect-Within`: who loses the connection waits a random part of this before the first attempt.
#[must_use]
pub fn reconnect_within(fields: &HeaderMap) -> Option<Duration> {
    let seconds = optional(fields, &RECONNECT_WITHIN).and_then(|text| text.parse().ok());
    seconds.map(|seconds| Duration::from_secs(seconds).min(RECONNECT_WITHIN_MOST))
}

/// How long so many clients take to come back, if they are to be no more than [`RECONNECT_RATE`] a second: in whole seconds.
#[must_use]
pub fn time_to_reconnect(clients: u64) -> Duration {
    Duration::from_secs(clients.div_ceil(RECONNECT_RATE).max(1)).min(RECONNECT_WITHIN_MOST)
}

/// An id is opaque to clients, but for its characters and its length.
fn id(name: &HeaderName, text: String) -> Result<String, InvalidAnswer> {
    let is_of_an_id = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    if text.is_empty() || text.len() > ID_BYTES || !text.bytes().all(is_of_an_id) {
        return Err(invalid(name, &text, "1 to 128 characters of A-Z a-z 0-9 . _ ~ -"));
    }
    Ok(text)
}

fn optional(fields: &HeaderMap, name: &HeaderName) -> Option<String> {
    fields.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
}

fn required(fields: &HeaderMap, name: &HeaderName) -> Result<String, InvalidAnswer> {
    optional(fields, name).ok_or_else(|| InvalidAnswer::Missing(name.clone()))
}

fn invalid(name: &HeaderName, value: &str, wanted: &'static str) -> InvalidAnswer {
    InvalidAnswer::Invalid { name: name.clone(), value: value.to_owned(), wanted }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The error of an answer that is good but for one field.
    fn refused(name: HeaderName, value: Option<&'static str>) -> String {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            (STATE_ID, "e.1.d"),
            (STATE_AGE, "0"),
            (STATE_DIGEST, "sha-256=:x:"),
            (header::CONTENT_TYPE, "application/json"),
        ] {
            fields.insert(name, HeaderValue::from_static(value));
        }
        assert!(AnswerHead::read(StatusCode::OK, &fields).is_ok());
        match value {
            Some(value) => drop(fields.insert(name, HeaderValue::from_static(value))),
            None => drop(fields.remove(name)),
        }
        AnswerHead::read(StatusCode::OK, &fields).expect_err("one is wrong").to_string()
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_refused_with_the_field_that_is_wrong() {
        let long = str::repeat("x", ID_BYTES + 1).leak();
        let id = "1 to 128 characters of A-Z a-z 0-9 . _ ~ -";
        for (name, value, wanted) in [
            (STATE_ID, "", id),
            (STATE_ID, long, id),
            (STATE_ID, "a b", id),
            (DELTA_BASE, "a&b", id),
            (STATE_AGE, "-1", "whole seconds"),
            (header::CONTENT_ENCODING, "br", "gzip or zstd"),
            (DELTA_BASE, "e.0.c", JSON_PATCH),
        ] {
            let found = refused(name, Some(value));
            assert!(found.ends_with(&format!(": {wanted} is what it should be")), "{found}");
        }
        for name in [STATE_ID, STATE_AGE, STATE_DIGEST, header::CONTENT_TYPE] {
            let expected = format!("the answer has no {name}: it is not from a describe endpoint");
            assert_eq!(refused(name, None), expected);
        }
    }

    #[test]
    fn a_time_to_come_back_within_is_bounded_and_what_is_none_is_left_out() {
        let within =
            |value| reconnect_within(&[(RECONNECT_WITHIN, HeaderValue::from_static(value))].into_iter().collect());
        for (value, expected) in [("7", Some(7)), ("86400", Some(60)), ("-1", None), ("soon", None), ("", None)] {
            assert_eq!(within(value), expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(reconnect_within(&HeaderMap::new()), None);
    }

    #[test]
    fn so_many_clients_come_back_within_so_many_seconds() {
        for (clients, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_001, 60), (60_001, 60), (u64::MAX, 60)] {
            assert_eq!(time_to_reconnect(clients), Duration::from_secs(seconds), "{clients}");
        }
    }

    #[test]
    fn a_date_to_try_again_at_is_left_to_the_client() {
        let mut fields = HeaderMap::new();
        fields.insert(header::RETRY_AFTER, HeaderValue::from_static("Wed, 21 Oct 2026 07:28:00 GMT"));
        let expected = AnswerHead::Refused { status: StatusCode::BAD_GATEWAY, retry_after: None };
        assert_eq!(AnswerHead::read(StatusCode::BAD_GATEWAY, &fields), Ok(expected));
    }
}
