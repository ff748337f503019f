//! The admin port with the real API server: whose token it is by `TokenReview`, and what they may ask by RBAC's
//! `nonResourceURLs`, as Prometheus comes with the token of its service account.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Duration, Instant, interval};

use crate::api_proxy::{ApiProxy, Fault};
use crate::control_plane::{ControlPlane, Namespace};
use crate::model_file::ModelFile;
use crate::server::{Client, Reply, STEP, Server, far, tidewait};

/// The example of docs/access.md for `prometheus`, and the same for what `operator` changes.
const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: metrics-NS}
rules:
- {nonResourceURLs: [/metrics], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: metrics-NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics-NS}
subjects:
- {kind: ServiceAccount, name: prometheus, namespace: NS}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: operator-NS}
rules:
- {nonResourceURLs: ['/log*', /state], verbs: [get, admin]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: operator-NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: operator-NS}
subjects:
- {kind: ServiceAccount, name: operator, namespace: NS}
";

const ACCOUNTS: [&str; 3] = ["prometheus", "operator", "edge"];

/// A namespace with the accounts and their rights; and a token of each.
async fn accounts(plane: &ControlPlane) -> (Namespace, [String; 3]) {
    let namespace = plane.namespace("admin").await;
    let mut tokens = [const { String::new() }; 3];
    for (account, token) in ACCOUNTS.into_iter().zip(&mut tokens) {
        plane.kubectl_ok(&["create", "serviceaccount", account, "-n", &namespace], None).await;
        let create = ["create", "token", account, "-n", &namespace, "--audience", "tidewait"];
        plane.kubectl_ok(&create, None).await.trim().clone_into(token);
    }
    plane.kubectl_ok(&["apply", "-f", "-"], Some(&RIGHTS.replace("NS", &namespace))).await;
    (namespace, tokens)
}

/// A server whose admin port other hosts reach, with these settings under `access`.
async fn serve(model: &ModelFile, kubeconfig: &std::path::Path, access: serde_json::Value) -> Server {
    let ip = far().expect("an address of this host that is not loopback");
    let config = json!({
        "apiVersion": "tidewait.dev/v1alpha1",
        "kind": "ServeConfig",
        "listen": "127.0.0.1:0",
        "admin": format!("{ip}:0"),
        "adminAccess": true,
        "allowClearCredentials": true,
        "kubeconfig": kubeconfig,
        "log": {"format": "json", "level": "debug"},
        "operations": [{"name": "describe", "source": {"file": {"path": model.arg()}}}],
        "access": access,
    });
    let file = model.beside("config.yaml");
    std::fs::write(&file, config.to_string()).expect("written");
    let mut server = Server::spawn(tidewait(&["serve", "--config", &file])).await;
    server.ready().await;
    server
}

async fn ask(server: &Server, token: &str, method: &str, path: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let body = if method == "PUT" { "debug" } else { "" };
    let length = body.len().to_string();
    let mut client = Client::connect(server.admin).await;
    client.send(method, path, &[("Authorization", &bearer), ("Content-Length", &length)]).await;
    client.stream.get_mut().write_all(body.as_bytes()).await.expect("it reads");
    client.reply().await
}

/// Waits until the API server has learnt of what was applied: this has a status that is no refusal.
async fn becomes_allowed(plane: &ControlPlane, namespace: &Namespace) {
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(100));
    for (account, verb, path) in
        [("prometheus", "get", "/metrics"), ("operator", "get", "/state"), ("operator", "admin", "/log-level")]
    {
        let of = format!("--as=system:serviceaccount:{}:{account}", &**namespace);
        while !plane.kubectl(&["auth", "can-i", verb, path, &of], None).await.status.success() {
            assert!(start.elapsed() < STEP, "{account} {verb} {path}");
            ticks.tick().await;
        }
    }
}

#[tokio::test]
async fn a_service_account_reads_the_paths_that_its_cluster_role_names_and_no_others() {
    let plane = ControlPlane::shared().await;
    let (namespace, tokens) = accounts(plane).await;
    becomes_allowed(plane, &namespace).await;
    let by = |authorization: &str| json!({"kubernetes": {"audiences": ["tidewait"]}, "authorization": authorization});
    // Both: what rules allow too.
    let mut both = by("both");
    both["rules"] = json!([
        {"subjects": ["group:system:serviceaccounts"], "verbs": ["get", "admin"], "paths": ["/metrics", "/log-level"]},
    ]);
    let mut rules = by("rules");
    rules["rules"] = json!([
        {"subjects": [format!("user:system:serviceaccount:{}:edge", &*namespace)], "verbs": ["get"], "paths": ["/metrics"]},
    ]);
    for (access, table) in [
        (
            by("kubernetes"),
            [
                ("GET", "/metrics", [200, 403, 403]),
                ("GET", "/agents", [403, 403, 403]),
                ("GET", "/state", [403, 200, 403]),
                ("GET", "/log-level", [403, 200, 403]),
                ("PUT", "/log-level", [403, 200, 403]),
                ("POST", "/drain", [403, 403, 403]),
                ("GET", "/livez", [200, 200, 200]),
                ("GET", "/nowhere", [404, 404, 404]),
            ],
        ),
        (
            both,
            [
                ("GET", "/metrics", [200, 403, 403]),
                ("GET", "/agents", [403, 403, 403]),
                ("GET", "/state", [403, 403, 403]),
                ("GET", "/log-level", [403, 200, 403]),
                ("PUT", "/log-level", [403, 200, 403]),
                ("POST", "/drain", [403, 403, 403]),
                ("GET", "/livez", [200, 200, 200]),
                ("GET", "/nowhere", [404, 404, 404]),
            ],
        ),
        (
            rules,
            [
                ("GET", "/metrics", [403, 403, 200]),
                ("GET", "/agents", [403, 403, 403]),
                ("GET", "/state", [403, 403, 403]),
                ("GET", "/log-level", [403, 403, 403]),
                ("PUT", "/log-level", [403, 403, 403]),
                ("POST", "/drain", [403, 403, 403]),
                ("GET", "/livez", [200, 200, 200]),
                ("GET", "/nowhere", [404, 404, 404]),
            ],
        ),
    ] {
        let model = ModelFile::new("{}");
        let server = serve(&model, plane.kubeconfig(), access.clone()).await;
        for (method, path, expected) in table {
            for ((token, account), expected) in tokens.iter().zip(ACCOUNTS).zip(expected) {
                let reply = ask(&server, token, method, path).await;
                assert_eq!(reply.status, expected, "{access} {account} {method} {path}: {reply:?}");
            }
        }
        let unknown = ask(&server, "e30.e30.e30", "GET", "/metrics").await;
        assert_eq!(
            (unknown.status, unknown.field("www-authenticate")),
            (401, "Bearer realm=\"tidewait\", error=\"invalid_token\"")
        );
        let log = server.log.borrow().join("\n");
        assert!(tokens.iter().all(|token| !log.contains(token)), "no log shows a token");
    }
    plane.kubectl_ok(&["delete", "-f", "-"], Some(&RIGHTS.replace("NS", &namespace))).await;
}

#[tokio::test]
async fn while_the_api_server_is_away_who_was_let_in_still_is_and_bad_tokens_are_bounded() {
    let plane = ControlPlane::shared().await;
    let (namespace, [prometheus, operator, _]) = accounts(plane).await;
    becomes_allowed(plane, &namespace).await;
    let proxy = ApiProxy::start(plane).await;
    let access = json!({"kubernetes": {"audiences": ["tidewait"]}, "authorization": "kubernetes"});
    let model = ModelFile::new("{}");
    let server = serve(&model, proxy.kubeconfig(), access).await;
    let reviews = || proxy.count(|seen| seen.path.ends_with("reviews"));
    assert_eq!(ask(&server, &prometheus, "GET", "/metrics").await.status, 200);
    assert_eq!(reviews(), 2, "one of the token, one of the path");
    for _ in 0..3 {
        assert_eq!(ask(&server, &prometheus, "GET", "/metrics").await.status, 200);
    }
    assert_eq!(reviews(), 2, "verdicts are kept");

    proxy.set(Fault::Refuse).await;
    assert_eq!(ask(&server, &prometheus, "GET", "/metrics").await.status, 200);
    // What is not known yet of who is known, and of who is not.
    for (token, path) in [(&prometheus, "/state"), (&operator, "/state")] {
        let reply = ask(&server, token, "GET", path).await;
        assert_eq!((reply.status, reply.field("retry-after")), (503, "2"), "{reply:?}");
        assert_eq!(reply.json()["type"], "https://tidewait.dev/problems/access-unknown");
    }
    proxy.set(Fault::Pass).await;
    assert_eq!(ask(&server, &operator, "GET", "/state").await.status, 200);

    let before = reviews();
    let mut statuses = Vec::new();
    for number in 0..30 {
        let reply = ask(&server, &format!("e30.e30.{number}x"), "GET", "/metrics").await;
        assert!(reply.status != 429 || reply.field("retry-after") == "2", "{reply:?}");
        statuses.push(reply.status);
    }
    assert!(statuses[..10].iter().all(|status| *status == 401) && statuses.contains(&429), "{statuses:?}");
    assert!(reviews() - before < 25, "{}", reviews() - before);
    assert_eq!(ask(&server, &prometheus, "GET", "/metrics").await.status, 200, "who is known is let in");
    plane.kubectl_ok(&["delete", "-f", "-"], Some(&RIGHTS.replace("NS", &namespace))).await;
}
