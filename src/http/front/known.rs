//! Heads of plain polls that an event loop has read lately. Clients of one kind send the same bytes but for their credential, so
//! most heads need no second reading. The credential is not kept: it is cut out of the head, and judged for each request.

use std::sync::Arc;

use crate::access::Credential;
use crate::bounds::{HEAD_BYTES, KNOWN_HEADS};
use crate::describe::PollRequest;
use crate::describe::origin::Listed;
use crate::operation::Operation;

/// The heads that were read last.
#[derive(Debug, Default)]
pub(super) struct KnownHeads {
    heads: Vec<KnownHead>,
    /// The one that is replaced next.
    next: usize,
    /// Of the table of operations, when they were read.
    generation: u64,
}

/// A head, and how it was read.
#[derive(Debug, Clone)]
pub(super) struct KnownHead {
    text: Text,
    pub(super) operation: Arc<Operation>,
    pub(super) request: Arc<PollRequest>,
    /// The client closes the connection after the answer.
    pub(super) closes: bool,
    /// The origin of the page that sends it, where it is listed.
    pub(super) page: Option<Listed>,
    /// The settings by which it was read.
    settings: u64,
}

/// The bytes of a head, from its first one to the empty line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    /// It has no credential.
    Whole(Arc<[u8]>),
    /// It has a credential of this scheme between these bytes.
    Around(Arc<[u8]>, Scheme, Arc<[u8]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Basic,
}

/// A head that was read before, in the bytes that a client has sent.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) known: KnownHead,
    /// What it shows who sends it by.
    pub(super) credential: Option<Credential<'a>>,
    /// How many bytes it has.
    pub(super) length: usize,
}

impl KnownHead {
    /// A head that was read by the settings of this generation; none: its credential cannot be told from the rest.
    pub(super) fn new(
        bytes: &[u8],
        operation: &Arc<Operation>,
        request: &Arc<PollRequest>,
        (closes, page): (bool, Option<Listed>),
        settings: u64,
    ) -> Option<Self> {
        let (operation, request) = (Arc::clone(operation), Arc::clone(request));
        Some(Self { text: Text::of(bytes)?, operation, request, closes, page, settings })
    }
}

impl Text {
    fn of(head: &[u8]) -> Option<Self> {
        let mut cut = None;
        let mut at = 0;
        for line in head.split_inclusive(|byte| *byte == b'\n') {
            if let Some(value) = authorization(line)
                && cut.replace(at + (line.len() - value.len())).is_some()
            {
                return None;
            }
            at += line.len();
        }
        let Some(value) = cut else { return Some(Self::Whole(head.into())) };
        let scheme = scheme(&head[value..])?;
        let (before, rest) = head.split_at(value + scheme.name().len());
        let (_, after) = rest.split_at(rest.iter().position(|byte| *byte == b'\r')?);
        Some(Self::Around(before.into(), scheme, after.into()))
    }

    /// Whether `bytes` begin with it: the credential, and the length of the whole.
    fn find<'a>(&self, bytes: &'a [u8]) -> Option<(Option<Credential<'a>>, usize)> {
        match self {
            // A head ends with its first empty line: so what begins with a head has no other one.
            Self::Whole(head) => bytes.starts_with(head).then_some((None, head.len())),
            Self::Around(before, scheme, after) => {
                let rest = bytes.strip_prefix(&**before)?;
                let end = rest.iter().position(|byte| *byte == b'\r')?;
                let length = before.len() + end + after.len();
                let is_here = rest[end..].starts_with(after) && length <= HEAD_BYTES;
                // Of these bytes alone: so the rest means the same, whoever sends it.
                let credential = std::str::from_utf8(&rest[..end]).ok().and_then(|text| scheme.credential(text))?;
                is_here.then_some((Some(credential), length))
            }
        }
    }
}

/// The value of the field `Authorization`, if this line is one.
fn authorization(line: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"authorization:";
    let (name, value) = line.split_at_checked(NAME.len())?;
    name.eq_ignore_ascii_case(NAME).then(|| value.trim_ascii_start())
}

fn scheme(value: &[u8]) -> Option<Scheme> {
    [Scheme::Bearer, Scheme::Basic].into_iter().find(|scheme| {
        let name = scheme.name().as_bytes();
        value.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    })
}

impl Scheme {
    /// With the space behind it.
    const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer ",
            Self::Basic => "Basic ",
        }
    }

    fn credential(self, text: &str) -> Option<Credential<'_>> {
        Credential::checked(match self {
            Self::Bearer => Credential::Bearer(text),
            Self::Basic => Credential::Basic(text),
        })
    }
}

impl KnownHeads {
    /// What `bytes` begin with, if that was read before, and means the same now.
    pub(super) fn find<'a>(&mut self, bytes: &'a [u8], generation: u64) -> Option<Found<'a>> {
        if generation != self.generation {
            self.heads.clear();
            (self.next, self.generation) = (0, generation);
        }
        let (known, (credential, length)) =
            self.heads.iter().find_map(|known| Some((known, known.text.find(bytes)?)))?;
        let is_current = known.settings == known.operation.settings_generation();
        is_current.then(|| Found { known: known.clone(), credential, length })
    }

    /// Keeps a head, unless its meaning is of one client only.
    pub(super) fn keep(&mut self, known: KnownHead) {
        // A selection is in use for as long as somebody has it.
        let request = &known.request;
        if request.select.is_some() || request.rejected.is_some() || request.applying.is_some() {
            return;
        }
        if let Some(same) = self.heads.iter_mut().find(|head| head.text == known.text) {
            *same = known;
        } else if self.heads.len() < KNOWN_HEADS {
            self.heads.push(known);
        } else {
            self.heads[self.next] = known;
            self.next = (self.next + 1) % KNOWN_HEADS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /describe HTTP/1.1\r\nHost: a\r\nAUTHORIZATION:  bearer abc==\r\nX: y\r\n\r\n";

    fn text(head: &str) -> Option<Text> {
        Text::of(head.as_bytes())
    }

    #[track_caller]
    fn finds(known: &str, bytes: &str) -> Option<(Option<Credential<'static>>, usize)> {
        text(known).expect("it can be kept").find(bytes.to_owned().leak().as_bytes())
    }

    #[test]
    fn a_head_is_found_again_with_another_credential() {
        assert_eq!(finds(HEAD, HEAD), Some((Some(Credential::Bearer("abc==")), HEAD.len())));
        let other = HEAD.replace("abc==", "x") + "GET /";
        assert_eq!(finds(HEAD, &other), Some((Some(Credential::Bearer("x")), HEAD.len() - 4)));
        let plain = "GET /describe HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(finds(plain, &format!("{plain}more")), Some((None, plain.len())));
    }

    #[test]
    fn nothing_else_is_taken_for_it() {
        for other in [
            HEAD.replace("abc==", ""),
            HEAD.replace("abc==", "a b"),
            HEAD.replace("abc==", "abc\u{e9}"),
            HEAD.replace("abc==", "abc\nX: y"),
            HEAD.replace("abc==", "a,b"),
            HEAD.replace("abc==", "abc "),
            HEAD.replace("X: y", "X: z"),
            HEAD.replace("\r\nX", "\nX"),
            HEAD.replace("bearer", "Bearer"),
            HEAD.replace("abc==", &"a".repeat(HEAD_BYTES)),
            HEAD[..HEAD.len() - 1].to_owned(),
            HEAD[..60].to_owned(),
        ] {
            assert_eq!(finds(HEAD, &other), None, "{other:?}");
        }
    }

    #[test]
    fn nothing_is_kept_whose_credential_cannot_be_cut_out() {
        for head in [
            HEAD.replace("X: y", "Authorization: Bearer x"),
            HEAD.replace("bearer", "Digest"),
            HEAD.replace("bearer ", "bearer\t"),
            HEAD.replace("bearer abc==", ""),
        ] {
            assert_eq!(text(&head), None, "{head:?}");
        }
    }

    #[test]
    fn no_credential_is_kept() {
        let kept = format!("{:?}", text(HEAD));
        assert!(!kept.contains(&format!("{:?}", b"abc==").replace(['[', ']'], "")), "{kept}");
    }
}
