//! An answer without a claim, for consumers that wait at other replicas.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::pull;
use super::record::{SharedAnswer, SharedBody};
use super::store::Store;
use crate::bounds::{EXCHANGE_INLINE, EXCHANGE_NATS};
use crate::exchange::core::Key;
use crate::exchange::entry::Answer;
use crate::exchange::fields::Fields;
use crate::exchange::{Exchange, random};

/// What the subject of a push ends with, where that of another question has an item.
pub(super) const PUSH: &str = "push";

/// The answer to all shared requests of a key.
#[derive(Debug, Serialize, Deserialize)]
struct Push {
    key: Option<Key>,
    answer: SharedAnswer,
    /// Where its body is, if it is not here.
    stored: Option<String>,
}

impl Exchange {
    /// The answer to all shared requests of a key that wait, at all replicas: how many consumers wait for it.
    pub async fn push_to_all(
        self: &Arc<Self>,
        key: Option<&Key>,
        bytes: &Bytes,
        (status, headers): (StatusCode, &HeaderMap),
    ) -> u32 {
        let here = self.push(key, bytes, |body| Answer { status, headers: headers.clone(), body });
        let Some(lookup) = self.lookup.get() else { return here };
        let others = self.live_replicas();
        if others.is_empty() {
            return here;
        }
        let stored = (bytes.len() > EXCHANGE_INLINE).then(|| format!("{:032x}.push", random()));
        if let Some(name) = &stored
            && let Err(error) = lookup.store.store(name, bytes).await
        {
            tracing::warn!(exchange = self.name(), error, "a push did not reach other replicas");
            return here;
        }
        let body = match &stored {
            Some(_) => SharedBody::Stored(bytes.len() as u64),
            None => SharedBody::Here(bytes.to_vec()),
        };
        let headers = Fields::from(headers).as_bytes().to_vec();
        let answer = SharedAnswer { status: status.as_u16(), headers, body };
        let push = Push { key: key.cloned(), answer, stored: stored.clone() };
        let payload: Bytes = serde_json::to_vec(&push).unwrap_or_default().into();
        let counts = others.into_iter().map(|replica| {
            let asked = lookup.client.request(pull::subject(replica, PUSH), payload.clone());
            async move {
                // Who is silent may be gone: its consumers are told so themselves.
                let answer = timeout(EXCHANGE_NATS, asked).await.ok()?.ok()?;
                serde_json::from_slice::<u32>(&answer.payload).ok()
            }
        });
        let all = here + join_all(counts).await.into_iter().flatten().sum::<u32>();
        if let Some(name) = &stored {
            lookup.store.remove(name).await;
        }
        all
    }

    /// Another replica was pushed an answer: how many consumers wait for it here.
    pub(super) async fn pushed(self: &Arc<Self>, store: &Store, payload: &[u8]) -> u32 {
        let Ok(push) = serde_json::from_slice::<Push>(payload) else { return 0 };
        let Some((status, headers)) = push.answer.head() else { return 0 };
        let bytes = match (push.answer.body, push.stored) {
            (SharedBody::Here(bytes), _) => Bytes::from(bytes),
            (_, Some(name)) => match store.load(&name).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(exchange = self.name(), error, "a pushed answer could not be read");
                    return 0;
                }
            },
            (_, None) => return 0,
        };
        self.push(push.key.as_ref(), &bytes, |body| Answer { status, headers: headers.clone(), body })
    }
}
