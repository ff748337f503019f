//! Good and bad manifests, through the real kubectl, and what the program itself makes of each: both must agree.

#![expect(clippy::needless_pass_by_value, reason = "each value is made where it is passed")]

use std::path::PathBuf;

use serde_json::{Value, json};
use tidewait::config::{Grants, Operation, custom};
use tidewait::crd::DescribeOperation;

use crate::control_plane::ControlPlane;

/// The answer to `kubectl apply --dry-run=server` of many specs: for each, what is wrong with it, if anything.
async fn verdicts(specs: &[Value]) -> Vec<Option<String>> {
    verdicts_of("DescribeOperation", specs).await
}

/// The same, of specs of this kind.
pub(super) async fn verdicts_of(kind: &str, specs: &[Value]) -> Vec<Option<String>> {
    let plane = ControlPlane::shared().await;
    super::installed(plane).await;
    let namespace = plane.namespace("manifests").await;
    let manifest = |(index, spec): (usize, &Value)| {
        let name = format!("case-{index}");
        json!({
            "apiVersion": "tidewait.dev/v1alpha1",
            "kind": kind,
            "metadata": { "name": name, "namespace": &*namespace },
            "spec": spec,
        })
    };
    // YAML wants control characters escaped.
    let text = |manifest: Value| manifest.to_string().replace('\u{7f}', "\\u007f");
    let items: Vec<_> = specs.iter().enumerate().map(manifest).map(text).collect();
    let output = plane.kubectl(&["apply", "--dry-run=server", "-f", "-"], Some(&items.join("\n---\n"))).await;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let verdict = |index: usize| {
        let good = out.contains(&format!("{}.tidewait.dev/case-{index} created (server dry run)", kind.to_lowercase()));
        // kubectl words one refusal and several in two ways.
        let bad = err.split_once(&format!("\"case-{index}\" is invalid: ")).map(|(_, rest)| {
            let end = ["\nError from server", "\nThe "].iter().filter_map(|next| rest.find(next)).min();
            rest[..end.unwrap_or(rest.len())].to_owned()
        });
        assert!(good == bad.is_none(), "case {index} is neither good nor bad:\n{}\n{out}\n{err}", specs[index]);
        bad
    };
    (0..specs.len()).map(verdict).collect()
}

fn program(spec: &Value) -> Result<(), String> {
    program_of(spec).map(|_| ())
}

/// What the program makes of a spec as it is written.
fn program_of(spec: &Value) -> Result<Operation, String> {
    let roots = [PathBuf::from("/srv")];
    let grants = Grants { file_roots: &roots, app: true };
    custom("net", "case", spec, grants).map_err(|problems| problems.to_string())
}

/// What the program makes of a spec by way of the types.
fn typed(spec: &Value) -> Result<Operation, String> {
    let roots = [PathBuf::from("/srv")];
    let spec = serde_json::from_value(spec.clone()).map_err(|error| error.to_string())?;
    let mut operation = DescribeOperation::new("case", spec);
    operation.metadata.namespace = Some("net".to_owned());
    operation.operation(Grants { file_roots: &roots, app: true }).map_err(|problems| problems.to_string())
}

/// An operation with this source.
fn source(source: Value) -> Value {
    json!({ "path": "/a", "source": source })
}

/// A sound operation with this beside.
fn with(field: &str, value: Value) -> Value {
    let mut spec = source(json!({ "configMap": { "name": "models" } }));
    spec[field] = value;
    spec
}

fn at(path: &str) -> Value {
    json!({ "path": path, "source": { "configMap": { "name": "models" } } })
}

fn resource(changes: Value) -> Value {
    let mut resource = json!({ "apiVersion": "tidewait.dev/v1alpha1", "kind": "NetworkModel", "name": "zone-a" });
    merge(&mut resource, changes);
    source(json!({ "resource": resource }))
}

fn selector(selector: Value) -> Value {
    resource(json!({ "name": null, "selector": selector }))
}

fn upstream(changes: Value) -> Value {
    let mut upstream = json!({ "path": "/m", "interval": "5s" });
    merge(&mut upstream, changes);
    source(json!({ "upstream": upstream }))
}

/// A rule that lets whoever has a credential poll, with these changes.
fn rule(changes: Value) -> Value {
    let mut rule = json!({ "subjects": ["authenticated"], "verbs": ["get"] });
    merge(&mut rule, changes);
    rule
}

fn with_rule(changes: Value) -> Value {
    with("access", json!({ "rules": [rule(changes)] }))
}

/// Null takes a field away.
fn merge(object: &mut Value, changes: Value) {
    let Value::Object(changes) = changes else { panic!("an object") };
    let object = object.as_object_mut().expect("an object");
    for (key, value) in changes {
        if value.is_null() {
            object.remove(&key)
        } else {
            object.insert(key, value)
        };
    }
}

fn labels(count: usize) -> Value {
    let labels = (0..count).map(|at| (format!("l{at}"), json!("v")));
    json!({ "matchLabels": Value::Object(labels.collect()) })
}

#[tokio::test]
async fn good_manifests_are_good_to_both() {
    let graphic: String = (0x21..0x7f_u8).map(char::from).filter(|c| !"%?#<>`".contains(*c)).collect();
    let mut good = vec![
        with("versionFrom", json!("/metadata/a~1b~0")),
        with("wait", json!({})),
        with("wait", json!({ "default": "0" })),
        with("wait", json!({ "default": "1m30s", "max": "2m" })),
        with("wait", json!({ "default": "60s", "max": "1m" })),
        with("wait", json!({ "max": "59m59s999ms" })),
        with("minInterval", json!("0s")),
        with("minInterval", json!("1m")),
        with("wakeSpread", json!("60s")),
        with("paused", json!(true)),
        with("guard", json!({ "maxRemovedPercent": 0 })),
        with("guard", json!({ "maxRemovedPercent": 100 })),
        with(
            "limits",
            json!({ "parked": 1_000_000, "parkedPerAgent": 1, "pointers": 64, "selections": 1, "historyEntries": 0, "historyBytes": 0 }),
        ),
        at("/"),
        at("/a/../b//c;d=e/%2e"),
        at(&format!("/{graphic}")),
        at(&format!("/{}", "x".repeat(1023))),
        source(json!({ "configMap": { "name": "a.b-c", "key": ".a_B.json" } })),
        source(json!({ "configMap": { "name": "a", "format": "json" } })),
        source(json!({ "file": { "path": "/srv/..data/model" } })),
        resource(json!({ "name": "system:node" })),
        resource(json!({ "field": "status" })),
        resource(json!({ "apiVersion": "v1", "kind": "ConfigMap", "field": "data" })),
        resource(json!({ "apiVersion": "vault.example.org/v1", "kind": "Secret" })),
        selector(json!({})),
        selector(labels(16)),
        selector(json!({ "matchLabels": { "example.org/tier": "", "a": "x".repeat(63) } })),
        selector(json!({ "matchExpressions": [
            { "key": "a", "operator": "In", "values": ["x", "y"] },
            { "key": "example.org/b", "operator": "NotIn", "values": [""] },
            { "key": "c", "operator": "Exists" },
            { "key": "d", "operator": "DoesNotExist", "values": [] },
        ] })),
        upstream(json!({})),
        upstream(json!({ "path": "/m?a=%20&b={}|`?", "interval": "24h" })),
        upstream(json!({ "interval": null, "trigger": { "apiVersion": "v1", "kind": "Secret", "name": "t" } })),
    ];
    let part = |part: &str| with_rule(json!({ "restrict": [part] }));
    good.extend([
        with("access", json!({})),
        with_rule(json!({})),
        with_rule(
            json!({ "subjects": ["authenticated", "anonymous", "user:*", "group:system:nodes", "user:a@b.c/d_e-*"] }),
        ),
        with_rule(json!({ "subjects": [format!("user:{}", "a".repeat(253)), format!("group:{}", "a".repeat(253))] })),
        with_rule(json!({ "subjects": vec!["anonymous"; 64], "verbs": vec!["get"; 64], "restrict": vec!["/a"; 64] })),
        with("access", json!({ "rules": vec![rule(json!({})); 32] })),
        part("/"),
        part("//a b/\u{e9}\n"),
        part("/nodes/{name}-{node}{pod}/~0~1"),
        part(&format!("/{}", "a".repeat(1023))),
        part(&format!("/{}a", "\u{e9}".repeat(511))),
    ]);
    for format in ["json", "yaml", "opaque", "opaque:text/plain; charset=utf-8", "opaque:a/b ;c=\"d e\";e='f'"] {
        good.push(source(json!({ "configMap": { "name": "a", "key": "k", "format": format } })));
        good.push(source(json!({ "file": { "path": "/srv/m", "format": format } })));
    }
    let verdicts = verdicts(&good).await;
    for (spec, verdict) in good.iter().zip(verdicts) {
        assert_eq!(verdict, None, "{spec}");
        assert_eq!(program(spec), Ok(()), "{spec}");
        assert_eq!(typed(spec), program_of(spec), "{spec}");
    }
}

const DURATION: &str = "write whole numbers with h, m, s or ms, such as 1m30s or 100ms";
const PATH: &str = "write a path such as /describe, percent-encoded, without ? and #";
const FORMAT: &str = "write json, yaml, opaque or opaque:MEDIA/TYPE";
const SECRET: &str = "a Secret would be served to everyone who may poll: keep the model in another kind of object";
const VALUE: &str = "write the value of a label";
const KEY: &str = "write the key of a label";

#[expect(clippy::too_many_lines, reason = "a table")]
fn bad() -> Vec<(Value, &'static str, String)> {
    let mut bad: Vec<(Value, &'static str, String)> = Vec::new();
    let mut add = |spec: Value, field: &'static str, message: &str| bad.push((spec, field, message.to_owned()));
    add(json!({ "path": "/a" }), "spec.source", "Required value");
    add(json!({ "source": { "configMap": { "name": "a" } } }), "spec.path", "Required value");
    let one = "write exactly one of configMap, resource, upstream and file";
    add(source(json!({})), "spec.source", one);
    add(source(json!({ "configMap": { "name": "a" }, "file": { "path": "/srv/a" } })), "spec.source", one);
    for path in ["", "a", "/a?b", "/a#b", "/a b", "/a\n", "/a\u{7f}", "/é", "/a%2", "/a%zz", "/%", "/<", "/`"] {
        add(at(path), "spec.path", PATH);
    }
    add(at(&format!("/{}", "x".repeat(1024))), "spec.path", "may not be more than 1024");
    for pointer in ["", "version", "/a~", "/a~2"] {
        add(with("versionFrom", json!(pointer)), "spec.versionFrom", "write a JSON Pointer such as /metadata/version");
    }
    for duration in ["30sec", "-5s", "30 s", "30", "1.5s", "s", "1s1m", "1µs", "PT5S", "5s\n", "+5s"] {
        add(with("wait", json!({ "max": duration })), "spec.wait.max", DURATION);
        add(with("minInterval", json!(duration)), "spec.minInterval", DURATION);
    }
    add(with("wait", json!({ "default": "" })), "spec.wait.default", "should be at least 1 chars long");
    add(with("wait", json!({ "max": 25 })), "spec.wait.max", "must be of type string");
    let longer = "wait.default is longer than wait.max: lower it, or raise that";
    add(with("wait", json!({ "default": "2m", "max": "119s" })), "spec.wait", longer);
    for (field, value, message) in [
        ("minInterval", "61s", "write a duration from 0 to 60s"),
        ("wakeSpread", "1m1ms", "write a duration from 0 to 60s"),
    ] {
        let path = if field == "minInterval" { "spec.minInterval" } else { "spec.wakeSpread" };
        add(with(field, json!(value)), path, message);
    }
    add(with("wait", json!({ "default": "61m" })), "spec.wait.default", "write a duration from 0 to 1h");
    add(with("wait", json!({ "max": "0" })), "spec.wait.max", "write a duration from 1ms to 1h");
    add(with("wait", json!({ "max": "1h1ms" })), "spec.wait.max", "write a duration from 1ms to 1h");
    add(upstream(json!({ "interval": "999ms" })), "spec.source.upstream.interval", "write a duration from 1s to 24h");
    for (percent, message) in [(-1, "greater than or equal to 0"), (101, "less than or equal to 100")] {
        add(with("guard", json!({ "maxRemovedPercent": percent })), "spec.guard.maxRemovedPercent", message);
    }
    add(with("guard", json!({})), "spec.guard.maxRemovedPercent", "Required value");
    for (limit, least, most) in [
        ("parked", 1_i64, 1_000_000_i64),
        ("parkedPerAgent", 1, 1_000_000),
        ("pointers", 1, 1024),
        ("selections", 1, 1_000_000),
        ("historyEntries", 0, 4096),
        ("historyBytes", 0, 1 << 30),
    ] {
        let limits = |value: i64| with("limits", json!({ limit: value }));
        add(limits(least - 1), "spec.limits", &format!("greater than or equal to {least}"));
        add(limits(most + 1), "spec.limits", &format!("less than or equal to {most}"));
    }
    for kind in ["Secret", "secret", "SECRET", "Secrets", "secrets"] {
        add(resource(json!({ "apiVersion": "v1", "kind": kind })), "spec.source.resource", SECRET);
    }
    let either = "write either name or selector";
    add(resource(json!({ "selector": {} })), "spec.source.resource", either);
    add(resource(json!({ "name": null })), "spec.source.resource", either);
    for version in ["", "/v1", "v1/", "a/b/v1", "V1", "a..b/v1"] {
        let message = "write GROUP/VERSION such as tidewait.dev/v1alpha1, or v1 for the core group";
        add(resource(json!({ "apiVersion": version })), "spec.source.resource.apiVersion", message);
    }
    for kind in ["", "a/b", "1a", "a.b", "a-"] {
        add(resource(json!({ "kind": kind })), "spec.source.resource.kind", "write a kind as manifests do");
    }
    for name in ["", "..", "a/b", "a%b", ".a"] {
        add(
            resource(json!({ "name": name })),
            "spec.source.resource.name",
            "beginning and ending with a letter or digit",
        );
    }
    add(resource(json!({ "name": "a".repeat(254) })), "spec.source.resource.name", "may not be more than 253");
    add(resource(json!({ "field": "metadata" })), "spec.source.resource.field", "metadata changes with every write");
    for field in ["", "a.b", "/spec", "1a"] {
        add(resource(json!({ "field": field })), "spec.source.resource.field", "write a top-level field");
    }
    add(selector(labels(17)), "spec.source.resource.selector.matchLabels", "must have at most 16");
    add(selector(json!({ "matchLabels": { "a": "b c" } })), "spec.source.resource.selector.matchLabels", VALUE);
    for key in ["", "a b", "a/b/c", "A/b", "-a"] {
        add(selector(json!({ "matchLabels": { key: "b" } })), "spec.source.resource.selector.matchLabels", KEY);
    }
    let expression = |expression: Value| selector(json!({ "matchExpressions": [expression] }));
    let place = "spec.source.resource.selector.matchExpressions[0]";
    let need = "In and NotIn need values, Exists and DoesNotExist have none";
    add(expression(json!({ "key": "a", "operator": "In" })), place, need);
    add(expression(json!({ "key": "a", "operator": "Exists", "values": ["b"] })), place, need);
    add(expression(json!({ "key": "a", "operator": "Is", "values": ["b"] })), place, "Unsupported value: \"Is\"");
    add(expression(json!({ "key": "a b", "operator": "Exists" })), place, KEY);
    add(expression(json!({ "key": "a", "operator": "In", "values": ["b/"] })), place, VALUE);
    let either = "write either trigger or interval";
    add(upstream(json!({ "interval": null })), "spec.source.upstream", either);
    let trigger = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "t" });
    add(upstream(json!({ "trigger": trigger })), "spec.source.upstream", either);
    for path in ["m", "/m#a", "/m?a b", "/m?\"", "/m?<", "/<", "http://app/m"] {
        add(upstream(json!({ "path": path })), "spec.source.upstream.path", "write a path such as /model");
    }
    for name in ["", "A", "a_b", "a..b", "-a"] {
        add(
            source(json!({ "configMap": { "name": name } })),
            "spec.source.configMap.name",
            "write the name of a ConfigMap",
        );
    }
    for key in ["", ".", "..", "..a", "a/b"] {
        let spec = source(json!({ "configMap": { "name": "a", "key": key } }));
        add(spec, "spec.source.configMap.key", "write the key of a ConfigMap");
    }
    for format in
        ["", "xml", "JSON", "opaque:", "opaque:text", "opaque:text/", "opaque:a/b;c", "opaque:a/b\n", "yaml:x"]
    {
        let spec = source(json!({ "configMap": { "name": "a", "key": "k", "format": format } }));
        add(spec, "spec.source.configMap.format", FORMAT);
    }
    let spec = source(json!({ "configMap": { "name": "a", "format": "yaml" } }));
    add(spec, "spec.source.configMap", "all keys together are JSON: name a key, or leave the format out");
    for (path, message) in [
        ("", "write an absolute path"),
        ("srv/a", "write an absolute path"),
        ("/srv/../etc/passwd", "write the path without .."),
        ("/srv/a/..", "write the path without .."),
    ] {
        add(source(json!({ "file": { "path": path } })), "spec.source.file.path", message);
    }
    bad.extend(bad_access());
    bad
}

fn bad_access() -> Vec<(Value, &'static str, String)> {
    let mut bad: Vec<(Value, &'static str, String)> = Vec::new();
    let mut add = |spec: Value, field: &'static str, message: &str| bad.push((spec, field, message.to_owned()));
    let (few, many) = ("should have at least 1 items", "must have at most 64 items");
    add(with("access", json!([])), "spec.access", "must be of type object");
    add(with("access", json!({ "rules": [] })), "spec.access.rules", few);
    add(
        with("access", json!({ "rules": vec![rule(json!({})); 33] })),
        "spec.access.rules",
        "must have at most 32 items",
    );
    for (list, item) in [("subjects", "anonymous"), ("verbs", "get"), ("restrict", "/a")] {
        add(with_rule(json!({ list: [] })), "spec.access.rules[0]", few);
        add(with_rule(json!({ list: vec![item; 65] })), "spec.access.rules[0]", many);
        add(with_rule(json!({ list: item })), "spec.access.rules[0]", "must be of type array");
    }
    add(with_rule(json!({ "subjects": null })), "spec.access.rules[0].subjects", "Required value");
    add(with_rule(json!({ "verbs": null })), "spec.access.rules[0].verbs", "Required value");
    for subject in [
        "",
        "node-1",
        "users:a",
        "User:a",
        "authenticated:a",
        "Anonymous",
        "user:",
        "user:a b",
        "group:\u{e9}",
        "user:a\n",
    ] {
        let spec = with_rule(json!({ "subjects": ["anonymous", subject] }));
        add(
            spec,
            "spec.access.rules[0].subjects[1]",
            "write user:NAME, group:NAME, authenticated or anonymous; a name",
        );
    }
    let long = format!("user:{}", "a".repeat(254));
    add(with_rule(json!({ "subjects": [long] })), "spec.access.rules[0].subjects[0]", "write user:NAME");
    let long = format!("group:{}", "a".repeat(254));
    add(with_rule(json!({ "subjects": [long] })), "spec.access.rules[0].subjects[0]", "may not be more than 259");
    for verb in ["", "Get", "put", "*"] {
        add(with_rule(json!({ "verbs": [verb] })), "spec.access.rules[0].verbs[0]", "supported values: \"get\"");
    }
    for part in ["", "shared", "/a~", "/a~2", "/{", "/}", "/{nam}", "/{Name}", "/{name", "/a}b", "/~{name}"] {
        let spec = with_rule(json!({ "restrict": [part] }));
        add(spec, "spec.access.rules[0].restrict[0]", "write a JSON Pointer such as /shared or /nodes/{name}");
    }
    let long = format!("/{}", "a".repeat(1024));
    add(with_rule(json!({ "restrict": [long] })), "spec.access.rules[0].restrict[0]", "may not be more than 1024");
    let long = format!("/{}", "\u{e9}".repeat(512));
    add(with_rule(json!({ "restrict": [long] })), "spec.access.rules[0].restrict[0]", "write at most 1024 bytes");
    bad
}

#[tokio::test]
async fn bad_manifests_are_bad_to_both_and_told_how_to_be_good() {
    let bad = bad();
    let specs: Vec<_> = bad.iter().map(|(spec, ..)| spec.clone()).collect();
    let verdicts = verdicts(&specs).await;
    for ((spec, field, message), verdict) in bad.iter().zip(verdicts) {
        let verdict = verdict.unwrap_or_else(|| panic!("it is taken: {spec}"));
        assert!(verdict.contains(field) && verdict.contains(message.as_str()), "{spec}: {field}: {message}\n{verdict}");
        // A rule that fails to run says so; rules are for people.
        assert!(!verdict.contains("evaluat"), "{spec}: {verdict}");
        // More labels than a request can carry are only counted by the API server.
        if message != "must have at most 16" {
            assert!(program(spec).is_err(), "the program takes {spec}");
        }
    }
}

/// Every text of up to three of these pieces.
fn texts(pieces: &[&str]) -> Vec<String> {
    let mut texts = vec![String::new()];
    for _ in 0..3 {
        let longer = texts.iter().flat_map(|text| pieces.iter().map(move |piece| format!("{text}{piece}")));
        texts.extend(longer.collect::<Vec<_>>());
        texts.sort();
        texts.dedup();
    }
    texts
}

#[tokio::test]
async fn the_definition_and_the_program_agree_on_every_short_subject_and_part() {
    let parts = texts(&["/", "~", "~0", "{name}", "{node", "}", "a", "\u{e9}\n"]);
    let subjects =
        texts(&["user:", "group:", "Group:", "authenticated", "anonymous", "a", "*", ":", " ", "\u{e9}", "\n"]);
    assert!(parts.len() > 400 && subjects.len() > 1000, "{} {}", parts.len(), subjects.len());
    for (list, texts) in [("restrict", parts), ("subjects", subjects)] {
        let lists: Vec<_> = texts.chunks(64).collect();
        let specs: Vec<_> = lists.iter().map(|texts| with_rule(json!({ list: texts }))).collect();
        let mut taken = 0;
        for (texts, verdict) in lists.iter().zip(verdicts(&specs).await) {
            for (index, text) in texts.iter().enumerate() {
                let bad = verdict.as_ref().is_some_and(|all| all.contains(&format!("{list}[{index}]: ")));
                assert_eq!(program(&with_rule(json!({ list: [text] }))).is_err(), bad, "{list} {text:?}");
                taken += usize::from(!bad);
            }
        }
        assert!(taken > 20, "{list}: {taken}");
    }
}

#[tokio::test]
async fn fields_that_nobody_knows_and_names_that_label_nothing_are_refused() {
    let plane = ControlPlane::shared().await;
    super::installed(plane).await;
    let namespace = plane.namespace("unknown").await;
    let manifest = |name: &str, spec: &Value| {
        let metadata = json!({ "name": name, "namespace": &*namespace });
        json!({ "apiVersion": "tidewait.dev/v1alpha1", "kind": "DescribeOperation", "metadata": metadata, "spec": spec })
            .to_string()
    };
    for (name, spec, expected) in [
        ("a", with("waitt", json!({})), "unknown field \"spec.waitt\""),
        ("a", with_rule(json!({ "operations": ["a"] })), "unknown field \"spec.access.rules[0].operations\""),
        (
            "a",
            source(json!({ "configMap": { "name": "a", "namespace": "b" } })),
            "unknown field \"spec.source.configMap.namespace\"",
        ),
        ("a.b", with("paused", json!(false)), "the name labels metrics: write at most 63 of a-z, 0-9 and -"),
        (&"a".repeat(64), with("paused", json!(false)), "the name labels metrics: write at most 63"),
    ] {
        let output = plane.kubectl(&["create", "--dry-run=server", "-f", "-"], Some(&manifest(name, &spec))).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "{name} {spec}: {error}");
    }
    let arguments = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let created = plane.kubectl_ok(&arguments, Some(&manifest("a", &with("paused", Value::Null)))).await;
    assert!(!created.contains("paused"), "a null is as if it were not there: {created}");
}
