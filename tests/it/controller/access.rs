//! Rules in the spec of an operation, as people apply them: who gets the whole, a part or nothing, and who has to leave.

use std::time::Duration;

use serde_json::{Value, json};
use tidewait::access::tokens::line;
use tokio::time::timeout;

use super::{apply, model, one, operation, serves, sidecar};
use crate::control_plane::ControlPlane;
use crate::crd;
use crate::server::{Client, Server};

/// How soon a change of the rules ends the requests of those who may no longer wait.
const WITHDRAWN: Duration = Duration::from_secs(5);

fn rules(rules: &Value) -> Value {
    json!({ "access": { "rules": rules } })
}

/// Asks with the token of somebody.
async fn poll(client: &mut Client, target: &str, name: &str) {
    client.send("GET", target, &[("Authorization", &format!("Bearer token-{name}"))]).await;
}

async fn asks(server: &Server, target: &str, name: &str) -> crate::server::Reply {
    let mut client = Client::connect(server.listen).await;
    poll(&mut client, target, name).await;
    client.reply().await
}

#[tokio::test]
async fn a_change_of_its_rules_ends_the_requests_of_those_who_may_no_longer_wait() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("access").await;
    let apply_rules = async |more: &Value| {
        apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), more)).await;
    };
    apply(plane, &model(&namespace, "zone-a", 1)).await;
    let node = json!({ "subjects": ["user:node-*"], "verbs": ["get"], "restrict": ["/routes", "/nodes/{name}"] });
    let operators = json!({ "subjects": ["group:operators"], "verbs": ["get"] });
    apply_rules(&rules(&json!([node, operators]))).await;

    let tokens = tempfile::NamedTempFile::new().expect("a file");
    let lines = [("olga", ["operators"]), ("node-1", ["edge"]), ("stranger", ["edge"])]
        .map(|(name, groups)| line(&format!("token-{name}"), name, &groups.map(str::to_owned)));
    std::fs::write(tokens.path(), lines.join("\n")).expect("it can be written");
    let file = tokens.path().to_str().expect("UTF-8");
    let server = sidecar(plane.kubeconfig(), &namespace, "replica-a", &["--access-tokens", file]).await;
    serves(&server, "/zone-a", 401).await;
    let mut whole = asks(&server, "/zone-a", "olga").await;
    while whole.status == 503 {
        whole = asks(&server, "/zone-a", "olga").await;
    }
    assert_eq!((whole.status, &whole.json()["serial"]), (200, &json!(1)));
    let part = asks(&server, "/zone-a", "node-1").await;
    assert_eq!((part.status, part.json()), (200, json!({ "routes": ["10.0.0.0/8 via 10.0.0.1"] })));
    assert_eq!(asks(&server, "/zone-a", "stranger").await.status, 403);
    assert_eq!(asks(&server, "/zone-a?select=/serial", "node-1").await.status, 403);

    let parked = r#"tidewait_parked_requests{operation="zone-a"}"#;
    let mut olga = Client::connect(server.listen).await;
    poll(&mut olga, &format!("/zone-a?since={}&wait=50", whole.id()), "olga").await;
    let mut first = Client::connect(server.listen).await;
    poll(&mut first, &format!("/zone-a?since={}&wait=50", part.id()), "node-1").await;
    server.metric_becomes(parked, 2.0).await;
    let stranger = json!({ "subjects": ["user:stranger"], "verbs": ["get"] });
    apply_rules(&rules(&json!([node, stranger]))).await;
    let refused = timeout(WITHDRAWN, olga.reply()).await.expect("it ends");
    assert_eq!(refused.status, 403, "{refused:?}");
    server.metric_becomes(parked, 1.0).await;
    assert_eq!(asks(&server, "/zone-a", "stranger").await.status, 200);
    // Who may still wait was not disturbed.
    apply(plane, &model(&namespace, "zone-a", 2)).await;
    let moved = json!({ "spec": { "routes": ["10.0.0.0/8 via 10.0.0.2"] } }).to_string();
    plane.kubectl_ok(&["patch", "-n", &namespace, "netm/zone-a", "--type=merge", "-p", &moved], None).await;
    let next = first.reply().await;
    assert_eq!((next.status, next.json()), (200, json!({ "routes": ["10.0.0.0/8 via 10.0.0.2"] })));

    // A rule for anonymous opens it, and only this operation.
    let anonymous = json!({ "subjects": ["anonymous"], "verbs": ["get"], "restrict": ["/serial"] });
    apply_rules(&rules(&json!([anonymous]))).await;
    assert_eq!(serves(&server, "/zone-a", 200).await.json(), json!({ "serial": 2 }));
    assert_eq!(server.get("/zone-b").await.status, 401);

    // Without rules whoever has a credential may poll again, and nobody else.
    apply_rules(&json!({})).await;
    let mut again = asks(&server, "/zone-a", "olga").await;
    while again.status == 403 {
        again = asks(&server, "/zone-a", "olga").await;
    }
    assert_eq!((again.status, &again.json()["serial"]), (200, &json!(2)));
    assert_eq!(server.get("/zone-a").await.status, 401);
}
