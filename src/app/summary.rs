//! What `tidewait check` says of a configuration without mistakes.

use crate::config::{Backend, Config};
use crate::escape::escape;

/// What is no mistake, and yet not what everybody expects.
const OF_ONE_REPLICA: &str = "note: each replica has its own queue of an exchange in memory: workers that poll, and consumers that come back for \
                              an answer, have to reach the same one\n";

/// The same of topics, and whether they outlive a restart.
fn of_topics(config: &Config) -> String {
    let alone = "each replica has the messages of a topic that were published at it alone: run one replica";
    match &config.state_dir {
        _ if config.topics.iter().all(|topic| topic.backend == Backend::Nats) => String::new(),
        None => format!(
            "note: {alone}, whose restart begins another history of each topic: give --state-dir to keep messages over a restart\n"
        ),
        Some(directory) => {
            let directory = directory.to_string_lossy();
            let directory = escape(&directory);
            format!("note: {alone}, whose topics outlive a restart (in {directory}/topics)\n")
        }
    }
}

/// How many of them there are, and where.
fn counted(what: &str, backends: &[Backend], memory: &str) -> String {
    let kept = |backend| backends.iter().filter(|other| **other == backend).count();
    match (kept(Backend::Memory), kept(Backend::Nats)) {
        (0, 0) => String::new(),
        (0, total) => format!(", {what}: {total} (nats)"),
        (total, 0) => format!(", {what}: {total} ({memory})"),
        (in_memory, at_nats) => format!(", {what}: {} ({memory}: {in_memory}, nats: {at_nats})", backends.len()),
    }
}

/// How much of what there is, and what is no mistake and yet not what everybody expects.
#[must_use]
pub fn summary(config: &Config) -> String {
    let backends: Vec<_> = config.exchanges.iter().map(|exchange| exchange.backend).collect();
    let backends_of_topics: Vec<_> = config.topics.iter().map(|topic| topic.backend).collect();
    let (exchanges, topics) = (
        counted("exchanges", &backends, "memory"),
        counted(
            "topics",
            &backends_of_topics,
            if config.state_dir.is_some() { "memory, kept on disk" } else { "memory" },
        ),
    );
    let note = if backends.contains(&Backend::Memory) { OF_ONE_REPLICA } else { "" };
    let note_of_topics = of_topics(config);
    let operations = config.operations.len();
    format!("the configuration is good, operations: {operations}{exchanges}{topics}\n{note}{note_of_topics}")
}
