//! Releases whose port speaks TLS, and who is let in by which token over it.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::chart::{APP, CHART, MODEL, Space, chart, combined_output};
use crate::node::until;

/// A certificate of an authority of its own, in a Secret as cert-manager makes them.
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// For the Service `tidewait` of a namespace, in the Secret `tidewait-tls`.
    pub(crate) async fn of(space: &Space) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (ca_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, format!("authority of {}", space.name));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = authority.self_signed(&ca_key).expect("a certificate");
        // The names of examples/certificate.yaml.
        let names = ["", ".SPACE", ".SPACE.svc", ".SPACE.svc.cluster.local"];
        let names: Vec<_> = names.iter().map(|end| format!("tidewait{}", end.replace("SPACE", &space.name))).collect();
        let server = CertificateParams::new(names).expect("names");
        let server = server.signed_by(&key, &Issuer::new(authority, ca_key)).expect("a certificate");
        for (name, text) in [("ca.crt", ca.pem()), ("tls.crt", server.pem()), ("tls.key", key.serialize_pem())] {
            fs::write(folder.path().join(name), text).expect("it can be written");
        }
        let files = format!("--from-file={}", folder.path().display());
        space.kubectl(&["create", "secret", "generic", "tidewait-tls", "--type=kubernetes.io/tls", &files]).await;
        Self { folder }
    }

    pub(crate) fn authority(&self) -> String {
        self.folder.path().join("ca.crt").display().to_string()
    }
}

impl Space {
    /// What curl prints with a token, over TLS by this authority.
    async fn https(&self, by: &Certificate, token: &str, args: &[&str]) -> String {
        let field = format!("Authorization: Bearer {token}");
        let ca = by.authority();
        let all = ["--cacert", &ca, "--header", &field, "--max-time", "60", "--write-out", " %{http_code}"];
        combined_output(&self.node.curl(&[&all[..], args].concat()).await)
    }

    async fn token(&self, account: &str) -> String {
        let token = self.kubectl(&["create", "token", account, "--audience=tidewait"]).await;
        token.trim().to_owned()
    }
}

#[tokio::test]
async fn service_accounts_poll_over_tls_and_helm_test_asks_over_it() {
    let space = Space::empty().await;
    space.node.load("load-curl");
    space.apply(MODEL).await;
    space.kubectl(&["create", "serviceaccount", "node"]).await;
    let certificate = Certificate::of(&space).await;
    let pod = space.deploy(&APP.replace("inject: \"true\"", "inject: \"false\"")).await;
    let set = format!(
        "--set=mode=proxy,proxy.upstream=http://{}:8080,proxy.replicas=1,service.port=443,tls.secretName=tidewait-tls,\
         access.anonymous=false,access.kubernetes.audiences={{tidewait}},tests.image=localhost/curl:1",
        space.address(&pod).await
    );
    let installed = space.helm(&["install", "tidewait", CHART, &set, "--wait", "--timeout=100s"]).await;
    assert!(installed.status.success(), "{}", combined_output(&installed));

    let base = format!("https://tidewait.{}.svc.cluster.local", space.name);
    let url = format!("{base}/describe/zone-a");
    let token = space.token("node").await;
    let ask = async || space.https(&certificate, &token, &[&url]).await;
    until("the service account polls", ask, |answer| answer == "{\"mtu\":1450} 200").await;
    assert!(space.https(&certificate, "rubbish", &[&url]).await.ends_with(" 401"));
    let untrusted = space.get(&url).await;
    assert!(untrusted.starts_with("000"), "curl knows the authority only where it is told: {untrusted}");
    let clear = space.get(&url.replace("https:", "http:").replace(".local/", ".local:443/")).await;
    assert!(clear.starts_with("400 ") && clear.contains("https-only"), "{clear}");

    // It waits, and is given the next state.
    let head = space.https(&certificate, &token, &["--include", &url]).await;
    let id = head.lines().find_map(|line| line.strip_prefix("state-id: ")).expect("an id").trim().to_owned();
    let parked = [&*format!("{url}?since={id}&wait=50")];
    let metric = format!("http://{}:8481/metrics", proxy_address(&space).await);
    let change = async {
        let ask = async || space.get(&metric).await;
        let parks = "tidewait_parked_requests{operation=\"zone-a\"} 1";
        until("the poll is parked", ask, |told| told.lines().any(|line| line == parks)).await;
        space.kubectl(&["patch", "netm/zone-a", "--type=merge", "--patch={\"spec\":{\"mtu\":1400}}"]).await;
    };
    let (answer, ()) = tokio::join!(space.https(&certificate, &token, &parked), change);
    assert_eq!(answer, "{\"mtu\":1400} 200");

    // As its notes say, with the command that is its default.
    let tested = space.helm(&["test", "tidewait", "--timeout=60s"]).await;
    assert!(tested.status.success() && combined_output(&tested).contains("Succeeded"), "{}", combined_output(&tested));
    let log = space.kubectl(&["logs", "tidewait-test"]).await;
    assert_eq!(log.trim(), pod, "the app has answered");
    // It does look at the certificate: by another authority it is not good.
    let other = Certificate::of(&Space::empty().await).await;
    let data = fs::read_to_string(other.authority()).expect("text");
    let patch = serde_json::json!({"stringData": {"ca.crt": data}}).to_string();
    space.kubectl(&["patch", "secret", "tidewait-tls", &format!("--patch={patch}")]).await;
    space.install(&[&set, "--set=tests.command={curl,--fail,--silent,--show-error}"]).await;
    let tested = space.helm(&["test", "tidewait", "--timeout=60s"]).await;
    assert!(!tested.status.success(), "{}", combined_output(&tested));
    let log = space.kubectl(&["logs", "tidewait-test"]).await;
    assert!(log.contains("curl: (60)"), "{log}");
}

/// The address of the proxy's pod.
async fn proxy_address(space: &Space) -> String {
    let pods =
        ["get", "pods", "--selector=app.kubernetes.io/instance=tidewait", "--output=jsonpath={.items[0].status.podIP}"];
    space.kubectl(&pods).await
}

/// The example, as it stands but for the namespace.
#[tokio::test]
async fn tokens_of_the_cluster_as_an_issuer_get_their_part_by_the_rules_of_the_release() {
    let space = Space::empty().await;
    space.apply(&MODEL.replace("spec: {mtu: 1450}", "spec: {mtu: 1450, secret: 1, nodes: {}}")).await;
    space.apply(&MODEL.replace("zone-a", "zone-b").replace("name: zone-b", "name: other")).await;
    for account in ["node", "other"] {
        space.kubectl(&["create", "serviceaccount", account]).await;
    }
    let certificate = Certificate::of(&space).await;
    space
        .kubectl(&["create", "configmap", "corp-ca", &format!("--from-file=ca.crt={}", certificate.authority())])
        .await;
    let keys = space.node.kubectl(&["get", "--raw", "/openid/v1/jwks"], None).await;
    space.kubectl(&["create", "configmap", "cluster-keys", &format!("--from-literal=jwks.json={keys}")]).await;
    let example = fs::read_to_string(chart().join("examples/issuers.yaml")).expect("text");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |text: &str| {
        let file = folder.path().join("values.yaml");
        fs::write(&file, text).expect("it can be written");
        format!("--values={}", file.display())
    };
    let mine = example.replace("serviceaccount:shop:", &format!("serviceaccount:{}:", space.name));
    let values = write(&mine);
    let release = "--set=access.anonymous=false,service.enabled=true,service.port=443,selector.app=shop";
    space.release(&[release, &values]).await;
    space.deploy(APP).await;
    let url = format!("https://tidewait.{}.svc.cluster.local/describe/zone-a", space.name);
    let (node, other) = (space.token("node").await, space.token("other").await);
    let ask = async || space.https(&certificate, &node, &[&url]).await;
    until("the node polls its part", ask, |answer| answer == "{\"mtu\":1450} 200").await;
    assert!(space.https(&certificate, &other, &[&url]).await.ends_with(" 403"));
    assert!(space.https(&certificate, &node, &[&url.replace("zone-a", "zone-b")]).await.ends_with(" 403"));
    assert!(space.https(&certificate, "rubbish", &[&url]).await.ends_with(" 401"));

    // As the README of the chart says of a change.
    let values = write(&mine.replace("restrict: [/mtu", "restrict: [/secret"));
    space.install(&[release, &values]).await;
    space.kubectl(&["rollout", "restart", "deployment/shop"]).await;
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=100s"]).await;
    let ask = async || space.https(&certificate, &node, &[&url]).await;
    until("the node polls what is its part now", ask, |answer| answer == "{\"secret\":1} 200").await;
}
