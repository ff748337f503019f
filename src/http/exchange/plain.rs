//! Claims in the form for workers that have no HTTP library for more: the body of the request, and what is most needed of the
//! rest in header fields; and their answers.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::bodies::WorkerBody;
use super::handed::Handed;
use super::message::MessageBody;
use super::{empty, insert, request};
use crate::describe::Problem;
use crate::exchange::Exchange;
use crate::exchange::job::Job;
use crate::http::response::Body;
use crate::protocol::fields::{
    EXCHANGE_CLAIM, EXCHANGE_ITEM, EXCHANGE_LEASE, EXCHANGE_METHOD, EXCHANGE_STATUS, EXCHANGE_TARGET, X_REQUEST_ID,
};

/// The media type of a whole message (RFC 9112, section 10.1).
const MESSAGE: &str = "message/http";

/// What of a request the plain form carries.
const OF_REQUEST: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    X_REQUEST_ID,
    HeaderName::from_static("traceparent"),
];

/// What of an answer the plain form carries.
const OF_ANSWER: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::LOCATION,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
];

/// How a worker gets a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The body, and some fields.
    Plain,
    /// A whole message.
    Message,
}

impl Form {
    /// What a poll accepts.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut types = accepts.flat_map(|value| value.split(','));
        if types.any(|accepted| is(accepted, MESSAGE)) { Self::Message } else { Self::Plain }
    }
}

fn is(text: &str, media_type: &str) -> bool {
    text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// Whether an answer comes as a whole message.
pub(super) fn is_message(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|text| is(text, MESSAGE))
}

/// Hands a claim to the worker that has polled for it.
pub(super) fn claim(exchange: &Arc<Exchange>, job: Job, form: Form) -> Response<Body> {
    let (config, id, entry) = (exchange.config(), job.claim(), Arc::clone(job.entry()));
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    for (name, value) in request::fields(&job, config.deadline.as_secs()) {
        // All that this hop has added, and the rest in the whole message alone.
        if let Some(name) = name.filter(|name| OF_REQUEST.contains(name) || name.as_str().starts_with("exchange-")) {
            headers.insert(name, value);
        }
    }
    insert(headers, header::LOCATION, &format!("{}/claims/{id}", config.endpoint));
    insert(headers, EXCHANGE_CLAIM, &id.to_string());
    insert(headers, EXCHANGE_ITEM, &entry.id.to_string());
    insert(headers, EXCHANGE_METHOD, entry.request.method.as_str());
    insert(headers, EXCHANGE_TARGET, &entry.request.target);
    // Until it is touched; a beat tells how long that keeps it.
    insert(headers, EXCHANGE_LEASE, &config.lease.first.as_secs().to_string());
    let body = job.body();
    let handed = Handed::new(exchange, id, &body);
    *response.body_mut() = Body::Exchange(match form {
        Form::Plain => {
            let handed = handed.of(&body);
            WorkerBody::Request(body, handed)
        }
        Form::Message => {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("message/http;msgtype=request"));
            let fields = request::fields(&job, config.deadline.as_secs());
            WorkerBody::Message(Box::new(MessageBody::new(&entry.request, &fields, body)), handed)
        }
    });
    exchange.hold_job(job);
    response
}

/// The head of an answer in the plain form.
pub(super) fn head(headers: &HeaderMap) -> Result<(StatusCode, HeaderMap), Problem> {
    let status = match headers.get(EXCHANGE_STATUS) {
        None => StatusCode::OK,
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            let status =
                StatusCode::from_bytes(value.as_bytes()).ok().filter(|status| (200..600).contains(&status.as_u16()));
            status.ok_or_else(|| Problem::parameter("Exchange-Status", &text, "give a status from 200 to 599"))?
        }
    };
    let fields = OF_ANSWER.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    Ok((status, fields.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn an_answer_in_the_plain_form_has_a_final_status_and_the_fields_of_the_form() {
        let (status, found) = head(&headers(&[
            ("exchange-status", "418"),
            ("content-type", "text/plain"),
            ("set-cookie", "a=b"),
            ("authorization", "Basic x"),
        ]))
        .expect("a head");
        assert_eq!((status.as_u16(), found), (418, headers(&[("content-type", "text/plain")])));
        assert_eq!(head(&headers(&[])).expect("a head").0, StatusCode::OK);
        for wrong in ["101", "199", "600", "999", "abc", "", "20"] {
            let problem = head(&headers(&[("exchange-status", wrong)])).expect_err(wrong);
            assert!(problem.detail.starts_with("Exchange-Status is"), "{}", problem.detail);
        }
    }

    #[test]
    fn the_form_is_what_a_poll_accepts() {
        for (accept, expected) in [
            (&[][..], Form::Plain),
            (&[("accept", "*/*")], Form::Plain),
            (&[("accept", "message/http")], Form::Message),
            (&[("accept", "text/plain, Message/HTTP;q=0.5")], Form::Message),
        ] {
            assert_eq!(Form::of(&headers(accept)), expected, "{accept:?}");
        }
        assert!(is_message(&headers(&[("content-type", "message/http; msgtype=response")])));
        assert!(!is_message(&headers(&[("content-type", "text/plain")])));
    }
}
