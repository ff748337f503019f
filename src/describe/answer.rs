//! A want and a state to an answer. The same few rules at arrival, at a release and at the end of
//! a wait, so that "compare again" is one function.

use std::time::Duration;

use super::want::{IfNoneMatch, Want};
use crate::model::{Since, StateId};

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

/// What is known of the current state when a request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not older than what the client holds, whatever that is: nothing the client says can be
    /// newer, or the source was asked since and gave it.
    Confirmed,
    /// The client may hold a newer one, and the source could not be asked.
    Unconfirmed,
}

/// Whether a client that holds `held` may hold a newer state than `current`: one of the same
/// history with a higher version, or one of another history, unless that is known to have `ended`
/// before the current one began. Whoever holds the current state itself holds no newer one,
/// whatever the version.
#[must_use]
pub fn may_be_newer(held: &Since, current: &StateId, ended: bool) -> bool {
    if held.epoch == current.epoch { current.is_before(held) && !current.is_same_state(held) } else { !ended }
}

/// What happens to `want` when it arrives, the current state is `current`, and `standing` is known of it.
#[must_use]
pub fn at_arrival(want: &Want, current: &StateId, standing: Standing) -> Arrival {
    let is_done = want.is_done_with(current);
    if is_done && !want.hold.is_zero() {
        Arrival::Park(want.hold)
    } else if !is_done
        && standing == Standing::Unconfirmed
        && want.named().any(|named| may_be_newer(named, current, false))
    {
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
        Want::parse(&Method::GET, Some(query), &fields, limits, 64).expect("a want")
    }

    #[test]
    fn the_table_of_the_protocol() {
        let now = state("e", 5, "1");
        let (moved, other) = (state("e", 9, "1"), state("e", 4, "2"));
        let (ahead, foreign) = (state("e", 6, "2"), state("f", 5, "1"));
        let tag = format!("\"{}.{}\"", now.epoch, now.digest);
        let unversioned = format!("{}.{}", ahead.epoch, ahead.digest);
        let park = Arrival::Park(Duration::from_secs(25));
        let answer = Arrival::Answer;
        let (known, unknown) = (Standing::Confirmed, Standing::Unconfirmed);
        for (query, condition, standing, expected) in [
            (String::new(), None, known, answer(Choice::State)),
            ("since=".to_owned(), None, known, answer(Choice::State)),
            (format!("since={now}"), None, known, park),
            (format!("since={now}"), None, unknown, park),
            (format!("since={moved}"), None, unknown, park),
            (format!("since={now}&wait=0"), None, known, answer(Choice::Unchanged)),
            (format!("since={other}"), None, known, answer(Choice::State)),
            (format!("since={foreign}"), None, known, answer(Choice::State)),
            (format!("since={ahead}"), None, known, answer(Choice::State)),
            (format!("since={ahead}"), None, unknown, answer(Choice::Behind)),
            (format!("since={foreign}"), None, unknown, answer(Choice::Behind)),
            (format!("since={moved}&wait=0"), None, unknown, answer(Choice::Unchanged)),
            (format!("since={other}"), None, unknown, answer(Choice::State)),
            (format!("since={unversioned}"), None, unknown, answer(Choice::State)),
            (String::new(), None, unknown, answer(Choice::State)),
            ("since=nonsense".to_owned(), None, known, answer(Choice::State)),
            (String::new(), Some(&*tag), known, answer(Choice::NotModified)),
            (String::new(), Some("*"), known, answer(Choice::NotModified)),
            (String::new(), Some("\"x\""), known, answer(Choice::State)),
            (format!("since={now}"), Some(&*tag), known, park),
            (format!("since={now}&wait=0"), Some(&*tag), known, answer(Choice::NotModified)),
            (format!("since={other}"), Some(&*tag), known, answer(Choice::NotModified)),
        ] {
            assert_eq!(
                at_arrival(&want(&query, condition), &now, standing),
                expected,
                "{query} {condition:?} {standing:?}"
            );
        }
    }

    #[test]
    fn what_is_rejected_parks_with_and_without_since() {
        let now = state("e", 5, "1");
        let (held, next, foreign) = (state("e", 4, "2"), state("e", 6, "3"), state("f", 9, "4"));
        let tag = format!("\"{}.{}\"", now.epoch, now.digest);
        let park = Arrival::Park(Duration::from_secs(25));
        let answer = Arrival::Answer;
        for (query, condition, standing, expected) in [
            (format!("rejected={now}"), None, Standing::Confirmed, park),
            (format!("rejected={now}"), Some(&*tag), Standing::Confirmed, park),
            (format!("rejected={now}&wait=0"), None, Standing::Confirmed, answer(Choice::Unchanged)),
            (format!("rejected={now}&wait=0"), Some("*"), Standing::Confirmed, answer(Choice::NotModified)),
            (format!("rejected={}", state("e", 1, "1")), None, Standing::Confirmed, park),
            (format!("since={held}&rejected={now}"), None, Standing::Confirmed, park),
            (format!("since={now}&rejected={held}"), None, Standing::Confirmed, park),
            (format!("since={now}&rejected={next}"), None, Standing::Unconfirmed, park),
            (format!("since={held}&rejected={next}"), None, Standing::Confirmed, answer(Choice::State)),
            (format!("since={held}&rejected={next}"), None, Standing::Unconfirmed, answer(Choice::Behind)),
            (format!("rejected={next}"), None, Standing::Unconfirmed, answer(Choice::Behind)),
            (format!("since={next}&rejected={held}"), None, Standing::Unconfirmed, answer(Choice::Behind)),
            (format!("since={next}&rejected={foreign}"), None, Standing::Unconfirmed, answer(Choice::Behind)),
            (format!("rejected={foreign}"), None, Standing::Unconfirmed, answer(Choice::Behind)),
            (format!("rejected={held}"), None, Standing::Confirmed, answer(Choice::State)),
            ("rejected=nonsense".to_owned(), None, Standing::Confirmed, answer(Choice::State)),
        ] {
            assert_eq!(
                at_arrival(&want(&query, condition), &now, standing),
                expected,
                "{query} {condition:?} {standing:?}"
            );
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
    fn newer_is_a_higher_version_of_this_history_or_a_history_that_is_not_known_to_have_ended() {
        let now = state("e", 5, "1");
        let etag = |id: StateId| Since { version: None, ..id.into() };
        for (held, ended, expected) in [
            (state("e", 6, "2").into(), false, true),
            (state("e", u64::MAX, "2").into(), false, true),
            (state("e", 6, "1").into(), false, false),
            (state("e", 5, "2").into(), false, false),
            (state("e", 4, "2").into(), false, false),
            (etag(state("e", 6, "2")), false, false),
            (state("f", 1, "2").into(), false, true),
            (state("f", 1, "1").into(), false, true),
            (state("f", 9, "2").into(), true, false),
            (etag(state("f", 9, "2")), false, true),
        ] {
            assert_eq!(may_be_newer(&held, &now, ended), expected, "{held:?} {ended}");
        }
        assert!(!may_be_newer(&state("e", 6, "2").into(), &state("e", 0, "1"), false), "a source without order");
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
