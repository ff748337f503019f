//! Clients that have to say who they are: tokens of a Secret, and service accounts that RBAC lets in.

use std::fs;

use crate::chart::{APP, MODEL, Space, chart};
use crate::node::until;

/// Lines of `tidewait token`: the token is "token-a", whose SHA-256 this is.
const TOKENS: &str = "sha256:a70bf50e531ce1a817561f2f5d5b6645d4e806becf58ccc5e8cf6b8045a090a8 node-1\n";

/// What a URL answers to the bearer of a token.
async fn get(space: &Space, url: &str, token: &str) -> String {
    let field = format!("Authorization: Bearer {token}");
    let output = space.node.curl(&["--header", &field, "--write-out", " %{http_code}", url]).await;
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_pod_without_the_secret_of_tokens_says_so_and_starts_once_it_is_there() {
    let space =
        Space::with(&["--set=access.anonymous=false,access.tokens.secretName=clients,access.clearCredentials=true"])
            .await;
    space.apply(MODEL).await;
    space.apply(APP).await;
    let events = async || space.kubectl(&["get", "events", "--field-selector=reason=FailedMount"]).await;
    until("the kubelet says what is missing", events, |said| said.contains("secret \"clients\" not found")).await;
    let running = async || space.field("pods", "{.items[*].status.initContainerStatuses[*].started}").await;
    assert!(!running().await.contains("true"), "nothing starts without it");
    space.kubectl(&["create", "secret", "generic", "clients", &format!("--from-literal=tokens={TOKENS}")]).await;
    let pod = space.deploy(APP).await;
    let base = format!("http://{}:8480", space.address(&pod).await);
    assert!(get(&space, &format!("{base}/describe/zone-a"), "token-a").await.ends_with("{\"mtu\":1450} 200"));
    assert!(get(&space, &format!("{base}/describe/zone-a"), "token-b").await.ends_with(" 401"));
    assert!(space.get(&format!("{base}/describe/zone-a")).await.starts_with("401 "));
    // Requests for the app are the app's.
    space.answers(&format!("{base}/"), &format!("200 {pod}")).await;
}

#[tokio::test]
async fn service_accounts_poll_what_a_role_gives_them() {
    let settings = "--set=access.anonymous=false,access.kubernetes.audiences={tidewait},access.authorization=kubernetes,\
                    access.clearCredentials=true";
    let space = Space::with(&[settings]).await;
    space.apply(MODEL).await;
    space.apply(&MODEL.replace("zone-a", "zone-b")).await;
    let pod = space.deploy(APP).await;
    let url = |zone: &str, address: &str| format!("http://{address}:8480/describe/{zone}");
    let address = space.address(&pod).await;
    space.kubectl(&["create", "serviceaccount", "other"]).await;
    let nodes = fs::read_to_string(chart().join("examples/nodes.yaml")).expect("text");
    space.apply(&nodes.replace("namespace: shop\n", &format!("namespace: {}\n", space.name))).await;
    let token = async |account: &str, audience: &str| {
        let token = space.kubectl(&["create", "token", account, "--audience", audience]).await;
        token.trim().to_owned()
    };
    let node = token("node", "tidewait").await;
    let ask = async || get(&space, &url("zone-a", &address), &node).await;
    until("the service account node polls zone-a", ask, |answer| answer.ends_with("{\"mtu\":1450} 200")).await;
    assert!(get(&space, &url("zone-b", &address), &node).await.ends_with(" 403"));
    let other = token("other", "tidewait").await;
    assert!(get(&space, &url("zone-a", &address), &other).await.ends_with(" 403"));
    let elsewhere = token("node", "another").await;
    assert!(get(&space, &url("zone-a", &address), &elsewhere).await.ends_with(" 401"));
}
