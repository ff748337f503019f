//! Prometheus with the token of its service account: the admin port speaks TLS, asks who it is, and the kubelet's probes and
//! preStop go on.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::chart::{APP, MODEL, Space};
use crate::node::until;

/// Writes an authority, and a certificate with its key for `tidewait.test`.
fn certificates(folder: &Path) -> [String; 3] {
    let mut params = CertificateParams::new(Vec::new()).expect("no hosts");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["tidewait.test".to_owned()]).expect("a host");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
    [("ca.crt", authority), ("tls.crt", certificate), ("tls.key", key.serialize_pem())].map(|(name, text)| {
        let path = folder.join(name);
        fs::write(&path, text).expect("it can be written");
        path.to_str().expect("UTF-8").to_owned()
    })
}

/// The roles that docs/access.md shows, for a service account of this namespace.
fn roles(namespace: &str) -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access.md")).expect("text");
    let (_, section) = page.split_once("### Prometheus\n").expect("a section");
    let (_, block) = section.split_once("```yaml\n").expect("an example");
    let (block, _) = block.split_once("```").expect("it ends");
    assert!(block.contains("namespace: monitoring") && block.contains("name: tidewait-metrics"), "{block}");
    block
        .replace("namespace: monitoring", &format!("namespace: {namespace}"))
        .replace("name: tidewait-metrics", &format!("name: metrics-{namespace}"))
}

#[tokio::test]
async fn a_service_account_reads_metrics_where_others_may_not_and_probes_go_on() {
    let settings = "--set=access.anonymous=false,access.kubernetes.audiences={tidewait},access.authorization=kubernetes,\
                    access.admin=true,tls.secretName=edge-tls,tls.admin=true";
    let space = Space::with(&[settings]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let [ca, certificate, key] = certificates(folder.path());
    let pair = [format!("--cert={certificate}"), format!("--key={key}")];
    space.kubectl(&["create", "secret", "tls", "edge-tls", &pair[0], &pair[1]]).await;
    space.apply(MODEL).await;
    // Ready: the kubelet's probes are answered, which show nothing.
    let pod = space.deploy(APP).await;
    let connect = format!("tidewait.test:8481:{}:8481", space.address(&pod).await);
    let get = async |path: &str, token: &str| {
        let (url, field) = (format!("https://tidewait.test:8481{path}"), format!("Authorization: Bearer {token}"));
        let tls = ["--cacert", &ca, "--connect-to", &connect, "--write-out", " %{http_code}", &url];
        let credential = if token.is_empty() { vec![] } else { vec!["--header", &field] };
        let output = space.node.curl(&[&tls[..], &credential].concat()).await;
        // What curl says of a failure stands before its 000.
        String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned()
    };
    let token = async |account: &str, audience: &str| {
        space.kubectl(&["create", "serviceaccount", account]).await;
        let token = space.kubectl(&["create", "token", account, "--audience", audience]).await;
        token.trim().to_owned()
    };
    let (prometheus, other) = (token("prometheus", "tidewait").await, token("other", "tidewait").await);
    space.apply(&roles(&space.name)).await;
    let scrape = async || get("/metrics", &prometheus).await;
    let metrics = until("prometheus reads metrics", scrape, |answer| answer.ends_with(" 200")).await;
    assert!(metrics.contains("tidewait_admin_refused_total{reason=\"missing\"} 0\n"), "{metrics}");
    for (path, token, status) in [
        ("/agents", &*prometheus, " 403"),
        ("/metrics", &other, " 403"),
        ("/metrics", "", " 401"),
        ("/metrics", "nonsense", " 401"),
        ("/readyz", "", " 200"),
    ] {
        let answer = get(path, token).await;
        assert!(answer.ends_with(status), "{path} {answer}");
    }
    // preStop asks the admin port over TLS.
    space.kubectl(&["delete", "pod", &pod, "--timeout=100s"]).await;
    let failed = space.kubectl(&["get", "events", "--field-selector=reason=FailedPreStopHook", "--output=name"]).await;
    assert_eq!(failed.trim(), "");
    space.node.kubectl(&["delete", "--filename=-"], Some(&roles(&space.name))).await;
}
