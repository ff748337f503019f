//! PURE. The part of a model that a caller may poll, as a rule writes it: a JSON Pointer (RFC 6901) in which `{name}`, `{node}`
//! and `{pod}` stand for the caller's.

use std::fmt;
use std::str::FromStr;

use super::caller::Caller;
use crate::bounds::ACCESS_POINTER_BYTES;

/// A JSON Pointer with places to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// What stands for something of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Name,
    Node,
    Pod,
}

/// The rest of a sentence that begins with the text: what is wrong, a colon, what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no part of a model: write a JSON Pointer of at most {ACCESS_POINTER_BYTES} bytes, such as /shared or /nodes/{{name}}, \
     with {{name}}, {{node}} or {{pod}} for the caller's, ~0 for ~ and ~1 for /"
)]
pub struct InvalidTemplate;

impl Place {
    const ALL: [Self; 3] = [Self::Name, Self::Node, Self::Pod];

    fn text(self) -> &'static str {
        match self {
            Self::Name => "{name}",
            Self::Node => "{node}",
            Self::Pod => "{pod}",
        }
    }

    fn of(self, caller: &Caller) -> Option<&str> {
        let Caller::Known(known) = caller else { return None };
        match self {
            Self::Name => Some(known.name()),
            Self::Node => known.bound().node.as_deref(),
            Self::Pod => known.bound().pod.as_deref(),
        }
    }
}

impl Template {
    /// The pointer for a caller; none: it has not all that the places stand for.
    #[must_use]
    pub fn fill(&self, caller: &Caller) -> Option<String> {
        let mut pointer = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => pointer.push_str(text),
                // RFC 6901, section 4: ~ first.
                Piece::Place(place) => {
                    pointer.push_str(&place.of(caller)?.replace('~', "~0").replace('/', "~1"));
                }
            }
        }
        Some(pointer)
    }
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let is_escaped = |rest: &str| rest.starts_with(['0', '1']);
        let is_pointer = text.starts_with('/') && text.split('~').skip(1).all(is_escaped);
        if !is_pointer || text.len() > ACCESS_POINTER_BYTES {
            return Err(InvalidTemplate);
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let found = Place::ALL.into_iter().find(|place| rest[at..].starts_with(place.text()));
            let place = found.ok_or(InvalidTemplate)?;
            pieces.push(Piece::Text(rest[..at].to_owned()));
            pieces.push(Piece::Place(place));
            rest = &rest[at + place.text().len()..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { pieces })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Place(place) => f.write_str(place.text()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_pointer_with_known_places() {
        for text in ["/", "/shared", "/nodes/{name}", "/a/{node}-x/{pod}", "/a~0b/~1", "/{name}{name}"] {
            assert_eq!(text.parse::<Template>().map(|template| template.to_string()).as_deref(), Ok(text));
        }
        let long = format!("/{}", "a".repeat(ACCESS_POINTER_BYTES));
        for text in ["", "shared", "/a~", "/a~2", "/{", "/}", "/{nam}", "/{Name}", "/{name", "/a}b", &long] {
            assert_eq!(text.parse::<Template>(), Err(InvalidTemplate), "{text}");
        }
    }
}
