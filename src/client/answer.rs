//! PURE. Head and body of an answer, and what is held: a verified state, no news, or why neither.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::failure::{Failure, FailureKind};
use super::state::{Patch, State, is_same};
use crate::bounds::CLIENT_RETRY_AFTER;
use crate::model::{Content, StateId, patch};
use crate::protocol::media_type::{JSON, PROBLEM};
use crate::protocol::{AnswerHead, answer, state_digest};

#[cfg(test)]
mod tests;

/// What becomes of an answer, once its head is read.
#[derive(Debug)]
pub(super) enum Head {
    /// The body is a state, or leads to one.
    State(answer::State, answer::Body),
    /// The server's state is this one still.
    Same(answer::State),
    /// The body may say why.
    Refused(StatusCode, Option<Duration>),
}

/// Reads a head.
pub(super) fn head(status: StatusCode, fields: &HeaderMap) -> Result<Head, Failure> {
    match AnswerHead::read(status, fields) {
        Ok(AnswerHead::State(state, body)) => Ok(Head::State(state, body)),
        Ok(AnswerHead::Unchanged(state) | AnswerHead::NotModified(state)) => Ok(Head::Same(state)),
        Ok(AnswerHead::Refused { status, retry_after }) if status.is_redirection() => {
            let _ = retry_after;
            // What stands in its query may be a secret.
            let to = field(fields, &header::LOCATION).and_then(|to| to.split('?').next());
            let to = to.unwrap_or("a place that it does not name");
            let text = format!("{status} leads to {to}, and redirects are not followed: name that URL as the endpoint");
            Err(Failure::untrue(&text))
        }
        Ok(AnswerHead::Refused { status, .. }) if status.is_success() => {
            Err(Failure::untrue(&format!("{status} is no answer of a describe endpoint: name the URL of one")))
        }
        Ok(AnswerHead::Refused { status, retry_after }) => Ok(Head::Refused(status, retry_after)),
        Err(invalid) => {
            let kind = field(fields, &header::CONTENT_TYPE).unwrap_or_default();
            let is_page = kind.to_ascii_lowercase().starts_with("text/html");
            let page = " (a page of HTML came instead: a proxy or a login may stand in between)";
            let remedy = "name the URL of an operation, and let nothing in between change its answers";
            Err(Failure::untrue(&format!("{status}: {invalid}{}: {remedy}", if is_page { page } else { "" })))
        }
    }
}

fn field<'a>(fields: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    fields.get(name).and_then(|value| value.to_str().ok())
}

/// The state that a body gives, or leads to from `base`, which is the state that the request named in `since`.
pub(super) fn state(
    head: &answer::State,
    body: &answer::Body,
    bytes: Bytes,
    base: Option<&State>,
) -> Result<State, Failure> {
    let mut state = match &body.delta_base {
        Some(begins) => patched(head, body, begins, bytes, base)?,
        None => whole(head, body, bytes)?,
    };
    state.age = head.age;
    Ok(state)
}

fn whole(head: &answer::State, body: &answer::Body, bytes: Bytes) -> Result<State, Failure> {
    let found = state_digest(&bytes);
    if found != body.digest {
        let text = format!(
            "the {} bytes of the body have the digest {found}, and State-Digest is {}: what stands in between must not change bodies",
            bytes.len(),
            body.digest
        );
        return Err(Failure::untrue(&text));
    }
    let len = bytes.len();
    State::named(&head.id, &body.media_type, bytes).ok_or_else(|| {
        let (id, media_type) = (&head.id, &body.media_type);
        let text = format!(
            "the {len} bytes of {media_type} are not the state {id}, which came with them: see that this endpoint and its clients are of versions that fit"
        );
        Failure::untrue(&text)
    })
}

fn patched(
    head: &answer::State,
    body: &answer::Body,
    begins: &str,
    bytes: Bytes,
    base: Option<&State>,
) -> Result<State, Failure> {
    let wrong = |what: &str| {
        let text = format!("the patch to {} {what}: the whole state is asked for next", head.id);
        Err(Failure::new(FailureKind::Patch, &text))
    };
    let Some(base) = base.filter(|base| is_same(begins, base.id())) else {
        return wrong(&format!("begins at {begins}, which is not what is held"));
    };
    let Some(document) = base.document() else { return wrong("begins at an opaque model") };
    let result = match patch::apply(document, &bytes) {
        Ok(result) => result,
        Err(invalid) => return wrong(&format!("cannot be applied ({invalid})")),
    };
    let content = Content::Json(result);
    let result = content.bytes();
    if state_digest(&result) != body.digest {
        return wrong("leads to other bytes than State-Digest says");
    }
    if StateId::parse(&head.id).is_some_and(|id| id.digest != content.digest()) {
        return wrong("leads to a state of another id");
    }
    let patch = Some(Patch { base: base.id().to_owned(), bytes });
    Ok(State { id: head.id.clone(), content, bytes: result, age: head.age, patch, is_older: false })
}

/// The remedy of 404 and 410.
const GONE: &str = "the operation is not there: correct its path, or bring it back at the server";

/// What becomes of a refusal; `body` is what was read of it.
pub(super) fn refusal(
    status: StatusCode,
    retry_after: Option<Duration>,
    media_type: Option<&str>,
    body: &[u8],
) -> Failure {
    let is_problem = media_type.is_some_and(|media_type| media_type.starts_with(PROBLEM) || media_type == JSON);
    let problem: serde_json::Value =
        if is_problem { serde_json::from_slice(body).unwrap_or_default() } else { serde_json::Value::Null };
    let said = ["detail", "title"].into_iter().find_map(|name| problem.get(name)?.as_str());
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FailureKind::Denied,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            FailureKind::Busy(retry_after)
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => FailureKind::Gone,
        status if status.is_client_error() => FailureKind::Refused,
        _ => FailureKind::Busy(retry_after),
    };
    let remedy = match kind {
        FailureKind::Denied => "give this client a credential that may poll",
        FailureKind::Refused => "correct the endpoint, the operation or what is asked of it",
        FailureKind::Gone => {
            let said = said.map_or_else(String::new, |said| format!(": {said}"));
            return Failure::new(kind, &format!("{status}{said}: {GONE}"));
        }
        FailureKind::Busy(Some(after)) => {
            let seconds = after.min(CLIENT_RETRY_AFTER).as_secs();
            return Failure::new(
                kind,
                &format!("{status}, {}: asked again after {seconds} s", said.unwrap_or("no reason given")),
            );
        }
        FailureKind::Busy(None) => "asked again after a pause",
        FailureKind::Unreachable
        | FailureKind::Lost
        | FailureKind::Untrue
        | FailureKind::Patch
        | FailureKind::Unfit(_) => "asked again",
    };
    let text = match said {
        Some(said) => format!("{status}: {said}"),
        None => format!("{status}: {remedy}"),
    };
    Failure::new(kind, &text)
}
