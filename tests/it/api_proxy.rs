//! Fault injection: a proxy of our own between a program under test and the real API server.
//!
//! It takes plain HTTP on the loopback device and forwards every request over TLS, bodies streaming both ways. It
//! records what it sees and, on order, refuses, goes silent, delays, answers errors or cuts watches.

mod flow;
mod self_test;
mod server;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::server::{Shared, Upstream, serve};
use crate::control_plane::{ControlPlane, WorkDir, config, free_port};

/// Longer than anything but a stuck program takes, compilers on every core included.
const DEADLINE: Duration = Duration::from_secs(60);

/// One request that reached the proxy. (Refused connections do not.)
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) at: Instant,
    /// The API server has answered it, and how; who asked may not know yet.
    pub(crate) answered: Option<StatusCode>,
}

/// Which requests a fault concerns. Watch, `List` and `Get` exclude each other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Matches {
    Any,
    /// `watch=true` or `watch=1` in the query, watch-lists included.
    Watch,
    List,
    Get,
    /// Everything that is not a GET.
    Write,
    Only(fn(&Seen) -> bool),
}

/// What happens between the program under test and the API server.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing: everything is forwarded.
    Pass,
    /// The port is closed and every connection is cut.
    Refuse,
    /// Connections are accepted and nothing comes back: no answers, no bytes of running watches, no end of them.
    /// What was held goes on when the fault ends, as after a healed network.
    Blackhole,
    /// The next matching requests get an error; then [`Fault::Pass`].
    Answer(Answer),
    /// Everything from the API server, watch events included, arrives this much later, in order.
    Delay(Duration),
    /// The same for matching requests alone.
    DelayOf(Matches, Duration),
    /// Matching requests reach the API server when the fault ends, and not before: also where who sent them has given up
    /// waiting, as what lies in the buffers of a network does.
    Late(Matches),
}

/// An error in place of the API server's answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) matches: Matches,
    pub(crate) status: StatusCode,
    /// For the `Retry-After` header, in seconds.
    pub(crate) retry_after: Option<u64>,
    /// How many requests get it; `usize::MAX` for all.
    pub(crate) times: usize,
    /// As the one ERROR event of a watch with status 200. That is how the API server says 410 to a watch whose
    /// start it has forgotten; an HTTP status is how it refuses a request.
    pub(crate) as_event: bool,
}

/// A running proxy. It ends when dropped, and with the runtime of the test that started it.
#[derive(Debug)]
pub(crate) struct ApiProxy {
    port: u16,
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    /// The number of the last fault that the accepting task has put into effect.
    applied: watch::Receiver<u64>,
    _accepting: JoinSet<()>,
    _dir: WorkDir,
}

impl ApiProxy {
    /// Starts a proxy in front of `plane`, on a port of its own.
    pub(crate) async fn start(plane: &ControlPlane) -> Self {
        let listener = match listen(free_port()).await {
            Ok(listener) => listener,
            // Lost to another process between our look and this bind: once more.
            Err(_) => listen(free_port()).await.expect("the proxy finds a free port"),
        };
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let file = Kubeconfig::read_from(plane.kubeconfig()).expect("the control plane's kubeconfig can be read");
        let file = redirect(&file, port);
        let token = file["users"][0]["user"]["token"].as_str().map(str::to_owned);
        let dir = WorkDir::new().expect("a temporary folder can be made");
        let kubeconfig = dir.write("kubeconfig", &file.to_string()).expect("the proxy's kubeconfig can be written");
        let config = config(plane.kubeconfig()).await.expect("the control plane's kubeconfig is valid");
        let shared = Arc::new(Shared::new(Upstream::new(&config, token.as_deref())));
        let (applied_by_server, applied) = watch::channel(0);
        let mut accepting = JoinSet::new();
        accepting.spawn(serve(Arc::clone(&shared), listener, applied_by_server));
        Self { port, kubeconfig, shared, applied, _accepting: accepting, _dir: dir }
    }

    /// A kubeconfig file that leads here, with the same rights. (kubectl sends no token over plain HTTP; the proxy adds
    /// it to requests that have none.)
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The proxy's address, `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Replaces the fault, for new requests and for streams under way; it is in effect when this returns.
    pub(crate) async fn set(&self, fault: Fault) {
        let number = self.shared.set(fault);
        let mut applied = self.applied.clone();
        timeout(DEADLINE, applied.wait_for(|done| *done >= number))
            .await
            .expect("the proxy puts a fault into effect before the deadline")
            .expect("the accepting task lives as long as the proxy");
    }

    /// Ends the running watches abruptly, without the end of their body, and says how many there were.
    pub(crate) fn cut_watches(&self) -> usize {
        self.shared.cut_watches()
    }

    /// Waits until exactly `count` watches run: answered by the API server and not ended.
    pub(crate) async fn wait_for_watches(&self, count: usize) {
        let mut running = self.shared.running_watches();
        let reached = timeout(DEADLINE, running.wait_for(|now| *now == count)).await.is_ok();
        assert!(reached, "after {DEADLINE:?} {} watches run through the proxy, not {count}", *running.borrow());
    }

    /// All requests so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.shared.seen().borrow().clone()
    }

    /// How many of the requests so far `pick` takes.
    pub(crate) fn count(&self, pick: impl Fn(&Seen) -> bool) -> usize {
        self.shared.seen().borrow().iter().filter(|seen| pick(seen)).count()
    }

    /// Waits until `condition` holds for the requests so far; `what` says in the failure what was awaited.
    pub(crate) async fn wait_for(&self, what: &str, condition: impl Fn(&[Seen]) -> bool) {
        let mut seen = self.shared.seen();
        let reached = timeout(DEADLINE, seen.wait_for(|all| condition(all))).await.is_ok();
        assert!(reached, "{what} did not happen within {DEADLINE:?}; the proxy saw {:#?}", *seen.borrow());
    }
}

impl Seen {
    pub(crate) fn is(&self, which: Matches) -> bool {
        let reads = self.method == Method::GET;
        match which {
            Matches::Any => true,
            Matches::Watch => self.is_watch(),
            Matches::List => reads && !self.is_watch() && !self.names_one_object(),
            Matches::Get => reads && !self.is_watch() && self.names_one_object(),
            Matches::Write => !reads,
            Matches::Only(pick) => pick(self),
        }
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.method == Method::GET && self.query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1")
    }

    /// Whether the path ends in a name, and not in a resource. What is no resource at all (/readyz) names one thing.
    fn names_one_object(&self) -> bool {
        let mut path = self.path.trim_matches('/').split('/');
        let behind_group = match path.next() {
            Some("api") => path.nth(0),
            Some("apis") => path.nth(1),
            _ => return true,
        };
        let rest: Vec<&str> = path.collect();
        match (behind_group, rest.as_slice()) {
            // Discovery.
            (None, _) | (Some(_), []) => true,
            // /api/v1/namespaces/NAMESPACE/RESOURCE, but not /api/v1/namespaces/NAME/status.
            (Some(_), ["namespaces", _, last]) => matches!(*last, "status" | "finalize"),
            (Some(_), resource_and_name) => resource_and_name.len() > 1,
        }
    }
}

async fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// The same kubeconfig with the current context's user, and the proxy as its only cluster.
fn redirect(file: &Kubeconfig, port: u16) -> Value {
    let file = serde_json::to_value(file).expect("a kubeconfig can be written as JSON");
    let named = |list: &str, name: &Value| {
        let entries = file[list].as_array().into_iter().flatten();
        entries.into_iter().find(|entry| entry["name"] == *name).cloned().unwrap_or_default()
    };
    let context = named("contexts", &file["current-context"]);
    let user = named("users", &context["context"]["user"]);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": user["name"] } }],
        "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://127.0.0.1:{port}") } }],
        "users": [user],
    })
}
