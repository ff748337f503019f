//! The agent on each node, as the chart makes it: it keeps a folder of the node as the model says, whatever becomes of its pods
//! and of its server.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::chart::{APP, CHART, MODEL, Space, combined_output};
use crate::node::until;
use crate::tls::Certificate;

const DAEMON_SET: &str = "daemonset/agents-tidewait";
const ITS_PODS: &str = "--selector=app.kubernetes.io/instance=agents";

impl Space {
    /// A file of the node, in the folder that is this test's own; empty where it is not there.
    async fn on_the_node(&self, command: &str) -> String {
        let script = format!("cd \"${{KUBECONFIG%/*}}/var-lib/{}\" && {command}", self.name);
        combined_output(&self.node.inside("sh", &["-c", &script], None).await).trim().to_owned()
    }

    async fn file_is(&self, name: &str, text: &str) {
        let read = async || self.on_the_node(&format!("cat {name}")).await;
        until(&format!("{name} is {text}"), read, |found| found == text).await;
    }

    /// The agent's pod that is ready, and what its admin port answers.
    async fn ready_agent(&self) -> (String, String) {
        self.kubectl(&["rollout", "status", DAEMON_SET, "--timeout=100s"]).await;
        self.kubectl(&["wait", "pod", ITS_PODS, "--for=condition=Ready", "--timeout=100s"]).await;
        let pod = self.kubectl(&["get", "pods", ITS_PODS, "--output=jsonpath={.items[0].metadata.name}"]).await;
        let port = format!("http://{}:8481", self.address(&pod).await);
        (pod, port)
    }

    async fn mtu(&self, mtu: u32) {
        let patch = json!({"spec": {"mtu": mtu}}).to_string();
        self.kubectl(&["patch", "networkmodel", "zone-a", "--type=merge", "--patch", &patch]).await;
    }

    /// A server over TLS that service accounts poll, and agents of it.
    async fn with_agents() -> Self {
        let space = Self::empty().await;
        space.apply(MODEL).await;
        let certificate = Certificate::of(&space).await;
        let app = space.deploy(&APP.replace("inject: \"true\"", "inject: \"false\"")).await;
        let server = format!(
            "--set=mode=proxy,proxy.upstream=http://{}:8080,proxy.replicas=1,service.port=443,tls.secretName=tidewait-tls,\
             access.anonymous=false,access.kubernetes.audiences={{tidewait}}",
            space.address(&app).await
        );
        let installed = space.helm(&["install", "tidewait", CHART, &server, "--wait", "--timeout=100s"]).await;
        assert!(installed.status.success(), "{}", combined_output(&installed));
        let ca = format!("--from-file={}", certificate.authority());
        space.kubectl(&["create", "configmap", "tidewait-ca", &ca]).await;
        let agent = json!({
            "endpoints": [format!("https://tidewait.{}.svc.cluster.local", space.name)],
            "operation": "/describe/zone-a",
            "hostPath": format!("/var/lib/{}", space.name),
            "outputs": ["network.json", "/mtu=mtu.txt"],
            "ca": {"configMapName": "tidewait-ca"},
        });
        let agent = format!("agent={agent}");
        let installed = space.helm(&["install", "agents", CHART, "--set=mode=agent", "--set-json", &agent]).await;
        assert!(installed.status.success(), "{}", combined_output(&installed));
        let notes = format!("An agent on every node keeps /var/lib/{}/ as /describe/zone-a of https://", space.name);
        assert!(combined_output(&installed).contains(&notes), "{}", combined_output(&installed));
        space
    }
}

#[tokio::test]
async fn a_folder_of_the_node_follows_the_model_and_outlives_pods_and_the_server() {
    let space = Space::with_agents().await;
    let (pod, port) = space.ready_agent().await;
    space.file_is("network.json", "{\"mtu\":1450}").await;
    space.file_is("mtu.txt", "1450").await;
    assert_eq!(space.on_the_node("stat --format='%a %u' network.json").await, "644 0");
    // The server knows the node by the token of its service account, and its name.
    let node = space.field(&format!("pod/{pod}"), "{.spec.nodeName}").await;
    let server =
        space.kubectl(&["get", "pods", "--selector=app.kubernetes.io/instance=tidewait", "--output=name"]).await;
    let server = space.address(server.trim().trim_start_matches("pod/")).await;
    let agents = space.get(&format!("http://{server}:8481/agents?operation=zone-a")).await;
    let account = format!("system:serviceaccount:{}:agents-tidewait", space.name);
    assert!(
        agents.contains(&account) && agents.contains(&node) && agents.contains("\"authenticated\":true"),
        "{agents}"
    );
    space.mtu(1400).await;
    space.file_is("network.json", "{\"mtu\":1400}").await;
    // Without a server it is ready and alive, and says what is wrong.
    space.kubectl(&["scale", "deployment/tidewait", "--replicas=0"]).await;
    let says = async || space.get(&format!("{port}/readyz")).await;
    until("no state comes", says, |answer| answer.starts_with("200 ok, but no state comes: ")).await;
    space.answers(&format!("{port}/livez"), "200 ok").await;
    // Its pod is replaced meanwhile, and a file is lost: the last good one comes back.
    space.kubectl(&["delete", "pod", &pod, "--timeout=100s"]).await;
    space.file_is("network.json", "{\"mtu\":1400}").await;
    let (pod, port) = space.ready_agent().await;
    space.on_the_node("rm network.json mtu.txt").await;
    space.kubectl(&["delete", "pod", &pod, "--timeout=100s"]).await;
    let (pod, _) = space.ready_agent().await;
    space.file_is("network.json", "{\"mtu\":1400}").await;
    space.file_is("mtu.txt", "1400").await;
    let status = ["/tidewait", "agent", "status", "--admin=http://127.0.0.1:8481", "--fail-if=stopped,empty"];
    let status = [&["exec", &pod, "--namespace", &space.name, "--"], &status[..]].concat();
    let told = space.node.kubectl(&status, None).await;
    assert!(told.contains("no state comes: ") && told.contains("network.json"), "{told}");
    assert!(space.get(&format!("{port}/livez")).await.starts_with("000"), "that pod is gone");
    // With a server it goes on, and no probe of it has ever failed but the first ones for the output.
    space.kubectl(&["scale", "deployment/tidewait", "--replicas=1"]).await;
    space.mtu(1350).await;
    space.file_is("network.json", "{\"mtu\":1350}").await;
    assert_eq!(space.field(&format!("pod/{pod}"), "{.status.containerStatuses[0].restartCount}").await, "0");
    let events =
        space.kubectl(&["get", "events", "--field-selector=reason=Unhealthy", "--output=jsonpath={.items[*].message}"]);
    let events = events.await;
    assert!(!events.contains("Liveness"), "{events}");
}

/// The manifest for those who have no helm is what the chart makes.
#[tokio::test]
async fn the_manifest_is_what_the_chart_makes() {
    let agent = json!({
        "endpoints": ["https://tidewait.edge.svc:8480"],
        "hostPath": "/var/lib/edge",
        "outputs": ["network.json"],
        "ca": {"configMapName": "tidewait-ca"},
    });
    let agent = format!("agent={agent}");
    let name = "serviceAccount.name=tidewait-agent";
    let made = super::rendering::render(&["--set", "mode=agent", "--set", name, "--set-json", &agent]).await;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/agent/daemonset.yaml");
    let spec = |text: &str| {
        let set = text.split("---\n").find(|part| part.contains("kind: DaemonSet")).expect("one");
        let mut set: Value = serde_yaml::from_str(set).expect("YAML");
        set["spec"]["template"]["spec"]["containers"][0]["image"].take();
        [set["spec"]["updateStrategy"].take(), set["spec"]["template"]["spec"].take()]
    };
    assert_eq!(spec(&fs::read_to_string(manifest).expect("text")), spec(&made));
}
