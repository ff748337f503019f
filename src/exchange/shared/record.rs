//! PURE. What replicas write about an item where all of them read it: JSON, and bytes in it as base64.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::exchange::core::SharedItem;
use crate::exchange::fields::Fields;
use crate::exchange::id::ReplicaId;

/// An item, as one replica has written it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Who has written it.
    pub(super) by: ReplicaId,
    /// Tells what this replica has written of the item from what it has written before.
    pub(super) count: u64,
    /// When the item came, in milliseconds since 1970 at the replica that it came to.
    pub(super) created: u64,
    pub(super) item: SharedItem,
    pub(super) request: SharedRequest,
    /// The answer, of an item that is kept for who comes for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<SharedAnswer>,
}

/// A consumer's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedRequest {
    pub(super) method: String,
    pub(super) target: String,
    #[serde(with = "base64_bytes")]
    pub(super) headers: Vec<u8>,
    pub(super) body: SharedBody,
}

/// A worker's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedAnswer {
    pub(super) status: u16,
    #[serde(with = "base64_bytes")]
    pub(super) headers: Vec<u8>,
    pub(super) body: SharedBody,
}

/// Where a body is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SharedBody {
    /// Here.
    Here(#[serde(with = "base64_bytes")] Vec<u8>),
    /// In the object store; so many bytes.
    Stored(u64),
    /// With the consumer, at the replica that is the item's home; so many bytes, if that is known.
    AtHome(Option<u64>),
}

impl Record {
    pub(super) fn encode(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl SharedRequest {
    /// Its method; none: it is none.
    pub(super) fn method(&self) -> Option<Method> {
        Method::from_bytes(self.method.as_bytes()).ok()
    }
}

impl SharedAnswer {
    /// Its head; none: it is none.
    pub(super) fn head(&self) -> Option<(StatusCode, HeaderMap)> {
        let status = StatusCode::from_u16(self.status).ok()?;
        Some((status, Fields::from_bytes(self.headers.clone()).to_map()))
    }
}

mod base64_bytes {
    use std::borrow::Cow;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::core::{Again, At, Ended, Failure, Once};
    use crate::exchange::id::ClaimId;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let replica = ReplicaId::of(7);
        let claimed = At::Claimed { claim: ClaimId::of(9), polls: true, replica };
        for at in [At::Queued, claimed, At::Ended(Ended::Done), At::Ended(Ended::Failed(Failure::TooSlow))] {
            for body in [SharedBody::Here(vec![0, 255]), SharedBody::Stored(1 << 40), SharedBody::AtHome(None)] {
                let item = SharedItem {
                    client: "a".into(),
                    key: Some("cam 7".into()),
                    urgency: 3,
                    is_async: true,
                    is_known: true,
                    again: Again::Always,
                    once: Some(Once { key: "k".into(), digest: [5; 32] }),
                    attempts: 1,
                    untouched: 2,
                    home: replica,
                    at,
                };
                let (method, target) = ("POST".to_owned(), "/a?b".to_owned());
                let request = SharedRequest { method, target, headers: b"a:\xff\n".to_vec(), body: body.clone() };
                let answer = Some(SharedAnswer { status: 200, headers: Vec::new(), body });
                let record = Record { by: replica, count: 3, created: 4, item, request, answer };
                let bytes = record.encode().expect("it is text");
                assert_eq!(Record::decode(&bytes).expect("what was written"), record);
            }
        }
        assert!(Record::decode(b"{}").is_err() && Record::decode(b"").is_err());
    }
}
