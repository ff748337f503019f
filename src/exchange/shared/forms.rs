//! PURE. Requests and answers, as they are written for other replicas and as they are read.

use std::sync::Arc;

use bytes::Bytes;

use super::Line;
use super::record::{Record, SharedAnswer, SharedBody, SharedRequest};
use crate::bounds::EXCHANGE_INLINE;
use crate::exchange::body::RequestBody;
use crate::exchange::entry::{Entry, Outcome, Request};
use crate::exchange::fields::Fields;
use crate::exchange::id::ItemId;

/// A request as it is written, and its body, if that is to be stored.
pub(super) fn request(entry: &Entry, line: &Line) -> (SharedRequest, Option<Bytes>) {
    let request = &entry.request;
    let (body, stored) = match &line.body {
        Some(body) => (body.clone(), None),
        None if request.body.is_coming() || !request.body.is_replayable() || request.body.readers() > 0 => {
            (SharedBody::AtHome(request.body.length()), None)
        }
        None => {
            let bytes = request.body.bytes();
            if bytes.len() <= EXCHANGE_INLINE {
                (SharedBody::Here(bytes.to_vec()), None)
            } else {
                (SharedBody::Stored(bytes.len() as u64), Some(bytes))
            }
        }
    };
    let (method, target) = (request.method.to_string(), request.target.to_string());
    (SharedRequest { method, target, headers: request.headers.as_bytes().to_vec(), body }, stored)
}

/// The answer of an item as it is written, and its body, if that is to be stored; none: it is not kept.
pub(super) fn answer(entry: &Entry) -> Option<(SharedAnswer, Option<Bytes>)> {
    let Outcome::Answer(answer) = entry.outcome() else { return None };
    let bytes = answer.body.bytes()?;
    let (body, stored) = if bytes.len() <= EXCHANGE_INLINE {
        (SharedBody::Here(bytes.to_vec()), None)
    } else {
        (SharedBody::Stored(bytes.len() as u64), Some(bytes))
    };
    let headers = Fields::from(&answer.headers).as_bytes().to_vec();
    Some((SharedAnswer { status: answer.status.as_u16(), headers, body }, stored))
}

/// An item whose consumer came to another replica; none: it is not written as it should be.
pub(super) fn entry(id: ItemId, record: &Record, line: &mut Line, replay: usize) -> Option<Arc<Entry>> {
    let SharedRequest { target, headers, body, .. } = &record.request;
    let method = record.request.method()?;
    let shared = &record.item;
    let body = match body {
        SharedBody::Here(bytes) => RequestBody::stored(bytes.clone().into()),
        SharedBody::Stored(length) => {
            line.body = Some(body.clone());
            RequestBody::awaited(Some(*length), usize::MAX)
        }
        SharedBody::AtHome(length) => {
            line.body = Some(body.clone());
            RequestBody::awaited(*length, replay)
        }
    };
    let headers = Fields::from_bytes(headers.clone());
    let request = Request { method, target: target.as_str().into(), headers, body: Arc::new(body) };
    Some(Entry::new(id, request, shared.is_async, shared.is_async || shared.is_known || shared.once.is_some()))
}
