//! PURE. What readers of streams are told, in each form.

use std::io::Write as _;

use serde::Serialize;

use super::core::Gap;
use super::id::MessageId;
use super::message::Message;
use super::presence::Summary;
use crate::bounds::TOPIC_PRESENCE_NAMES;
use crate::describe::stream::{Form, frame};

/// How a reader is given messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// In which form.
    pub form: Form,
    /// Of events: whether they carry the whole object, and not its data alone.
    pub envelope: bool,
}

#[derive(Serialize)]
struct GapData<'a> {
    since: &'a str,
    first: String,
    missed: Option<u64>,
}

/// Writes a message.
pub(super) fn message(shape: Shape, message: &Message, out: &mut Vec<u8>) {
    match (shape.form, shape.envelope) {
        (Form::Events, false) => out.extend_from_slice(message.event()),
        (Form::Events, true) => line(message.id, message.json(), out),
        (Form::Lines, _) => {
            object(message.json(), out);
            out.push(b'\n');
        }
        (Form::WebSocket, _) => out.extend_from_slice(message.frame()),
    }
}

/// The object that carries a message where each event is one.
pub(super) fn object(json: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"message\",\"message\":");
    out.extend_from_slice(json);
    out.push(b'}');
}

/// Writes that messages are missing before the next one.
pub(super) fn gap(form: Form, gap: &Gap, out: &mut Vec<u8>) {
    let data = gap_json(gap);
    // Writing to memory does not fail.
    let _ = match form {
        Form::Events => write!(out, "event: gap\ndata: {data}\n\n"),
        Form::Lines => writeln!(out, "{{\"type\":\"gap\",{}", &data[1..]),
        Form::WebSocket => {
            frame::text(format!("{{\"type\":\"gap\",{}", &data[1..]).as_bytes(), out);
            Ok(())
        }
    };
}

/// Writes where a reader is that has nothing to read: it begins after this message if it loses the stream.
pub(super) fn same(form: Form, id: MessageId, out: &mut Vec<u8>) {
    let _ = match form {
        Form::Events => write!(out, "id: {id}\nevent: same\ndata: {{\"id\":\"{id}\"}}\n\n"),
        Form::Lines => writeln!(out, "{{\"type\":\"same\",\"id\":\"{id}\"}}"),
        Form::WebSocket => {
            frame::text(format!("{{\"type\":\"same\",\"id\":\"{id}\"}}").as_bytes(), out);
            Ok(())
        }
    };
}

/// Writes who reads.
pub(super) fn presence(form: Form, summary: &Summary, with_names: bool, out: &mut Vec<u8>) {
    let mut data = serde_json::json!({ "readers": summary.readers });
    if with_names {
        data["names"] = summary.names.iter().take(TOPIC_PRESENCE_NAMES).map(|name| &**name).collect();
    }
    let _ = match form {
        Form::Events => write!(out, "event: presence\ndata: {data}\n\n"),
        Form::Lines | Form::WebSocket => {
            data["type"] = "presence".into();
            if form == Form::Lines {
                writeln!(out, "{data}")
            } else {
                frame::text(data.to_string().as_bytes(), out);
                Ok(())
            }
        }
    };
}

/// `{"since","first","missed"}`.
pub(super) fn gap_json(gap: &Gap) -> String {
    let data = GapData { since: &gap.since, first: gap.first.to_string(), missed: gap.missed };
    serde_json::to_string(&data).expect("texts and numbers are JSON")
}

/// An unnamed event with these data in one line.
pub(super) fn line(id: MessageId, data: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, "id: {id}\ndata: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

/// An unnamed event with the lines of a text. CR, LF and both end a line of an event stream, so whoever reads it gets LF for each.
pub(super) fn text(id: MessageId, text: &str, out: &mut Vec<u8>) {
    let _ = writeln!(out, "id: {id}");
    let text = text.replace("\r\n", "\n");
    for line in text.split(['\n', '\r']) {
        let _ = writeln!(out, "data: {line}");
    }
    out.push(b'\n');
}
