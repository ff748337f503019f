//! PURE. The fields of an exchange in a configuration file.

use super::fields::Fields;
use super::fields::Kind::{AtMost, Bytes, Count, Duration, Object, Switch, Text, Texts};
use crate::bounds::EXCHANGE_METHODS;

/// An exchange.
pub(super) const EXCHANGE: Fields = &[
    ("name", Text("exchange.name")),
    ("path", Text("exchange.path")),
    ("methods", AtMost(EXCHANGE_METHODS, &Texts("exchange.methods"))),
    ("endpoint", Text("exchange.endpoint")),
    (
        "queue",
        Object(
            "exchange.queue",
            &[
                ("length", Count("exchange.queue.length")),
                ("perClient", Count("exchange.queue.perClient")),
                ("age", Duration("exchange.queue.age")),
                ("asyncAge", Duration("exchange.queue.asyncAge")),
            ],
        ),
    ),
    (
        "hold",
        Object(
            "exchange.hold",
            &[("default", Duration("exchange.hold.default")), ("max", Duration("exchange.hold.max"))],
        ),
    ),
    ("deadline", Duration("exchange.deadline")),
    (
        "lease",
        Object(
            "exchange.lease",
            &[("first", Duration("exchange.lease.first")), ("length", Duration("exchange.lease.length"))],
        ),
    ),
    ("attempts", Count("exchange.attempts")),
    ("repeat", Text("exchange.repeat")),
    ("share", Text("exchange.share")),
    (
        "result",
        Object(
            "exchange.result",
            &[
                ("keep", Duration("exchange.result.keep")),
                ("bytes", Bytes("exchange.result.bytes")),
                ("window", Bytes("exchange.result.window")),
            ],
        ),
    ),
    (
        "body",
        Object("exchange.body", &[("bytes", Bytes("exchange.body.bytes")), ("replay", Bytes("exchange.body.replay"))]),
    ),
    (
        "workers",
        Object(
            "exchange.workers",
            &[
                ("transports", Texts("exchange.workers.transports")),
                ("raw", Text("exchange.workers.raw")),
                ("allowRawFromAnywhere", Switch("exchange.workers.allowRawFromAnywhere")),
            ],
        ),
    ),
    (
        "noWorker",
        Object(
            "exchange.noWorker",
            &[("action", Text("exchange.noWorker.action")), ("after", Duration("exchange.noWorker.after"))],
        ),
    ),
    ("backend", Text("exchange.backend")),
    (
        "chain",
        Object("exchange.chain", &[("hops", Count("exchange.chain.hops")), ("hold", Duration("exchange.chain.hold"))]),
    ),
];
