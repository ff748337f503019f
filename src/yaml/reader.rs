//! Events to a value, from the inside out. Containers that are open are on a stack; what is made is counted as it is
//! made, and the first byte, value or level too much ends it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, Span, Tag, YamlVersion};
use smol_str::SmolStr;

use super::scalar::{is_tag, json_len, tagged, unknown_tag};
use super::{Build, Error, Limits, Member, Scalar, Wrong};

/// Containers that the parser may have open: it reads ahead, so that our own limit is met first.
const PARSER_DEPTH: usize = 2048;

/// Reads one document; a text without one is null.
pub fn read<B: Build>(text: &str, limits: Limits) -> Result<B::Value, Error> {
    let mut reader = Reader::<B>::new(limits);
    for event in Parser::new_from_str_with_options(text, options()) {
        let (event, span) = event.map_err(|error| {
            let is_depth = *error.kind() == ErrorKind::RecursionLimitExceeded;
            let wrong = if is_depth { Wrong::TooDeep(limits.depth) } else { Wrong::Syntax(error.info()) };
            reader.error(wrong, place(*error.marker()))
        })?;
        reader.take(event, &span)?;
    }
    Ok(reader.root.unwrap_or_else(|| B::scalar(&Scalar::Null)))
}

/// As `kubectl` and most readers do, and unlike the letter: a closing bracket or a quoted line need not be indented, and
/// the last line of a block scalar has a line break where the file has one.
fn options() -> Options {
    granit_parser::options! {
        strict_indentation: false,
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: PARSER_DEPTH,
        block_nesting_limit: PARSER_DEPTH,
    }
}

/// How much a value is, with all that is below it.
#[derive(Clone, Copy, Default)]
struct Size {
    bytes: usize,
    nodes: usize,
    /// Containers within one another.
    height: usize,
}

/// What an alias stands for.
struct Anchored<'t, V> {
    node: Node<'t, V>,
    size: Size,
}

#[derive(Clone)]
enum Node<'t, V> {
    /// May yet become a key.
    Scalar(Scalar<'t>),
    Container(V),
}

/// A container whose end is still to come.
struct Open<V> {
    parts: Parts<V>,
    anchor: usize,
    size: Size,
}

enum Parts<V> {
    Array(Vec<V>),
    Object(Members<V>),
}

struct Members<V> {
    made: Vec<Member<V>>,
    /// Where the key of each stands.
    places: Vec<Position>,
    /// The key whose value comes next.
    key: Option<Key>,
    /// The members of the objects that `<<` names, the first of which counts.
    merged: Option<Vec<Vec<Member<V>>>>,
}

enum Key {
    Named(SmolStr, Position),
    /// `<<` without quotes (tag:yaml.org,2002:merge).
    Merge,
}

/// Line and column, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position(u32, u32);

struct Reader<'t, B: Build> {
    limits: Limits,
    open: Vec<Open<B::Value>>,
    anchors: BTreeMap<usize, Anchored<'t, B::Value>>,
    documents: usize,
    root: Option<B::Value>,
    total: Size,
}

impl<'t, B: Build> Reader<'t, B> {
    fn new(limits: Limits) -> Self {
        let (open, anchors) = (Vec::new(), BTreeMap::new());
        Self { limits, open, anchors, documents: 0, root: None, total: Size::default() }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser may add events; those left out say nothing of values"
    )]
    fn take(&mut self, event: Event<'t>, span: &Span) -> Result<(), Error> {
        let place = self::place(span.start);
        let tag_place = span.tag_start().map_or(place, self::place);
        match event {
            Event::DocumentStart(_, version) => self.document(version, place),
            Event::Scalar(text, style, anchor, tag) => {
                // A node that is not written comes as `~`.
                let text = if style == ScalarStyle::Plain && span.is_empty() { Cow::Borrowed("") } else { text };
                if self.wants_key() && style == ScalarStyle::Plain && tag.is_none() && text == "<<" {
                    return self.merge_key(place);
                }
                let scalar = tagged(text, style, tag.as_deref()).map_err(|wrong| self.error(wrong, tag_place))?;
                self.scalar(scalar, anchor, place)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag_is(tag.as_deref(), "seq", tag_place)?;
                self.begin(Parts::Array(Vec::new()), anchor, place)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag_is(tag.as_deref(), "map", tag_place)?;
                let members = Members { made: Vec::new(), places: Vec::new(), key: None, merged: None };
                self.begin(Parts::Object(members), anchor, place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(place),
            Event::Alias(anchor) => self.alias(anchor, place),
            _ => Ok(()),
        }
    }

    fn document(&mut self, version: Option<YamlVersion>, place: Position) -> Result<(), Error> {
        self.documents += 1;
        if self.documents > 1 {
            let message = "a second document begins, and one is wanted";
            return Err(self.error(Wrong::Syntax(message.to_owned()), place));
        }
        match version {
            Some(YamlVersion { major: 1, minor: minor @ 0..2 }) => {
                let message = format!("%YAML 1.{minor} gives words such as yes and 010 another meaning than YAML 1.2");
                Err(self.error(Wrong::Syntax(message), place))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn scalar(&mut self, scalar: Scalar<'t>, anchor: usize, place: Position) -> Result<(), Error> {
        let bytes = match &scalar {
            Scalar::Null | Scalar::Bool(true) => 4,
            Scalar::Bool(false) => 5,
            Scalar::Number(text) => text.len(),
            Scalar::Text(text) => json_len(text),
        };
        let size = Size { bytes, nodes: 1, height: 0 };
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node: Node::Scalar(scalar.clone()), size });
        }
        if self.wants_key() {
            return self.key(scalar, place);
        }
        self.count(size, place)?;
        self.put(B::scalar(&scalar), size, place)
    }

    fn alias(&mut self, anchor: usize, place: Position) -> Result<(), Error> {
        let Some(Anchored { node, size }) = self.anchors.get(&anchor) else {
            let message = "an alias stands within what it names, which has no end";
            return Err(self.error(Wrong::Syntax(message.to_owned()), place));
        };
        let (node, size) = (node.clone(), *size);
        match node {
            Node::Scalar(scalar) if self.wants_key() => self.key(scalar, place),
            Node::Container(_) if self.wants_key() => Err(self.container_as_key(place)),
            Node::Scalar(scalar) => {
                self.count(size, place)?;
                self.put(B::scalar(&scalar), size, place)
            }
            Node::Container(value) => {
                if self.open.len() + size.height > self.limits.depth {
                    return Err(self.error(Wrong::TooDeep(self.limits.depth), place));
                }
                self.count(size, place)?;
                self.put(value, size, place)
            }
        }
    }

    fn begin(&mut self, parts: Parts<B::Value>, anchor: usize, place: Position) -> Result<(), Error> {
        if self.wants_key() {
            return Err(self.container_as_key(place));
        }
        if self.open.len() >= self.limits.depth {
            return Err(self.error(Wrong::TooDeep(self.limits.depth), place));
        }
        // With a comma for each part, one bracket is left to count.
        let size = Size { bytes: 1, nodes: 1, height: 0 };
        self.count(size, place)?;
        self.open.push(Open { parts, anchor, size });
        Ok(())
    }

    fn end(&mut self, place: Position) -> Result<(), Error> {
        let Some(Open { parts, anchor, mut size }) = self.open.pop() else { return Ok(()) };
        size.height += 1;
        let value = match parts {
            Parts::Array(items) if self.wants_merged() => {
                if anchor != 0 {
                    let node = Node::Container(B::array(items.clone()));
                    self.anchors.insert(anchor, Anchored { node, size });
                }
                return self.merge(&items, size, place);
            }
            Parts::Array(items) => B::array(items),
            Parts::Object(members) => B::object(self.whole(members)?),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node: Node::Container(value.clone()), size });
        }
        self.put(value, size, place)
    }

    /// The members of an object that has ended, those that it merges included.
    fn whole(&self, members: Members<B::Value>) -> Result<Vec<Member<B::Value>>, Error> {
        let Members { mut made, places, merged, .. } = members;
        let mut keys: Vec<_> = made.iter().map(|(key, _)| &**key).zip(&places).collect();
        keys.sort_unstable();
        if let Some([_, (key, place)]) = keys.array_windows().find(|[(a, _), (b, _)]| a == b) {
            return Err(self.error(Wrong::DuplicateKey((*key).to_owned()), **place));
        }
        if let Some(merged) = merged {
            let mut known: BTreeSet<_> = made.iter().map(|(key, _)| key.clone()).collect();
            made.extend(merged.into_iter().flatten().filter(|(key, _)| known.insert(key.clone())));
        }
        Ok(made)
    }

    /// Puts a whole value where it belongs.
    fn put(&mut self, value: B::Value, size: Size, place: Position) -> Result<(), Error> {
        if self.wants_merged() {
            return self.merge(&[value], size, place);
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        let mut comma = Size { bytes: 1, nodes: 0, height: 0 };
        match &mut open.parts {
            Parts::Array(items) => items.push(value),
            Parts::Object(members) => {
                if let Some(Key::Named(key, place)) = members.key.take() {
                    comma.bytes += json_len(&key) + 1;
                    members.made.push((key, value));
                    members.places.push(place);
                }
            }
        }
        open.size.add(size);
        open.size.add(comma);
        self.count(comma, place)
    }

    fn merge(&mut self, values: &[B::Value], merged: Size, place: Position) -> Result<(), Error> {
        let members: Option<Vec<_>> = values.iter().map(B::members).collect();
        let Some(members) = members else {
            let what = "something other than objects behind <<".to_owned();
            let remedy = "name an object, an alias of one or a list of these, or put << in quotes";
            return Err(self.error(Wrong::NotJson { what, remedy }, place));
        };
        if let Some(Open { parts: Parts::Object(object), size, .. }) = self.open.last_mut() {
            object.key = None;
            object.merged = Some(members);
            size.add(merged);
        }
        Ok(())
    }

    fn key(&mut self, scalar: Scalar<'_>, place: Position) -> Result<(), Error> {
        let shown = match scalar {
            Scalar::Text(text) => {
                self.expect_value_of(Key::Named(text.into(), place));
                return Ok(());
            }
            Scalar::Null => "null".to_owned(),
            Scalar::Bool(yes) => yes.to_string(),
            Scalar::Number(text) => text.into_owned(),
        };
        let wrong = Wrong::NotJson { what: format!("key {shown}"), remedy: "put the key in quotes" };
        Err(self.error(wrong, place))
    }

    fn merge_key(&mut self, place: Position) -> Result<(), Error> {
        if let Some(Open { parts: Parts::Object(Members { merged: Some(_), .. }), .. }) = self.open.last() {
            return Err(self.error(Wrong::DuplicateKey("<<".to_owned()), place));
        }
        self.expect_value_of(Key::Merge);
        Ok(())
    }

    fn expect_value_of(&mut self, next: Key) {
        if let Some(Open { parts: Parts::Object(Members { key, .. }), .. }) = self.open.last_mut() {
            *key = Some(next);
        }
    }

    fn container_as_key(&self, place: Position) -> Error {
        let what = "a key that is an array or an object".to_owned();
        self.error(Wrong::NotJson { what, remedy: "write a key of text" }, place)
    }

    fn tag_is(&self, tag: Option<&Tag>, wanted: &str, place: Position) -> Result<(), Error> {
        match tag {
            Some(tag) if !is_tag(tag, wanted) => Err(self.error(unknown_tag(tag), place)),
            Some(_) | None => Ok(()),
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { parts: Parts::Object(Members { key: None, .. }), .. }))
    }

    fn wants_merged(&self) -> bool {
        matches!(self.open.last(), Some(Open { parts: Parts::Object(Members { key: Some(Key::Merge), .. }), .. }))
    }

    fn count(&mut self, size: Size, place: Position) -> Result<(), Error> {
        self.total.add(size);
        let Limits { bytes, nodes, .. } = self.limits;
        if self.total.bytes > bytes.most {
            return Err(self.error(Wrong::too_large("bytes", bytes), place));
        }
        if self.total.nodes > nodes.most {
            return Err(self.error(Wrong::too_large("values", nodes), place));
        }
        Ok(())
    }

    fn error(&self, wrong: Wrong, Position(line, column): Position) -> Error {
        let mut at = String::new();
        for open in &self.open {
            let _ = match &open.parts {
                Parts::Array(items) => write!(at, "/{}", items.len()),
                Parts::Object(Members { key: Some(Key::Named(key, _)), .. }) => {
                    write!(at, "/{}", key.replace('~', "~0").replace('/', "~1"))
                }
                Parts::Object(Members { key: Some(Key::Merge), .. }) => write!(at, "/<<"),
                Parts::Object(Members { key: None, .. }) => Ok(()),
            };
        }
        Error { wrong, at, line, column }
    }
}

impl Size {
    fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.height = self.height.max(other.height);
    }
}

fn place(marker: Marker) -> Position {
    let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
    Position(number(marker.line()), number(marker.col()).saturating_add(1))
}
