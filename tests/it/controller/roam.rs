//! Clients that go from replica to replica, while the model changes, one replica lags behind and another one is killed:
//! no client is ever sent an older state, and all end on the last state. A third of them wants the whole, a third a part of
//! it, and a third what changed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{apply, model, one, operation, serves};
use crate::api_proxy::{ApiProxy, Fault, Matches};
use crate::control_plane::{ControlPlane, free_port};
use crate::crd;
use crate::server::{Client, Reply, STEP, Server, tidewait};

const CLIENTS: usize = 300;
const CHANGES: u64 = 200;
/// So many changes come one shortly after the other, so that clients come late; then there is a rest, so that they park.
const BURST: u64 = 10;
/// Which replica is killed, and around which changes it is away.
const KILLED: usize = 1;
const AWAY: (u64, u64) = (CHANGES / 2, CHANGES / 2 + 2 * BURST);
/// Which replica's watches are delayed, and by how many milliseconds at most.
const LATE: usize = 2;
const LATE_BY: u64 = 5000;
/// How soon after the last change every client has it.
const SETTLES: Duration = Duration::from_secs(5);

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Whole,
    Part,
    Delta,
}

/// An answer with a state or with 204.
#[derive(Debug, Clone)]
struct Given {
    at: Instant,
    replica: usize,
    /// The id's.
    version: u64,
    /// None with 204.
    serial: Option<u64>,
}

/// What one client was told, in order.
#[derive(Debug, Default)]
struct History {
    given: Vec<Given>,
    /// By which replicas it was told to come back.
    refused: Vec<usize>,
    /// How often nobody listened, or the connection ended before an answer.
    lost: usize,
    /// How many of the states were given as what had changed.
    deltas: usize,
}

/// Clients that poll one replica after the other until this is dropped.
struct Crowd {
    tasks: JoinSet<()>,
    histories: Vec<Arc<Mutex<History>>>,
}

impl Crowd {
    fn start(replicas: [SocketAddr; 3]) -> Self {
        let mut tasks = JoinSet::new();
        let histories: Vec<_> = (0..CLIENTS).map(|_| Arc::default()).collect();
        for (number, history) in histories.iter().enumerate() {
            let wish = [Wish::Whole, Wish::Part, Wish::Delta][number % 3];
            tasks.spawn(roam(format!("client-{number}"), wish, replicas, Arc::clone(history)));
        }
        Self { tasks, histories }
    }

    /// How many clients do not hold this state.
    fn without(&self, serial: u64) -> usize {
        let holds =
            |history: &&Arc<Mutex<History>>| history.lock().expect("no panic").serials().last() == Some(&serial);
        CLIENTS - self.histories.iter().filter(holds).count()
    }

    async fn all_hold(&self, serial: u64) {
        while self.without(serial) > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the clients and gives what they were told; fails if one of them met what the protocol does not have.
    async fn end(mut self) -> Vec<History> {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            assert!(!ended.as_ref().is_err_and(tokio::task::JoinError::is_panic), "{ended:?}");
        }
        let owned = |history: Arc<Mutex<History>>| {
            Arc::into_inner(history).expect("its task has ended").into_inner().expect("no panic")
        };
        self.histories.into_iter().map(owned).collect()
    }
}

impl History {
    fn serials(&self) -> Vec<u64> {
        self.given.iter().filter_map(|given| given.serial).collect()
    }
}

/// Does what the protocol says a client should do, each time at another replica.
async fn roam(agent: String, wish: Wish, replicas: [SocketAddr; 3], history: Arc<Mutex<History>>) {
    let (mut id, mut state) = (String::new(), Value::Null);
    loop {
        let replica = fastrand::usize(..replicas.len());
        let Some(reply) = poll(replicas[replica], &id, wish, &agent).await else {
            history.lock().expect("no panic").lost += 1;
            sleep(Duration::from_millis(fastrand::u64(50..150))).await;
            continue;
        };
        if reply.status == 503 {
            history.lock().expect("no panic").refused.push(replica);
            let seconds = reply.field("retry-after").parse().expect("whole seconds");
            // It goes elsewhere: the second is for this replica alone.
            sleep(Duration::from_secs(seconds).min(Duration::from_millis(500))).await;
            continue;
        }
        assert!(matches!(reply.status, 200 | 204), "replica {replica}: {reply:?}");
        reply.id().clone_into(&mut id);
        let version = id.split('.').nth(1).and_then(|version| version.parse().ok()).expect("epoch.version.digest");
        if reply.status == 200 {
            let is_delta = reply.field("content-type") == "application/json-patch+json";
            history.lock().expect("no panic").deltas += usize::from(is_delta);
            state = if is_delta { patched(state, &reply) } else { reply.json() };
        }
        let serial = (reply.status == 200).then(|| state["serial"].as_u64().expect("models here have one"));
        history.lock().expect("no panic").given.push(Given { at: Instant::now(), replica, version, serial });
        // What applying it takes.
        sleep(Duration::from_millis(fastrand::u64(..400))).await;
    }
}

/// The state of a client that had `base` and was given what changed.
fn patched(mut base: Value, delta: &Reply) -> Value {
    let patch: json_patch::Patch = serde_json::from_value(delta.json()).expect("a JSON Patch");
    json_patch::patch(&mut base, &patch).expect("it applies to what the client has");
    let digest = Sha256::digest(base.to_string());
    let digest = base64::engine::general_purpose::STANDARD.encode(digest);
    assert_eq!(delta.field("state-digest"), format!("sha-256=:{digest}:"), "{base}");
    base
}

/// One poll on a connection of its own; none when nobody listens or the connection ends before the answer.
async fn poll(address: SocketAddr, since: &str, wish: Wish, agent: &str) -> Option<Reply> {
    let mut client = Client::try_connect(address).await?;
    // Some waits end in a rest, so that ids of 204 are carried about too.
    let wait = if fastrand::u8(..10) == 0 { "0.5" } else { "5" };
    let (select, accept) = match wish {
        Wish::Whole => ("", "application/json"),
        Wish::Part => ("&select=/serial", "application/json"),
        Wish::Delta => ("", "application/json-patch+json"),
    };
    let target = format!("/zone-a?since={since}&wait={wait}{select}");
    client.try_send("GET", &target, &[("Agent-Id", agent), ("Accept", accept)]).await.ok()?;
    timeout(STEP, client.try_reply()).await.expect("an answer or the end of the connection in time")
}

/// How one replica is started, each time on the same ports.
#[derive(Debug)]
struct Replica {
    listen: SocketAddr,
    arguments: Vec<String>,
}

impl Replica {
    fn new(number: usize, kubeconfig: &std::path::Path, namespace: &str) -> Self {
        let [listen, admin] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let kubeconfig = kubeconfig.to_str().expect("a path in UTF-8");
        let arguments = format!(
            "serve --log-format json --listen {listen} --admin {admin} --operations {namespace} \
             --kubeconfig {kubeconfig} --replica replica-{number}"
        );
        Self { listen, arguments: arguments.split(' ').map(str::to_owned).collect() }
    }

    async fn start(&self) -> Server {
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        Server::spawn(tidewait(&arguments)).await
    }
}

/// Sets another delay of the watches again and again.
async fn lag(proxy: &ApiProxy) {
    loop {
        let by = Duration::from_millis(fastrand::u64(..=LATE_BY));
        proxy.set(Fault::DelayOf(Matches::Watch, by)).await;
        sleep(Duration::from_millis(fastrand::u64(500..2500))).await;
    }
}

/// Changes the model 200 times, with a replica killed and started again on the way. Gives when the API server had
/// acknowledged the last change, and when the replica was there again.
async fn change(plane: &ControlPlane, namespace: &str, replica: &Replica, server: &mut Server) -> (Instant, Instant) {
    let client = plane.client().await;
    let resource = kube::api::ApiResource::erase::<tidewait::crd::NetworkModel>(&());
    let models: Api<kube::api::DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let mut back = Instant::now();
    for serial in 1..=CHANGES {
        let patch = Patch::Merge(json!({ "spec": { "serial": serial } }));
        models.patch("zone-a", &PatchParams::default(), &patch).await.expect("the model is changed");
        if serial == AWAY.0 {
            server.child.kill().await.expect("SIGKILL");
        }
        if serial == AWAY.1 {
            *server = replica.start().await;
            back = Instant::now();
        }
        if serial < CHANGES {
            let pause = if serial % BURST == 0 { 800..1200 } else { 20..80 };
            sleep(Duration::from_millis(fastrand::u64(pause))).await;
        }
    }
    (Instant::now(), back)
}

/// Nobody was given an older state after a newer one, and everybody has been everywhere.
fn judge(histories: &[History], back: Instant) {
    for history in histories {
        assert!(history.serials().is_sorted(), "an older state after a newer one: {history:#?}");
        assert!(history.given.is_sorted_by_key(|given| given.version), "an older version: {history:#?}");
    }
    let met = |replica, since: Option<Instant>| {
        let met = |given: &Given| given.replica == replica && since.is_none_or(|since| given.at > since);
        histories.iter().filter(|history| history.given.iter().any(met)).count()
    };
    let met = [met(0, None), met(1, None), met(2, None), met(KILLED, Some(back))];
    assert!(met.iter().all(|clients| *clients > CLIENTS * 9 / 10), "clients that met each replica: {met:?}");
    let deltas: usize = histories.iter().map(|history| history.deltas).sum();
    assert!(deltas > CLIENTS, "deltas: {deltas}");
    let lost: usize = histories.iter().map(|history| history.lost).sum();
    assert!(lost > 0, "nobody noticed that a replica was killed");
    let parked = histories.iter().flat_map(|history| &history.given).filter(|given| given.serial.is_none()).count();
    let states: usize = histories.iter().map(|history| history.serials().len()).sum();
    let refused = [0, 1, 2].map(|replica| {
        histories.iter().flat_map(|history| &history.refused).filter(|refused| **refused == replica).count()
    });
    eprintln!(
        "clients that met each: {met:?}; 200: {states}, 204: {parked}, 503: {refused:?}, lost: {lost}, deltas: {deltas}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_roam_are_never_taken_back_and_end_on_the_last_state() {
    let plane = ControlPlane::shared().await;
    crd::installed(plane).await;
    let namespace = plane.namespace("roam").await;
    apply(plane, &model(&namespace, "zone-a", 0)).await;
    apply(plane, &operation(&namespace, "zone-a", "/zone-a", &one("zone-a"), &json!({}))).await;
    let proxy = ApiProxy::start(plane).await;
    let kubeconfigs = [plane.kubeconfig(), plane.kubeconfig(), proxy.kubeconfig()];
    let replicas = [0, 1, 2].map(|number| Replica::new(number, kubeconfigs[number], &namespace));
    let mut servers = [replicas[0].start().await, replicas[1].start().await, replicas[2].start().await];
    for server in &servers {
        serves(server, "/zone-a", 200).await;
    }

    let started = Instant::now();
    let crowd = Crowd::start([0, 1, 2].map(|number: usize| replicas[number].listen));
    let (acknowledged, back) = tokio::select! {
        times = change(plane, &namespace, &replicas[KILLED], &mut servers[KILLED]) => times,
        () = lag(&proxy) => unreachable!("it goes on for ever"),
    };
    proxy.set(Fault::Pass).await;
    let settled = timeout_at(acknowledged + SETTLES, crowd.all_hold(CHANGES)).await.is_ok();
    let (took, behind) = (acknowledged.elapsed(), crowd.without(CHANGES));
    judge(&crowd.end().await, back);
    assert!(settled, "{behind} of {CLIENTS} clients do not hold the last state {took:?} after it");

    // What this is about has happened: clients came to the late replica with newer states than its own.
    let (mut newer, mut all) = (0.0, String::new());
    for result in ["newer", "same"] {
        let series = format!(r#"tidewait_kubernetes_reads_total{{cause="asked",result="{result}"}}"#);
        let reads = servers[LATE].metric(&series).await;
        newer += reads;
        all += &format!(" {result}: {reads}");
    }
    eprintln!("changes took {:?}, settled {took:?} after; reads asked:{all}", acknowledged - started);
    assert!(newer > 0.5, "the late replica never had to ask the API server");
}
