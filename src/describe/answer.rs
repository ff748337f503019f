//! A want and a state to an answer. The same few rules at arrival, at a release and at the end of
//! a wait, so that "compare again" is one function.

use std::time::Duration;

use super::want::{IfNoneMatch, Want};
use crate::model::StateId;

/// What happens to a request when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is answered.
    Answer(Choice),
    /// It is held until the state changes, at most this long before jitter.
    Park(Duration),
}

/// An answer to a request, given a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// 200: the state.
    State,
    /// 204: the client has it, or could not apply it.
    Unchanged,
    /// 304: a conditional request matched (RFC 9110, section 15.4.5).
    NotModified,
    /// 503: the client holds a newer state of this history; giving it this one would take it back.
    Behind,
}

/// What happens to `want` when it arrives and the current state is `current`. `live`: the source
/// has confirmed it, so that it is given even to a client that claims a newer one.
#[must_use]
pub fn at_arrival(want: &Want, current: &StateId, live: bool) -> Arrival {
    if want.is_done_with(current) && !want.hold.is_zero() {
        Arrival::Park(want.hold)
    } else if want.is_ahead_of(current) && !live {
        Arrival::Answer(Choice::Behind)
    } else {
        Arrival::Answer(choose(want, current))
    }
}

/// Whether a parked request is released by `current`: a state that the client neither has nor
/// rejected, and none that would take it back.
#[must_use]
pub fn releases(want: &Want, current: &StateId) -> bool {
    !want.is_done_with(current) && !want.is_ahead_of(current)
}

/// The answer to a parked request whose hold ended, for whatever reason, while `current` was the state.
#[must_use]
pub fn at_end(want: &Want, current: &StateId) -> Choice {
    if want.is_ahead_of(current) { Choice::Behind } else { choose(want, current) }
}

fn choose(want: &Want, current: &StateId) -> Choice {
    let matched = match &want.if_none_match {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::States(states)) => states.iter().any(|state| current.is_same_state(state)),
        None => false,
    };
    if matched {
        Choice::NotModified
    } else if want.is_done_with(current) {
        Choice::Unchanged
    } else {
        Choice::State
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::config::Wait;
    use crate::model::{Content, Document, Epoch, Snapshot};

    fn state(epoch: &str, version: u64, json: &str) -> StateId {
        let content = Content::Json(Document::from_json(json.as_bytes()).expect("a document"));
        Snapshot::of(Epoch::of(&[epoch]), version, &content).id
    }

    fn want(query: &str, if_none_match: Option<&str>) -> Want {
        let mut fields = HeaderMap::new();
        if let Some(value) = if_none_match {
            fields.insert("if-none-match", HeaderValue::try_from(value).expect("a value"));
        }
        let limits = Wait { default: Duration::from_secs(25), max: Duration::from_secs(55) };
        Want::parse(&Method::GET, Some(query), &fields, limits).expect("a want")
    }

    #[test]
    fn the_table_of_the_protocol() {
        let now = state("e", 5, "1");
        let (moved, other) = (state("e", 9, "1"), state("e", 4, "2"));
        let (ahead, foreign) = (state("e", 6, "2"), state("f", 5, "1"));
        let tag = format!("\"{}.{}\"", now.epoch, now.digest);
        let park = Arrival::Park(Duration::from_secs(25));
        let answer = Arrival::Answer;
        for (query, condition, live, expected) in [
            (String::new(), None, true, answer(Choice::State)),
            ("since=".to_owned(), None, true, answer(Choice::State)),
            (format!("since={now}"), None, true, park),
            (format!("since={now}"), None, false, park),
            (format!("since={moved}"), None, false, park),
            (format!("since={now}&wait=0"), None, true, answer(Choice::Unchanged)),
            (format!("since={other}"), None, true, answer(Choice::State)),
            (format!("since={foreign}"), None, true, answer(Choice::State)),
            (format!("since={ahead}"), None, true, answer(Choice::State)),
            (format!("since={ahead}"), None, false, answer(Choice::Behind)),
            ("since=nonsense".to_owned(), None, true, answer(Choice::State)),
            (String::new(), Some(&*tag), true, answer(Choice::NotModified)),
            (String::new(), Some("*"), true, answer(Choice::NotModified)),
            (String::new(), Some("\"x\""), true, answer(Choice::State)),
            (format!("since={now}"), Some(&*tag), true, park),
            (format!("since={now}&wait=0"), Some(&*tag), true, answer(Choice::NotModified)),
            (format!("since={other}"), Some(&*tag), true, answer(Choice::NotModified)),
        ] {
            assert_eq!(at_arrival(&want(&query, condition), &now, live), expected, "{query} {condition:?} {live}");
        }
    }

    #[test]
    fn what_is_rejected_parks_with_and_without_since() {
        let now = state("e", 5, "1");
        let (held, next, foreign) = (state("e", 4, "2"), state("e", 6, "3"), state("f", 9, "4"));
        let tag = format!("\"{}.{}\"", now.epoch, now.digest);
        let park = Arrival::Park(Duration::from_secs(25));
        let answer = Arrival::Answer;
        for (query, condition, live, expected) in [
            (format!("rejected={now}"), None, true, park),
            (format!("rejected={now}"), Some(&*tag), true, park),
            (format!("rejected={now}&wait=0"), None, true, answer(Choice::Unchanged)),
            (format!("rejected={now}&wait=0"), Some("*"), true, answer(Choice::NotModified)),
            (format!("rejected={}", state("e", 1, "1")), None, true, park),
            (format!("since={held}&rejected={now}"), None, true, park),
            (format!("since={now}&rejected={held}"), None, true, park),
            (format!("since={now}&rejected={next}"), None, false, park),
            (format!("since={held}&rejected={next}"), None, true, answer(Choice::State)),
            (format!("since={held}&rejected={next}"), None, false, answer(Choice::Behind)),
            (format!("rejected={next}"), None, false, answer(Choice::Behind)),
            (format!("since={next}&rejected={held}"), None, false, answer(Choice::Behind)),
            (format!("since={next}&rejected={foreign}"), None, false, answer(Choice::Behind)),
            (format!("rejected={foreign}"), None, false, answer(Choice::State)),
            (format!("rejected={held}"), None, true, answer(Choice::State)),
            ("rejected=nonsense".to_owned(), None, true, answer(Choice::State)),
        ] {
            assert_eq!(at_arrival(&want(&query, condition), &now, live), expected, "{query} {condition:?} {live}");
        }
    }

    #[test]
    fn a_seat_that_rejects_is_released_by_what_is_newer_than_both() {
        let parked = want(&format!("since={}&rejected={}", state("e", 5, "1"), state("e", 7, "2")), None);
        for (current, released, end) in [
            (state("e", 5, "1"), false, Choice::Unchanged),
            (state("e", 7, "2"), false, Choice::Unchanged),
            (state("e", 9, "2"), false, Choice::Unchanged),
            (state("e", 6, "3"), false, Choice::Behind),
            (state("e", 8, "3"), true, Choice::State),
            (state("f", 1, "3"), true, Choice::State),
        ] {
            assert_eq!(releases(&parked, &current), released, "{current}");
            assert_eq!(at_end(&parked, &current), end, "{current}");
        }
    }

    #[test]
    fn a_seat_is_released_by_another_state_that_is_not_older() {
        let held = want(&format!("since={}", state("e", 5, "1")), None);
        for (current, released, end) in [
            (state("e", 5, "1"), false, Choice::Unchanged),
            (state("e", 7, "1"), false, Choice::Unchanged),
            (state("e", 6, "2"), true, Choice::State),
            (state("e", 4, "2"), false, Choice::Behind),
            (state("f", 1, "2"), true, Choice::State),
        ] {
            assert_eq!(releases(&held, &current), released, "{current}");
            assert_eq!(at_end(&held, &current), end, "{current}");
        }
    }
}
