//! Whose a token is, by `TokenReview` of the real API server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus::Registry;
use tidewait::access::{Bound, Credential, Policy, Unverified, Verified};
use tidewait::authentication::kubernetes::TokenReviewer;
use tidewait::authentication::{Authenticator, Challenge, Checked, Schemes};
use tidewait::bounds::ACCESS_ALLOWED_FOR;
use tidewait::http::access::Access;
use tidewait::reviews::Metrics;
use tidewait::sources::kubernetes::client;
use tokio::time::{Instant, interval, timeout};
use tokio_util::task::TaskTracker;

use super::kubeconfig::kubeconfig;
use crate::api_proxy::{Answer, ApiProxy, Fault, Matches};
use crate::control_plane::{ControlPlane, Namespace};
use crate::http::{MODEL, Rig, id, next};
use crate::server::STEP;

const AUDIENCE: &str = "tidewait";

/// Asks the API server that a kubeconfig leads to.
async fn reviewer(kubeconfig: &std::path::Path, audiences: &[&str]) -> TokenReviewer {
    let client = client::connect(Some(kubeconfig)).await.expect("a client");
    let metrics = Metrics::register(&Registry::new()).expect("good names");
    TokenReviewer::new(client, audiences.iter().map(ToString::to_string).collect(), &metrics)
}

/// A namespace with the service account `edge`.
async fn namespace(plane: &ControlPlane) -> Namespace {
    let namespace = plane.namespace("tokens").await;
    plane.kubectl_ok(&["create", "serviceaccount", "edge", "-n", &namespace], None).await;
    namespace
}

/// What `kubectl create token edge` prints, with these arguments behind it.
async fn token(plane: &ControlPlane, namespace: &str, arguments: &[&str]) -> String {
    let command = [&["create", "token", "edge", "-n", namespace][..], arguments].concat();
    plane.kubectl_ok(&command, None).await.trim().to_owned()
}

/// Waits until a token is not good any more: the API server keeps what it knows for some seconds.
async fn turns_bad(reviewer: &TokenReviewer, token: &str) {
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        match reviewer.verify(token).await {
            Err(Unverified::Invalid(_)) => return,
            Ok(_) => assert!(start.elapsed() < STEP, "it stays good"),
            Err(Unverified::Unavailable(why)) => panic!("{why}"),
        }
    }
}

fn invalid(verified: &Result<Verified, Unverified>) -> bool {
    matches!(verified, Err(Unverified::Invalid(_)))
}

#[track_caller]
fn unavailable(verified: Result<Verified, Unverified>) -> String {
    match verified {
        Err(Unverified::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_audience_until_its_account_is_deleted() {
    let plane = ControlPlane::shared().await;
    let namespace = namespace(plane).await;
    let ours = reviewer(plane.kubeconfig(), &["other", AUDIENCE]).await;
    let good = token(plane, &namespace, &["--audience", AUDIENCE]).await;
    let Verified { name, mut groups, bound, in_kubernetes, lasts } = ours.verify(&good).await.expect("it is good");
    assert!(in_kubernetes);
    groups.sort();
    let all = ["system:authenticated", "system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
    assert_eq!((name, groups), (format!("system:serviceaccount:{namespace}:edge"), all.map(str::to_owned).to_vec()));
    assert_eq!(bound, Bound::default());
    // An hour, and the leeway.
    let lasts = lasts.expect("it ends").as_secs();
    assert!((3500..=3630).contains(&lasts), "{lasts}");

    // Of the API server's own audience, or tampered with, or rubbish.
    let theirs = token(plane, &namespace, &[]).await;
    let (head, tail) = good.split_at(good.len() - 20);
    let tampered = format!("{head}{}", tail.chars().rev().collect::<String>());
    for bad in [&*theirs, &tampered, "rubbish", "e30.e30.e30", "a.b.c"] {
        assert!(invalid(&ours.verify(bad).await), "{bad}");
    }
    assert!(invalid(&reviewer(plane.kubeconfig(), &["another"]).await.verify(&good).await));
    assert!(invalid(&reviewer(plane.kubeconfig(), &[]).await.verify(&theirs).await), "who has no audience takes none");

    plane.kubectl_ok(&["delete", "serviceaccount", "edge", "-n", &namespace], None).await;
    turns_bad(&ours, &good).await;
    // Another account of that name is not the one that the token is of.
    plane.kubectl_ok(&["create", "serviceaccount", "edge", "-n", &namespace], None).await;
    assert!(invalid(&ours.verify(&good).await));
}

/// The same, whose verdicts hold for 32 s. One in use is found out again 30 s before its end: here every 2 s, and in the
/// program every 90 s.
#[derive(Debug)]
struct Hasty(TokenReviewer);

#[async_trait]
impl Authenticator for Hasty {
    fn judges(&self, credential: Credential<'_>) -> bool {
        self.0.judges(credential)
    }

    fn challenge(&self) -> Challenge {
        self.0.challenge()
    }

    async fn verify(&self, credential: Credential<'_>) -> Result<Checked, Unverified> {
        Authenticator::verify(&self.0, credential).await
    }

    fn holds_for(&self) -> Option<Duration> {
        assert_eq!(self.0.holds_for(), Some(ACCESS_ALLOWED_FOR));
        Some(Duration::from_secs(32))
    }
}

#[tokio::test]
async fn a_parked_request_ends_after_the_account_of_its_token_is_deleted_and_no_other_does() {
    let plane = ControlPlane::shared().await;
    let namespace = namespace(plane).await;
    plane.kubectl_ok(&["create", "serviceaccount", "other", "-n", &namespace], None).await;
    let proxy = ApiProxy::start(plane).await;
    let hasty = Hasty(reviewer(proxy.kubeconfig(), &[AUDIENCE]).await);
    let schemes = Schemes { authenticators: vec![Arc::new(hasty)], clear: true, ..Schemes::default() };
    let mut rig = Rig::with_access(|metrics| Access::by(schemes, Policy::default(), metrics));
    let access = Arc::clone(&rig.access);
    TaskTracker::new().spawn(async move { access.maintain().await });
    rig.publish(7, MODEL).await;

    let current = format!("since={}&wait=50", id(7, MODEL));
    let mut wires = Vec::new();
    for account in ["edge", "other"] {
        let create = ["create", "token", account, "--audience", AUDIENCE, "-n", &namespace];
        let token = plane.kubectl_ok(&create, None).await;
        wires.push(rig.park(&current, &format!("Authorization: Bearer {}\r\n", token.trim())).await);
    }
    let asked = || proxy.count(|seen| seen.path.ends_with("/tokenreviews"));
    let asked_times = async |times: usize| {
        let mut ticks = interval(Duration::from_millis(100));
        while asked() < times {
            ticks.tick().await;
        }
    };
    timeout(STEP, asked_times(4)).await.expect("both are asked for again");
    assert_eq!(rig.operation.hub.parked(), 2, "both stay");

    plane.kubectl_ok(&["delete", "serviceaccount", "edge", "-n", &namespace], None).await;
    let answer = timeout(STEP, next(&mut wires[0], false)).await.expect("it ends");
    assert_eq!((answer.status, answer.field("state-id")), (401, ""), "{answer:?}");
    timeout(STEP, asked_times(asked() + 1)).await.expect("it is asked for again");
    assert_eq!(rig.operation.hub.parked(), 1, "the other one stays");
}

#[tokio::test]
async fn a_token_says_which_pod_and_node_it_is_bound_to_and_ends_with_them() {
    let plane = ControlPlane::shared().await;
    let namespace = namespace(plane).await;
    let node = format!("node-{}", &*namespace);
    let objects = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Node", "metadata": { "name": node } },
        { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "agent-0", "namespace": &*namespace }, "spec": {
            "serviceAccountName": "edge", "nodeName": node, "containers": [{ "name": "agent", "image": "none" }],
        } },
    ] });
    plane.kubectl_ok(&["apply", "-f", "-"], Some(&objects.to_string())).await;
    let reviewer = reviewer(plane.kubeconfig(), &[AUDIENCE]).await;
    let audience = ["--audience", AUDIENCE];
    let to = |kind, name| [&audience[..], &["--bound-object-kind", kind, "--bound-object-name", name]].concat();
    let of_pod = token(plane, &namespace, &to("Pod", "agent-0")).await;
    let of_node = token(plane, &namespace, &to("Node", &node)).await;
    let bound = |verified: Result<Verified, Unverified>| verified.expect("it is good").bound;
    let pod = Some(format!("{namespace}/agent-0"));
    assert_eq!(bound(reviewer.verify(&of_pod).await), Bound { node: Some(node.clone()), pod });
    assert_eq!(bound(reviewer.verify(&of_node).await), Bound { node: Some(node.clone()), pod: None });

    plane.kubectl_ok(&["delete", "pod", "agent-0", "-n", &namespace, "--force", "--grace-period=0"], None).await;
    turns_bad(&reviewer, &of_pod).await;
    plane.kubectl_ok(&["delete", "node", &node], None).await;
    turns_bad(&reviewer, &of_node).await;
}

#[tokio::test]
async fn without_the_right_to_ask_the_remedy_is_named_and_helps() {
    let plane = ControlPlane::shared().await;
    let namespace = namespace(plane).await;
    let own = token(plane, &namespace, &[]).await;
    let (_dir, path) = kubeconfig(plane, |_| serde_json::json!({ "token": own }));
    let reviewer = reviewer(&path, &[AUDIENCE]).await;
    let good = token(plane, &namespace, &["--audience", AUDIENCE]).await;
    let why = unavailable(reviewer.verify(&good).await);
    for words in [
        "cannot create tokenreviews.authentication.k8s.io: Forbidden (403)",
        "bind the ClusterRole \"system:auth-delegator\"",
        "resources [\"tokenreviews\"], verbs [\"create\"]",
    ] {
        assert!(why.contains(words), "{why}");
    }
    let account = format!("{namespace}:edge");
    let binding = ["clusterrolebinding", &*namespace];
    let role = ["--clusterrole", "system:auth-delegator", "--serviceaccount", &account];
    plane.kubectl_ok(&[&["create"], &binding[..], &role].concat(), None).await;
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(100));
    // The API server learns of a binding a little after it has stored it.
    while let Err(error) = reviewer.verify(&good).await {
        assert!(start.elapsed() < STEP, "{error:?}");
        ticks.tick().await;
    }
    plane.kubectl_ok(&[&["delete"], &binding[..]].concat(), None).await;
}

#[tokio::test]
async fn an_api_server_that_is_away_silent_or_overloaded_refuses_nobody() {
    let plane = ControlPlane::shared().await;
    let namespace = namespace(plane).await;
    let proxy = ApiProxy::start(plane).await;
    let asked = || proxy.count(|seen| seen.path.ends_with("/tokenreviews"));
    let reviewer = reviewer(proxy.kubeconfig(), &[AUDIENCE]).await;
    let good = token(plane, &namespace, &["--audience", AUDIENCE]).await;
    assert!(reviewer.verify(&good).await.is_ok());

    proxy.set(Fault::Refuse).await;
    let why = unavailable(reviewer.verify(&good).await);
    assert!(why.contains("refused"), "{why}");
    proxy.set(Fault::Blackhole).await;
    let start = Instant::now();
    let why = unavailable(reviewer.verify(&good).await);
    assert!(why.contains("no answer within 5s") && start.elapsed() < STEP, "{why}");
    let status = http::StatusCode::INTERNAL_SERVER_ERROR;
    let answer = |status, retry_after| {
        Fault::Answer(Answer { matches: Matches::Any, status, retry_after, times: usize::MAX, as_event: false })
    };
    proxy.set(answer(status, None)).await;
    let why = unavailable(reviewer.verify(&good).await);
    assert!(why.contains("(500)"), "{why}");
    proxy.set(Fault::Pass).await;
    assert!(reviewer.verify(&good).await.is_ok(), "it is back");

    // What has expired is refused without a question: here by a token of 1970.
    let before = asked();
    assert_eq!(
        reviewer.verify("e30.eyJleHAiOjF9.c2ln").await,
        Err(Unverified::Invalid("has expired: ask for another one"))
    );
    assert_eq!(asked(), before);

    proxy.set(answer(http::StatusCode::TOO_MANY_REQUESTS, Some(20))).await;
    let why = unavailable(reviewer.verify(&good).await);
    assert!(why.contains("(429)"), "{why}");
    let before = asked();
    let why = unavailable(reviewer.verify(&good).await);
    assert!(why.contains("asked for a pause"), "{why}");
    assert_eq!(asked(), before);
}
