//! A consumer's request, as workers get it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::{Received, insert};
use crate::bounds::EXCHANGE_SILENT;
use crate::exchange::body;
use crate::exchange::core::{Once, Submission};
use crate::exchange::entry::Request;
use crate::exchange::id::ItemId;
use crate::exchange::job::Job;
use crate::http::forwarded::{self, CallerFields, Peer};
use crate::http::proxy::Idle;
use crate::http::request_body::RequestBody;
use crate::protocol::fields::{
    EXCHANGE_ATTEMPT, EXCHANGE_ITEM, EXCHANGE_REDIRECT, EXCHANGE_TIME_LEFT, IDEMPOTENCY_KEY, X_REQUEST_ID,
};

/// The body of a consumer's request, of which nothing is read yet.
pub(super) fn incoming(body: RequestBody) -> body::Incoming {
    ConsumerBody { body, idle: Idle::new(Some(EXCHANGE_SILENT)) }.boxed_unsync()
}

/// A body that breaks off where its consumer sends nothing for long: it would keep the slot of a worker.
struct ConsumerBody {
    body: RequestBody,
    idle: Idle,
}

impl Body for ConsumerBody {
    type Data = Bytes;
    type Error = body::BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx).map_err(Into::into);
        this.idle.bound(polled, cx, |limit| format!("nothing of the body has come for {} s", limit.as_secs()).into())
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a request is to workers.
pub(super) fn request(received: &Received<'_>, item: ItemId, body: body::RequestBody) -> Request {
    let parts = &received.parts;
    let mut headers = parts.headers.clone();
    if parts.version == Version::HTTP_2 {
        let authority = parts.uri.authority().and_then(|found| HeaderValue::from_str(found.as_str()).ok());
        forwarded::from_http2(&mut headers, authority);
    }
    let identity = CallerFields { names: Arc::clone(&received.exchanges.identity), caller: received.caller.clone() };
    let peer = Peer::new(received.peer.ip(), received.scheme.as_str(), &received.exchanges.trusted, identity);
    forwarded::to_app(&mut headers, &peer, None);
    // The 100 is sent by this hop, once a worker has the head.
    headers.remove(header::EXPECT);
    headers.remove(header::CONNECTION);
    headers.remove(header::TE);
    if !headers.contains_key(X_REQUEST_ID) {
        insert(&mut headers, X_REQUEST_ID, &item.to_string());
    }
    insert(&mut headers, EXCHANGE_ITEM, &item.to_string());
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).into();
    Request { method: parts.method.clone(), target, headers: (&headers).into(), body: Arc::new(body) }
}

/// The fields of a request in the hands of a worker.
pub(super) fn fields(job: &Job, time_left: u64) -> HeaderMap {
    let entry = job.entry();
    let mut headers = entry.request.headers.to_map();
    insert(&mut headers, EXCHANGE_ATTEMPT, &job.attempt().to_string());
    insert(&mut headers, EXCHANGE_TIME_LEFT, &time_left.to_string());
    if entry.answers_many {
        headers.insert(EXCHANGE_REDIRECT, HeaderValue::from_static("no"));
    }
    headers
}

/// The target of a request in the form of HTTP/1.1.
pub(super) fn uri(request: &Request) -> Uri {
    // It was one when it came.
    request.target.parse().unwrap_or_default()
}

/// What makes a repeated request the same; none: it has no key.
pub(super) fn once(parts: &Parts, body: impl FnOnce() -> Bytes) -> Option<Once> {
    let key = parts.headers.get(IDEMPOTENCY_KEY)?;
    let body = body();
    let mut digest = blake3::Hasher::new();
    let content_type = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), content_type, &body] {
        digest.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    let key = String::from_utf8_lossy(key.as_bytes()).trim().trim_matches('"').into();
    Some(Once { key, digest: *digest.finalize().as_bytes() })
}

/// What requests with the same answer have in common: the target, and what is accepted.
pub(super) fn share(parts: &Parts) -> Arc<str> {
    let mut text = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    for (name, value) in &parts.headers {
        if name.as_str().starts_with("accept") || *name == header::RANGE {
            text.push('\n');
            text.push_str(name.as_str());
            text.push(':');
            text.push_str(&String::from_utf8_lossy(value.as_bytes()));
        }
    }
    text.into()
}

/// Whether a request may share an item with others.
pub(super) fn may_share(parts: &Parts, has_body: bool) -> bool {
    parts.method == Method::GET && !has_body && !parts.headers.contains_key(IDEMPOTENCY_KEY)
}

/// The rest of a submission.
pub(super) fn submission(received: &Received<'_>, item: ItemId, is_async: bool) -> Submission {
    Submission {
        item,
        client: received.client(),
        key: None,
        urgency: super::prefer::urgency(&received.parts.headers),
        is_async,
        is_idempotent: received.parts.method.is_idempotent(),
        once: None,
        share: None,
    }
}
