//! The chart's files agree with each other and with the program; what helm makes of them is tested on the node
//! (tests/node). `TIDEWAIT_REGENERATE=1` writes the definitions and the table of values anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidewait::access::certificate::NameKind;
use tidewait::access::issuer::Algorithm;
use tidewait::access::policy::{ExchangeVerb, TopicVerb, Verb};
use tidewait::bounds::{ACCESS_RULE_ITEMS, ACCESS_RULES};

use crate::control_plane::ControlPlane;
use crate::model_file::ModelFile;
use crate::server::{STEP, Server};

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/tidewait")
}

fn read(path: &str) -> String {
    let path = chart().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn regenerate() -> bool {
    std::env::var_os("TIDEWAIT_REGENERATE").is_some()
}

/// Fails where a file is not what it should be, or writes it.
#[track_caller]
fn is(path: &str, expected: &str) {
    if regenerate() {
        fs::write(chart().join(path), expected).expect("it can be written");
    }
    assert!(read(path) == expected, "charts/tidewait/{path} is not what it is made from, run: make regenerate");
}

/// The comments of values.yaml, `# key -- text`, in their order.
fn documented() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut within = false;
    for line in read("values.yaml").lines() {
        let Some(comment) = line.trim_start().strip_prefix("# ") else {
            within = false;
            continue;
        };
        match comment.split_once(" -- ") {
            Some((key, text)) if !key.contains(' ') => found.push((key.to_owned(), text.to_owned())),
            _ => {
                assert!(within, "a comment that names no value: {comment}");
                let text = &mut found.last_mut().expect("a value").1;
                *text = format!("{text} {comment}");
            }
        }
        within = true;
    }
    found
}

fn values() -> Value {
    serde_yaml::from_str(&read("values.yaml")).expect("YAML")
}

fn at<'a>(values: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(values, |value, part| value.get(part))
}

/// Every value that is none of the chart's own groups: what a user sets.
fn leaves(values: &Value, prefix: &str, documented: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    for (key, value) in values.as_object().expect("a group") {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let group = value.as_object().is_some_and(|group| !group.is_empty()) && !documented.contains(&key);
        if group {
            leaves(value, &key, documented, found);
        } else {
            found.insert(key);
        }
    }
}

#[test]
fn every_value_is_documented_and_every_documented_one_is_there() {
    let keys: BTreeSet<_> = documented().into_iter().map(|(key, _)| key).collect();
    let mut found = BTreeSet::new();
    leaves(&values(), "", &keys, &mut found);
    assert_eq!(found, keys);
    assert!(keys.len() > 60, "{keys:?}");
}

#[test]
fn every_value_is_typed_in_the_schema_and_nothing_else_is() {
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("JSON");
    let mut typed = BTreeSet::new();
    collect(&schema, "", &mut typed);
    assert!(typed.remove("global"), "helm gives it to dependencies");
    let keys: BTreeSet<_> = documented().into_iter().map(|(key, _)| key).collect();
    // One object is documented as a whole.
    let typed: BTreeSet<_> = typed.into_iter().map(|key| whole(&key, &keys)).collect();
    assert_eq!(typed, keys);
}

/// The keys of a schema whose values are no closed group; each says what it may be.
fn collect(schema: &Value, prefix: &str, typed: &mut BTreeSet<String>) {
    assert_eq!(schema["additionalProperties"], false, "{prefix} takes a value that is misspelt");
    for (name, property) in schema["properties"].as_object().expect("a group") {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if property.get("properties").is_some() {
            collect(property, &key, typed);
        } else {
            assert!(["type", "enum", "anyOf"].iter().any(|word| property.get(word).is_some()), "{key} has no type");
            typed.insert(key);
        }
    }
}

/// The documented key that a key is a part of, or itself.
fn whole(key: &str, documented: &BTreeSet<String>) -> String {
    let parents = key.match_indices('.').map(|(at, _)| &key[..at]);
    parents.into_iter().find(|parent| documented.contains(*parent)).unwrap_or(key).to_owned()
}

#[test]
fn the_table_of_values_in_the_readme_is_that_of_values_yaml() {
    let (begin, end) = ("<!-- values -->\n", "<!-- /values -->");
    let readme = read("README.md");
    let (before, rest) = readme.split_once(begin).expect("a table begins");
    let (_, after) = rest.split_once(end).expect("a table ends");
    let values = values();
    let mut table = "| value | default | meaning |\n|---|---|---|\n".to_owned();
    for (key, text) in documented() {
        let default = at(&values, &key).unwrap_or_else(|| panic!("{key} is not in values.yaml"));
        table += &format!("| `{key}` | `{default}` | {text} |\n");
    }
    is("README.md", &format!("{before}{begin}{table}{end}{after}"));
}

/// Rules and issuers of the values are what the program takes, and rules what the definitions take.
#[test]
fn the_schema_takes_the_rules_and_issuers_that_the_program_takes() {
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("JSON");
    let access = &schema["properties"]["access"]["properties"];
    assert_eq!(access["rules"]["maxItems"], ACCESS_RULES);
    let rule = &access["rules"]["items"]["properties"];
    let definition: Value = serde_yaml::from_str(&read("files/crds/describeoperations.yaml")).expect("YAML");
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let own = &spec["access"]["properties"]["rules"]["items"]["properties"];
    for list in ["subjects", "verbs", "operations", "exchanges", "topics", "restrict", "paths"] {
        assert_eq!(
            (&rule[list]["minItems"], &rule[list]["maxItems"]),
            (&json!(1), &json!(ACCESS_RULE_ITEMS)),
            "{list}"
        );
        for limit in ["pattern", "enum"] {
            // Rules of an operation are about it alone, and there is nothing else to do there than to poll.
            let is_more = ["operations", "exchanges", "topics", "verbs", "paths"].contains(&list);
            let same = is_more || rule[list]["items"][limit] == own[list]["items"][limit];
            assert!(same, "{list}: {limit} is {} in the definition", own[list]["items"][limit]);
        }
    }
    let of_topics = TopicVerb::ALL.map(TopicVerb::as_str);
    let mut verbs = [&Verb::ALL.map(Verb::as_str)[..], &ExchangeVerb::ALL.map(ExchangeVerb::as_str)].concat();
    verbs.extend(of_topics.into_iter().filter(|verb| *verb != Verb::Get.as_str()));
    assert_eq!(rule["verbs"]["items"]["enum"], json!(verbs));
    let issuer = &access["issuers"]["items"]["properties"];
    assert_eq!(issuer["algorithms"]["items"]["enum"], json!(Algorithm::ALL.map(Algorithm::as_str)));
    let kinds = json!(NameKind::ALL.map(NameKind::as_str));
    assert_eq!(
        (&access["certificateNames"]["items"]["enum"], at(&values(), "access.certificateNames")),
        (&kinds, Some(&kinds))
    );
}

#[test]
fn the_definitions_are_those_of_deploy() {
    let mut expected = BTreeSet::new();
    for (name, text) in tidewait::crd::manifests() {
        is(&format!("files/crds/{name}"), &text);
        expected.insert(name);
    }
    let found = fs::read_dir(chart().join("files/crds")).expect("a folder");
    let found = found.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let found: BTreeSet<_> = found.collect();
    assert_eq!(found, expected, "nothing else lies there");
}

#[test]
fn the_version_is_that_of_the_program() {
    let text: Value = serde_yaml::from_str(&read("Chart.yaml")).expect("YAML");
    assert_eq!(text["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn rules_and_dashboard_name_metrics_that_there_are() {
    let sources = ["src", "charts/tidewait/templates", "charts/tidewait/files"]
        .map(|folder| texts(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)));
    let [program, templates, files] = sources;
    let mut named = BTreeSet::new();
    for word in templates
        .lines()
        .filter(|line| line.contains("expr:") || line.contains("query:"))
        .chain(files.lines().filter(|line| line.contains("\"expr\"")))
    {
        let words = word.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        named.extend(
            words.filter(|word| word.starts_with("tidewait_")).map(|word| word.trim_end_matches("_bucket").to_owned()),
        );
    }
    assert!(named.len() >= 10, "{named:?}");
    let unknown: Vec<_> = named.iter().filter(|name| !program.contains(&format!("\"{name}\""))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The address of a heading, as GitHub makes it.
fn address_of(heading: &str) -> String {
    heading.to_lowercase().replace(' ', "-")
}

#[test]
fn each_alert_leads_to_its_section_of_the_runbooks_and_each_section_has_an_alert() {
    let templates = texts(chart().join("templates"));
    let alerts: BTreeSet<_> =
        templates.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).map(str::to_owned).collect();
    let led: BTreeSet<_> = templates
        .lines()
        .filter_map(|line| line.split_once("include \"tidewait.runbook\" (list . \"")?.1.split('"').next())
        .map(str::to_owned)
        .collect();
    assert!(alerts.len() >= 13 && led == alerts, "{alerts:?}\n{led:?}");
    let helper = templates.split_once("define \"tidewait.runbook\"").expect("it is defined").1;
    let line = helper.lines().find(|line| line.starts_with("runbook_url:")).expect("what it makes");
    assert!(line.contains("\"%s#%s\" (index . 0).Values.prometheusRule.runbooks (index . 1 | lower)"), "{line}");
    let page = "docs/runbooks.md";
    let url = at(&values(), "prometheusRule.runbooks").cloned().expect("a value");
    assert!(url.as_str().is_some_and(|url| url.ends_with(&format!("/{page}"))), "{url}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |page: &str| fs::read_to_string(root.join(page)).expect("text");
    let runbooks = text(page);
    let headings: BTreeSet<_> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).map(address_of).collect();
    assert_eq!(headings, alerts.iter().map(|alert| address_of(alert)).collect());
    let listed: BTreeSet<_> = text("docs/operating.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `Tidewait")?.split('`').next())
        .map(|name| format!("Tidewait{name}"))
        .collect();
    assert_eq!(listed, alerts);
}

#[test]
fn the_adapter_serves_the_metric_that_the_autoscaler_asks_for() {
    let adapter: Value = serde_yaml::from_str(&read("examples/prometheus-adapter.yaml")).expect("YAML");
    let served = adapter["rules"]["custom"][0]["name"]["as"].as_str().expect("a name");
    assert!(read("templates/proxy/autoscaling.yaml").contains(&format!("metric: {{name: {served}}}")), "{served}");
}

/// The example for nodes, as the real API server reads it.
#[tokio::test]
async fn the_example_for_nodes_lets_its_service_account_poll_one_operation() {
    let plane = ControlPlane::shared().await;
    // kubectl looks the resource up; the API server would not need it.
    crate::crd::installed(plane).await;
    let namespace = plane.namespace("nodes").await;
    let manifest = read("examples/nodes.yaml").replace("namespace: shop\n", &format!("namespace: {}\n", &*namespace));
    let strict = ["apply", "--validate=strict", "-n", &namespace, "-f", "-"];
    plane.kubectl_ok(&strict, Some(&manifest)).await;
    let may = async |account: &str, verb: &str, resource: &str| {
        let who = format!("--as=system:serviceaccount:{}:{account}", &*namespace);
        let question = ["auth", "can-i", verb, resource, "--subresource=state", &who, "-n", &namespace];
        let output = plane.kubectl(&question, None).await;
        String::from_utf8_lossy(&output.stdout).trim() == "yes"
    };
    let zone = "describeoperations.tidewait.dev/zone-a";
    let granted = async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
        while !may("node", "get", zone).await {
            look.tick().await;
        }
    };
    tokio::time::timeout(STEP, granted).await.expect("the API server learns of the Role");
    assert!(!may("node", "get", "describeoperations.tidewait.dev/zone-b").await);
    assert!(!may("node", "get", "describeoperations.tidewait.dev").await);
    assert!(!may("node", "update", zone).await);
    assert!(!may("default", "get", zone).await);
}

#[test]
fn the_example_of_a_certificate_has_the_names_of_the_service_and_the_secret_that_the_readme_sets() {
    let certificate: Value = serde_yaml::from_str(&read("examples/certificate.yaml")).expect("YAML");
    let spec = &certificate["spec"];
    let secret = spec["secretName"].as_str().expect("a name");
    assert!(read("README.md").contains(&format!("tls.secretName={secret}")));
    let names: Vec<_> = spec["dnsNames"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    // What the notes and the pod of helm test use, and the short names.
    assert_eq!(names, ["tidewait", "tidewait.shop", "tidewait.shop.svc", "tidewait.shop.svc.cluster.local"]);
    assert_eq!(spec["usages"], json!(["digital signature", "server auth"]));
}

/// All text below a folder.
pub(crate) fn texts(folder: PathBuf) -> String {
    let mut all = String::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all += &(fs::read_to_string(&path).unwrap_or_default() + "\n");
            }
        }
    }
    all
}

/// The rights that the chart gives are those of `deploy/base/rbac.yaml`.
#[test]
fn the_role_has_the_rights_of_deploy_and_no_verb_more() {
    let rules = |text: &str| {
        let from = text.split_once("\nrules:\n").expect("rules").1;
        let kept = from
            .lines()
            .map(str::trim_start)
            .filter(|line| ["- apiGroups:", "resources:", "verbs:"].iter().any(|word| line.starts_with(word)));
        kept.take_while(|line| !line.contains("rbac.authorization")).map(str::to_owned).collect::<Vec<_>>()
    };
    let deploy = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base/rbac.yaml")).expect("text");
    let deploy = deploy.split_once("kind: RoleBinding").expect("a binding").0.to_owned();
    let chart = read("templates/role.yaml");
    let chart = chart.split_once("kind: RoleBinding").expect("a binding").0.to_owned();
    assert_eq!(rules(&chart), rules(&deploy));
    let reviews = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples/reviews.yaml");
    let reviews = fs::read_to_string(reviews).expect("text");
    let found = rules(reviews.split_once("kind: ClusterRoleBinding").expect("a binding").0);
    assert_eq!(found.len(), 6);
    let chart = read("templates/reviews.yaml");
    assert_eq!(rules(chart.split_once("kind: ClusterRoleBinding").expect("a binding").0), found);
}

/// What preStop relies on: with nobody parked a drain is over at once, and new connections would be refused before those
/// who route to the pod have heard that it ends.
#[tokio::test]
async fn a_drain_takes_as_long_as_it_is_told_while_the_port_stays_open() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let mut server = Server::start(&["--file", model.arg()]).await;
    server.ready().await;
    let at_least = std::time::Duration::from_millis(700);
    let admin = server.admin.to_string();
    let start = tokio::time::Instant::now();
    let output = crate::server::tidewait(&["drain", "--admin", &admin, "--at-least", "700ms"]).output().await;
    let output = output.expect("it runs");
    assert!(output.status.success() && start.elapsed() >= at_least, "{output:?} after {:?}", start.elapsed());
    assert_eq!(server.get("/describe").await.status, 200, "until SIGTERM");
}
