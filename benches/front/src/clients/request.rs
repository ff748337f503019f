//! The poll of a client, as each kind of server understands it.

use std::fmt::Write as _;

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
    /// The same, for a JSON Patch from the state that the client has.
    Patch,
    /// The same for the whole model, with one of so many tokens ([`token`]).
    Token(usize),
    /// As nchan names messages: `If-None-Match` and `If-Modified-Since`.
    Conditional,
    /// Another path, for the app behind a proxy.
    Page(&'static str),
}

impl Request {
    /// Path and query of the poll of a client that has the state which `since` names, or none.
    pub(crate) fn target(self, client: usize, since: &str, out: &mut String) {
        let written = match self {
            Self::Page(path) => write!(out, "{path}"),
            Self::Conditional => write!(out, "/describe"),
            Self::Whole | Self::Agent | Self::Token(_) => write!(out, "/describe?since={since}"),
            Self::Node | Self::Patch => write!(out, "/describe?since={since}&select=/nodes/{client:05}"),
        };
        written.expect("a String takes everything");
    }

    /// That poll over HTTP/1.1.
    pub(crate) fn write(self, client: usize, since: &str, out: &mut String) {
        out.push_str("GET ");
        self.target(client, since, out);
        out.push_str(" HTTP/1.1\r\nHost: bench\r\n");
        match self {
            Self::Agent => write!(out, "Agent-Id: node-{client:05}\r\n").expect("a String takes everything"),
            Self::Token(count) => {
                let token = token(client % count);
                write!(out, "Authorization: Bearer {token}\r\n").expect("a String takes everything");
            }
            Self::Patch => out.push_str("Accept: application/json-patch+json, application/json;q=0.5\r\n"),
            Self::Conditional => out.push_str(since),
            Self::Whole | Self::Node | Self::Page(_) => {}
        }
        out.push_str("\r\n");
    }

    /// What the next poll says of the state that this answer names.
    pub(crate) fn name_of(self, answer: &Answer<'_>) -> Option<String> {
        match self {
            Self::Whole | Self::Agent | Self::Token(_) | Self::Node | Self::Patch => answer.state.map(text),
            Self::Conditional => {
                let (etag, modified) = (text(answer.etag?), text(answer.modified?));
                Some(format!("If-None-Match: {etag}\r\nIf-Modified-Since: {modified}\r\n"))
            }
            Self::Page(_) => None,
        }
    }
}

/// A token as long as those of `tidewait token`.
pub(crate) fn token(number: usize) -> String {
    format!("tw_{number:043}")
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
