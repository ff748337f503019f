//! PURE. The fields of a topic in a configuration file.

use super::fields::Fields;
use super::fields::Kind::{Bytes, Count, Duration, Object, Text};

/// A topic.
pub(super) const TOPIC: Fields = &[
    ("name", Text("topic.name")),
    ("path", Text("topic.path")),
    (
        "history",
        Object(
            "topic.history",
            &[
                ("messages", Count("topic.history.messages")),
                ("bytes", Bytes("topic.history.bytes")),
                ("age", Duration("topic.history.age")),
            ],
        ),
    ),
    ("messageBytes", Bytes("topic.messageBytes")),
    ("dedupe", Duration("topic.dedupe")),
    (
        "publishRate",
        Object(
            "topic.publishRate",
            &[("perSecond", Count("topic.publishRate.perSecond")), ("burst", Count("topic.publishRate.burst"))],
        ),
    ),
    ("backend", Text("topic.backend")),
    ("presence", Text("topic.presence")),
];
