//! What helm makes of values about who may poll and about TLS: rights, ports, and notes.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{cases, refused, render};
use crate::chart::{POD, Space, chart, combined_output};
use crate::node::Node;

/// The objects of one template, with these settings.
async fn objects(template: &str, settings: &[&str]) -> Vec<Value> {
    let show = format!("--show-only=templates/{template}");
    let rendered = render(&[settings, &["--namespace=shop", &show]].concat()).await;
    let documents = rendered.split("\n---\n").map(|part| serde_yaml::from_str(part).expect("YAML"));
    documents.filter(|value: &Value| !value.is_null()).collect()
}

/// The container of the Deployment among these.
fn container(made: &[Value]) -> Value {
    let deployment = made.iter().find(|one| one["kind"] == "Deployment").expect("a Deployment");
    deployment["spec"]["template"]["spec"]["containers"][0].clone()
}

#[tokio::test]
async fn the_rights_for_reviews_are_those_that_are_needed_and_bound_to_whoever_serves() {
    let tokens = json!({"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]});
    let permits =
        json!({"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]});
    let everybody =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts:shop"});
    let account = |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": "shop"});
    let audience = "--set=access.kubernetes.audiences={tidewait},access.clearCredentials=true";
    let token = "--set=access.tokens.secretName=a,access.clearCredentials=true";
    let proxy = "--set=mode=proxy,proxy.upstream=http://shop";
    for (settings, rules, subject) in [
        (&[audience][..], vec![&tokens], everybody.clone()),
        (&[audience, "--set=rbac.serviceAccounts={a}"], vec![&tokens], account("a")),
        (&[audience, proxy], vec![&tokens], account("release-tidewait")),
        (&[audience, "--set=access.authorization=both"], vec![&tokens, &permits], everybody.clone()),
        (&[token, "--set=access.authorization=kubernetes"], vec![&permits], everybody.clone()),
    ] {
        let made = objects("reviews.yaml", settings).await;
        assert_eq!(made.len(), 2, "{settings:?}");
        assert_eq!(made[0]["rules"], json!(rules), "{settings:?}");
        let name = "shop.reviews.tidewait.dev";
        assert_eq!((&made[0]["metadata"]["name"], &made[1]["roleRef"]["name"]), (&json!(name), &json!(name)));
        assert_eq!(made[1]["subjects"], json!([subject]), "{settings:?}");
        assert_eq!(objects("role.yaml", settings).await[1]["subjects"], json!([subject]), "{settings:?}");
    }
    for settings in [&[token][..], &[audience, "--set=rbac.create=false"]] {
        let rendered = render(settings).await;
        assert!(!rendered.contains("kind: ClusterRole"), "{settings:?}");
    }
}

#[tokio::test]
async fn those_in_front_are_told_that_the_port_speaks_tls() {
    let clear = ["--set=access.anonymous=true,mode=proxy,proxy.upstream=http://shop,ingress.enabled=true"];
    let tls = [clear[0], "--set=tls.secretName=a"];
    let port = &objects("service.yaml", &clear).await[0]["spec"]["ports"][0];
    assert_eq!(*port, json!({"name": "http", "port": 80, "targetPort": "describe"}));
    let port = &objects("service.yaml", &tls).await[0]["spec"]["ports"][0];
    assert_eq!(*port, json!({"name": "https", "appProtocol": "https", "port": 80, "targetPort": "describe"}));
    for (settings, name, protocol) in [(&clear[..], "http", Value::Null), (&tls, "https", json!("HTTPS"))] {
        let ingress = &objects("around/ingress.yaml", settings).await[0];
        let backend = &ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
        assert_eq!(backend["port"]["name"], name);
        let annotations = &ingress["metadata"]["annotations"];
        assert_eq!(annotations["nginx.ingress.kubernetes.io/backend-protocol"], protocol);
        let pod = &objects("tests/poll.yaml", settings).await[0];
        let command = pod["spec"]["containers"][0]["command"].as_array().expect("a list");
        let url = format!("{name}://release-tidewait.shop.svc:80/");
        assert_eq!(command.last(), Some(&json!(url)));
        assert!(!command.contains(&json!("--insecure")));
    }
    // Probes and preStop are at the admin port, which TLS leaves as it is.
    let (before, after) =
        (objects("proxy/deployment.yaml", &clear).await, objects("proxy/deployment.yaml", &tls).await);
    let (before, after) = (container(&before), container(&after));
    for field in ["startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "ports"] {
        assert!(before[field] == after[field] && !before[field].is_null(), "{field}");
    }
    let admin = objects("proxy/deployment.yaml", &[tls[0], "--set=tls.secretName=a,tls.admin=true"]).await;
    let admin = container(&admin);
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(admin[probe]["httpGet"], json!({"path": path, "port": "tidewait-admin", "scheme": "HTTPS"}));
    }
    let drain = admin["lifecycle"]["preStop"]["exec"]["command"].as_array().expect("a list");
    assert!(drain.contains(&json!("--admin-ca=/etc/tidewait/tls/tls.crt")), "{drain:?}");
    let required = [tls[0], tls[1], "--set=tls.clientCaSecretName=b,tls.clientAuth=required"];
    assert!(!render(&required).await.contains("helm.sh/hook"), "the test's pod has no certificate");
}

#[tokio::test]
async fn prometheus_is_told_how_to_show_who_it_is() {
    let settings = [
        "--set=access.kubernetes.audiences={tidewait},access.authorization=kubernetes,access.admin=true",
        "--set=mode=proxy,proxy.upstream=http://shop,tls.secretName=a,tls.admin=true,serviceMonitor.enabled=true",
        "--set=serviceMonitor.endpoint.bearerTokenFile=/token,serviceMonitor.endpoint.tlsConfig.serverName=shop",
    ];
    let args = container(&objects("proxy/deployment.yaml", &settings).await)["args"].clone();
    let args = args.as_array().expect("a list");
    for flag in ["--admin-access", "--admin-tls-certificate=/etc/tidewait/tls/tls.crt"] {
        assert!(args.contains(&json!(flag)), "{flag} is not in {args:?}");
    }
    let monitor = objects("around/metrics.yaml", &settings).await;
    let monitor = monitor.iter().find(|made| made["kind"] == "ServiceMonitor").expect("one");
    let endpoint = json!({
        "port": "metrics", "path": "/metrics", "interval": "30s",
        "scheme": "https", "bearerTokenFile": "/token", "tlsConfig": {"serverName": "shop"},
    });
    assert_eq!(monitor["spec"]["endpoints"], json!([endpoint]));
}

#[tokio::test]
async fn notes_say_how_to_poll_by_each_way_that_is_on() {
    let notes = async |settings: &str| {
        let set = format!("--set=mode=proxy,proxy.upstream=http://shop,{settings}");
        let folder = chart();
        let folder = folder.to_str().expect("text");
        let args = ["install", "release", folder, "--dry-run=client", "--namespace=shop", &set];
        let output = Node::shared().inside("helm", &args, None).await;
        assert!(output.status.success(), "{}", combined_output(&output));
        combined_output(&output).split_once("NOTES:\n").expect("notes").1.to_owned()
    };
    let anonymous = "Whoever reaches the port may poll (access.anonymous).";
    let alone = notes("access.anonymous=true").await;
    assert!(alone.contains(anonymous) && !alone.contains("curl --"), "{alone}");
    let clear = notes("access.tokens.secretName=clients,access.clearCredentials=true").await;
    let curl = "curl --header \"Authorization: Bearer $TOKEN\" http://release-tidewait.shop.svc:80/PATH";
    assert!(clear.contains(curl) && clear.contains("tidewait token NAME") && !clear.contains(anonymous), "{clear}");
    assert!(!clear.contains("--user") && !clear.contains("kubectl create token"), "{clear}");
    let rules = "access.tokens.secretName=clients,access.clearCredentials=true,access.rules[0].subjects={authenticated},\
                 access.rules[0].verbs={get},access.rules[0].operations={public}";
    let said =
        "What they may poll is for access.rules and the rules of each operation to say; nothing else is allowed.";
    assert!(notes(rules).await.contains(said) && !clear.contains(said));
    let all = notes(
        "access.users.secretName=people,access.kubernetes.audiences={tidewait,edge},access.authorization=kubernetes,\
         access.issuers[0].url=https://a.example,access.issuers[0].audience=edge,\
         tls.secretName=cert,tls.clientCaSecretName=ca,tls.clientAuth=required,service.port=443",
    )
    .await;
    let url = "--cert client.crt --key client.key --cacert ca.crt https://release-tidewait.shop.svc:443/PATH";
    for line in [
        "Whoever has a name and password of Secret people, key htpasswd",
        &format!("  curl --user NAME {url}\n"),
        "  TOKEN=$(kubectl create token node --namespace shop --audience tidewait)\n",
        &format!("  curl --header \"Authorization: Bearer $TOKEN\" {url}\n"),
        &format!(
            "Whoever has a token (JWT) of https://a.example for the audience edge:\n\n  curl --header \"Authorization: \
             Bearer $JWT\" {url}\n"
        ),
        "Whoever has a certificate of an authority in Secret ca; all others are refused:",
        &format!("  curl {url}\n"),
        "kubectl get secret cert --namespace shop --output 'jsonpath={.data.ca\\.crt}' | base64 --decode >ca.crt",
        "RBAC decides what they may poll: the verb get on describeoperations/state",
    ] {
        assert!(all.contains(line), "{line}\nis not in\n{all}");
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of what is refused")]
async fn values_about_access_that_go_together_or_not_are_refused_in_words() {
    let unprotected = "access: {issuers: [{url: 'http://a.example', audience: b}], clearCredentials: true}";
    let issuer = |more: &str| {
        format!("{{access: {{clearCredentials: true, issuers: [{{url: 'https://a.example', audience: b, {more}}}]}}}}")
    };
    let rule = |more: &str| {
        let rule = format!("{{subjects: [authenticated], verbs: [get], operations: [a], {more}}}");
        format!("{{access: {{tokens: {{secretName: a}}, clearCredentials: true, rules: [{rule}]}}}}")
    };
    for (values, message) in [
        (
            "{}".to_owned(),
            "nobody could poll: set access.anonymous=true if anyone who reaches the port may, or one of \
             access.tokens.secretName, access.users.secretName, access.kubernetes.audiences, access.issuers, and \
             tls.clientCaSecretName with tls.clientAuth=required",
        ),
        (
            "access: {tokens: {secretName: a}}".to_owned(),
            "credentials would go over connections that others may be able to read, so none is accepted: set \
             tls.secretName, or access.clearCredentials=true",
        ),
        (
            "access: {issuers: [{url: 'https://a.example', audience: b}]}".to_owned(),
            "credentials would go over connections that others may be able to read",
        ),
        (
            "access: {anonymous: true, authorization: both}".to_owned(),
            "access.authorization=both decides about clients that are known, and none is: set access.tokens.secretName",
        ),
        (
            "access: {anonymous: true, rules: [{subjects: [anonymous], verbs: [admin], operations: [a]}]}".to_owned(),
            "at '/access/rules/0'",
        ),
        (
            "{access: {anonymous: true}, tls: {admin: true}}".to_owned(),
            "tls.admin=true is for the certificate of tls.secretName: set that too",
        ),
        (
            "access: {anonymous: true, admin: true, clearCredentials: true}".to_owned(),
            "access.admin=true asks for credentials at the admin port, and none is accepted: set \
             access.kubernetes.audiences, access.tokens.secretName, access.users.secretName or access.issuers too",
        ),
        (
            "{access: {admin: true, tokens: {secretName: a}}, tls: {secretName: a, admin: true}}".to_owned(),
            "access.admin=true with access.authorization=rules lets nobody in, since no rule is about paths of the admin \
             port: add one to access.rules, or set access.authorization=kubernetes",
        ),
        (
            "access: {anonymous: true, tokens: {secretName: a}, clearCredentials: true, rules: [{subjects: \
             [authenticated], verbs: [get], paths: [/metrics]}]}"
                .to_owned(),
            "access.rules has paths of the admin port, which asks nobody who they are: set access.admin=true too",
        ),
        (
            "{access: {admin: true, tokens: {secretName: a}, authorization: kubernetes}, tls: {secretName: a}}"
                .to_owned(),
            "credentials would go to the admin port over connections that others may be able to read, so none is \
             accepted there: set tls.admin=true, or access.clearCredentials=true",
        ),
        (
            "{access: {anonymous: true}, serviceMonitor: {endpoint: {port: http}}}".to_owned(),
            "serviceMonitor.endpoint.port is what this chart sets itself: leave it out",
        ),
        (
            "access: {anonymous: true, forwardGroups: X-Groups}".to_owned(),
            "access.forwardUser and access.forwardGroups tell the app who clients are, and none is known: set",
        ),
        (
            "access: {anonymous: true, rules: [{subjects: [anonymous], verbs: [get], operations: [a]}]}".to_owned(),
            "access.rules decide about clients that are known, and none is: set access.tokens.secretName",
        ),
        (
            rule("").replace("rules:", "authorization: kubernetes, rules:"),
            "access.authorization=kubernetes leaves access.rules without use: set access.authorization=both, or leave",
        ),
        (
            "{access: {anonymous: true}, tls: {clientCaSecretName: a}}".to_owned(),
            "tls.clientCaSecretName is for a port that speaks TLS: set tls.secretName",
        ),
        (
            "{access: {anonymous: true}, tls: {secretName: a, clientAuth: required}}".to_owned(),
            "tls.clientAuth=required needs the authorities that sign certificates of clients: set tls.clientCaSecretName",
        ),
        (
            "access: {anonymous: true, certificateNames: [cn]}".to_owned(),
            "access.certificateNames is for clients with certificates: set tls.clientCaSecretName too",
        ),
        (
            unprotected.to_owned(),
            "access.issuers[0].url=http://a.example is not protected: write https://, or http:// with a loopback address",
        ),
        (
            "access: {clearCredentials: true, issuers: [{url: 'https://a.example', audience: b}, \
             {url: 'https://a.example', audience: c}]}"
                .to_owned(),
            "access.issuers[1].url=https://a.example is there twice: list each issuer once",
        ),
        (
            issuer("ca: {key: ca.crt}"),
            "access.issuers[0].ca is a key of a Secret or of a ConfigMap: set either secretName or configMapName",
        ),
        (
            issuer("keys: {key: k, secretName: a, configMapName: b}"),
            "access.issuers[0].keys is a key of a Secret or of a ConfigMap: set either secretName or configMapName",
        ),
        (
            issuer("").replace("{access:", "{extraArgs: [--config=/a], access:"),
            "extraArgs has --config, and access.issuers and access.rules are in a configuration file already",
        ),
        (
            issuer("").replace("{access:", "{extraArgs: [\"--access-issuer=https://c.example\"], access:"),
            "extraArgs has --access-issuer beside access.issuers: list that issuer there",
        ),
        (issuer("key: a"), "at '/access/issuers/0': additional properties 'key' not allowed"),
        (issuer("keys: {secretName: a}"), "at '/access/issuers/0/keys': missing property 'key'"),
        (issuer("algorithms: [HS256]"), "at '/access/issuers/0/algorithms/0': value must be one of 'RS256'"),
        (issuer("prefix: 'a b'"), "at '/access/issuers/0/prefix': 'a b' does not match pattern"),
        (issuer("name: ''"), "at '/access/issuers/0/name': minLength: got 0, want 1"),
        (rule("restrict: [shared]"), "at '/access/rules/0/restrict/0': 'shared' does not match pattern"),
        (rule("restrict: []"), "at '/access/rules/0/restrict': minItems: got 0, want 1"),
        (
            rule("").replace("authenticated", "node-1"),
            "at '/access/rules/0/subjects/0': 'node-1' does not match pattern",
        ),
        (rule("").replace("get", "put"), "at '/access/rules/0/verbs/0': value must be"),
        (rule("").replace("operations: [a], ", ""), "at '/access/rules/0': missing property 'operations'"),
        (
            "access: {kubernetes: {audiences: [a b]}}".to_owned(),
            "at '/access/kubernetes/audiences/0': 'a b' does not match",
        ),
        ("access: null".to_owned(), "missing property 'access'"),
        ("access: {tokens: {secret: a}}".to_owned(), "at '/access/tokens': additional properties 'secret' not allowed"),
    ] {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
        fs::write(file.path(), values).expect("it can be written");
        refused(&["--values", file.path().to_str().expect("text")], message).await;
    }
}

/// Arguments of a container.
fn arguments(container: &Value) -> Vec<String> {
    let args = container["args"].as_array().expect("a list").iter();
    args.map(|arg| arg.as_str().expect("text").to_owned()).collect()
}

/// What the program says to arguments, with this configuration file at its place; pods have these values in the environment.
fn checked(args: &[String], config: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("serve.yaml"), config).expect("it can be written");
    let here = format!("={}/", folder.path().display());
    let args = args.iter().map(|arg| {
        let arg = arg.replace("=/etc/tidewait/access/", &here).replace("$(POD_NAMESPACE)", "shop");
        arg.replace("$(POD_NAME)", "shop-0").replace("$(POD_UID)", "1c8e6f0a-7c51-4a0f-9d3c-0f7b6f5a2f11")
    });
    let args: Vec<_> = args.collect();
    assert_eq!(args[0], "serve");
    let output = Command::new(env!("CARGO_BIN_EXE_tidewait"))
        .args(["check", "--without-files"])
        .args(&args[1..])
        .output()
        .expect("it runs");
    format!("{} {}", output.status, combined_output(&output))
}

const GOOD: &str = "exit status: 0 the configuration is good";

#[tokio::test]
async fn the_program_takes_what_helm_makes_of_issuers_and_rules_in_each_mode() {
    super::kinds_of_others(Node::shared()).await;
    let file = &cases()["inject-everything"];
    let values = ["--values", file.as_str()];
    let config = |made: &[Value]| made[0]["data"]["serve.yaml"].as_str().expect("text").to_owned();
    let serve = config(&objects("config.yaml", &values).await);
    let read: Value = serde_yaml::from_str(&serve).expect("YAML");
    let issuer = &read["access"]["issuers"][1];
    assert_eq!(issuer["ca"], "/etc/tidewait/access/configmap/corp-ca/ca.crt");
    assert_eq!(issuer["keys"], "/etc/tidewait/access/secret/keys/jwks.json");
    assert_eq!(read["access"]["rules"][0]["restrict"], json!(["/shared", "/nodes/{name}"]));

    let space = Space::with(&values).await;
    let pod: Value = serde_yaml::from_str(&space.create_dry(&POD.replace("NAME", "probe")).await).expect("YAML");
    let injected = arguments(&pod["spec"]["initContainers"][0]);

    let proxy = [&values[..], &["--set=mode=proxy,proxy.upstream=http://shop"]].concat();
    let made = objects("proxy/deployment.yaml", &proxy).await;
    let deployment = made.iter().find(|object| object["kind"] == "Deployment").expect("one");
    let proxied = arguments(&deployment["spec"]["template"]["spec"]["containers"][0]);
    assert!(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"].is_string());

    let included = included(file).await;
    assert!(included.contains("name: release-tidewait-config"), "{included}");
    let included = included.split("\n---\n").find(|part| part.contains("kind: Probe")).expect("it is there");
    let included: Value = serde_yaml::from_str(included).expect("YAML");
    let included = arguments(&included["initContainers"][0]);

    for args in [injected, proxied, included] {
        assert!(args.contains(&"--config=/etc/tidewait/access/serve.yaml".to_owned()), "{args:?}");
        let said = checked(&args, &serve);
        assert!(said.starts_with(GOOD), "{args:?}: {said}");
        // It does read the file.
        let said = checked(&args, &serve.replace("audience:", "audiences:"));
        assert!(said.contains("access.issuers[0].audiences: is no field: did you mean audience?"), "{said}");
    }
}

/// What helm makes of a chart that includes the sidecar, with a file of values for this one.
async fn included(values: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| fs::write(folder.path().join(path), text).expect("it can be written");
    for within in ["templates", "charts"] {
        fs::create_dir_all(folder.path().join(within)).expect("a folder");
    }
    let copied = Command::new("cp").arg("-r").arg(chart()).arg(folder.path().join("charts")).status();
    assert!(copied.expect("cp runs").success());
    write("Chart.yaml", "{apiVersion: v2, name: shop, version: 0.1.0}");
    let mut own: Value = serde_yaml::from_str(&fs::read_to_string(values).expect("text")).expect("YAML");
    own["mode"] = json!("template");
    write("values.yaml", &json!({"tidewait": own}).to_string());
    let sidecar = "{{ include \"tidewait.sidecar\" (list .Subcharts.tidewait (dict \"appPort\" 8080)) | nindent 2 }}";
    write("templates/probe.yaml", &format!("kind: Probe\ninitContainers:\n{sidecar}\n"));
    let folder = folder.path().to_str().expect("text");
    let output =
        Node::shared().inside("helm", &["template", "release", folder, "--kube-version", "1.36.3"], None).await;
    assert!(output.status.success(), "{}", combined_output(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test]
async fn without_issuers_and_rules_there_is_no_configuration_file() {
    for (name, file) in cases().into_iter().filter(|(name, _)| name != "inject-everything") {
        let rendered = render(&["--values", &file]).await;
        assert!(!rendered.contains("serve.yaml") && !rendered.contains("checksum/config"), "{name}");
    }
}
