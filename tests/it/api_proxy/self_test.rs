//! Tests of the fault-injecting proxy itself.

use std::pin::Pin;
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _};
use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{Answer, ApiProxy, Fault, Matches};
use crate::control_plane::{ControlPlane, Namespace, config};

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Send>>;

/// A proxy, and config maps seen through it and past it.
struct Setup {
    proxy: ApiProxy,
    through: Api<ConfigMap>,
    past: Api<ConfigMap>,
    namespace: Namespace,
}

impl Setup {
    async fn new() -> Self {
        let plane = ControlPlane::shared().await;
        let namespace = plane.namespace("proxy").await;
        let proxy = ApiProxy::start(plane).await;
        let mut config = config(proxy.kubeconfig()).await.expect("the proxy's kubeconfig is valid");
        // A client that repeats requests by itself would hide the faults.
        config.default_retry = false;
        assert_eq!(config.cluster_url.to_string().trim_end_matches('/'), proxy.url());
        let client = kube::Client::try_from(config).expect("a client can be made");
        let through = Api::namespaced(client, &namespace);
        let past = Api::namespaced(plane.client().await, &namespace);
        Self { proxy, through, past, namespace }
    }

    /// Writes a config map past the proxy.
    async fn write(&self, name: &str) {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
        let params = PatchParams::apply("test");
        self.past.patch(name, &params, &Patch::Apply(map)).await.expect("a config map can be written");
    }

    /// A running watch through the proxy, which has shown its first event.
    async fn watch(&self) -> Events {
        self.write("first").await;
        let events = self.through.watch(&watch_params(), "0").await.expect("a watch is answered");
        let mut events = events.boxed();
        assert_eq!(next_added(&mut events).await, "first");
        events
    }
}

#[tokio::test]
async fn passes_and_counts() {
    let setup = Setup::new().await;
    let mut events = setup.watch().await;
    setup.through.list(&ListParams::default()).await.expect("a list is answered");
    setup.through.get("first").await.expect("a get is answered");
    setup.write("second").await;
    assert_eq!(next_added(&mut events).await, "second");
    let proxy = &setup.proxy;
    for kind in [Matches::Watch, Matches::List, Matches::Get] {
        assert_eq!(proxy.count(|seen| seen.is(kind)), 1, "{kind:?} in {:?}", proxy.requests());
    }
    assert_eq!(proxy.count(|seen| seen.is(Matches::Write)), 0);
    assert_eq!(proxy.count(|seen| seen.is(Matches::Any)), 3);
    assert!(proxy.requests().is_sorted_by_key(|seen| seen.at));
    let params = DeleteParams::default();
    let later = setup.through.delete("second", &params);
    let delete = Matches::Only(|seen| seen.method == Method::DELETE);
    let waits = proxy.wait_for("a delete", |all| all.iter().any(|seen| seen.is(delete)));
    let (deleted, ()) = tokio::join!(later, waits);
    deleted.expect("a delete is answered");
}

#[tokio::test]
async fn kubectl_works_through_it() {
    let setup = Setup::new().await;
    setup.write("first").await;
    let file = setup.proxy.kubeconfig().to_str().expect("the temporary folder's name is UTF-8");
    let ns: &str = &setup.namespace;
    // The last --kubeconfig counts.
    let args = ["get", "configmaps", "--namespace", ns, "--output=name", "--kubeconfig", file];
    let names = ControlPlane::shared().await.kubectl_ok(&args, None).await;
    assert_eq!(names, "configmap/first\n");
    assert!(setup.proxy.count(|seen| seen.is(Matches::List)) > 0);
}

#[tokio::test]
async fn answers_with_an_error_so_many_times() {
    let setup = Setup::new().await;
    setup.write("first").await;
    let status = StatusCode::TOO_MANY_REQUESTS;
    let answer = Answer { matches: Matches::Get, status, retry_after: Some(7), times: 2, as_event: false };
    setup.proxy.set(Fault::Answer(answer)).await;
    setup.through.list(&ListParams::default()).await.expect("a list is none of the matching requests");
    for _ in 0..2 {
        let error = setup.through.get("first").await.expect_err("a get is answered with an error");
        let kube::Error::Api(status) = error else { unreachable!("not a Status: {error}") };
        assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
        assert_eq!(status.details.expect("a Status with details").retry_after_seconds, 7);
    }
    setup.through.get("first").await.expect("the third get passes");
}

#[tokio::test]
async fn answers_a_watch_with_an_error_event() {
    let setup = Setup::new().await;
    let status = StatusCode::GONE;
    let answer = Answer { matches: Matches::Watch, status, retry_after: None, times: 1, as_event: true };
    setup.proxy.set(Fault::Answer(answer)).await;
    let events = setup.through.watch(&watch_params(), "0").await.expect("the watch itself is answered");
    let event = soon("the error", events.boxed().next()).await;
    assert!(matches!(&event, Some(Ok(WatchEvent::Error(status))) if status.code == 410), "{event:?}");
    drop(setup.watch().await);
}

#[tokio::test]
async fn refuses_and_cuts() {
    let setup = Setup::new().await;
    let mut events = setup.watch().await;
    setup.proxy.set(Fault::Refuse).await;
    let end = soon("the end of the watch", events.next()).await;
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    setup.through.get("first").await.expect_err("connections are refused");
    let before = setup.proxy.requests().len();
    setup.proxy.set(Fault::Pass).await;
    setup.through.get("first").await.expect("connections are accepted again");
    assert_eq!(setup.proxy.requests().len(), before + 1, "a refused request was seen");
}

#[tokio::test]
async fn cuts_running_watches_only() {
    let setup = Setup::new().await;
    let mut events = setup.watch().await;
    setup.proxy.wait_for_watches(1).await;
    assert_eq!(setup.proxy.cut_watches(), 1);
    let end = soon("the end of the watch", events.next()).await;
    assert!(!matches!(end, Some(Ok(_))), "{end:?}");
    setup.proxy.wait_for_watches(0).await;
    drop(setup.watch().await);
}

#[tokio::test]
async fn a_black_hole_holds_everything_and_lets_it_go() {
    let setup = Setup::new().await;
    let mut events = setup.watch().await;
    setup.proxy.set(Fault::Blackhole).await;
    let mut get = Box::pin(setup.through.get("first"));
    let seen = setup.proxy.wait_for("a get", |all| all.iter().any(|seen| seen.is(Matches::Get)));
    tokio::select! {
        answered = &mut get => unreachable!("the get was answered: {answered:?}"),
        () = seen => {}
    }
    // Another watch shows that the API server has sent the event, so silence here is the black hole's.
    let mut witness = setup.past.watch(&watch_params(), "0").await.expect("a watch is answered").boxed();
    assert_eq!(next_added(&mut witness).await, "first");
    setup.write("second").await;
    assert_eq!(next_added(&mut witness).await, "second");
    assert!(events.next().now_or_never().is_none());
    assert!((&mut get).now_or_never().is_none());
    setup.proxy.set(Fault::Pass).await;
    assert_eq!(next_added(&mut events).await, "second");
    soon("the held get", get).await.expect("the held get is answered");
}

#[tokio::test]
async fn delays_in_order() {
    let setup = Setup::new().await;
    let mut events = setup.watch().await;
    let delay = Duration::from_millis(300);
    setup.proxy.set(Fault::Delay(delay)).await;
    let start = Instant::now();
    setup.write("second").await;
    setup.write("third").await;
    assert_eq!(next_added(&mut events).await, "second");
    assert!(start.elapsed() >= delay);
    assert_eq!(next_added(&mut events).await, "third");
    let start = Instant::now();
    setup.through.get("first").await.expect("a get is answered");
    assert!(start.elapsed() >= delay);
}

/// The name in the next event, which must be an addition.
async fn next_added(events: &mut Events) -> String {
    match soon("the next event", events.next()).await {
        Some(Ok(WatchEvent::Added(map))) => map.metadata.name.expect("an object has a name"),
        other => unreachable!("not an addition: {other:?}"),
    }
}

/// Without bookmarks, so that the events are those of the objects.
fn watch_params() -> WatchParams {
    WatchParams::default().disable_bookmarks()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    timeout(limit, future).await.unwrap_or_else(|_| unreachable!("{what} did not come within {limit:?}"))
}
