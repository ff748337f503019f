//! The chart on the node: a release in a namespace of its own, an app beside which its sidecar comes, and a model.

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::sync::OnceCell;

use crate::node::{Node, until};

/// A Deployment of the tests' app, whose pods ask for the sidecar.
pub(crate) const APP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata:
      labels: {app: shop, tidewait.dev/inject: "true"}
    spec:
      containers:
      - {name: app, image: localhost/app:1, args: [serve, ":8080"], ports: [{containerPort: 8080}]}
"#;

/// A model, and the path that serves it.
pub(crate) const MODEL: &str = "
apiVersion: tidewait.dev/v1alpha1
kind: NetworkModel
metadata: {name: zone-a}
spec: {mtu: 1450}
---
apiVersion: tidewait.dev/v1alpha1
kind: DescribeOperation
metadata: {name: zone-a}
spec:
  path: /describe/zone-a
  source:
    resource: {apiVersion: tidewait.dev/v1alpha1, kind: NetworkModel, name: zone-a}
";

/// Pods of [`APP`] that run.
pub(crate) const RUNNING: &str = "jsonpath={.items[?(@.status.phase==\"Running\")].metadata.name}";

/// Where the chart lies.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/tidewait")
}

/// A namespace of the shared node, in which the chart may be installed as the release `tidewait`.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) node: &'static Node,
    pub(crate) name: String,
}

impl Space {
    /// A namespace of its own, without a release. The custom resource definitions are there: tests that run side by
    /// side would take them from each other.
    pub(crate) async fn empty() -> Self {
        static DEFINITIONS: OnceCell<()> = OnceCell::const_new();
        let node = Node::shared();
        DEFINITIONS
            .get_or_init(async || {
                let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
                let crds = crds.to_string_lossy();
                node.kubectl(&["apply", "--server-side", "--filename", &crds], None).await;
                node.kubectl(&["wait", "--for=condition=Established", "--filename", &crds], None).await;
            })
            .await;
        Self { node, name: node.namespace("chart").await }
    }

    /// The same, with a release of these settings in it.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let space = Self::empty().await;
        space.release(settings).await;
        space
    }

    /// Installs the chart, and waits until pods get their sidecar.
    pub(crate) async fn release(&self, settings: &[&str]) {
        self.install(settings).await;
        self.policies_act().await;
    }

    /// Installs the chart, or upgrades what is installed.
    pub(crate) async fn install(&self, settings: &[&str]) {
        let output = self.helm(&[&["upgrade", "--install", "tidewait", CHART][..], settings].concat()).await;
        assert!(output.status.success(), "{}", combined_output(&output));
    }

    /// What helm does with a command for this namespace; [`CHART`] stands for the chart and what every release needs.
    pub(crate) async fn helm(&self, args: &[&str]) -> Output {
        let chart = chart();
        let all = args.iter().flat_map(|arg| match *arg {
            CHART => vec![chart.to_str().expect("text"), "--set=access.anonymous=true,crds.enabled=false"],
            arg => vec![arg],
        });
        let all: Vec<_> = all.chain(["--namespace", &self.name]).collect();
        self.node.inside("helm", &all, None).await
    }

    /// The API server has begun to act by the policies of a release: it hears of them a moment after they are written.
    async fn policies_act(&self) {
        let pod = POD.replace("NAME", "probe");
        let ask = async || self.create_dry(&pod).await;
        until("pods are given the sidecar", ask, |answer| answer.contains("tidewait-admin")).await;
        let wrong = pod.replace("metadata: {", "metadata: {annotations: {tidewait.dev/port: none}, ");
        let ask = async || self.create_dry(&wrong).await;
        until("bad annotations are refused", ask, |answer| answer.contains("must be a port")).await;
    }

    /// What the API server would make of a manifest, or what it says against it.
    pub(crate) async fn create_dry(&self, manifest: &str) -> String {
        let args = ["create", "--dry-run=server", "--output=yaml", "--namespace", &self.name, "--filename=-"];
        combined_output(&self.node.inside("kubectl", &args, Some(manifest)).await)
    }

    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        self.node.kubectl(&[args, &["--namespace", &self.name]].concat(), None).await
    }

    pub(crate) async fn apply(&self, manifest: &str) {
        self.node.kubectl(&["apply", "--namespace", &self.name, "--filename=-"], Some(manifest)).await;
    }

    /// What kubectl says to a manifest that it must not take.
    pub(crate) async fn refused(&self, manifest: &str) -> String {
        let args = ["apply", "--namespace", &self.name, "--filename=-"];
        let output = self.node.inside("kubectl", &args, Some(manifest)).await;
        assert!(!output.status.success(), "it is taken: {}", combined_output(&output));
        combined_output(&output)
    }

    /// Applies a Deployment called shop and waits until its pods are ready; gives the name of one.
    pub(crate) async fn deploy(&self, manifest: &str) -> String {
        self.apply(manifest).await;
        self.kubectl(&["rollout", "status", "deployment/shop", "--timeout=100s"]).await;
        self.pod().await
    }

    /// The name of one pod of shop that runs.
    pub(crate) async fn pod(&self) -> String {
        let names = self.kubectl(&["get", "pods", "--selector=app=shop", "--output", RUNNING]).await;
        names.split(' ').next().expect("split gives one").to_owned()
    }

    /// One field of an object, by its JSON path.
    pub(crate) async fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, &format!("--output=jsonpath={path}")]).await
    }

    /// The address of a pod.
    pub(crate) async fn address(&self, pod: &str) -> String {
        self.field(&format!("pod/{pod}"), "{.status.podIP}").await
    }

    /// Status and body that a URL answers; 000 where nothing answers.
    pub(crate) async fn get(&self, url: &str) -> String {
        let output = self.node.curl(&["--write-out", "%{http_code}", url]).await;
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = answer.split_at(answer.len().saturating_sub(3));
        format!("{status} {}", body.trim_end())
    }

    /// Waits until a URL answers exactly this.
    pub(crate) async fn answers(&self, url: &str, answer: &str) {
        until(&format!("{url} answers {answer}"), async || self.get(url).await, |seen| seen == answer).await;
    }
}

/// The chart with what every release of these tests needs.
pub(crate) const CHART: &str = "CHART";

/// A pod that asks for the sidecar and never ends.
pub(crate) const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: shop, tidewait.dev/inject: "true"}}
spec:
  containers:
  - {name: app, image: localhost/app:1, args: [serve, ":8080"]}
"#;

/// Everything that a command printed.
pub(crate) fn combined_output(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &output.stderr].concat()).into_owned()
}
