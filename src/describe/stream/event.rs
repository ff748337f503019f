//! PURE. What a stream says, in each form. Every event carries data, since an `EventSource` drops one without; no `id` is empty, and
//! no `id` and no name of an event has CR, LF or NUL: ids and names are ours.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Form, frame};
use crate::describe::Problem;
use crate::model::{Since, StateId};
use crate::protocol::websocket::CloseCode;

/// What a stream says.
#[derive(Debug)]
pub enum Event<'a> {
    /// A state: its canonical JSON.
    State(&'a StateId, &'a [u8]),
    /// The patch that makes this state of the one that was written or named last.
    Patch {
        /// The state that it makes.
        id: &'a StateId,
        /// The state that it begins at.
        base: &'a Since,
        /// `State-Digest` of the state that it makes.
        digest: &'a str,
        /// The JSON Patch (RFC 6902).
        patch: &'a [u8],
    },
    /// A state that is no JSON: its media type, and its bytes.
    Opaque(&'a StateId, &'a str, &'a [u8]),
    /// The client has the state, perhaps by an earlier version of it.
    Same(&'a StateId),
    /// How many seconds ago the source confirmed the state last.
    Age(u64),
    /// Nothing, so that silence means that the connection is dead.
    Ping,
    /// The client is refused for the moment: in how many seconds it may come back.
    Busy(u32),
    /// The process stops: within how many seconds the client is to come back.
    Move(u64),
    /// The client may not read on.
    Auth(&'a Problem),
    /// The stream is over, and a new one would be refused so.
    End(&'a Problem),
}

#[derive(Serialize)]
struct PatchData<'a> {
    base: String,
    digest: &'a str,
    patch: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OpaqueData<'a> {
    media_type: &'a str,
    base64: String,
}

/// For how long a client that loses the connection waits before it comes back, in milliseconds: the first block of a stream of
/// events. A browser has no jitter of its own. `chance` is in 0..1.
pub fn retry(form: Form, (least, most): (u64, u64), chance: f64, out: &mut Vec<u8>) {
    if form == Form::Events {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "minutes at most"
        )]
        let spread = ((most.saturating_sub(least)) as f64 * chance) as u64;
        let _ = write!(out, "retry: {}\n\n", least + spread);
    }
}

/// After which time a client that loses its stream comes back, in milliseconds, where it is not told another one.
pub const RETRY: (u64, u64) = (2000, 5000);

/// The bytes of an event, with the time after which its client is to come back. `chance` is in 0..1.
#[must_use]
pub fn written(event: &Event<'_>, form: Form, pings: bool, chance: f64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let range = match event {
        Event::Busy(seconds) => Some((u64::from(*seconds) * 1000, u64::from(*seconds) * 2000 + 1000)),
        Event::Move(within) => Some((0, within * 1000)),
        Event::State(..)
        | Event::Patch { .. }
        | Event::Opaque(..)
        | Event::Same(_)
        | Event::Age(_)
        | Event::Ping
        | Event::Auth(_)
        | Event::End(_) => None,
    };
    if let Some(range) = range {
        retry(form, range, chance, &mut bytes);
    }
    event.write(form, pings, &mut bytes);
    bytes
}

impl Event<'_> {
    /// Writes it. `pings`: silence is broken by events.
    pub fn write(&self, form: Form, pings: bool, out: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = match form {
            Form::Events => self.write_event(pings, out),
            Form::Lines => {
                self.write_object(out);
                out.push(b'\n');
                Ok(())
            }
            Form::WebSocket => {
                self.write_message(pings, out);
                Ok(())
            }
        };
    }

    /// Writes it as a text message, or closes the connection where its client is to go.
    fn write_message(&self, pings: bool, out: &mut Vec<u8>) {
        let is_said = match self {
            Self::Ping => pings,
            Self::Busy(_) | Self::Auth(_) => false,
            Self::State(..)
            | Self::Patch { .. }
            | Self::Opaque(..)
            | Self::Same(_)
            | Self::Age(_)
            | Self::Move(_)
            | Self::End(_) => true,
        };
        if is_said {
            let mut object = Vec::new();
            self.write_object(&mut object);
            frame::text(&object, out);
        }
        match self {
            Self::Busy(seconds) => frame::close(CloseCode::Overloaded, &format!("come back in {seconds} s"), out),
            Self::Move(within) => frame::close(CloseCode::Moved, &format!("come back within {within} s"), out),
            Self::Auth(problem) | Self::End(problem) => {
                frame::close(CloseCode::of(problem.kind), &problem.detail, out);
            }
            Self::State(..) | Self::Patch { .. } | Self::Opaque(..) | Self::Same(_) | Self::Age(_) | Self::Ping => {}
        }
    }

    fn write_event(&self, pings: bool, out: &mut Vec<u8>) -> std::io::Result<()> {
        match self {
            Self::State(id, json) => {
                write!(out, "id: {id}\ndata: ")?;
                out.extend_from_slice(json);
            }
            Self::Ping if !pings => return out.write_all(b":\n\n"),
            Self::Patch { .. }
            | Self::Opaque(..)
            | Self::Same(_)
            | Self::Age(_)
            | Self::Ping
            | Self::Busy(_)
            | Self::Move(_)
            | Self::Auth(_)
            | Self::End(_) => {
                if let Some(id) = self.id() {
                    writeln!(out, "id: {id}")?;
                }
                write!(out, "event: {}\ndata: {}", self.name(), self.data())?;
            }
        }
        out.write_all(b"\n\n")
    }

    fn write_object(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "{{\"type\":\"{}\"", self.name());
        if let Some(id) = self.id() {
            let _ = write!(out, ",\"id\":\"{id}\"");
        }
        match self {
            Self::State(_, json) => {
                out.extend_from_slice(b",\"model\":");
                out.extend_from_slice(json);
            }
            Self::End(_) => {
                let _ = write!(out, ",\"problem\":{}", self.data());
            }
            Self::Same(_) | Self::Ping => {}
            // What an event of the other form has as its data stands beside the type here.
            Self::Patch { .. } | Self::Opaque(..) | Self::Age(_) | Self::Busy(_) | Self::Move(_) | Self::Auth(_) => {
                let data = self.data();
                let _ = write!(out, ",{}", &data[1..data.len() - 1]);
            }
        }
        out.push(b'}');
    }

    fn id(&self) -> Option<&StateId> {
        match self {
            Self::State(id, _) | Self::Patch { id, .. } | Self::Opaque(id, ..) | Self::Same(id) => Some(id),
            Self::Age(_) | Self::Ping | Self::Busy(_) | Self::Move(_) | Self::Auth(_) | Self::End(_) => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::State(..) => "state",
            Self::Patch { .. } => "patch",
            Self::Opaque(..) => "opaque",
            Self::Same(_) => "same",
            Self::Age(_) => "age",
            Self::Ping => "ping",
            Self::Busy(_) => "busy",
            Self::Move(_) => "move",
            Self::Auth(_) => "auth",
            Self::End(_) => "end",
        }
    }

    /// Its data, an object in one line.
    fn data(&self) -> String {
        match self {
            Self::State(_, json) => String::from_utf8_lossy(json).into_owned(),
            Self::Patch { base, digest, patch, .. } => {
                let patch = serde_json::from_slice(patch);
                let data = patch.map(|patch| PatchData { base: base.to_string(), digest, patch });
                data.and_then(|data| serde_json::to_string(&data)).expect("a patch of ours is JSON")
            }
            Self::Opaque(_, media_type, bytes) => {
                let data = OpaqueData { media_type, base64: BASE64_STANDARD.encode(bytes) };
                serde_json::to_string(&data).expect("texts are JSON")
            }
            Self::Same(id) => format!("{{\"id\":\"{id}\"}}"),
            Self::Age(seconds) => format!("{{\"seconds\":{seconds}}}"),
            Self::Ping => "{}".to_owned(),
            Self::Busy(seconds) => format!("{{\"retryAfter\":{seconds}}}"),
            Self::Move(within) => format!("{{\"within\":{within}}}"),
            Self::Auth(problem) => serde_json::json!({ "reason": problem.detail }).to_string(),
            Self::End(problem) => {
                let json = problem.to_json();
                String::from_utf8_lossy(json.trim_ascii()).into_owned()
            }
        }
    }
}
