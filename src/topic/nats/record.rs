//! PURE. A message of a topic, as it is written into its stream. What is not the message itself is in the fields of its head, so that
//! `nats stream view` shows it.
//!
//! | field | says |
//! |---|---|
//! | `Nats-Msg-Id` | the client and its `Idempotency-Key`: NATS stores one message of each |
//! | `Tidewait-Body` | names what was published by the key |
//! | `Tidewait-Type` | the media type |
//! | `Tidewait-By`, `Tidewait-Proven` | who publishes it, as a JSON string, and whether a credential says so |
//! | `Tidewait-Form` | `text` or `json` |
//! | `Tidewait-Publish` | which replica has published it, so that it knows it again |

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;

use crate::topic::core::{Digest, Key};
use crate::topic::message::{By, Data, Draft};

const BODY: &str = "Tidewait-Body";
const TYPE: &str = "Tidewait-Type";
const BY: &str = "Tidewait-By";
const PROVEN: &str = "Tidewait-Proven";
const FORM: &str = "Tidewait-Form";
const PUBLISH: &str = "Tidewait-Publish";

/// What is read of a stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// What it is.
    pub(super) draft: Draft,
    /// By which key, and what that names; none: without one.
    pub(super) once: Option<(Key, Digest)>,
    /// Who has published it, as that one has written it.
    pub(super) publish: Option<Box<str>>,
}

impl Record {
    /// Bytes of its payload.
    #[must_use]
    pub(super) fn bytes(&self) -> usize {
        match &self.draft.data {
            Data::Text(text) => text.len(),
            Data::Json(canonical) => canonical.len(),
        }
    }

    /// The head and the payload of its message.
    #[must_use]
    pub(super) fn encode(&self) -> (HeaderMap, Bytes) {
        let mut head = HeaderMap::new();
        let Draft { media_type, by, data } = &self.draft;
        // A media type is of visible characters, as a field of HTTP.
        head.insert(TYPE, text(media_type));
        if let Some(By { name, is_proven }) = by {
            head.insert(BY, text(name));
            if *is_proven {
                head.insert(PROVEN, "1");
            }
        }
        if let Some((Key(key), digest)) = &self.once {
            head.insert(NATS_MESSAGE_ID, hex(key));
            head.insert(BODY, hex(digest));
        }
        if let Some(publish) = &self.publish {
            head.insert(PUBLISH, &**publish);
        }
        let (form, payload) = match data {
            Data::Text(text) => ("text", text.clone().into_bytes().into()),
            Data::Json(canonical) => ("json", canonical.clone()),
        };
        head.insert(FORM, form);
        (head, payload)
    }

    /// Reads a message. Whatever it has in it is a message: its offset is used. Others may write into the stream as well.
    #[must_use]
    pub(super) fn decode(head: Option<&HeaderMap>, payload: &Bytes) -> Self {
        let field = |name: &str| head.and_then(|head| head.get(name)).map(async_nats::HeaderValue::as_str);
        let word = |name: &str| field(name).and_then(|text| serde_json::from_str::<String>(text).ok());
        let is_json = field(FORM) == Some("json") && is_line_of_json(payload);
        let data = if is_json {
            Data::Json(payload.clone())
        } else {
            Data::Text(String::from_utf8_lossy(payload).into_owned())
        };
        let by = word(BY).map(|name| By { name: name.into(), is_proven: field(PROVEN) == Some("1") });
        let media_type = word(TYPE).unwrap_or_else(|| "text/plain".to_owned()).into();
        let key = head.and_then(|head| head.get(NATS_MESSAGE_ID)).and_then(|value| bytes_of(value.as_str()));
        let once = key.map(Key).zip(field(BODY).and_then(bytes_of));
        Self { draft: Draft { media_type, by, data }, once, publish: field(PUBLISH).map(Into::into) }
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}

fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(hex).ok().map(Into::into)
}

/// A string of JSON, which has no end of a line in it, whatever it says.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether it can stand in an event as it is.
fn is_line_of_json(bytes: &[u8]) -> bool {
    !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draft() -> impl Strategy<Value = Draft> {
        let by = prop::option::of((any::<String>(), any::<bool>()));
        let data = prop_oneof![
            any::<String>().prop_map(Data::Text),
            any::<String>().prop_map(|text| Data::Json(serde_json::Value::from(text).to_string().into())),
        ];
        ("[a-z]{1,9}/[a-z+]{1,9}", by, data).prop_map(|(media_type, by, data)| Draft {
            media_type: media_type.into(),
            by: by.map(|(name, is_proven)| By { name: name.into(), is_proven }),
            data,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(draft in draft(), once in prop::option::of((any::<[u8; 32]>(), any::<String>()))) {
            let once = once.map(|(digest, key)| (Key::of("ann", &key), digest));
            let record = Record { draft, once, publish: Some("ab.7".into()) };
            let (head, payload) = record.encode();
            prop_assert_eq!(Record::decode(Some(&head), &payload), record);
        }

        #[test]
        fn whatever_others_write_is_a_message(payload: Vec<u8>, form in "text|json|other", by: String) {
            let mut head = HeaderMap::new();
            head.insert(FORM, &*form);
            head.insert(BY, text(&by)[1..].to_owned());
            let read = Record::decode(Some(&head), &payload.clone().into());
            prop_assert_eq!(read.draft.by, None);
            if let Data::Json(bytes) = read.draft.data {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            }
            let bare = Record::decode(None, &payload.clone().into());
            prop_assert_eq!(bare.draft.data, Data::Text(String::from_utf8_lossy(&payload).into_owned()));
        }
    }
}
