//! What RBAC of the real API server grants, by `SubjectAccessReview`.

use std::time::Duration;

use kube::Resource as _;
use prometheus::Registry;
use tidewait::access::Bound;
use tidewait::authorization::kubernetes::{AccessReviewer, Attributes, GROUP, OPERATIONS, Subject};
use tidewait::crd::DescribeOperation;
use tidewait::reviews::Metrics;
use tidewait::sources::kubernetes::client;
use tokio::time::{Instant, interval};

use super::kubeconfig::kubeconfig;
use crate::control_plane::ControlPlane;
use crate::server::STEP;

/// Who works in the namespace `NS` gets the state of zone-a there, whoever is in the group edge may read metrics, and who
/// has no credential gets the state of the operation public.
const RIGHTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: edge, namespace: NS}
rules:
- apiGroups: [tidewait.dev]
  resources: [describeoperations/state]
  resourceNames: [zone-a]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: edge, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: edge}
subjects:
- {kind: ServiceAccount, name: edge, namespace: NS}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: edge}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: metrics-NS}
rules:
- nonResourceURLs: [/metrics]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: metrics-NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics-NS}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:serviceaccounts:NS"}
"#;

/// What Tidewait itself needs, bound to the service account `edge`.
const OWN_RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reviews-NS}
rules:
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reviews-NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reviews-NS}
subjects:
- {kind: ServiceAccount, name: edge, namespace: NS}
";

async fn reviewer(kubeconfig: &std::path::Path) -> AccessReviewer {
    let client = client::connect(Some(kubeconfig)).await.expect("a client");
    AccessReviewer::new(client, &Metrics::register(&Registry::new()).expect("good names"))
}

/// Waits until the API server has learnt of a right: a little after it has stored it.
async fn becomes_allowed(reviewer: &AccessReviewer, subject: &Subject, attributes: Attributes<'_>) {
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(100));
    while reviewer.allows(subject, attributes).await != Ok(true) {
        assert!(start.elapsed() < STEP, "{subject:?} {attributes:?}");
        ticks.tick().await;
    }
}

#[test]
fn roles_name_the_resource_that_the_definition_has() {
    assert_eq!((GROUP, OPERATIONS), (&*DescribeOperation::group(&()), &*DescribeOperation::plural(&())));
}

#[tokio::test]
async fn roles_grant_the_states_and_paths_that_they_name_and_no_others() {
    let plane = ControlPlane::shared().await;
    let (namespace, other) = (plane.namespace("permits").await, plane.namespace("permits").await);
    plane.kubectl_ok(&["create", "serviceaccount", "edge", "-n", &namespace], None).await;
    plane.kubectl_ok(&["apply", "-f", "-"], Some(&RIGHTS.replace("NS", &namespace))).await;
    let reviewer = reviewer(plane.kubeconfig()).await;
    let name = format!("system:serviceaccount:{namespace}:edge");
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    let account = Subject::reviewed(&name, groups.iter().map(String::as_str), &Bound::default());
    let user = |groups: &[&'static str]| Subject::foreign("jane", groups.to_vec()).expect("not Kubernetes' own");
    let (member, stranger) = (user(&["edge"]), user(&["cloud"]));
    let state = |namespace, operation| Attributes::State { verb: "get", namespace, operation };
    let path = |verb, path| Attributes::Path { verb, path };
    let (zone, metrics) = (state(&namespace, "zone-a"), path("get", "/metrics"));
    for (subject, attributes) in [(&account, zone), (&account, metrics)] {
        becomes_allowed(&reviewer, subject, attributes).await;
    }
    for (subject, attributes, expected) in [
        (&account, zone, true),
        (&account, state(&namespace, "zone-b"), false),
        (&account, state(&namespace, ""), false),
        (&account, state(&other, "zone-a"), false),
        (&account, state("", "zone-a"), false),
        (&account, Attributes::State { verb: "publish", namespace: &namespace, operation: "zone-a" }, false),
        (&member, zone, true),
        (&member, state(&namespace, "zone-b"), false),
        (&stranger, zone, false),
        (&account, path("get", "/state"), false),
        (&account, path("put", "/metrics"), false),
        (&member, metrics, false),
        // Everybody who is authenticated has this by a role of Kubernetes, and nobody needs to name the group.
        (&stranger, path("get", "/api"), true),
    ] {
        assert_eq!(reviewer.allows(subject, attributes).await, Ok(expected), "{subject:?} {attributes:?}");
    }

    // Who may not ask is told so, and asks once it may.
    let token = plane.kubectl_ok(&["create", "token", "edge", "-n", &namespace], None).await;
    let (_dir, weak) = kubeconfig(plane, |_| serde_json::json!({ "token": token.trim() }));
    let weak = self::reviewer(&weak).await;
    let why = weak.allows(&account, zone).await.expect_err("it may not ask");
    assert!(why.contains("cannot create subjectaccessreviews.authorization.k8s.io: Forbidden (403)"), "{why}");
    assert!(why.contains("resources [\"subjectaccessreviews\"], verbs [\"create\"]"), "{why}");
    let own = OWN_RIGHTS.replace("NS", &namespace);
    plane.kubectl_ok(&["apply", "-f", "-"], Some(&own)).await;
    becomes_allowed(&weak, &account, zone).await;
    for rights in [&own, &RIGHTS.replace("NS", &namespace)] {
        plane.kubectl_ok(&["delete", "-f", "-"], Some(rights)).await;
    }
}
