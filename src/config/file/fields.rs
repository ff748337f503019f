//! PURE. Every field that a configuration file knows, and the setting that each gives.

use super::exchange::EXCHANGE;
use super::topic::TOPIC;
use crate::bounds::{ACCESS_OWN_RULES, ACCESS_RULE_ITEMS, ACCESS_RULES, EXCHANGES, TOPICS};

/// What a field may hold, and the setting that it gives.
pub(super) enum Kind {
    /// Text.
    Text(&'static str),
    /// Text; a number too, so that the reader of durations can name the missing unit.
    Duration(&'static str),
    /// Text or a number, of bytes.
    Bytes(&'static str),
    /// A number.
    Count(&'static str),
    /// true or false.
    Switch(&'static str),
    /// A list of texts.
    Texts(&'static str),
    /// Exactly this text, and not absent.
    Exactly(&'static str, &'static str),
    /// Fields; the setting marks that they are there, and is given if nothing in them is wrong,
    /// so that what is misspelt is not called missing too.
    Object(&'static str, Fields),
    /// A label selector, as Kubernetes structures it: its requirements.
    Selector(&'static str),
    /// The operations.
    OperationsField,
    /// A list of objects with these fields.
    Objects(&'static str, Fields),
    /// A list of at most so many.
    AtMost(usize, &'static Kind),
}

pub(super) type Fields = &'static [(&'static str, Kind)];

use Kind::{AtMost, Count, Duration, Exactly, Object, Objects, Switch, Text, Texts};

pub(super) const TOP: Fields = &[
    ("apiVersion", Exactly("apiVersion", "tidewait.dev/v1alpha1")),
    ("kind", Exactly("kind", "ServeConfig")),
    ("listen", Text("listen")),
    ("admin", Text("admin")),
    ("allowAnonymous", Switch("allow-anonymous")),
    ("allowClearCredentials", Switch("allow-clear-credentials")),
    (
        "tls",
        Object(
            "tls object",
            &[
                ("certificate", Text("tls-certificate")),
                ("key", Text("tls-key")),
                ("clientCa", Text("tls-client-ca")),
                ("clientAuth", Text("tls-client-auth")),
            ],
        ),
    ),
    (
        "adminTls",
        Object(
            "adminTls object",
            &[
                ("certificate", Text("admin-tls-certificate")),
                ("key", Text("admin-tls-key")),
                ("clientCa", Text("admin-tls-client-ca")),
            ],
        ),
    ),
    ("adminAccess", Switch("admin-access")),
    (
        "access",
        Object(
            "access object",
            &[
                ("certificates", Object("access certificates", &[("names", Texts("access-certificate-names"))])),
                ("tokens", Text("access-tokens")),
                ("users", Text("access-users")),
                ("kubernetes", Object("access.kubernetes", &[("audiences", Texts("access-kubernetes"))])),
                ("issuers", Objects("access.issuers", ISSUER)),
                ("authorization", Text("access-authorization")),
                ("origins", Texts("access-origins")),
                ("forwardCredentials", Switch("forward-credentials")),
                ("forwardUser", Text("forward-user")),
                ("forwardGroups", Text("forward-groups")),
                ("rules", AtMost(ACCESS_RULES, &Objects("access.rules", RULE))),
            ],
        ),
    ),
    (
        "upstream",
        Object(
            "upstream object",
            &[
                ("url", Text("upstream")),
                ("protocol", Text("upstream-protocol")),
                ("connectTimeout", Duration("upstream-connect-timeout")),
                ("headTimeout", Duration("upstream-head-timeout")),
                ("bodyIdleTimeout", Duration("upstream-body-idle-timeout")),
            ],
        ),
    ),
    ("trustedProxies", Texts("trusted-proxies")),
    ("grace", Duration("grace")),
    ("maxConnections", Count("max-connections")),
    ("stateDir", Text("state-dir")),
    ("allowFileRoots", Texts("allow-file-root")),
    ("operationsFrom", Text("operations")),
    ("kubeconfig", Text("kubeconfig")),
    ("watchTimeout", Duration("watch-timeout")),
    (
        "nats",
        Object(
            "nats object",
            &[
                ("servers", Texts("nats")),
                ("credentials", Text("nats-credentials")),
                ("ca", Text("nats-ca")),
                ("replicas", Count("nats-replicas")),
            ],
        ),
    ),
    (
        "log",
        Object(
            "log object",
            &[("format", Text("log-format")), ("level", Text("log-level")), ("access", Switch("access-log"))],
        ),
    ),
    ("operations", Kind::OperationsField),
    ("exchanges", AtMost(EXCHANGES, &Objects("exchanges", EXCHANGE))),
    ("topics", AtMost(TOPICS, &Objects("topics", TOPIC))),
];

/// An operation in a file, and the spec of a `DescribeOperation` (which has no namespaces and no name).
pub(super) const OPERATION: Fields = &[
    ("name", Text("name")),
    ("path", Text("path")),
    ("source", Object("source", SOURCE)),
    ("versionFrom", Text("version-from")),
    ("wait", Object("wait object", &[("default", Duration("wait-default")), ("max", Duration("wait-max"))])),
    ("minInterval", Duration("min-interval")),
    ("wakeSpread", Duration("wake-spread")),
    (
        "limits",
        Object(
            "limits object",
            &[
                ("parked", Count("max-parked")),
                ("parkedPerAgent", Count("max-parked-per-agent")),
                ("pointers", Count("max-pointers")),
                ("selections", Count("max-selections")),
                ("historyEntries", Count("history-entries")),
                ("historyBytes", Count("history-bytes")),
            ],
        ),
    ),
    ("paused", Switch("paused")),
    ("relays", Text("relays")),
    ("guard", Object("guard", &[("maxRemovedPercent", Count("guard.maxRemovedPercent"))])),
    ("access", Object("own access object", &[("rules", AtMost(ACCESS_OWN_RULES, &Objects("access.rules", OWN_RULE)))])),
];

/// An issuer of tokens.
const ISSUER: Fields = &[
    ("url", Text("url")),
    ("audience", Text("audience")),
    ("name", Text("name")),
    ("groups", Text("groups")),
    ("prefix", Text("prefix")),
    ("keys", Text("keys")),
    ("ca", Text("ca")),
    ("algorithms", Texts("algorithms")),
];

/// A rule of the process.
const RULE: Fields = &[
    ("subjects", AtMost(ACCESS_RULE_ITEMS, &Texts("subjects"))),
    ("verbs", AtMost(ACCESS_RULE_ITEMS, &Texts("verbs"))),
    ("operations", AtMost(ACCESS_RULE_ITEMS, &Texts("operations"))),
    ("exchanges", AtMost(ACCESS_RULE_ITEMS, &Texts("exchanges"))),
    ("topics", AtMost(ACCESS_RULE_ITEMS, &Texts("topics"))),
    ("restrict", AtMost(ACCESS_RULE_ITEMS, &Texts("restrict"))),
    ("paths", AtMost(ACCESS_RULE_ITEMS, &Texts("paths"))),
];

/// A rule of one operation.
const OWN_RULE: Fields = &[
    ("subjects", AtMost(ACCESS_RULE_ITEMS, &Texts("subjects"))),
    ("verbs", AtMost(ACCESS_RULE_ITEMS, &Texts("verbs"))),
    ("restrict", AtMost(ACCESS_RULE_ITEMS, &Texts("restrict"))),
];

const SOURCE: Fields = &[
    ("file", Object("source.file", &[("path", Text("file")), ("format", Text("format"))])),
    (
        "configMap",
        Object(
            "source.configMap",
            &[
                ("namespace", Text("source.configMap.namespace")),
                ("name", Text("source.configMap.name")),
                ("key", Text("source.configMap.key")),
                ("format", Text("format")),
            ],
        ),
    ),
    (
        "resource",
        Object(
            "source.resource",
            &[
                ("apiVersion", Text("source.resource.apiVersion")),
                ("kind", Text("source.resource.kind")),
                ("namespace", Text("source.resource.namespace")),
                ("name", Text("source.resource.name")),
                ("selector", Kind::Selector("source.resource.selector")),
                ("field", Text("source.resource.field")),
            ],
        ),
    ),
    (
        "upstream",
        Object(
            "source.upstream",
            &[
                ("path", Text("source.upstream.path")),
                ("interval", Duration("source.upstream.interval")),
                ("trigger", Object("source.upstream.trigger", TRIGGER)),
                ("format", Text("format")),
            ],
        ),
    ),
    (
        "describe",
        Object(
            "source.describe",
            &[
                ("urls", Texts("source.describe.urls")),
                ("select", Texts("source.describe.select")),
                ("agentId", Text("source.describe.agentId")),
                ("wait", Duration("source.describe.wait")),
                ("maxBytes", Count("source.describe.maxBytes")),
                ("ca", Text("source.describe.ca")),
                ("certificate", Text("source.describe.certificate")),
                ("key", Text("source.describe.key")),
                ("tokenFile", Text("source.describe.tokenFile")),
                ("allowClearCredentials", Switch("source.describe.allowClearCredentials")),
            ],
        ),
    ),
];

const TRIGGER: Fields = &[
    ("apiVersion", Text("source.upstream.trigger.apiVersion")),
    ("kind", Text("source.upstream.trigger.kind")),
    ("namespace", Text("source.upstream.trigger.namespace")),
    ("name", Text("source.upstream.trigger.name")),
];
