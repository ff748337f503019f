//! Many replicas of the built binary and one real API server: clients that come from another
//! replica, or lie about what they hold.

use std::time::Duration;

use http::StatusCode;

use super::{apply, version};
use crate::api_proxy::{Answer, ApiProxy, Fault, Matches, Seen};
use crate::control_plane::{ControlPlane, Namespace};
use crate::server::{Client, Reply, STEP, Server};

/// A replica that sees the API server through a proxy of its own.
pub(super) struct Replica {
    pub(super) server: Server,
    pub(super) proxy: ApiProxy,
}

impl Replica {
    pub(super) async fn start(plane: &ControlPlane, namespace: &Namespace, more: &[&str]) -> Self {
        let proxy = ApiProxy::start(plane).await;
        let source = format!("{namespace}/network:network.json");
        let kubeconfig = proxy.kubeconfig().to_str().expect("a path in UTF-8").to_owned();
        let arguments = ["--configmap", &source, "--kubeconfig", &kubeconfig];
        let mut server = Server::start(&[&arguments[..], more].concat()).await;
        server.ready().await;
        proxy.wait_for_watches(1).await;
        Self { server, proxy }
    }

    pub(super) fn gets(&self) -> usize {
        self.proxy.count(|seen| seen.is(Matches::Get))
    }

    pub(super) fn lists(&self) -> usize {
        self.proxy.count(|seen| seen.is(Matches::List))
    }

    /// Polls without parking.
    pub(super) async fn poll(&self, since: &str) -> Reply {
        self.server.get(&format!("/describe?since={since}&wait=0")).await
    }

    /// Waits until the model with this serial is served.
    pub(super) async fn serves(&self, serial: u64, within: Duration) {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        let waited = tokio::time::timeout(within, async {
            while serial_of(&self.poll("").await) != serial {
                look.tick().await;
            }
        });
        let reached = waited.await.is_ok();
        assert!(reached, "it serves {}, not {serial}, after {within:?}", serial_of(&self.poll("").await));
    }
}

pub(super) fn serial_of(reply: &Reply) -> u64 {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["serial"].as_u64().expect("models here have a serial")
}

/// The same epoch, another state, another version.
fn lie(id: &str, version: u64) -> String {
    let (epoch, digest) = (id.split('.').next().expect("an epoch"), id.split('.').nth(2).expect("a digest"));
    let other: String = digest.chars().rev().collect();
    assert_ne!(other, digest);
    format!("{epoch}.{version}.{other}")
}

#[tokio::test]
async fn a_lie_about_a_huge_version_costs_one_read_and_wakes_nobody() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("ahead").await;
    apply(plane, &namespace, 1).await;
    let replica = Replica::start(plane, &namespace, &[]).await;
    let id = replica.poll("").await.id().to_owned();
    let mut parked = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(replica.server.listen).await;
        client.send("GET", &format!("/describe?since={id}&wait=20"), &[]).await;
        parked.push(client);
    }
    let gauge = r#"tidewait_parked_requests{operation="describe"}"#;
    replica.server.metric_becomes(gauge, 3.0).await;
    let (gets, lists) = (replica.gets(), replica.lists());
    let reply = replica.poll(&lie(&id, u64::MAX)).await;
    assert_eq!((reply.status, reply.id()), (200, &*id), "the current state, whatever it claims");
    assert_eq!((replica.gets(), replica.lists()), (gets + 1, lists), "{:#?}", replica.proxy.requests());
    // Its own state at whatever version, an older one, an ETag: nothing to read.
    let (epoch, digest) = (id.split('.').next().expect("an epoch"), id.split('.').nth(2).expect("a digest"));
    for (since, status) in [
        (format!("{epoch}.{}.{digest}", u64::MAX), 204),
        (lie(&id, 1), 200),
        (lie(&id, 7).replacen(".7.", ".", 1), 200),
    ] {
        assert_eq!(replica.poll(&since).await.status, status, "{since}");
    }
    assert_eq!(replica.gets(), gets + 1);
    assert!((replica.server.metric(gauge).await - 3.0).abs() < 0.5, "nobody is released");
    let read = r#"tidewait_kubernetes_reads_total{cause="asked",result="same"}"#;
    assert!((replica.server.metric(read).await - 1.0).abs() < 0.5);
}

/// The pace of publications keeps the second model back, and the first read fails: what the second read shows is
/// published before anybody is answered by it.
#[tokio::test]
async fn a_read_that_failed_is_made_again_and_what_that_shows_is_published_first() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("ahead").await;
    apply(plane, &namespace, 1).await;
    let replica = Replica::start(plane, &namespace, &["--min-interval", "60s"]).await;
    let id = replica.poll("").await.id().to_owned();
    apply(plane, &namespace, 2).await;
    let answer = Answer {
        matches: Matches::Get,
        status: StatusCode::SERVICE_UNAVAILABLE,
        retry_after: None,
        times: 1,
        as_event: false,
    };
    replica.proxy.set(Fault::Answer(answer)).await;
    let reply = replica.poll(&lie(&id, u64::MAX)).await;
    assert_eq!(serial_of(&reply), 2, "{reply:?}");
    let failed = r#"tidewait_kubernetes_reads_total{cause="asked",result="failed"}"#;
    assert!((replica.server.metric(failed).await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn without_the_api_server_a_client_that_is_ahead_gets_503_and_others_the_last_good_state() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("ahead").await;
    apply(plane, &namespace, 1).await;
    let replica = Replica::start(plane, &namespace, &[]).await;
    let id = replica.poll("").await.id().to_owned();
    replica.proxy.set(Fault::Blackhole).await;
    let asked = tokio::time::Instant::now();
    let reply = replica.poll(&lie(&id, u64::MAX)).await;
    assert_eq!(reply.status, 503);
    assert!(!reply.field("retry-after").is_empty() && asked.elapsed() >= Duration::from_secs(3), "{reply:?}");
    assert_eq!(replica.poll("").await.status, 200);
    replica.proxy.set(Fault::Pass).await;
    assert_eq!(replica.poll(&lie(&id, u64::MAX)).await.status, 200, "what was held up goes on");
}

/// Annotations written between the starts of two replicas, of which one never hears of them.
#[tokio::test]
async fn the_ids_of_one_replica_park_on_the_other_whatever_their_versions() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("ahead").await;
    apply(plane, &namespace, 1).await;
    let early = Replica::start(plane, &namespace, &[]).await;
    early.proxy.set(Fault::Blackhole).await;
    plane.kubectl_ok(&["annotate", "-n", &namespace, "configmap/network", "owner=edge"], None).await;
    let late = Replica::start(plane, &namespace, &[]).await;
    let ids = [early.poll("").await.id().to_owned(), late.poll("").await.id().to_owned()];
    assert!(version(&ids[0]) < version(&ids[1]), "{ids:?}");
    let gets = (early.gets(), late.gets());
    for replica in [&early, &late] {
        for id in &ids {
            let asked = tokio::time::Instant::now();
            let reply = replica.server.get(&format!("/describe?since={id}&wait=1")).await;
            assert_eq!(reply.status, 204, "{id}");
            assert!(asked.elapsed() >= Duration::from_millis(900), "it parked");
        }
    }
    assert_eq!((early.gets(), late.gets()), gets, "without a read");
    early.proxy.set(Fault::Pass).await;
}

/// The read of one replica is served before a write and arrives after it, and so does its watch.
#[tokio::test]
async fn a_read_that_is_late_takes_nobody_back() {
    let plane = ControlPlane::shared().await;
    for watch_too in [false, true] {
        let namespace = plane.namespace("ahead").await;
        apply(plane, &namespace, 1).await;
        let (slow, fast) = (Replica::start(plane, &namespace, &[]).await, Replica::start(plane, &namespace, &[]).await);
        let first = fast.poll("").await.id().to_owned();
        let late = if watch_too { Matches::Only(|seen: &Seen| !seen.is(Matches::List)) } else { Matches::Get };
        slow.proxy.set(Fault::DelayOf(late, Duration::from_secs(2))).await;
        let gets = slow.gets();
        let mut client_ahead = Client::connect(slow.server.listen).await;
        client_ahead.send("GET", &format!("/describe?since={}&wait=0", lie(&first, u64::MAX)), &[]).await;
        let answered = |seen: &&Seen| seen.is(Matches::Get) && seen.answered.is_some();
        slow.proxy.wait_for("a read", |all| all.iter().filter(answered).count() > gets).await;
        apply(plane, &namespace, 2).await;
        fast.serves(2, STEP).await;
        let second = fast.poll(&first).await.id().to_owned();
        assert_ne!(first, second);
        // A client that has the new state comes to the slow replica, while the old one is on its way there, and stays.
        let mut statuses = Vec::new();
        let end = tokio::time::Instant::now() + Duration::from_secs(8);
        while tokio::time::Instant::now() < end {
            let reply = slow.server.get(&format!("/describe?since={second}&wait=0.2")).await;
            assert!(matches!(reply.status, 204 | 503), "never the old one: {reply:?}");
            statuses.push(reply.status);
            if reply.status == 204 {
                assert_eq!(reply.id(), second);
            }
        }
        assert_eq!(statuses.last(), Some(&204), "{statuses:?}");
        let reply = client_ahead.reply().await;
        assert_eq!(reply.status, 200, "it holds neither");
        assert_eq!(serial_of(&slow.poll("").await), 2);
    }
}
