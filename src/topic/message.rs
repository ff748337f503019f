//! PURE. A message, with its bytes: they are made once for all who read it.

use std::sync::OnceLock;
use std::time::Instant;

use bytes::Bytes;

use super::event;
use super::id::MessageId;
use crate::describe::stream::frame;

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// `Content-Type`, without parameters.
    pub media_type: Box<str>,
    /// Who publishes it, as it is shown; absent: nobody says it.
    pub by: Option<By>,
    /// What it says.
    pub data: Data,
}

/// Who publishes a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Its name.
    pub name: Box<str>,
    /// Whether a credential says so; else anybody may have called itself that.
    pub is_proven: bool,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// A text.
    Text(String),
    /// Canonical JSON.
    Json(Bytes),
}

/// A message that is published.
#[derive(Debug)]
pub struct Message {
    /// Names it.
    pub id: MessageId,
    /// When it was published.
    pub(super) published: Instant,
    /// The object that polls are given.
    json: Bytes,
    /// Where its data begins in that.
    data: usize,
    is_text: bool,
    event: OnceLock<Bytes>,
    frame: OnceLock<Bytes>,
}

impl Message {
    pub(super) fn new(id: MessageId, (published, at): (Instant, &str), draft: &Draft) -> Self {
        let json_of = |text: &str| serde_json::Value::from(text).to_string();
        let by = match &draft.by {
            None => "null".to_owned(),
            Some(By { name, is_proven: true }) => json_of(name),
            Some(By { name, is_proven: false }) => json_of(name) + ",\"unproven\":true",
        };
        let media_type = json_of(&draft.media_type);
        let mut json =
            format!("{{\"id\":\"{id}\",\"at\":\"{at}\",\"type\":{media_type},\"by\":{by},\"data\":").into_bytes();
        let data = json.len();
        let is_text = match &draft.data {
            Data::Text(text) => {
                json.extend_from_slice(json_of(text).as_bytes());
                true
            }
            Data::Json(canonical) => {
                json.extend_from_slice(canonical);
                false
            }
        };
        json.push(b'}');
        Self { id, published, json: json.into(), data, is_text, event: OnceLock::new(), frame: OnceLock::new() }
    }

    /// The object `{"id","at","type","by","data"}`; with `"unproven"` where no credential says who has published it.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// Its server-sent event, whose data is that of the message: a text as its lines, JSON in one.
    #[must_use]
    pub fn event(&self) -> &Bytes {
        self.event.get_or_init(|| {
            let data = &self.json[self.data..self.json.len() - 1];
            let mut out = Vec::with_capacity(data.len() + 64);
            if self.is_text {
                // It is a string of ours.
                let text: String = serde_json::from_slice(data).unwrap_or_default();
                event::text(self.id, &text, &mut out);
            } else {
                event::line(self.id, data, &mut out);
            }
            out.into()
        })
    }

    /// Its text message for connections of WebSocket.
    #[must_use]
    pub fn frame(&self) -> &Bytes {
        self.frame.get_or_init(|| {
            let (mut object, mut out) = (Vec::with_capacity(self.json.len() + 32), Vec::new());
            event::object(&self.json, &mut object);
            frame::text(&object, &mut out);
            out.into()
        })
    }
}
