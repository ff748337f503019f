//! The node does what a Kubernetes does: pods run, Services reach them by address and name, helm speaks to it.

use std::collections::BTreeSet;

use crate::node::{Node, until};

/// Two replicas of the app, each beside a native sidecar, and a Service for both.
const APP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      initContainers:
      - name: sidecar
        image: localhost/app:1
        args: [serve, ":8480"]
        restartPolicy: Always
        startupProbe: {httpGet: {port: 8480}, periodSeconds: 1, failureThreshold: 60}
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}
        resources: {limits: {memory: 32Mi}}
      containers:
      - name: app
        image: localhost/app:1
        args: [serve, ":8080"]
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec:
  selector: {app: app}
  ports: [{name: app, port: 80, targetPort: 8080}, {name: sidecar, port: 8480}]
"#;

#[tokio::test]
async fn the_node_is_ready() {
    let node = Node::shared();
    let status = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status} {.status.nodeInfo.kubeletVersion}";
    assert_eq!(node.kubectl(&["get", "node", "node1", "--output", status], None).await, "True v1.36.3");
}

#[tokio::test]
async fn a_service_reaches_both_pods_and_their_sidecars() {
    let node = Node::shared();
    let ns = node.namespace("serving").await;
    deploy(node, &ns).await;
    let address = ["get", "service", "app", "--namespace", &ns, "--output=jsonpath={.spec.clusterIP}"];
    let address = node.kubectl(&address, None).await;
    let names = ["get", "pods", "--selector=app=app", "--namespace", &ns];
    let names = node.kubectl(&[&names[..], &["--output=jsonpath={.items[*].metadata.name}"]].concat(), None).await;
    let pods: BTreeSet<String> = names.split(' ').map(str::to_owned).collect();
    assert_eq!(pods.len(), 2, "{pods:?}");
    for url in [format!("http://{address}/"), format!("http://app.{ns}.svc.cluster.local:8480/")] {
        // Which pod is chosen is chance, so it is asked until both have answered.
        let seen = std::sync::Mutex::new(BTreeSet::new());
        let ask = async || {
            let output = node.curl(&["--fail", &url]).await;
            let mut seen = seen.lock().expect("nobody panics with it");
            seen.insert(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
            seen.clone()
        };
        assert_eq!(until("both pods answer", ask, |seen| seen.len() >= 2).await, pods, "{url}");
    }
}

#[tokio::test]
async fn a_pod_reaches_a_service_by_name_and_its_log_is_read() {
    let node = Node::shared();
    let ns = node.namespace("asking").await;
    deploy(node, &ns).await;
    let run = ["run", "client", "--image=localhost/app:1", "--restart=Never", "--namespace", &ns, "--"];
    node.kubectl(&[&run[..], &["get", "http://app/from-a-pod"]].concat(), None).await;
    let done = ["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/client", "--timeout=60s", "--namespace", &ns];
    node.kubectl(&done, None).await;
    let answer = node.kubectl(&["logs", "client", "--namespace", &ns], None).await;
    assert!(answer.starts_with("app-"), "{answer}");
    // The log of the pod that answered, and a command run in it.
    let pod = answer.trim_end();
    let log = node.kubectl(&["logs", pod, "--container=app", "--namespace", &ns], None).await;
    assert!(log.lines().any(|line| line == "asked for /from-a-pod"), "{log}");
    let exec = ["exec", pod, "--container=app", "--namespace", &ns, "--", "/app", "get", "http://127.0.0.1:8480"];
    assert_eq!(node.kubectl(&exec, None).await, answer);
}

#[tokio::test]
async fn helm_speaks_to_the_node() {
    let node = Node::shared();
    let ns = node.namespace("helm").await;
    assert_eq!(node.helm(&["version", "--template={{.Version}}"]).await, "v4.3.1");
    assert_eq!(node.helm(&["list", "--namespace", &ns, "--output=json"]).await.trim_end(), "[]");
}

async fn deploy(node: &Node, namespace: &str) {
    node.kubectl(&["apply", "--namespace", namespace, "--filename", "-"], Some(APP)).await;
    let rollout = ["rollout", "status", "deployment/app", "--timeout=100s", "--namespace", namespace];
    node.kubectl(&rollout, None).await;
}
