//! What helm makes of exchanges, the alerts about them, and the manifests that scale their workers.

use std::fs;

use serde_json::{Value, json};

use super::{cases, combined_output, kinds_of_others, prometheus_takes, promtool, render};
use crate::chart::chart;
use crate::node::Node;

/// The file of one example in deploy/exchange, document by document.
fn example(name: &str) -> Vec<Value> {
    let path = chart().join("../../deploy/exchange").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split("\n---\n").map(|part| serde_yaml::from_str(part).expect("YAML")).collect()
}

#[tokio::test]
async fn exchanges_of_the_values_are_those_of_a_configuration_that_is_good() {
    let exchanges = r#"exchanges=[{"name": "cameras", "path": "/cameras/{key}/logs", "share": "identicalGets",
        "hold": {"default": "5s"}, "result": {"bytes": "1Mi"}, "workers": {"transports": ["claims"]}}]"#;
    let sets = ["--set=access.anonymous=true", "--set-json", exchanges, "--show-only=templates/config.yaml"];
    let made: Value = serde_yaml::from_str(&render(&sets).await).expect("YAML");
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    fs::write(file.path(), made["data"]["serve.yaml"].as_str().expect("text")).expect("it can be written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tidewait"))
        .args(["check", "--config"])
        .arg(file.path())
        .output()
        .expect("it runs");
    let said = combined_output(&output);
    assert!(said.contains("the configuration is good, operations: 0, exchanges: 1 (memory)"), "{said}");
}

/// Numbers of an exchange, whether NATS answers and the free slots elsewhere where it is shared, and the alerts that follow.
type Case = ([u32; 5], Option<[u32; 2]>, &'static [&'static str]);

/// What each state of an exchange leads to, as Prometheus itself evaluates the rules.
#[tokio::test]
async fn each_fault_of_an_exchange_fires_its_own_alert() {
    let rendered =
        render(&["--values", &cases()["inject-everything"], "--show-only=templates/around/metrics.yaml"]).await;
    let rule = rendered.split("---\n").find(|part| part.contains("kind: PrometheusRule")).expect("a rule");
    let rule: Value = serde_yaml::from_str(rule).expect("YAML");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("rules"), rule["spec"].to_string()).expect("the folder is ours");
    // Queued, seconds of the oldest, free slots, and each minute one more: redelivered, dead. Where it is shared: whether NATS
    // answers, and the free slots at another replica.
    let cases: [Case; 9] = [
        ([0, 0, 0, 0, 0], None, &[]),
        ([3, 5, 2, 0, 0], None, &[]),
        ([3, 5, 0, 0, 0], None, &["WithoutWorkers"]),
        ([3, 90_000, 2, 0, 0], None, &["Waits"]),
        ([0, 0, 2, 1, 0], None, &["Redelivers"]),
        ([0, 0, 2, 0, 1], None, &["Dead"]),
        ([3, 5, 0, 0, 0], Some([1, 2]), &[]),
        ([3, 5, 0, 0, 0], Some([1, 0]), &["WithoutWorkers"]),
        ([0, 0, 2, 0, 0], Some([0, 0]), &["WithoutNats"]),
    ];
    let tests = cases.map(|([queued, oldest, slots, redelivered, dead], shared, alerts)| {
        let of_other = |slots: u32| {
            let series = "tidewait_exchange_slots{namespace=\"default\",pod=\"b\",exchange=\"e\",state=\"free\"}";
            json!({"series": series, "values": format!("{slots}x20")})
        };
        let one = |name: &str, labels: &str, from: u32, step: u32| {
            let series = format!("tidewait_exchange_{name}{{namespace=\"default\",pod=\"a\",exchange=\"e\"{labels}}}");
            json!({"series": series, "values": format!("{from}+{step}x20")})
        };
        let mut series = vec![
            one("queued", "", queued, 0),
            one("queue_oldest_seconds", "", oldest, 0),
            one("slots", ",state=\"free\"", slots, 0),
            one("slots", ",state=\"busy\"", 0, 0),
            one("redelivered_total", ",reason=\"broke\"", 0, redelivered),
            one("dead_total", "", 0, dead),
        ];
        series.extend(shared.into_iter().flat_map(|[up, others]| [one("backend_up", "", up, 0), of_other(others)]));
        let fired = alerts
            .iter()
            .map(|alert| json!({"labels": format!("{{alertname=\"TidewaitExchange{alert}\"}}"), "value": 1}));
        let firing = "count by (alertname) (ALERTS{alertstate=\"firing\",alertname=~\"TidewaitExchange.*\"})";
        json!({
            "interval": "1m",
            "input_series": series,
            "promql_expr_test": [{"expr": firing, "eval_time": "15m", "exp_samples": fired.collect::<Vec<_>>()}],
        })
    });
    let file = folder.path().join("tests");
    let tests = json!({"rule_files": ["rules"], "evaluation_interval": "1m", "tests": tests});
    fs::write(&file, tests.to_string()).expect("the folder is ours");
    let output = promtool().args(["test", "rules"]).arg(file).output().expect("promtool runs");
    assert!(output.status.success(), "{}", combined_output(&output));
}

/// The API server takes what scales workers, and Prometheus the queries by which it does.
#[tokio::test]
async fn workers_are_scaled_by_manifests_that_the_api_server_and_prometheus_take() {
    let node = Node::shared();
    kinds_of_others(node).await;
    let namespace = node.namespace("scaling").await;
    for name in ["hpa.yaml", "keda.yaml"] {
        let objects: Vec<Value> = example(name)
            .into_iter()
            .map(|mut object| {
                object["metadata"]["namespace"] = json!(namespace);
                object
            })
            .collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let apply = ["apply", "--dry-run=server", "--server-side", "--validate=strict", "--filename=-"];
        let output = node.inside("kubectl", &apply, Some(&list)).await;
        assert!(output.status.success(), "{name}: {}", combined_output(&output));
    }
    let keda = example("keda.yaml").remove(0);
    let query = keda["spec"]["triggers"][0]["metadata"]["query"].clone();
    let adapter = example("hpa.yaml").remove(1);
    let rules: Value = serde_yaml::from_str(adapter["data"]["rules.yaml"].as_str().expect("text")).expect("YAML");
    let of_adapter = rules["rules"]["external"][0]["metricsQuery"].as_str().expect("text");
    let of_adapter = of_adapter.replace("<<.LabelMatchers>>", "namespace=\"media\",exchange=\"transcode\"");
    let rule = |number: &str, query: Value| json!({"record": "a:b", "expr": query, "labels": {"query": number}});
    let rules = [rule("1", query), rule("2", json!(of_adapter))];
    prometheus_takes(&json!({"groups": [{"name": "scaling", "rules": rules}]}), 2);
}
