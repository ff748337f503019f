//! What helm makes of values about who may poll and about TLS: rights, ports, and notes.

use serde_json::{Value, json};

use super::render;
use crate::chart::{chart, combined_output};
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
    let all = notes(
        "access.users.secretName=people,access.kubernetes.audiences={tidewait,edge},access.authorization=kubernetes,\
         tls.secretName=cert,tls.clientCaSecretName=ca,tls.clientAuth=required,service.port=443",
    )
    .await;
    let url = "--cert client.crt --key client.key --cacert ca.crt https://release-tidewait.shop.svc:443/PATH";
    for line in [
        "Whoever has a name and password of Secret people, key htpasswd",
        &format!("  curl --user NAME {url}\n"),
        "  TOKEN=$(kubectl create token node --namespace shop --audience tidewait)\n",
        &format!("  curl --header \"Authorization: Bearer $TOKEN\" {url}\n"),
        "Whoever has a certificate of an authority in Secret ca; all others are refused:",
        &format!("  curl {url}\n"),
        "kubectl get secret cert --namespace shop --output 'jsonpath={.data.ca\\.crt}' | base64 --decode >ca.crt",
        "RBAC decides what they may poll: the verb get on describeoperations/state",
    ] {
        assert!(all.contains(line), "{line}\nis not in\n{all}");
    }
}
