//! What becomes of the spec of a `DescribeOperation`.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Format, FormatName, Objects, Refresh, Wait};

fn roots() -> Vec<PathBuf> {
    vec!["/srv/models".into(), "/etc/edge".into()]
}

fn problems(spec: &Value) -> String {
    let roots = roots();
    custom("net", "zone-a", spec, Grants { file_roots: &roots, app: true }).expect_err("problems").to_string()
}

#[track_caller]
fn sound(spec: &Value) -> Operation {
    let roots = roots();
    custom("net", "zone-a", spec, Grants { file_roots: &roots, app: true })
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn a_spec_has_the_defaults_of_the_flags() {
    let spec = json!({ "path": "/a", "source": { "configMap": { "name": "models", "key": "a.yaml" } } });
    let expected = Operation {
        source: Source::ConfigMap {
            namespace: "net".to_owned(),
            name: "models".to_owned(),
            key: Some("a.yaml".to_owned()),
            format: Format::Yaml,
        },
        ..Operation::example("zone-a", "/a")
    };
    assert_eq!(sound(&spec), expected);
}

#[test]
fn a_default_wait_that_nobody_chose_gives_way_to_the_longest() {
    let spec = json!({ "path": "/a", "source": { "configMap": { "name": "m" } }, "wait": { "max": "10s" } });
    let ten = Duration::from_secs(10);
    assert_eq!(sound(&spec).wait, Wait { default: ten, max: ten });
}

#[test]
fn sources_are_in_the_namespace_of_the_object() {
    let source = |source: Value| sound(&json!({ "path": "/a", "source": source })).source;
    assert_eq!(
        source(
            json!({ "resource": { "apiVersion": "v1", "kind": "Node", "selector": { "matchLabels": { "a": "b" } } } })
        ),
        Source::Resource {
            namespace: "net".to_owned(),
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            objects: Objects::Labelled("a=b".to_owned()),
            field: "spec".to_owned(),
        }
    );
    let trigger = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "n" });
    assert_eq!(
        source(json!({ "upstream": { "path": "/m", "trigger": trigger, "format": "opaque" } })),
        Source::Upstream {
            path: "/m".to_owned(),
            refresh: Refresh::Trigger {
                namespace: "net".to_owned(),
                api_version: "v1".to_owned(),
                kind: "ConfigMap".to_owned(),
                name: "n".to_owned(),
            },
            format: Some(FormatName::Opaque(None)),
        }
    );
    assert_eq!(
        source(json!({ "file": { "path": "/etc/edge/./a.json" } })),
        Source::File { path: "/etc/edge/a.json".into(), format: Format::Json, below: Some("/etc/edge".into()) }
    );
}

#[test]
fn every_mistake_is_told_at_once_by_its_field() {
    let spec = json!({
        "path": "a?b",
        "source": {
            "resource": {
                "apiVersion": "v1/", "kind": "Node!", "name": "n/", "namespace": "kube-system", "field": "metadata",
                "selector": { "matchLabels": { "a b": "c" }, "matchExpressions": [{ "key": "x", "operator": "In" }] },
            },
            "upstream": { "path": "m", "interval": "1ms", "trigger": { "kind": "ConfigMap", "name": "" } },
        },
        "wait": { "default": "2m", "max": "1m" },
        "minInterval": "30sec",
        "wakeSpread": "-5s",
        "limits": { "parked": 0, "pointers": 2000, "historyBytes": -1, "perAgent": 4 },
        "guard": { "maxRemovedPercent": 101 },
        "paused": "yes",
        "name": "other",
    });
    let expected = "\
spec.limits.perAgent: is no field: the fields here are parked, parkedPerAgent, pointers, selections, historyEntries, historyBytes
spec.paused: \"yes\" is text, but true or false is wanted: write one of them without quotes
spec.source.resource.selector.matchExpressions[0]: has the operator In without values: list some
spec.source.resource.selector.matchLabels.\"a b\": \"a b\" is text, but the key of a label is wanted: write one such as tier or example.org/tier
spec.source.resource.namespace: is no field here: an operation reads its own namespace, leave it out
spec.name: is no field here: the name of the object is the operation's, leave it out
spec.source.resource.apiVersion: \"v1/\" is not an apiVersion: write GROUP/VERSION such as tidewait.dev/v1alpha1, or v1 for the core group
spec.source.resource.kind: \"Node!\" is not a kind: write one as manifests do, such as NetworkModel
spec.source.resource.name: \"n/\" is not an object's name: write 1 to 253 of a-z, A-Z, 0-9, -, _, . and :, beginning and ending with a letter or digit
spec.source.resource.field: \"metadata\" changes with every write to the object: name the field of the model, such as spec
spec.source.resource: holds name and selector: keep one
spec.source.upstream.path: \"m\" does not begin with /: write a path such as /describe
spec.source.upstream.interval: \"1ms\" is out of bounds: write 1s to 24h
spec.source.upstream.trigger.apiVersion: is missing: write it
spec.source.upstream.trigger.name: \"\" is not an object's name: write 1 to 253 of a-z, A-Z, 0-9, -, _, . and :, beginning and ending with a letter or digit
spec.source.upstream: holds trigger and interval: keep one
spec.source: holds resource and upstream: keep one
spec.path: \"a?b\" does not begin with /: write a path such as /describe
spec.wait.default: \"2m\" is longer than the longest wait, 60s: lower it, or raise that
spec.minInterval: \"30sec\" is not a duration: write whole numbers with h, m, s or ms, such as 1m30s or 100ms
spec.limits.parked: \"0\" is out of bounds: write 1 to 1000000
spec.wakeSpread: \"-5s\" is negative: write a duration without the sign
spec.guard.maxRemovedPercent: \"101\" is out of bounds: write 0 to 100
spec.limits.pointers: \"2000\" is out of bounds: write 1 to 1024
spec.limits.historyBytes: \"-1\" is not a whole number: write 0 to 1073741824";
    assert_eq!(problems(&spec), expected);
}

#[test]
fn what_is_missing_or_of_another_shape_is_told() {
    for (spec, expected) in [
        (json!([]), "spec: is a list, but an object with fields is wanted"),
        (json!(null), "spec: has no value, but an object with fields is wanted"),
        (
            json!({}),
            "spec.path: is missing: write the path that clients poll\n\
             spec.source: is missing or empty: write file, configMap, resource or upstream in it",
        ),
        (json!({ "path": "/a", "source": { "configMap": {} } }), "spec.source.configMap.name: is missing: write it"),
        (
            json!({ "path": "/a", "source": { "configMap": { "name": "m" } }, "guard": {} }),
            "spec.guard.maxRemovedPercent: is missing: write it",
        ),
        (
            json!({ "path": "/a", "source": { "resource": { "apiVersion": "v1", "kind": "Pod" } } }),
            "spec.source.resource: holds neither name nor selector: write one of them",
        ),
    ] {
        assert_eq!(problems(&spec), expected, "{spec}");
    }
    let spec = json!({ "path": "/a", "source": { "configMap": { "name": "m" } } });
    let found = custom("net", "a.b", &spec, Grants { file_roots: &[], app: false }).expect_err("its name");
    assert!(found.to_string().starts_with("metadata.name: \"a.b\" is not a name: write at most 63"), "{found}");
}

#[test]
fn secrets_are_refused_however_they_are_spelt() {
    let spec = |api_version: &str, kind: &str| json!({ "path": "/a", "source": { "resource": { "apiVersion": api_version, "kind": kind, "name": "s", "field": "data" } } });
    for kind in ["Secret", "secret", "SECRETS", "sEcReT"] {
        let found = problems(&spec("v1", kind));
        assert!(
            found.starts_with(&format!("spec.source.resource.kind: {kind:?} would be served to everyone")),
            "{found}"
        );
    }
    sound(&spec("vault.example.org/v1", "Secret"));
    sound(&spec("v1", "SecretStore"));
}

#[test]
fn files_are_only_below_the_roots() {
    let spec = |path: &str| json!({ "path": "/a", "source": { "file": { "path": path } } });
    for path in [
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "/srv/models/../../etc/passwd",
        "/srv/models/..",
        "/srv/models-of-others/a.json",
        "/srv/models",
        "srv/models/a.json",
        "a.json",
        "/srv/modelsa.json",
        "//etc/passwd",
    ] {
        let expected = format!(
            "spec.source.file.path: {path:?} may not be served: only files below \"/srv/models\" or \"/etc/edge\" may: \
             write an absolute path there, without .."
        );
        assert_eq!(problems(&spec(path)), expected);
    }
    for path in ["/srv/models/a.json", "/etc/edge//b/..data/a.json", "/srv/models/..a/b"] {
        sound(&spec(path));
    }
    let none = Grants { file_roots: &[], app: false };
    let found = custom("net", "a", &spec("/srv/models/a.json"), none).expect_err("no root").to_string();
    assert!(found.contains("no file may be served, since --allow-file-root names no directory"), "{found}");
}

#[test]
fn the_app_is_asked_only_where_one_is() {
    let spec = json!({ "path": "/a", "source": { "upstream": { "path": "/m", "interval": "5s" } } });
    sound(&spec);
    let found = custom("net", "a", &spec, Grants { file_roots: &[], app: false }).expect_err("no app").to_string();
    assert_eq!(found, "spec.source.upstream: asks the app, but none is behind: name it with --upstream URL");
}

#[test]
fn selectors_of_another_shape_are_told() {
    let place = "spec.source.resource.selector";
    for (selector, expected) in [
        (json!("a=b"), ": \"a=b\" is text, but an object with matchLabels or matchExpressions is wanted"),
        (json!({ "app": "a" }), ": has the field app: the fields here are matchLabels, matchExpressions"),
        (json!({ "matchLabels": [] }), ".matchLabels: is a list, but an object with a text for each label is wanted"),
        (json!({ "matchLabels": { "a": 1 } }), ".matchLabels.a: 1 is a number, but the value of a label is wanted"),
        (json!({ "matchLabels": { "a": "b," } }), ".matchLabels.a: \"b,\" is text, but the value of a label is wanted"),
        (json!({ "matchExpressions": {} }), ".matchExpressions: is an object, but a list is wanted"),
        (json!({ "matchExpressions": ["a"] }), ".matchExpressions[0]: \"a\" is text, but an object with key, operator"),
        (
            json!({ "matchExpressions": [{ "operator": "Exists" }] }),
            ".matchExpressions[0].key: has no value, but the key",
        ),
        (
            json!({ "matchExpressions": [{ "key": "a", "operator": "In", "value": "b", "values": ["b"] }] }),
            ".matchExpressions[0]: has the field value: the fields here are key, operator, values",
        ),
        (
            json!({ "matchExpressions": [{ "key": "a", "operator": "in", "values": ["b"] }] }),
            ".matchExpressions[0]: has the operator \"in\": write In, NotIn, Exists or DoesNotExist",
        ),
        (
            json!({ "matchExpressions": [{ "key": "a", "operator": "Exists", "values": ["b"] }] }),
            ".matchExpressions[0]: has the operator Exists with values: leave them out",
        ),
        (
            json!({ "matchExpressions": [{ "key": "a", "operator": "In", "values": ["b", "c)"] }] }),
            ".matchExpressions[0].values[1]: \"c)\" is text, but the value of a label is wanted",
        ),
    ] {
        let resource = json!({ "apiVersion": "v1", "kind": "Node", "selector": selector });
        let found = problems(&json!({ "path": "/a", "source": { "resource": resource } }));
        assert!(found.starts_with(&format!("{place}{expected}")) && !found.contains('\n'), "{selector}: {found}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let keys = [
        "path",
        "source",
        "configMap",
        "resource",
        "upstream",
        "file",
        "trigger",
        "interval",
        "selector",
        "matchLabels",
        "matchExpressions",
        "key",
        "operator",
        "values",
        "name",
        "kind",
        "apiVersion",
        "field",
        "wait",
        "max",
        "limits",
        "guard",
        "maxRemovedPercent",
        "namespace",
        "",
    ];
    let text = prop::sample::select(vec!["/a", "a", "In", "v1", "Secret", "1s", "..", "", "\u{0}", "é"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 8, move |inner| {
        let key = prop::sample::select(keys.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whoever may write the object may write anything, should the schema be another.
    #[test]
    fn any_spec_is_read_or_refused_by_its_fields(spec in any_json(), namespace in ".{0,4}", name in ".{0,4}") {
        let roots = roots();
        if let Err(problems) = custom(&namespace, &name, &spec, Grants { file_roots: &roots, app: false }) {
            prop_assert!(!problems.is_empty());
            for problem in problems.iter() {
                prop_assert!(problem.origin.starts_with("spec") || problem.origin.starts_with("metadata."), "{problem}");
            }
        }
    }

    /// Whatever order people write a selector in, its operation is the same history.
    #[test]
    fn selectors_that_mean_the_same_are_the_same(
        labels in prop::collection::btree_map("[a-z]{1,4}", "[a-z]{0,3}", 0..5),
        values in prop::collection::vec("[a-z]{1,3}", 1..5),
        seed in any::<usize>(),
    ) {
        let selector = |labels: Vec<(&String, &String)>, values: Vec<&String>| {
            let labels: serde_json::Map<_, _> = labels.into_iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            let expression = json!({ "key": "zone", "operator": "In", "values": values });
            let selector = json!({ "matchLabels": labels, "matchExpressions": [expression] });
            let resource = json!({ "apiVersion": "v1", "kind": "Node", "selector": selector });
            sound(&json!({ "path": "/a", "source": { "resource": resource } })).source
        };
        let mut turned: Vec<_> = values.iter().collect();
        turned.rotate_left(seed % values.len());
        let one = selector(labels.iter().collect(), values.iter().collect());
        prop_assert_eq!(one, selector(labels.iter().rev().collect(), turned));
    }
}
