//! What helm makes of the chart: it lints, the API server takes it strictly, wrong values are refused in words, and
//! every value changes something.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Output;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::chart::{POD, Space, chart, combined_output};
use crate::node::{Node, script};

mod access;
mod exchange;

/// The files of values under ci/, by their names.
fn cases() -> BTreeMap<String, String> {
    let files = fs::read_dir(chart().join("ci")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let name = |path: &std::path::Path| path.file_stem().expect("a name").to_string_lossy().replace("-values", "");
    let found: BTreeMap<_, _> = files.map(|path| (name(&path), path.to_string_lossy().into_owned())).collect();
    assert!(found.len() >= 6, "{found:?}");
    found
}

async fn kinds_of_others(node: &Node) {
    static LOADED: OnceCell<()> = OnceCell::const_new();
    LOADED.get_or_init(async || node.load("load-kinds")).await;
}

/// helm, with the chart as the argument CHART and as a cluster of 1.36, unless the arguments name another.
async fn helm(args: &[&str]) -> Output {
    let chart = chart();
    let mut all: Vec<_> =
        args.iter().map(|arg| if *arg == "CHART" { chart.to_str().expect("text") } else { arg }).collect();
    if !args.contains(&"--kube-version") {
        all.extend(["--kube-version", "1.36.3"]);
    }
    Node::shared().inside("helm", &all, None).await
}

pub(crate) async fn render(args: &[&str]) -> String {
    let output = helm(&[&["template", "release", "CHART"], args].concat()).await;
    assert!(output.status.success(), "{args:?}: {}", combined_output(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn each_case_lints_strictly() {
    for (name, file) in cases() {
        let output = helm(&["lint", "--strict", "CHART", "--values", &file]).await;
        assert!(output.status.success(), "{name}: {}", combined_output(&output));
    }
}

#[tokio::test]
async fn the_api_server_takes_each_case_strictly() {
    let node = Node::shared();
    kinds_of_others(node).await;
    let namespace = node.namespace("rendering").await;
    for (name, file) in cases() {
        let rendered = render(&["--values", &file, "--namespace", &namespace]).await;
        let apply =
            ["apply", "--dry-run=server", "--server-side", "--force-conflicts", "--validate=strict", "--filename=-"];
        let output =
            node.inside("kubectl", &[&apply[..], &["--namespace", &namespace]].concat(), Some(&rendered)).await;
        assert!(output.status.success(), "{name}: {}", combined_output(&output));
        let documents = rendered.matches("\nkind: ").count();
        assert_eq!(
            combined_output(&output).matches("serverside-applied (server dry run)").count(),
            documents,
            "{name}"
        );
        assert!(!combined_output(&output).contains("Warning"), "{name}: {}", combined_output(&output));
    }
}

#[tokio::test]
async fn everything_that_values_say_of_the_sidecar_reaches_the_pod() {
    kinds_of_others(Node::shared()).await;
    let file = &cases()["inject-everything"];
    let space = Space::with(&["--values", file]).await;
    let made = space.create_dry(&POD.replace("NAME", "probe")).await;
    let pod: Value = serde_yaml::from_str(&made).expect("YAML");
    let sidecar = &pod["spec"]["initContainers"][0];
    let args: Vec<_> = sidecar["args"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let expected = [
        "serve",
        "--listen=0.0.0.0:8480",
        "--allow-anonymous=true",
        "--config=/etc/tidewait/access/serve.yaml",
        "--access-tokens=/etc/tidewait/access/tokens",
        "--access-users=/etc/tidewait/access/users",
        "--access-kubernetes=tidewait,edge",
        "--access-authorization=both",
        "--forward-user=X-Remote-User",
        "--forward-groups=X-Remote-Groups",
        "--tls-certificate=/etc/tidewait/tls/tls.crt",
        "--tls-key=/etc/tidewait/tls/tls.key",
        "--tls-client-ca=/etc/tidewait/tls/client-ca.crt",
        "--tls-client-auth=optional",
        "--access-certificate-names=cn,uri",
        "--admin=0.0.0.0:8481",
        "--upstream=http://127.0.0.1:3000",
        "--operations=$(POD_NAMESPACE)/tier in (edge)",
        "--replica=$(POD_NAME)",
        "--replica-uid=$(POD_UID)",
        "--grace=14s",
        "--max-connections=15000",
        "--log-format=text",
        "--log-level=info,tidewait=debug",
        "--access-log",
        "--state-dir=/var/lib/tidewait",
        "--nats=tls://nats-0.nats:4222,tls://nats-1.nats:4222",
        "--nats-credentials=/etc/tidewait/nats/credentials",
        "--nats-ca=/etc/tidewait/nats/ca.crt",
        "--nats-replicas=3",
        "--trusted-proxies=10.0.0.0/8",
        "--min-interval=1s",
    ];
    assert_eq!(args, expected);
    let collector = json!({"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"});
    assert!(sidecar["env"].as_array().expect("a list").contains(&collector));
    assert_eq!(sidecar["resources"]["requests"], json!({"cpu": "500m", "memory": "182Mi"}));
    assert_eq!(sidecar["resources"]["limits"], json!({"cpu": "2", "memory": "182Mi"}));
    let access = [
        "configMap tidewait-config serve.yaml=serve.yaml",
        "secret clients tokens=tokens",
        "secret clients people=users",
        "configMap corp-ca ca.crt=configmap/corp-ca/ca.crt",
        "secret keys jwks.json=secret/keys/jwks.json",
    ];
    assert_eq!(sources(&pod["spec"], "tidewait-access"), access);
    let tls = ["secret edge-tls tls.crt=tls.crt tls.key=tls.key", "secret edge-ca ca.crt=client-ca.crt"];
    assert_eq!(sources(&pod["spec"], "tidewait-tls"), tls);
    let nats = ["secret nats edge.creds=credentials", "configMap corp-ca ca.crt=ca.crt"];
    assert_eq!(sources(&pod["spec"], "tidewait-nats"), nats);
    for volume in ["access", "tls", "nats"] {
        let (volume, folder) = (format!("tidewait-{volume}"), format!("/etc/tidewait/{volume}"));
        let mount = json!({"name": volume, "mountPath": folder, "readOnly": true});
        assert!(sidecar["volumeMounts"].as_array().expect("a list").contains(&mount), "{sidecar}");
    }
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
    let drain = json!(["/tidewait", "drain", "--admin=127.0.0.1:8481", "--at-least=5s"]);
    assert_eq!(sidecar["lifecycle"]["preStop"]["exec"]["command"], drain);
    // A secret that the pod has itself stays.
    let own = POD.replace("NAME", "own").replace("spec:\n", "spec:\n  imagePullSecrets: [{name: own}]\n");
    let pod: Value = serde_yaml::from_str(&space.create_dry(&own).await).expect("YAML");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "own"}, {"name": "registry"}]));
}

/// The Secrets and ConfigMaps that a volume is made of, each with its keys and the files they become. Without one the kubelet
/// starts nothing.
#[track_caller]
fn sources(spec: &Value, volume: &str) -> Vec<String> {
    let volumes = spec["volumes"].as_array().expect("a list");
    let volume = volumes.iter().find(|each| each["name"] == volume).expect("it is there");
    let sources = volume["projected"]["sources"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let shown = |source: &Value| {
        let (kind, of) = source.as_object().and_then(|source| source.iter().next()).expect("one kind");
        assert_ne!(of["optional"], true, "{source}");
        let items = of["items"].as_array().expect("a list").iter();
        let items = items.map(|item| text(&item["key"]) + "=" + &text(&item["path"]));
        [kind.clone(), text(&of["name"])].into_iter().chain(items).collect::<Vec<_>>().join(" ")
    };
    sources.iter().map(shown).collect()
}

#[tokio::test]
async fn prometheus_takes_the_alerts_and_the_queries_of_the_dashboard() {
    let mut led = 0;
    for (case, count) in [("inject-everything", 16), ("agent-everything", 5)] {
        let rendered = render(&["--values", &cases()[case], "--show-only=templates/around/metrics.yaml"]).await;
        let rule = rendered.split("---\n").find(|part| part.contains("kind: PrometheusRule")).expect("a rule");
        let rule: Value = serde_yaml::from_str(rule).expect("YAML");
        let rules = rule["spec"]["groups"][0]["rules"].as_array().expect("a list");
        assert_eq!(rules.len(), count, "{case}");
        prometheus_takes(&rule["spec"], count);
        let url = |rule: &Value| {
            let section = rule["alert"].as_str().expect("a name").to_lowercase();
            json!(format!("https://tidewait.dev/docs/runbooks.md#{section}"))
        };
        led += rules.iter().filter(|rule| rule["annotations"]["runbook_url"] == url(rule)).count();
    }
    assert_eq!(led, 21, "each leads to its section (tests/it/chart.rs: which is there)");
    let dashboard = fs::read_to_string(chart().join("files/dashboard.json")).expect("text");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter().filter(|panel| panel["type"] != "row");
    let queries: Vec<_> = panels.flat_map(|panel| panel["targets"].as_array().expect("queries")).collect();
    let rules: Vec<_> = queries.iter().map(|query| json!({"record": "a:b", "expr": query["expr"]})).collect();
    // Rules that are equal but for their names are reported, so each has labels of its own.
    let numbered = rules.into_iter().enumerate().map(|(number, mut rule)| {
        rule["labels"] = json!({"query": number.to_string()});
        rule
    });
    let rules: Vec<_> = numbered.collect();
    prometheus_takes(&json!({"groups": [{"name": "dashboard", "rules": rules}]}), queries.len());
}

/// Metrics of an agent that are not as of one that is well.
type States<'s> = &'s [(&'s str, u32)];

/// What each state of an agent leads to, as Prometheus itself evaluates the rules.
#[tokio::test]
async fn each_fault_of_an_agent_fires_its_own_alert() {
    const WHOLE: &str = "output_whole";
    let rendered =
        render(&["--values", &cases()["agent-everything"], "--show-only=templates/around/metrics.yaml"]).await;
    let rule = rendered.split("---\n").find(|part| part.contains("kind: PrometheusRule")).expect("a rule");
    let rule: Value = serde_yaml::from_str(rule).expect("YAML");
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules");
    fs::write(&rules, rule["spec"].to_string()).expect("the folder is ours");
    // What is not named is well.
    let cases: [(States<'_>, &[&str]); 8] = [
        (&[], &[]),
        (&[(WHOLE, 0), ("empty", 1)], &["OutputNotWhole"]),
        (&[(WHOLE, 0), ("failed", 1)], &["OutputNotWhole"]),
        (&[("failed", 1)], &["Failed"]),
        (&[("rejected", 1), ("lag_seconds", 1000)], &["Rejects"]),
        (&[("lag_seconds", 1000)], &["Lags"]),
        (&[("stale", 1)], &["WithoutServer"]),
        (&[("denied", 1), (WHOLE, 0), ("empty", 1)], &["OutputNotWhole", "WithoutServer"]),
    ];
    let tests = cases.map(|(states, alerts)| {
        let value = |name: &str| states.iter().find(|(state, _)| *state == name).map(|(_, value)| *value);
        let one = |name: &str, labels: &str, value: u32| {
            let series = format!("tidewait_agent_{name}{{namespace=\"default\",pod=\"a\"{labels}}}");
            json!({"series": series, "values": format!("{value}x20")})
        };
        let faults = ["failed", "rejected", "stale", "empty", "denied"];
        let faults = faults.map(|fault| one("fault", &format!(",fault=\"{fault}\""), value(fault).unwrap_or(0)));
        let rest = [(WHOLE, 1), ("lag_seconds", 0)].map(|(name, well)| one(name, "", value(name).unwrap_or(well)));
        let series = [&faults[..], &rest[..]].concat();
        let fired =
            alerts.iter().map(|alert| json!({"labels": format!("{{alertname=\"TidewaitAgent{alert}\"}}"), "value": 1}));
        let firing = "count by (alertname) (ALERTS{alertstate=\"firing\"})";
        json!({
            "interval": "1m",
            "input_series": series,
            "promql_expr_test": [{"expr": firing, "eval_time": "10m", "exp_samples": fired.collect::<Vec<_>>()}],
        })
    });
    let file = folder.path().join("tests");
    let tests = json!({"rule_files": ["rules"], "evaluation_interval": "1m", "tests": tests});
    fs::write(&file, tests.to_string()).expect("the folder is ours");
    let output = promtool().args(["test", "rules"]).arg(file).output().expect("promtool runs");
    assert!(output.status.success(), "{}", combined_output(&output));
}

fn promtool() -> std::process::Command {
    let build = script("../control-plane/build.sh").output().expect("it runs");
    let folder = String::from_utf8(build.stdout).expect("text");
    std::process::Command::new(format!("{}/promtool", folder.trim_end()))
}

/// promtool finds this many rules, and nothing wrong with them.
#[track_caller]
fn prometheus_takes(rules: &Value, count: usize) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), rules.to_string()).expect("it can be written");
    let output = promtool().args(["check", "rules"]).arg(file.path()).output().expect("promtool runs");
    let found = format!("SUCCESS: {count} rules found");
    assert!(output.status.success() && combined_output(&output).contains(&found), "{}", combined_output(&output));
}

#[tokio::test]
async fn wrong_values_are_refused_in_words() {
    let anonymous = "access.anonymous=true";
    let url = "mode=agent,agent.endpoints={https://a:8480}";
    let cases: [(&[&str], &str); 19] = [
        (&[anonymous, "mode=sidecar"], "at '/mode': value must be one of 'inject', 'proxy', 'template', 'agent'"),
        (&[anonymous, "log.lvel=info"], "at '/log': additional properties 'lvel' not allowed"),
        (&[anonymous, "ports.describe=http"], "at '/ports/describe': got string, want integer"),
        (&[anonymous, "image.digest=abc"], "at '/image/digest': 'abc' does not match pattern"),
        (
            &[anonymous, "mode=proxy"],
            "mode proxy stands in front of a Service: set proxy.upstream to its URL, such as \
                                      --set proxy.upstream=http://shop:8080",
        ),
        (
            &[anonymous, "ingress.enabled=true"],
            "ingress.enabled leads to the Service for the polls: set \
                                                service.enabled=true too",
        ),
        (
            &[anonymous, "httpRoute.enabled=true,service.enabled=true"],
            "httpRoute.enabled needs a Gateway: set \
                                                                       httpRoute.parentRefs",
        ),
        (
            &[anonymous, "mode=template,service.enabled=true"],
            "mode template does not know which pods have the sidecar: \
                                                              set selector",
        ),
        (&["mode=agent"], "mode agent polls a server: set agent.endpoints to its URLs"),
        (
            &["mode=agent,agent.endpoints={http://a:8480}"],
            "agent.endpoints has http://a:8480, and the agent's token could be read on the way: write https://",
        ),
        (&[url, "agent.outputs={../model.json}"], "at '/agent/outputs/0': '../model.json' does not match pattern"),
        (&[url, "agent.verify=look {}"], "agent.verify is of no use without agent.exec"),
        (
            &[url, "agent.ca.secretName=a,agent.ca.configMapName=b"],
            "agent.ca is a key of a Secret or of a ConfigMap: set either secretName or configMapName",
        ),
        (&[url, "ingress.enabled=true"], "ingress.enabled is about a server, and mode agent makes none"),
        (&[url, "nats.servers={nats://a}"], "nats.servers is about a server, and mode agent makes none"),
        (
            &[anonymous, "exchanges[0].path=/a,exchanges[0].backend=nats"],
            "exchanges[0].backend=nats needs NATS servers: set nats.servers too, or leave it out",
        ),
        (
            &[anonymous, "nats.credentials.secretName=a"],
            "nats.credentials and nats.ca are for NATS servers, and none is named: set nats.servers too",
        ),
        (
            &[anonymous, "nats.servers={nats://u:secret@a}"],
            "at '/nats/servers/0': 'nats://u:secret@a' does not match pattern",
        ),
        (&[anonymous, "ports.admin=8480"], "ports.describe and ports.admin are both 8480: give each its own"),
    ];
    for (sets, message) in cases {
        let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", set]).collect();
        refused(&sets, message).await;
    }
}

/// helm makes nothing of these settings, and says why.
async fn refused(settings: &[&str], message: &str) {
    let output = helm(&[&["template", "release", "CHART"][..], settings].concat()).await;
    let said = combined_output(&output);
    assert!(!output.status.success() && said.contains(message), "{settings:?}: {message}\nis not in\n{said}");
}

#[tokio::test]
async fn a_cluster_before_1_36_is_told_what_there_is_for_it() {
    let set = ["--set", "access.anonymous=true,proxy.upstream=http://shop"];
    let with = |version, mode| {
        [&["template", "release", "CHART", "--kube-version", version, "--set", mode][..], &set].concat()
    };
    let output = helm(&with("1.35.9", "mode=inject")).await;
    let message = "mode inject needs Kubernetes 1.36 (MutatingAdmissionPolicy) and this cluster has v1.35.9: use --set \
                   mode=proxy, or the named template tidewait.sidecar in your own chart, both from Kubernetes 1.33 on";
    assert!(!output.status.success() && combined_output(&output).contains(message), "{}", combined_output(&output));
    for mode in ["mode=proxy", "mode=template"] {
        assert!(helm(&with("1.33.0", mode)).await.status.success(), "{mode}");
        let older = helm(&with("1.32.9", mode)).await;
        assert!(combined_output(&older).contains("requires kubeVersion: >=1.33.0-0"), "{}", combined_output(&older));
    }
}

#[tokio::test]
async fn memory_follows_from_the_clients() {
    let memory = async |clients: &str| {
        let set = format!("access.anonymous=true,mode=proxy,proxy.upstream=http://shop,sizing.clients={clients}");
        let rendered = render(&["--set", &set, "--show-only=templates/proxy/deployment.yaml"]).await;
        let deployment = rendered.split("---\n").find(|part| part.contains("kind: Deployment")).expect("one");
        let deployment: Value = serde_yaml::from_str(deployment).expect("YAML");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert!(container["args"].as_array().expect("a list").contains(&json!(format!("--max-connections={clients}"))));
        assert_eq!(container["resources"]["requests"]["memory"], container["resources"]["limits"]["memory"]);
        container["resources"]["limits"]["memory"].as_str().expect("text").to_owned()
    };
    // 64 MiB, and 8 KiB for each.
    assert_eq!(memory("1").await, "65Mi");
    assert_eq!(memory("5000").await, "104Mi");
    assert_eq!(memory("1000000").await, "7877Mi");
}

/// Another value for each, and the case in whose rendering it shows.
#[expect(clippy::too_many_lines, reason = "a line for each value")]
fn changes() -> Vec<(&'static str, Value, &'static str)> {
    let (agent, of_agent) = ("agent", "agent-everything");
    let (inject, everything, proxy, hpa, keda) = ("inject", "inject-everything", "proxy", "proxy-hpa", "proxy-keda");
    let access = "proxy-access";
    let rule = json!([{"apiGroups": ["x"], "resources": ["y"], "verbs": ["get"]}]);
    let digest = format!("sha256:{}", "a".repeat(64));
    vec![
        ("mode", json!("template"), inject),
        ("access.anonymous", json!(true), access),
        ("access.tokens.secretName", json!("other"), everything),
        ("access.tokens.key", json!("other"), everything),
        ("access.users.secretName", json!("other"), everything),
        ("access.users.key", json!("other"), everything),
        ("access.kubernetes.audiences", json!(["other"]), access),
        ("access.issuers", json!([{"url": "https://a.example", "audience": "b"}]), access),
        ("access.certificateNames", json!(["dns"]), everything),
        ("access.authorization", json!("rules"), everything),
        ("access.rules", json!([{"subjects": ["anonymous"], "verbs": ["get"], "operations": ["*"]}]), everything),
        ("access.clearCredentials", json!(true), access),
        ("access.forwardUser", json!("X-Other"), everything),
        ("access.forwardGroups", json!("X-Other"), everything),
        ("access.admin", json!(false), access),
        ("tls.secretName", json!("other"), access),
        ("tls.admin", json!(true), everything),
        ("tls.clientCaSecretName", json!("other"), access),
        ("tls.clientAuth", json!("required"), everything),
        ("image.repository", json!("registry.example/tidewait"), inject),
        ("image.tag", json!("2"), proxy),
        ("image.digest", json!(digest), proxy),
        ("image.pullPolicy", json!("Always"), inject),
        ("imagePullSecrets", json!(["a", "b"]), inject),
        ("labels", json!({"a": "b"}), proxy),
        ("ports.describe", json!(9000), inject),
        ("ports.admin", json!(9001), inject),
        ("selector", json!({"a": "b"}), inject),
        ("address", json!("[::]"), inject),
        ("operations", json!("tier=core"), inject),
        ("sizing.clients", json!(10), inject),
        ("sizing.kibibytesPerClient", json!(36), inject),
        ("sizing.baseMebibytes", json!(128), inject),
        ("resources", json!({"limits": {"memory": "1Gi"}}), proxy),
        ("longestWaitSeconds", json!(300), everything),
        ("drainSeconds", json!(5), inject),
        ("drainAtLeastSeconds", json!(1), inject),
        ("upstreamProtocol", json!("h2c"), inject),
        ("log.format", json!("text"), inject),
        ("log.level", json!("warn"), inject),
        ("log.access", json!(true), inject),
        ("stateDir.enabled", json!(false), inject),
        ("stateDir.sizeLimit", json!("1Gi"), inject),
        ("trustedProxies", json!(["192.0.2.0/24"]), inject),
        ("extraArgs", json!(["--min-interval=2s"]), inject),
        ("extraEnv", json!([{"name": "A", "value": "b"}]), inject),
        ("inject.appPort", json!(81), inject),
        ("inject.failurePolicy", json!("Ignore"), inject),
        ("agent.endpoints", json!(["https://other:8480"]), agent),
        ("agent.operation", json!("/other"), agent),
        ("agent.select", json!(["/other"]), agent),
        ("agent.hostPath", json!("/var/lib/other"), agent),
        ("agent.outputs", json!(["other.json"]), agent),
        ("agent.fileMode", json!("0600"), agent),
        ("agent.ca.configMapName", json!("other"), agent),
        ("agent.ca.secretName", json!("other"), agent),
        ("agent.ca.key", json!("other"), of_agent),
        ("agent.token.audience", json!(""), agent),
        ("agent.token.expirationSeconds", json!(7200), agent),
        ("agent.check", json!("other {}"), agent),
        ("agent.exec", json!("other"), agent),
        ("agent.verify", json!("other"), of_agent),
        ("agent.execTimeoutSeconds", json!(7), agent),
        ("agent.extraArgs", json!(["--splay=1s"]), agent),
        ("agent.resources", json!({"limits": {"memory": "1Gi"}}), agent),
        ("agent.capabilities", json!(["NET_ADMIN"]), agent),
        ("agent.hostNetwork", json!(true), agent),
        ("agent.maxUnavailable", json!(1), agent),
        ("agent.priorityClassName", json!(""), agent),
        ("agent.tolerations", json!([]), agent),
        ("agent.nodeSelector", json!({"a": "b"}), agent),
        ("agent.affinity", json!({"nodeAffinity": {}}), agent),
        ("agent.podLabels", json!({"a": "b"}), agent),
        ("agent.podAnnotations", json!({"a": "b"}), agent),
        ("service.enabled", json!(false), inject),
        ("service.name", json!("other"), inject),
        ("service.port", json!(81), inject),
        ("service.type", json!("LoadBalancer"), inject),
        ("service.annotations", json!({"a": "b"}), proxy),
        ("proxy.upstream", json!("http://other"), proxy),
        ("proxy.replicas", json!(7), proxy),
        ("proxy.terminationGracePeriodSeconds", json!(9), proxy),
        ("proxy.podLabels", json!({"a": "b"}), proxy),
        ("proxy.podAnnotations", json!({"a": "b"}), proxy),
        ("proxy.nodeSelector", json!({"a": "b"}), proxy),
        ("proxy.tolerations", json!([{"operator": "Exists"}]), proxy),
        ("proxy.affinity", json!({"podAffinity": {}}), proxy),
        ("proxy.priorityClassName", json!("high"), proxy),
        ("proxy.topologySpreadConstraints", json!([]), proxy),
        ("podDisruptionBudget.enabled", json!(false), proxy),
        ("podDisruptionBudget.maxUnavailable", json!("50%"), proxy),
        ("autoscaling.enabled", json!(false), hpa),
        ("autoscaling.by", json!("keda"), hpa),
        ("autoscaling.prometheus", json!("http://other:9090"), keda),
        ("autoscaling.minReplicas", json!(3), hpa),
        ("autoscaling.maxReplicas", json!(30), keda),
        ("autoscaling.parkedPercent", json!(10), hpa),
        ("serviceAccount.create", json!(false), proxy),
        ("serviceAccount.name", json!("other"), proxy),
        ("serviceAccount.annotations", json!({"a": "b"}), proxy),
        ("ingress.enabled", json!(true), inject),
        ("ingress.className", json!("other"), everything),
        ("ingress.annotations", json!({"a": "b"}), everything),
        ("ingress.hosts", json!(["a.example"]), everything),
        ("ingress.path", json!("/describe"), everything),
        ("ingress.tls", json!([]), everything),
        ("httpRoute.enabled", json!(false), everything),
        ("httpRoute.parentRefs", json!([{"name": "other"}]), everything),
        ("httpRoute.hostnames", json!(["a.example"]), everything),
        ("httpRoute.path", json!("/describe"), everything),
        ("serviceMonitor.enabled", json!(true), inject),
        ("serviceMonitor.interval", json!("5s"), everything),
        ("serviceMonitor.labels", json!({"a": "b"}), everything),
        ("serviceMonitor.endpoint", json!({"bearerTokenFile": "/token"}), everything),
        ("prometheusRule.enabled", json!(true), inject),
        ("prometheusRule.labels", json!({"a": "b"}), everything),
        ("prometheusRule.queuedSeconds", json!(7), everything),
        ("exchanges", json!([{"path": "/other"}]), everything),
        ("topics", json!([{"path": "/chat"}]), everything),
        ("nats.servers", json!(["nats://other:4222"]), everything),
        ("nats.credentials.secretName", json!("other"), access),
        ("nats.credentials.key", json!("other"), everything),
        ("nats.ca.configMapName", json!("other"), access),
        ("nats.ca.secretName", json!("other"), access),
        ("nats.ca.key", json!("other"), everything),
        ("nats.replicas", json!(5), everything),
        ("prometheusRule.runbooks", json!("https://runbooks.example/tidewait"), of_agent),
        ("prometheusRule.staleSeconds", json!(7), everything),
        ("prometheusRule.unconvergedSeconds", json!(7), everything),
        ("prometheusRule.saturationPercent", json!(7), everything),
        ("dashboard.enabled", json!(true), inject),
        ("dashboard.labels", json!({"a": "b"}), everything),
        ("networkPolicy.enabled", json!(true), inject),
        ("networkPolicy.from", json!([]), everything),
        ("networkPolicy.metricsFrom", json!([]), everything),
        ("networkPolicy.otherPorts", json!([1]), everything),
        ("tests.enabled", json!(false), proxy),
        ("tests.image", json!("other"), proxy),
        ("tests.command", json!(["wget"]), proxy),
        ("tests.path", json!("/describe"), proxy),
        ("rbac.create", json!(false), proxy),
        ("rbac.serviceAccounts", json!(["a"]), inject),
        ("rbac.configMaps", json!(["a"]), inject),
        ("rbac.extraRules", rule, inject),
        ("crds.enabled", json!(false), inject),
    ]
}

/// Values that no rendering without a cluster can show; tests beside them do.
const SHOWN_ELSEWHERE: [&str; 1] = ["crds.takeOwnership"];

#[tokio::test]
async fn every_value_changes_something() {
    let text = fs::read_to_string(chart().join("values.yaml")).expect("text");
    let keys = text.lines().filter_map(|line| line.trim_start().strip_prefix("# ")?.split_once(" -- "));
    let keys: BTreeSet<_> = keys.map(|(key, _)| key).filter(|key| !key.contains(' ')).collect();
    let changes = changes();
    let named: BTreeSet<_> = changes.iter().map(|(key, ..)| *key).chain(SHOWN_ELSEWHERE).collect();
    assert_eq!(named, keys);
    let cases = cases();
    let mut before = BTreeMap::new();
    for (name, file) in &cases {
        before.insert(name.as_str(), render(&["--values", file]).await);
    }
    for (key, value, case) in changes {
        let after = render(&["--values", &cases[case], "--set-json", &format!("{key}={value}")]).await;
        assert!(after != before[case], "{key}={value} changes nothing in {case}");
    }
}
