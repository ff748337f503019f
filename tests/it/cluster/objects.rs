//! A thousand objects under one selector of a real API server, through the list-and-watch loop alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use serde_json::json;
use tidewait::sources::kubernetes::{ListWatch, Metrics, Selector, Target, WatchEvent, client};
use tidewait::sources::reads::Reads;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::api_proxy::{Answer, ApiProxy, Fault, Matches, Seen as Request};
use crate::control_plane::{ControlPlane, Namespace};

const OBJECTS: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(60);

/// A loop, and the objects that it has shown: their versions by name.
struct Shown {
    watching: ListWatch,
    objects: BTreeMap<String, u64>,
    sets: usize,
    changes: usize,
}

impl Shown {
    async fn start(proxy: &ApiProxy, namespace: &Namespace) -> Self {
        let client = client::connect(Some(proxy.kubeconfig())).await.expect("the fixture's kubeconfig is valid");
        let target = Target {
            resource: ApiResource::erase::<ConfigMap>(&()),
            namespace: Some(namespace.to_string()),
            selector: Selector::Labels("many=yes".to_owned()),
        };
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("an empty registry");
        let reader = Arc::new(Reads::default()).reader();
        let watching = ListWatch::new(client, target, Duration::from_secs(200), metrics, reader);
        Self { watching, objects: BTreeMap::new(), sets: 0, changes: 0 }
    }

    async fn step(&mut self) {
        match self.watching.next().await {
            WatchEvent::Listed { objects, malformed, .. } => {
                assert!(malformed.is_empty(), "{malformed:?}");
                self.objects = objects.into_iter().map(|object| (object.name, object.version)).collect();
                self.sets += 1;
            }
            WatchEvent::Applied(object) => {
                self.objects.insert(object.name, object.version);
                self.changes += 1;
            }
            WatchEvent::Deleted(object) => {
                self.objects.remove(&object.name);
                self.changes += 1;
            }
            WatchEvent::Malformed(malformed) => panic!("{malformed:?}"),
            WatchEvent::Denied { reason, .. } => panic!("{reason}"),
            WatchEvent::Live | WatchEvent::ReadCompleted(_) | WatchEvent::Lost { .. } => {}
        }
    }

    /// Takes what is seen until this holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let reached = timeout(DEADLINE, async {
            while !holds(self) {
                self.step().await;
            }
        });
        assert!(reached.await.is_ok(), "{what} did not happen within {DEADLINE:?}");
    }
}

fn object(at: usize) -> ConfigMap {
    let metadata = json!({ "name": format!("part-{at:04}"), "labels": { "many": "yes" } });
    serde_json::from_value(json!({ "metadata": metadata, "data": { "n": "0" } })).expect("a ConfigMap")
}

async fn api(plane: &ControlPlane, namespace: &Namespace) -> Api<ConfigMap> {
    Api::namespaced(plane.client().await, namespace)
}

async fn create_all(api: &Api<ConfigMap>) {
    let creating = futures::stream::iter(0..OBJECTS).for_each_concurrent(16, async |at| {
        api.create(&PostParams::default(), &object(at)).await.expect("it is created");
    });
    creating.await;
}

async fn change(api: &Api<ConfigMap>, at: usize, n: usize) {
    let patch = Patch::Merge(json!({ "data": { "n": n.to_string() } }));
    api.patch(&format!("part-{at:04}"), &PatchParams::default(), &patch).await.expect("it is changed");
}

/// What there is, by name and version.
async fn listed(api: &Api<ConfigMap>) -> BTreeMap<String, u64> {
    let list = api.list(&ListParams::default().labels("many=yes")).await.expect("a list");
    let versions = list.items.into_iter().map(|map| map.metadata);
    let of = |text: Option<String>| text.and_then(|text| text.parse().ok()).expect("a version");
    versions.map(|metadata| (metadata.name.expect("a name"), of(metadata.resource_version))).collect()
}

/// `NetworkModel`s as they will be: anything may be in them.
fn free_form() -> String {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = json!({ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "shapes.test.tidewait.dev" },
        "spec": {
            "group": "test.tidewait.dev", "scope": "Namespaced", "versions": [version],
            "names": { "plural": "shapes", "singular": "shape", "kind": "Shape" },
        },
    })
    .to_string()
}

/// As deep as the API server stores. kube's own list of them fails whole.
#[tokio::test]
async fn an_object_of_any_kind_and_depth_concerns_only_itself() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("objects").await;
    plane.kubectl_ok(&["apply", "-f", "-"], Some(&free_form())).await;
    plane.kubectl_ok(&["wait", "--for=condition=Established", "crd/shapes.test.tidewait.dev"], None).await;
    let raw = format!("/apis/test.tidewait.dev/v1/namespaces/{namespace}/shapes");
    let create = async |name: &str, depth: usize| {
        let spec = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let text = format!(
            r#"{{"apiVersion":"test.tidewait.dev/v1","kind":"Shape","metadata":{{"name":"{name}"}},"spec":{spec}}}"#
        );
        plane.kubectl_ok(&["create", "--raw", &raw, "-f", "-"], Some(&text)).await;
    };
    create("deep", 9_900).await;
    create("flat", 1).await;
    let client = client::connect(Some(plane.kubeconfig())).await.expect("the fixture's kubeconfig is valid");
    let kind = kube::core::GroupVersionKind::gvk("test.tidewait.dev", "v1", "Shape");
    let target = Target {
        resource: ApiResource::from_gvk_with_plural(&kind, "shapes"),
        namespace: Some(namespace.to_string()),
        selector: Selector::Labels(String::new()),
    };
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("an empty registry");
    let reader = Arc::new(Reads::default()).reader();
    let watching = ListWatch::new(client, target, Duration::from_secs(200), metrics, reader);
    let mut shown = Shown { watching, objects: BTreeMap::new(), sets: 0, changes: 0 };
    shown.until("the set", |shown| shown.sets == 1).await;
    assert_eq!(shown.objects.len(), 2);
    create("deeper", 9_900).await;
    create("next", 1).await;
    shown.until("both", |shown| shown.objects.len() == 4).await;
    assert_eq!((shown.sets, shown.changes), (1, 2));
}

fn is_later_page(seen: &Request) -> bool {
    seen.query.contains("continue=")
}

#[tokio::test]
async fn a_change_of_one_is_one_update_and_nothing_that_breaks_loses_any() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("objects").await;
    let api = api(plane, &namespace).await;
    create_all(&api).await;
    let proxy = ApiProxy::start(plane).await;
    // In the middle of the pages their version is forgotten, and then the server is gone.
    let gone = Answer {
        matches: Matches::Only(is_later_page),
        status: StatusCode::GONE,
        retry_after: None,
        times: 1,
        as_event: false,
    };
    proxy.set(Fault::Answer(gone)).await;
    let mut shown = Shown::start(&proxy, &namespace).await;
    shown.until("the whole set", |shown| shown.sets == 1).await;
    assert_eq!((shown.objects.len(), shown.changes), (OBJECTS, 0));
    assert!(proxy.count(is_later_page) >= 10, "page by page");
    change(&api, 500, 1).await;
    shown.until("a change", |shown| shown.changes > 0).await;
    assert_eq!((shown.sets, shown.changes), (1, 1), "one update");
    assert_eq!(shown.objects, listed(&api).await);

    // Written all the time, while the watch breaks, the server is gone, and sets are shown anew.
    let mut writing = JoinSet::new();
    let (writer, deleted) = (api.clone(), 40);
    writing.spawn(async move {
        for n in 0..600 {
            change(&writer, deleted + fastrand::usize(..OBJECTS - deleted), n).await;
            if n % 15 == 0 {
                let name = format!("part-{:04}", n / 15);
                writer.delete(&name, &kube::api::DeleteParams::default()).await.expect("it is deleted");
            }
        }
    });
    for round in 0..6 {
        let (sets, changes) = (shown.sets, shown.changes);
        shown.until("some changes", |shown| shown.changes > changes + 10 || shown.objects.len() == OBJECTS - 40).await;
        if round % 3 == 2 {
            let answer = Answer { matches: Matches::Watch, status: StatusCode::GONE, ..gone };
            proxy.set(Fault::Answer(answer)).await;
        }
        if round % 2 == 0 {
            proxy.cut_watches();
        } else {
            proxy.set(Fault::Refuse).await;
            shown.until("the loss", |shown| format!("{:?}", shown.watching).contains("Lost")).await;
            proxy.set(Fault::Pass).await;
        }
        shown.until("a set anew", |shown| shown.sets > sets).await;
    }
    let written = timeout(DEADLINE, writing.join_next()).await.expect("it ends").expect("one task");
    written.expect("no panic");
    let listed = listed(&api).await;
    assert_eq!(listed.len(), OBJECTS - 40);
    shown.until("the last state", |shown| shown.objects == listed).await;
}
