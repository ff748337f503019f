//! PURE. What a client sends over WebSocket.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bounds::{WEBSOCKET_MESSAGE, WEBSOCKET_RATE};
use crate::protocol::websocket::CloseCode;

/// A message of a client.
#[derive(Debug)]
pub(in crate::http) enum ClientMessage {
    /// To a topic: publish this.
    Publish {
        /// Names it, so that a repeated one is the same; absent: each is another one.
        key: Option<String>,
        /// A text, or any other JSON value.
        data: Box<RawValue>,
    },
    /// Of an operation: the client has this state.
    Held {
        /// Its id.
        id: String,
    },
    /// Of an operation: the client was given this state and cannot apply it.
    Rejected {
        /// Its id.
        id: String,
        /// The id of the state that it has; absent: none.
        held: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// Of an operation: the client was given this state, and is busy with it.
    Applying {
        /// Its id.
        id: String,
        /// The id of the state that it has; absent: none.
        held: Option<String>,
    },
}

/// All that a message may have.
#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    key: Option<String>,
    /// A null is data, too.
    #[serde(default, deserialize_with = "there")]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    held: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

fn there<'de, D: serde::Deserializer<'de>>(data: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(data).map(Some)
}

impl ClientMessage {
    fn parse(text: &str) -> Result<Self, String> {
        let fields: Fields = serde_json::from_str(text).map_err(|error| {
            format!("it is no JSON object of a message ({error}), such as {{\"type\":\"held\",\"id\":\"...\"}}")
        })?;
        let Fields { kind, key, data, id, held, reason } = fields;
        let id = || id.ok_or_else(|| format!("a message of type {kind} needs the id of a state"));
        match &*kind {
            "publish" => {
                let data = data.ok_or_else(|| "a message of type publish needs data".to_owned())?;
                Ok(Self::Publish { key, data })
            }
            "held" => Ok(Self::Held { id: id()? }),
            "rejected" => Ok(Self::Rejected { id: id()?, held, reason }),
            "applying" => Ok(Self::Applying { id: id()?, held }),
            _ => {
                Err(format!("type is {kind:.32?}: send publish to a topic, held, rejected or applying to an operation"))
            }
        }
    }
}

/// How many messages have come within a second.
#[derive(Debug)]
pub(in crate::http) struct Rate {
    since: Instant,
    count: u32,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    /// Counts one; false: it is one too many.
    fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        self.count += 1;
        self.count <= WEBSOCKET_RATE
    }
}

/// Reads a message; an error: the connection is to be closed so.
pub(super) fn read(text: &str, rate: &mut Rate, now: Instant) -> Result<ClientMessage, (CloseCode, String)> {
    let read = ClientMessage::parse(text);
    if let Ok(message @ ClientMessage::Publish { .. }) = read {
        // It has a rate of its own.
        return Ok(message);
    }
    if text.len() > WEBSOCKET_MESSAGE {
        return Err((CloseCode::TooLong, format!("the message is longer than {WEBSOCKET_MESSAGE} bytes")));
    }
    if !rate.take(now) {
        return Err((CloseCode::Limits, format!("more than {WEBSOCKET_RATE} messages in a second")));
    }
    read.map_err(|error| (CloseCode::Limits, format!("the message is not understood: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_is_read_and_other_things_close_the_connection() {
        let now = tokio::time::Instant::now().into_std();
        let one = |text: &str| read(text, &mut Rate::new(now), now);
        assert!(matches!(one(r#"{"type":"held","id":"a"}"#), Ok(ClientMessage::Held { id }) if id == "a"));
        assert!(matches!(one(r#"{"type":"rejected","id":"a"}"#), Ok(ClientMessage::Rejected { held: None, .. })));
        let publish = format!(r#"{{"type":"publish","data":"{}"}}"#, "x".repeat(WEBSOCKET_MESSAGE));
        assert!(matches!(one(&publish), Ok(ClientMessage::Publish { key: None, .. })));
        for (text, code, named) in [
            ("", CloseCode::Limits, "no JSON object of a message"),
            (r#"{"type":"hold"}"#, CloseCode::Limits, "type is"),
            (r#"{"type":"publish"}"#, CloseCode::Limits, "needs data"),
            (r#"{"type":"held"}"#, CloseCode::Limits, "id"),
            (&*format!(r#"{{"type":"held","id":"{}"}}"#, "x".repeat(WEBSOCKET_MESSAGE)), CloseCode::TooLong, "16384"),
        ] {
            let (found, reason) = one(text).expect_err(text);
            assert!(found == code && reason.contains(named), "{found} {reason}");
        }
    }

    #[test]
    fn ten_messages_in_a_second_are_allowed() {
        let now = tokio::time::Instant::now().into_std();
        let mut rate = Rate::new(now);
        let held = r#"{"type":"held","id":"a"}"#;
        for _ in 0..WEBSOCKET_RATE {
            read(held, &mut rate, now).expect("it is one of ten");
        }
        assert_eq!(read(held, &mut rate, now).expect_err("the eleventh").0, CloseCode::Limits);
        read(held, &mut rate, now + Duration::from_secs(1)).expect("another second");
        for _ in 0..100 {
            read(r#"{"type":"publish","data":1}"#, &mut rate, now).expect("it has a rate of its own");
        }
    }
}
