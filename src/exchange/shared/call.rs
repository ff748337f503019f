//! PURE. What replicas ask each other, and what they answer: pieces of the body of a request, or of an answer, one at a time, so
//! that nobody sends more than the other end takes.

use async_nats::HeaderMap;
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::exchange::fields::Fields;
use crate::exchange::id::ReplicaId;

/// Asks for a piece of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    /// Of which body.
    pub(super) of: Of,
    /// Who reads it: a reader begins at the start.
    pub(super) reader: ReplicaId,
    /// The number of the piece, from 0. The same is asked for again where its answer did not come.
    pub(super) piece: u64,
}

/// A body that another replica has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Of {
    /// What a worker answers.
    Answer,
    /// What a consumer sends.
    Request,
}

/// A piece.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// It is still to come: ask again.
    Pending,
    /// The head of an answer.
    Head(StatusCode, http::HeaderMap),
    /// Some of the body.
    Data(Bytes),
    /// Its end.
    End(Option<http::HeaderMap>),
    /// It broke off.
    Cut,
    /// Nothing is known of it here.
    Unknown,
}

/// What kind of piece a message is.
const KIND: &str = "Tidewait-Piece";
const STATUS: &str = "Tidewait-Status";

impl Ask {
    pub(super) fn encode(&self) -> Bytes {
        // It holds nothing that JSON has no form for.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Piece {
    /// As a message.
    pub(super) fn encode(&self) -> (HeaderMap, Bytes) {
        let fields = |map: &http::HeaderMap| Bytes::copy_from_slice(Fields::from(map).as_bytes());
        let mut headers = HeaderMap::new();
        let (kind, payload) = match self {
            Self::Pending => ("pending", Bytes::new()),
            Self::Head(status, map) => {
                headers.insert(STATUS, status.as_str());
                ("head", fields(map))
            }
            Self::Data(data) => ("data", data.clone()),
            Self::End(trailers) => ("end", trailers.as_ref().map(fields).unwrap_or_default()),
            Self::Cut => ("cut", Bytes::new()),
            Self::Unknown => ("unknown", Bytes::new()),
        };
        headers.insert(KIND, kind);
        (headers, payload)
    }

    /// The piece that a message is; none: it is none.
    pub(super) fn decode(headers: Option<&HeaderMap>, payload: Bytes) -> Option<Self> {
        let headers = headers?;
        let fields = |payload: Bytes| Fields::from_bytes(payload.to_vec()).to_map();
        Some(match headers.get(KIND)?.as_str() {
            "pending" => Self::Pending,
            "head" => Self::Head(headers.get(STATUS)?.as_str().parse().ok()?, fields(payload)),
            "data" => Self::Data(payload),
            "end" => Self::End((!payload.is_empty()).then(|| fields(payload))),
            "cut" => Self::Cut,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_answered_is_read_as_it_was_written() {
        let ask = Ask { of: Of::Request, reader: ReplicaId::of(3), piece: 9 };
        assert_eq!(Ask::decode(&ask.encode()), Some(ask));
        assert_eq!(Ask::decode(b"x"), None);
        let map: http::HeaderMap = [("a", "1"), ("b", "2")]
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .into_iter()
            .collect();
        for piece in [
            Piece::Pending,
            Piece::Head(StatusCode::IM_A_TEAPOT, map.clone()),
            Piece::Data(Bytes::from_static(b"\r\n\xff")),
            Piece::End(None),
            Piece::End(Some(map)),
            Piece::Cut,
            Piece::Unknown,
        ] {
            let (headers, payload) = piece.encode();
            assert_eq!(Piece::decode(Some(&headers), payload), Some(piece));
        }
        assert_eq!(Piece::decode(None, Bytes::new()), None);
    }
}
