//! The sidecar beside what else pods and clusters hold: other init containers, limits, other policies, strict pods.

use crate::chart::{APP, MODEL, POD, Space, combined_output};
use crate::node::{random_name, until};

#[tokio::test]
async fn pods_of_any_shape_get_the_sidecar_first_and_run() {
    let space = Space::with(&[]).await;
    space.apply(MODEL).await;
    let spec = "spec:\n  containers:";
    let shapes = [
        ("plain", spec.to_owned()),
        ("empty-list", "spec:\n  initContainers: []\n  containers:".to_owned()),
        ("no-token", "spec:\n  automountServiceAccountToken: false\n  containers:".to_owned()),
        ("grace-0", "spec:\n  terminationGracePeriodSeconds: 0\n  containers:".to_owned()),
        ("grace-1", "spec:\n  terminationGracePeriodSeconds: 1\n  containers:".to_owned()),
        ("grace-600", "spec:\n  terminationGracePeriodSeconds: 600\n  containers:".to_owned()),
        (
            "init",
            "spec:\n  initContainers:\n  - {name: first, image: localhost/app:1, args: [get, \"http://127.0.0.1:8480/\"]}\n  \
             containers:"
                .to_owned(),
        ),
    ];
    for (name, shape) in &shapes {
        space.apply(&POD.replace("NAME", name).replace(spec, shape)).await;
    }
    for (name, grace) in [
        ("plain", 14),
        ("empty-list", 14),
        ("no-token", 14),
        ("grace-0", 0),
        ("grace-1", 0),
        ("grace-600", 20),
        ("init", 14),
    ] {
        let pod = format!("pod/{name}");
        space.kubectl(&["wait", "--for=condition=Ready", &pod, "--timeout=100s"]).await;
        assert_eq!(space.field(&pod, "{.spec.initContainers[0].name}").await, "tidewait");
        let args = space.field(&pod, "{.spec.initContainers[0].args}").await;
        assert!(args.contains(&format!("\"--grace={grace}s\"")), "{name}: {args}");
        let stop = space.field(&pod, "{.spec.initContainers[0].lifecycle.preStop.exec.command}").await;
        assert!(stop.contains(&format!("\"--at-least={}s\"", grace.min(5))), "{name}: {stop}");
        let base = format!("http://{}:8480", space.address(name).await);
        space.answers(&format!("{base}/describe/zone-a"), "200 {\"mtu\":1450}").await;
        space.answers(&format!("{base}/"), &format!("200 {name}")).await;
    }
    let count = "{.spec.initContainers[*].name}";
    assert_eq!(space.field("pod/init", count).await, "tidewait first");
    // Ending them takes no longer than they have, though preStop is run.
    space.kubectl(&["delete", "pod", "plain", "grace-0", "grace-1", "init", "--timeout=40s"]).await;
}

#[tokio::test]
async fn a_namespace_that_opts_out_gets_no_sidecar_and_no_refusal() {
    let space = Space::with(&[]).await;
    space.node.kubectl(&["label", "namespace", &space.name, "tidewait.dev/injection=disabled"], None).await;
    let ask = async || space.create_dry(&POD.replace("NAME", "free")).await;
    until("pods stay as they are", ask, |made| made.contains("kind: Pod") && !made.contains("name: tidewait")).await;
    let bad = APP.replace("    metadata:\n", "    metadata:\n      annotations: {tidewait.dev/port: none}\n");
    let ask = async || space.create_dry(&bad).await;
    until("annotations are nobody's", ask, |made| made.contains("kind: Deployment")).await;
    // A pod that asks for nothing is left alone in any namespace.
    let other = Space::with(&[]).await;
    let made = other.create_dry(&POD.replace("NAME", "free").replace("inject: \"true\"", "inject: \"false\"")).await;
    assert!(made.contains("kind: Pod") && !made.contains("name: tidewait"), "{made}");
}

#[tokio::test]
async fn a_limit_range_reaches_the_sidecar_and_says_what_it_forbids() {
    let space = Space::with(&[]).await;
    let range = |max: &str| {
        format!(
            "{{apiVersion: v1, kind: LimitRange, metadata: {{name: limits}}, spec: {{limits: [{{type: Container, \
             default: {{cpu: 250m, memory: 48Mi}}, defaultRequest: {{cpu: 20m, memory: 48Mi}}, max: {{memory: {max}}}}}]}}}}"
        )
    };
    space.apply(&range("1Gi")).await;
    let pod = space.deploy(APP).await;
    let limits = space.field(&format!("pod/{pod}"), "{.spec.initContainers[0].resources.limits}").await;
    assert_eq!(limits, r#"{"cpu":"250m","memory":"104Mi"}"#, "the chart's memory, the range's cpu");
    space.apply(&range("100Mi")).await;
    let output_text = space.refused(&POD.replace("NAME", "large")).await;
    assert!(output_text.contains("maximum memory usage per Container is 100Mi, but limit is 104Mi"), "{output_text}");
}

#[tokio::test]
async fn another_policy_may_add_an_init_container_before_or_after() {
    let space = Space::with(&[]).await;
    // Policies act in the order of their names: one before ours and one after.
    for (order, port) in [("0", "7001"), ("z", "7002")] {
        let policy = format!("{order}-{}-{}", space.name, random_name());
        let other = OTHER.replace("POLICY", &policy).replace("SPACE", &space.name);
        let other = other.replace("other-X", &format!("other-{order}")).replace(":ON", &format!(":{port}"));
        space.node.kubectl(&["apply", "--filename=-"], Some(&other)).await;
    }
    let ask = async || space.create_dry(&POD.replace("NAME", "both")).await;
    let both =
        |made: &String| ["other-0", "other-z", "tidewait"].iter().all(|name| made.contains(&format!("name: {name}\n")));
    let made = until("all three are added", ask, both).await;
    assert_eq!(made.matches("name: tidewait\n").count(), 1, "{made}");
    space.apply(&POD.replace("NAME", "both")).await;
    space.kubectl(&["wait", "--for=condition=Ready", "pod/both", "--timeout=100s"]).await;
}

#[tokio::test]
async fn pod_security_restricted_lets_the_sidecar_in() {
    let space = Space::with(&["--set=inject.failurePolicy=Fail"]).await;
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    space.node.kubectl(&["label", "namespace", &space.name, enforce], None).await;
    let plain = space.refused(&POD.replace("NAME", "plain")).await;
    assert!(plain.contains("violates PodSecurity") && plain.contains("container \"app\""), "{plain}");
    assert!(!plain.contains("tidewait\""), "only the app is at fault: {plain}");
    let strict = "args: [serve, \":8080\"], securityContext: {runAsNonRoot: true, runAsUser: 65532, \
                  allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}";
    space.deploy(&APP.replace("args: [serve, \":8080\"]", strict)).await;
}

#[tokio::test]
async fn a_job_completes_with_the_sidecar_beside_it() {
    let space = Space::with(&[]).await;
    space.apply(MODEL).await;
    space
        .apply(
            r#"
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {tidewait.dev/inject: "true"}}
    spec:
      restartPolicy: Never
      containers:
      - {name: app, image: localhost/app:1, args: [get, "http://127.0.0.1:8480/describe/zone-a"]}
"#,
        )
        .await;
    space.kubectl(&["wait", "--for=condition=Complete", "job/once", "--timeout=60s"]).await;
}

#[tokio::test]
async fn where_the_sidecar_cannot_be_added_closed_refuses_and_open_starts_without() {
    for (policy, starts) in [("Fail", false), ("Ignore", true)] {
        let space = Space::with(&[&format!("--set=inject.failurePolicy={policy}")]).await;
        let name = format!("{}.inject.tidewait.dev", space.name);
        space.node.kubectl(&["delete", "mutatingadmissionpolicybinding", &name], None).await;
        let ask = async || space.create_dry(&POD.replace("NAME", "bare")).await;
        let seen = until("no sidecar is added", ask, |made| !made.contains("tidewait-admin")).await;
        assert_eq!(seen.contains("kind: Pod"), starts, "{seen}");
        let why = format!("got no sidecar: is the MutatingAdmissionPolicy {name} there, and its binding?");
        assert_eq!(seen.contains(&why), !starts, "{seen}");
        // Open or closed, bad annotations are refused.
        let bad = APP.replace("    metadata:\n", "    metadata:\n      annotations: {tidewait.dev/port: none}\n");
        assert!(space.refused(&bad).await.contains("must be a port"));
    }
}

#[tokio::test]
async fn two_namespaces_do_not_see_each_other() {
    let (one, other) = (Space::with(&[]).await, Space::with(&["--set=ports.describe=8580"]).await);
    one.apply(MODEL).await;
    other.apply(&MODEL.replace("1450", "9000")).await;
    let (pod, twin) = (one.deploy(APP).await, other.deploy(APP).await);
    let (address, far) = (one.address(&pod).await, other.address(&twin).await);
    one.answers(&format!("http://{address}:8480/describe/zone-a"), "200 {\"mtu\":1450}").await;
    other.answers(&format!("http://{far}:8580/describe/zone-a"), "200 {\"mtu\":9000}").await;
    // No token of one may read the other.
    let whose = format!("--as=system:serviceaccount:{}:default", one.name);
    let groups = format!("--as-group=system:serviceaccounts:{}", one.name);
    for (space, answer) in [(&one, "yes"), (&other, "no")] {
        let can =
            ["auth", "can-i", "list", "describeoperations.tidewait.dev", &whose, &groups, "--namespace", &space.name];
        let output = space.node.inside("kubectl", &can, None).await;
        assert_eq!(combined_output(&output).trim(), answer);
    }
    // The end of one release is not the end of the other.
    assert!(one.helm(&["uninstall", "tidewait"]).await.status.success());
    let ask = async || one.create_dry(&POD.replace("NAME", "later")).await;
    until("pods stay as they are", ask, |made| !made.contains("name: tidewait\n")).await;
    assert!(other.create_dry(&POD.replace("NAME", "later")).await.contains("name: tidewait\n"));
    other.answers(&format!("http://{far}:8580/describe/zone-a"), "200 {\"mtu\":9000}").await;
}

/// Another policy, which puts an init container of its own into the pods of a namespace.
const OTHER: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: POLICY}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  matchConditions:
  - {name: not-yet, expression: "!object.spec.?initContainers.orValue([]).exists(c, c.name == 'other-X')"}
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: >-
        (has(object.spec.initContainers) ? [] : [JSONPatch{op: "add", path: "/spec/initContainers", value: []}]) +
        [JSONPatch{op: "add", path: "/spec/initContainers/0", value: {"name": dyn("other-X"),
        "image": dyn("localhost/app:1"), "restartPolicy": dyn("Always"), "args": dyn(["serve", ":ON"])}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: POLICY}
spec:
  policyName: POLICY
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: SPACE}}}
"#;
