//! The poll of a client, as each kind of server understands it.

use std::io::{self, Write as _};

use crate::answer::Answer;

/// How clients ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// `?since=`, for the whole model.
    Whole,
    /// The same with an `Agent-Id` of its own.
    Agent,
    /// `?since=` with a selection of its own: one node of [`crate::model::nodes`].
    Node,
    /// As nchan names messages: `If-None-Match` and `If-Modified-Since`.
    Conditional,
}

impl Request {
    /// The poll of a client that has the state which `since` names, or none.
    pub(super) fn write(self, client: usize, since: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.extend_from_slice(b"GET /describe");
        if self != Self::Conditional {
            out.extend_from_slice(b"?since=");
            out.extend_from_slice(since);
        }
        if self == Self::Node {
            write!(out, "&select=/nodes/{client:05}")?;
        }
        out.extend_from_slice(b" HTTP/1.1\r\nHost: bench\r\n");
        if self == Self::Agent {
            write!(out, "Agent-Id: node-{client:05}\r\n")?;
        }
        if self == Self::Conditional {
            out.extend_from_slice(since);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// What the next poll says of the state that this answer names.
    pub(super) fn name_of(self, answer: &Answer<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Whole | Self::Agent | Self::Node => answer.state.map(<[u8]>::to_vec),
            Self::Conditional => {
                let (etag, modified) = (answer.etag?, answer.modified?);
                let lines = [&b"If-None-Match: "[..], etag, b"\r\nIf-Modified-Since: ", modified, b"\r\n"];
                Some(lines.concat())
            }
        }
    }
}
