//! PURE. A request and a state to a decision. The same few rules hold at arrival, at a release and at the end of
//! a hold, so that "compare again" is one function.

use std::time::Duration;

use super::request::{IfNoneMatch, PollRequest};
use crate::model::{Since, StateId};

/// What happens to a request when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It is answered.
    Answer(Decision),
    /// It is held until the state changes, at most this long before jitter.
    Park(Duration),
}

/// How a request is answered, given a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// 200: the state.
    State,
    /// 204: the client has it, could not apply it, or is busy with it.
    Unchanged,
    /// 304: a conditional request matched (RFC 9110, section 15.4.5).
    NotModified,
    /// 503: the client holds a newer state of this history; this one would be a step back.
    Behind,
}

/// What is known of the current state when a request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// It is not older than what the client holds, whatever that is: no state that the client names can be
    /// newer, or a read of the source that began since then returned it.
    Confirmed,
    /// The client may hold a newer one, and the source could not be asked.
    Unconfirmed,
}

/// Whether a client that holds `held` may hold a newer state than `current`: one of the same
/// history with a higher version, or one of another history, unless that is known to have `ended`
/// before the current one began. A client that holds the current state itself holds no newer one,
/// whatever the version.
#[must_use]
pub fn may_be_newer(held: &Since, current: &StateId, ended: bool) -> bool {
    if held.epoch == current.epoch { current.is_before(held) && !current.is_same_state(held) } else { !ended }
}

/// What happens to `request` when it arrives, the current state is `current`, and `consistency` is known of it.
#[must_use]
pub fn at_arrival(request: &PollRequest, current: &StateId, consistency: Consistency) -> Arrival {
    let is_done = request.is_done_with(current);
    if is_done && !request.hold.is_zero() {
        Arrival::Park(request.hold)
    } else if !is_done
        && consistency == Consistency::Unconfirmed
        && request.named().any(|named| may_be_newer(named, current, false))
    {
        Arrival::Answer(Decision::Behind)
    } else {
        Arrival::Answer(choose(request, current))
    }
}

/// Whether a parked request is released by `current`: a state that the client neither has, nor rejected, nor is busy with,
/// and that is not older than those.
#[must_use]
pub fn releases(request: &PollRequest, current: &StateId) -> bool {
    !request.is_done_with(current) && !request.is_ahead_of(current)
}

/// The answer to a parked request whose hold ended, for whatever reason, while `current` was the state.
#[must_use]
pub fn at_end(request: &PollRequest, current: &StateId) -> Decision {
    if request.is_ahead_of(current) { Decision::Behind } else { choose(request, current) }
}

fn choose(request: &PollRequest, current: &StateId) -> Decision {
    let matched = match &request.if_none_match {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::States(states)) => states.iter().any(|state| current.is_same_state(state)),
        None => false,
    };
    if matched {
        Decision::NotModified
    } else if request.is_done_with(current) {
        Decision::Unchanged
    } else {
        Decision::State
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

    fn request(query: &str, if_none_match: Option<&str>) -> PollRequest {
        let mut fields = HeaderMap::new();
        if let Some(value) = if_none_match {
            fields.insert("if-none-match", HeaderValue::try_from(value).expect("a value"));
        }
        let limits = Wait { default: Duration::from_secs(25), max: Duration::from_secs(55) };
        PollRequest::parse(&Method::GET, Some(query), &fields, limits, 64).expect("a request")
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
        let (known, unknown) = (Consistency::Confirmed, Consistency::Unconfirmed);
        for (query, condition, consistency, expected) in [
            (String::new(), None, known, answer(Decision::State)),
            ("since=".to_owned(), None, known, answer(Decision::State)),
            (format!("since={now}"), None, known, park),
            (format!("since={now}"), None, unknown, park),
            (format!("since={moved}"), None, unknown, park),
            (format!("since={now}&wait=0"), None, known, answer(Decision::Unchanged)),
            (format!("since={other}"), None, known, answer(Decision::State)),
            (format!("since={foreign}"), None, known, answer(Decision::State)),
            (format!("since={ahead}"), None, known, answer(Decision::State)),
            (format!("since={ahead}"), None, unknown, answer(Decision::Behind)),
            (format!("since={foreign}"), None, unknown, answer(Decision::Behind)),
            (format!("since={moved}&wait=0"), None, unknown, answer(Decision::Unchanged)),
            (format!("since={other}"), None, unknown, answer(Decision::State)),
            (format!("since={unversioned}"), None, unknown, answer(Decision::State)),
            (String::new(), None, unknown, answer(Decision::State)),
            ("since=nonsense".to_owned(), None, known, answer(Decision::State)),
            (String::new(), Some(&*tag), known, answer(Decision::NotModified)),
            (String::new(), Some("*"), known, answer(Decision::NotModified)),
            (String::new(), Some("\"x\""), known, answer(Decision::State)),
            (format!("since={now}"), Some(&*tag), known, park),
            (format!("since={now}&wait=0"), Some(&*tag), known, answer(Decision::NotModified)),
            (format!("since={other}"), Some(&*tag), known, answer(Decision::NotModified)),
        ] {
            assert_eq!(
                at_arrival(&request(&query, condition), &now, consistency),
                expected,
                "{query} {condition:?} {consistency:?}"
            );
        }
    }

    #[test]
    fn what_is_being_applied_parks_beside_the_others() {
        let (held, now, next) = (state("e", 4, "2"), state("e", 5, "1"), state("e", 6, "3"));
        let park = Arrival::Park(Duration::from_secs(25));
        let answer = Arrival::Answer;
        for (query, consistency, expected) in [
            (format!("since={held}&applying={now}"), Consistency::Confirmed, park),
            (format!("applying={now}"), Consistency::Confirmed, park),
            (format!("since={held}&rejected={now}&applying={now}"), Consistency::Confirmed, park),
            (format!("since={held}&rejected={now}&applying={next}"), Consistency::Unconfirmed, park),
            (format!("since={held}&applying={now}&wait=0"), Consistency::Confirmed, answer(Decision::Unchanged)),
            (format!("since={held}&applying={held}"), Consistency::Confirmed, answer(Decision::State)),
            (format!("since={held}&applying={next}"), Consistency::Unconfirmed, answer(Decision::Behind)),
            (format!("since={held}&applying={next}"), Consistency::Confirmed, answer(Decision::State)),
            ("applying=nonsense".to_owned(), Consistency::Confirmed, answer(Decision::State)),
        ] {
            assert_eq!(at_arrival(&request(&query, None), &now, consistency), expected, "{query}");
        }
        let parked = request(&format!("since={held}&rejected={now}&applying={next}"), None);
        for (state, expected) in [(&held, false), (&now, false), (&next, false), (&state("e", 7, "4"), true)] {
            assert_eq!(releases(&parked, state), expected, "{state}");
        }
    }

    #[test]
    fn what_is_rejected_parks_with_and_without_since() {
        let now = state("e", 5, "1");
        let (held, next, foreign) = (state("e", 4, "2"), state("e", 6, "3"), state("f", 9, "4"));
        let tag = format!("\"{}.{}\"", now.epoch, now.digest);
        let park = Arrival::Park(Duration::from_secs(25));
        let answer = Arrival::Answer;
        for (query, condition, consistency, expected) in [
            (format!("rejected={now}"), None, Consistency::Confirmed, park),
            (format!("rejected={now}"), Some(&*tag), Consistency::Confirmed, park),
            (format!("rejected={now}&wait=0"), None, Consistency::Confirmed, answer(Decision::Unchanged)),
            (format!("rejected={now}&wait=0"), Some("*"), Consistency::Confirmed, answer(Decision::NotModified)),
            (format!("rejected={}", state("e", 1, "1")), None, Consistency::Confirmed, park),
            (format!("since={held}&rejected={now}"), None, Consistency::Confirmed, park),
            (format!("since={now}&rejected={held}"), None, Consistency::Confirmed, park),
            (format!("since={now}&rejected={next}"), None, Consistency::Unconfirmed, park),
            (format!("since={held}&rejected={next}"), None, Consistency::Confirmed, answer(Decision::State)),
            (format!("since={held}&rejected={next}"), None, Consistency::Unconfirmed, answer(Decision::Behind)),
            (format!("rejected={next}"), None, Consistency::Unconfirmed, answer(Decision::Behind)),
            (format!("since={next}&rejected={held}"), None, Consistency::Unconfirmed, answer(Decision::Behind)),
            (format!("since={next}&rejected={foreign}"), None, Consistency::Unconfirmed, answer(Decision::Behind)),
            (format!("rejected={foreign}"), None, Consistency::Unconfirmed, answer(Decision::Behind)),
            (format!("rejected={held}"), None, Consistency::Confirmed, answer(Decision::State)),
            ("rejected=nonsense".to_owned(), None, Consistency::Confirmed, answer(Decision::State)),
        ] {
            assert_eq!(
                at_arrival(&request(&query, condition), &now, consistency),
                expected,
                "{query} {condition:?} {consistency:?}"
            );
        }
    }

    #[test]
    fn a_poll_that_rejects_is_released_by_what_is_newer_than_both() {
        let parked = request(&format!("since={}&rejected={}", state("e", 5, "1"), state("e", 7, "2")), None);
        for (current, released, end) in [
            (state("e", 5, "1"), false, Decision::Unchanged),
            (state("e", 7, "2"), false, Decision::Unchanged),
            (state("e", 9, "2"), false, Decision::Unchanged),
            (state("e", 6, "3"), false, Decision::Behind),
            (state("e", 8, "3"), true, Decision::State),
            (state("f", 1, "3"), true, Decision::State),
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
    fn a_poll_is_released_by_another_state_that_is_not_older() {
        let held = request(&format!("since={}", state("e", 5, "1")), None);
        for (current, released, end) in [
            (state("e", 5, "1"), false, Decision::Unchanged),
            (state("e", 7, "1"), false, Decision::Unchanged),
            (state("e", 6, "2"), true, Decision::State),
            (state("e", 4, "2"), false, Decision::Behind),
            (state("f", 1, "2"), true, Decision::State),
        ] {
            assert_eq!(releases(&held, &current), released, "{current}");
            assert_eq!(at_end(&held, &current), end, "{current}");
        }
    }
}
