//! PURE. Topics: those of the configuration file, and those that `--topic` names by their paths alone.

use std::time::Duration;

use super::exchange::backend;
use super::{Layer, Reader};
use crate::config::problem::quote;
use crate::config::{Exchange, Operation, Presence, PublishRate, Topic, TopicHistory, ranges, value};

/// All topics, each with its origin: `flags` has the paths of `--topic`, which come last.
pub(super) fn topics(
    flags: &mut Reader<'_>,
    listed: Option<&[Layer]>,
    operations: &[Operation],
    exchanges: &[(String, Exchange)],
) -> Vec<(String, Topic)> {
    let given = flags.layers.iter().find(|layer| layer.contains("topic"));
    let given: Vec<_> = given.map_or(&[][..], |layer| layer.all("topic")).to_vec();
    let of_flags: Vec<_> = given
        .into_iter()
        .map(|given| {
            let mut layer = Layer::new(&given.origin);
            layer.add("topic.path", given.origin, given.text);
            layer
        })
        .collect();
    let listed = listed.unwrap_or_default();
    let mut found: Vec<(Place, Topic)> = Vec::new();
    for (at, layer) in listed.iter().chain(&of_flags).enumerate() {
        let mut reader = Reader { layers: vec![layer], problems: flags.problems };
        if let Some(topic) = topic(&mut reader) {
            let place = if at < listed.len() {
                Place { origin: layer.origin.clone(), has_fields: true }
            } else {
                Place { origin: format!("{} {}", layer.origin, topic.path), has_fields: false }
            };
            found.push((place, topic));
        }
    }
    for (at, (place, topic)) in found.iter().enumerate() {
        let others = found[..at].iter().filter_map(|(whose, other)| topic.conflict(other, &whose.origin));
        let taken_by = taken(topic, operations, exchanges);
        for (field, message) in others.chain(taken_by.map(|message| ("path", message))) {
            if place.has_fields {
                flags.problems.push(format!("{}.{field}", place.origin), message);
            } else if field == "name" {
                let remedy = "a flag gives only the path, so write it into the configuration file (--config)";
                flags.problems.push(&place.origin, format!("its name {message}; {remedy}"));
            } else {
                flags.problems.push(&place.origin, message);
            }
        }
    }
    found.into_iter().map(|(place, topic)| (place.origin, topic)).collect()
}

/// Where a topic is described. A flag has no fields, and its topic is known by the path.
struct Place {
    origin: String,
    has_fields: bool,
}

/// Why its path is another's.
fn taken(topic: &Topic, operations: &[Operation], exchanges: &[(String, Exchange)]) -> Option<String> {
    let operation = operations.iter().find(|operation| operation.path == topic.path);
    let operation = operation.map(|operation| format!("operation {}", operation.name));
    let exchange = || exchanges.iter().find(|(_, exchange)| topic.is_within(exchange));
    let whose = operation.or_else(|| exchange().map(|(_, exchange)| format!("exchange {}", exchange.name)))?;
    Some(format!("{} belongs to {whose}: choose another", quote(&topic.path)))
}

/// One topic, wherever it is described.
pub(super) fn topic(reader: &mut Reader<'_>) -> Option<Topic> {
    if !reader.contains("topic.path") {
        reader.wrong_field("path", "is missing: write the path where messages are published and read");
    }
    let path = reader.optional("topic.path", path);
    let name = reader.optional("topic.name", value::operation_name);
    let history = TopicHistory {
        messages: number(reader, "history.messages", &ranges::TOPIC_MESSAGES, 1000),
        bytes: bytes(reader, "history.bytes", &ranges::TOPIC_BYTES, 4 << 20),
        age: duration(reader, "history.age", Duration::from_hours(1)),
    };
    let message_bytes = message_bytes(reader, history.bytes);
    let dedupe = duration(reader, "dedupe", Duration::from_mins(2));
    let per_second = number(reader, "publishRate.perSecond", &ranges::TOPIC_RATE, 20);
    let burst = number(reader, "publishRate.burst", &ranges::TOPIC_RATE, 50);
    let of = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let rate = PublishRate { per_second: of(per_second), burst: of(burst) };
    let backend = reader.optional("topic.backend", backend).unwrap_or_default();
    let presence = reader.optional("topic.presence", presence).unwrap_or_default();
    let path = path?;
    let last = path.rsplit('/').find(|word| !word.is_empty()).unwrap_or("root");
    let name = name.unwrap_or_else(|| value::name_of_path(&format!("/{last}")));
    Some(Topic { name, path, history, message_bytes, dedupe, rate, backend, presence })
}

fn presence(text: &str) -> Result<Presence, String> {
    let known = Presence::ALL.into_iter().find(|presence| presence.as_str() == text);
    known.ok_or_else(|| "is none of off, count and named: write one of them".to_owned())
}

/// One path: nothing stands for others.
fn path(text: &str) -> Result<String, String> {
    if text.contains(['{', '}']) {
        return Err(
            "has a { or }, and a topic has one path alone: write one such as /chat, once for each topic".to_owned()
        );
    }
    value::operation_path(text).map_err(|error| error.replace("such as /describe", "such as /chat"))
}

/// A message fits into the history, or nobody could read it. A default that nobody chose gives way.
fn message_bytes(reader: &mut Reader<'_>, history: usize) -> usize {
    let most = bytes(reader, "messageBytes", &ranges::TOPIC_MESSAGE_BYTES, 16 << 10);
    if let Some(given) = reader.given("topic.messageBytes")
        && most > history
    {
        reader
            .wrong(given, &format!("is more than the whole history has, {history}: lower it, or raise history.bytes"));
    }
    most.min(history)
}

fn number(reader: &mut Reader<'_>, field: &str, range: &std::ops::RangeInclusive<usize>, default: usize) -> usize {
    reader.optional(&format!("topic.{field}"), |text| value::number(text, range)).unwrap_or(default)
}

fn bytes(reader: &mut Reader<'_>, field: &str, range: &std::ops::RangeInclusive<usize>, default: usize) -> usize {
    reader.optional(&format!("topic.{field}"), |text| value::bytes(text, range)).unwrap_or(default)
}

fn duration(reader: &mut Reader<'_>, field: &str, default: Duration) -> Duration {
    reader.optional(&format!("topic.{field}"), |text| value::duration(text, &ranges::TOPIC_TIME)).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use crate::config::Topic;
    use crate::config::file::ConfigFile;
    use crate::config::resolve::{Layers, resolve};
    use crate::config::settings::Options;

    fn resolved(flags: &[&str], yaml: &str) -> Result<Vec<Topic>, String> {
        let head = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n";
        let file = (!yaml.is_empty()).then(|| ConfigFile { name: "f".to_owned(), text: Ok(format!("{head}{yaml}")) });
        let topic = flags.iter().map(|path| (*path).to_owned()).collect();
        let config = resolve(&Layers { flags: Options { topic, ..Options::default() }, environment: Vec::new(), file });
        config.map(|config| config.topics).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_path_is_enough_for_a_topic() {
        let all = resolved(&["/chat", "/rooms/Blue"], "").expect("good");
        let names: Vec<_> = all.iter().map(|topic| (&*topic.name, &*topic.path)).collect();
        assert_eq!(names, [("chat", "/chat"), ("blue", "/rooms/Blue")]);
        let chat = &all[0];
        assert_eq!((chat.history.messages, chat.history.bytes, chat.history.age.as_secs()), (1000, 4 << 20, 3600));
        assert_eq!((chat.message_bytes, chat.dedupe.as_secs()), (16 << 10, 120));
        assert_eq!((chat.rate.per_second, chat.rate.burst), (20, 50));
    }

    #[test]
    fn all_fields_of_the_file_are_read() {
        let yaml = "topics: [{name: c, path: /chat, history: {messages: 7, bytes: 2Ki, age: 5m}, messageBytes: 1Ki, dedupe: 9s, \
                    publishRate: {perSecond: 3, burst: 4}, backend: memory, presence: named}]";
        let one = resolved(&[], yaml).expect("good").remove(0);
        assert_eq!((one.history.messages, one.history.bytes, one.history.age.as_secs()), (7, 2048, 300));
        assert_eq!((one.message_bytes, one.dedupe.as_secs(), one.presence), (1024, 9, crate::config::Presence::Named));
        assert_eq!((&*one.name, one.rate.per_second, one.rate.burst), ("c", 3, 4));
        let small = resolved(&[], "topics: [{path: /a, history: {bytes: 2Ki}}]").expect("good").remove(0);
        assert_eq!(small.message_bytes, 2048, "what nobody chose gives way");
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        for (flags, yaml, expected) in [
            (&["chat"][..], "", "--topic: \"chat\" does not begin with /"),
            (
                &["/chat", "/chat"],
                "",
                "--topic /chat: \"/chat\" is also the path of --topic /chat: give each topic its",
            ),
            (
                &["/a/chat", "/b/chat"],
                "",
                "--topic /b/chat: its name \"chat\" is also the name of --topic /a/chat: give",
            ),
            (&["/rooms/{key}"], "", "--topic: \"/rooms/{key}\" has a { or }, and a topic has one path alone"),
            (&[], "topics: [{name: n}]", "f: topics[0].path: is missing: write the path where messages"),
            (&[], "topics: [{path: /a}, {path: /a}]", "f: topics[1].path: \"/a\" is also the path of f: topics[0]"),
            (
                &[],
                "topics: [{path: /a, history: {bytes: 2Ki}, messageBytes: 4Ki}]",
                "f: topics[0].messageBytes: \"4Ki\" is more than the whole history has, 2048: lower it, or raise history.bytes",
            ),
            (
                &[],
                "topics: [{path: chat}]",
                "f: topics[0].path: \"chat\" does not begin with /: write a path such as /chat",
            ),
            (
                &[],
                "topics: [{path: /a, presence: all}]",
                "f: topics[0].presence: \"all\" is none of off, count and named: write one of them",
            ),
            (&[], "topics: [{path: /a, messageBytes: 1Mi}]", "f: topics[0].messageBytes: \"1Mi\""),
            (&[], "topics: [{path: /a, publishRate: {perSecond: 0}}]", "f: topics[0].publishRate.perSecond: \"0\""),
            (
                &[],
                "topics: [{path: /a, backend: redis}]",
                "f: topics[0].backend: \"redis\" is no backend: write memory or nats",
            ),
            (&[], "topics: [{path: /a, history: {age: 5}}]", "f: topics[0].history.age: \"5\""),
            (
                &["/describe"],
                "operations: [{path: /describe, source: {file: {path: x}}}]",
                "--topic /describe: \"/describe\" belongs to operation describe: choose another",
            ),
            (
                &[],
                "exchanges: [{path: '/a/{key}'}]\ntopics: [{path: /a/b}]",
                "f: topics[0].path: \"/a/b\" belongs to exchange a: choose another",
            ),
        ] {
            let told = resolved(flags, yaml).expect_err(yaml);
            assert!(told.contains(expected), "{yaml}: {told}");
        }
    }
}
