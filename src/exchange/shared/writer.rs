//! Writes what this replica knows of items, until it is written or another replica was earlier.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use tokio::time::sleep;

use super::call::Of;
use super::pull::{self, Pull};
use super::record::SharedBody;
use super::store::{NotWritten, Store};
use super::{At, Write};
use crate::exchange::Exchange;
use crate::exchange::core::SharedItem;
use crate::exchange::id::{ItemId, ReplicaId};

/// How long it takes until something is written again that perhaps does not count: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Writes an item.
pub(super) async fn write(exchange: &Arc<Exchange>, store: &Store, client: &Client, me: ReplicaId, id: ItemId) {
    let mut again = AGAIN.0;
    while let Some(Write { record, revision, life, bodies }) = exchange.next_write(id) {
        let item = record.item.clone();
        let written = put(store, id, record, revision, life, bodies).await;
        let counts = match written {
            Ok(revision) => Some((item, revision)),
            Err(NotWritten::Conflict) => match store.get(id).await {
                // It was written before, and that was not heard.
                Ok(Some((found, revision))) if found.by == me => Some((found.item, revision)),
                Ok(Some((found, revision))) => {
                    exchange.metrics().conflict();
                    exchange.told(id, found, revision);
                    None
                }
                Ok(None) => {
                    exchange.vanished(id);
                    None
                }
                Err(error) => {
                    wait(exchange, &mut again, &error).await;
                    continue;
                }
            },
            Err(NotWritten::Failed(error)) => {
                wait(exchange, &mut again, &error).await;
                continue;
            }
        };
        again = AGAIN.0;
        let Some((item, revision)) = counts else { continue };
        if let At::Claimed { .. } = item.at {
            body(exchange, store, client, id, &item).await;
        }
        exchange.written(id, item, revision);
    }
}

async fn put(
    store: &Store,
    id: ItemId,
    record: super::Record,
    revision: u64,
    life: Duration,
    bodies: Vec<(String, bytes::Bytes)>,
) -> Result<u64, NotWritten> {
    for (name, bytes) in bodies {
        store.store(&name, &bytes).await.map_err(NotWritten::Failed)?;
    }
    let bytes = record.encode().map_err(|error| NotWritten::Failed(error.into()))?;
    store.put(id, bytes, revision, life).await
}

async fn wait(exchange: &Exchange, again: &mut Duration, error: &crate::nats::NatsFailure) {
    exchange.metrics().write_failed();
    if let Some(before) = exchange.nats_lines.next() {
        tracing::warn!(exchange = exchange.name(), error = %error, before, "NATS has not written a request: it is tried again");
    }
    sleep(*again).await;
    *again = (*again * 2).min(AGAIN.1);
}

/// Brings the body of a request whose consumer came to another replica, before a worker here reads it.
async fn body(exchange: &Arc<Exchange>, store: &Store, client: &Client, id: ItemId, item: &SharedItem) {
    let Some(entry) = exchange.entry(id) else { return };
    match exchange.body_of(id) {
        Some(SharedBody::Stored(_)) if entry.request.body.is_awaited() => {
            match store.load(&format!("{id}.request")).await {
                Ok(bytes) => drop(entry.request.body.is_stored_as(&bytes)),
                Err(error) => {
                    tracing::warn!(exchange = exchange.name(), item = %id, error, "the body of a request could not be read");
                    exchange.broken_off(id);
                }
            }
        }
        Some(SharedBody::AtHome(length)) if entry.request.body.is_awaited() => {
            let pull = Pull::new(client, item.home, id, Of::Request);
            entry.request.body.comes(pull::body(pull, length));
        }
        _ => {}
    }
}
