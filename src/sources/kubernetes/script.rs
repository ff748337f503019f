//! For tests: a client whose requests arrive at the test, which says what came of each. Reads by
//! name are answered by themselves, with what lists and events have shown last, unless a test
//! wants to have them.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Longer than the loop ever pauses, in paused time.
const DEADLINE: Duration = Duration::from_mins(10);

/// The requests of a client.
pub(crate) struct Script {
    asked: mpsc::Receiver<Asked>,
    gets: mpsc::Receiver<Asked>,
    store: Arc<Mutex<Store>>,
}

/// What reads by name show.
#[derive(Default)]
struct Store {
    object: Option<Value>,
    /// Whether they arrive at the test.
    held: bool,
}

/// A request that waits for its answer; dropped, its connection broke.
pub(crate) struct Asked {
    pub(crate) uri: String,
    pub(crate) at: Instant,
    reply: oneshot::Sender<Response<Body>>,
    store: Arc<Mutex<Store>>,
}

/// An answered watch; dropped, it ends as it should.
pub(crate) struct Running {
    lines: mpsc::Sender<io::Result<Bytes>>,
    store: Arc<Mutex<Store>>,
}

impl Script {
    pub(crate) fn new() -> (Client, Self) {
        let ((asks, asked), (gets_asks, gets)) = (mpsc::channel(8), mpsc::channel(64));
        let store = Arc::<Mutex<Store>>::default();
        let shared = Arc::clone(&store);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (asks, gets_asks, store) = (asks.clone(), gets_asks.clone(), Arc::clone(&shared));
            async move {
                let (reply, answer) = oneshot::channel();
                let is_get = !request.uri().path().ends_with("/configmaps");
                let held = store.lock().expect("no panic").held;
                let ask = Asked { uri: request.uri().to_string(), at: Instant::now(), reply, store };
                let broken = || io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
                match (is_get, held) {
                    (true, false) => ask.shows_the_store(),
                    (true, true) => gets_asks.send(ask).await.map_err(|_| broken())?,
                    (false, _) => asks.send(ask).await.map_err(|_| broken())?,
                }
                answer.await.map_err(|_| broken())
            }
        });
        (Client::new(service, "default"), Self { asked, gets, store })
    }

    /// From now on reads by name arrive at [`Self::get`].
    pub(crate) fn hold_gets(&self) {
        self.store.lock().expect("no panic").held = true;
    }

    /// From now on they are answered again.
    pub(crate) fn answer_gets(&self) {
        self.store.lock().expect("no panic").held = false;
    }

    /// The next read by name.
    pub(crate) async fn get(&mut self) -> Asked {
        let asked = timeout(DEADLINE, self.gets.recv()).await.expect("a read before the deadline");
        asked.expect("the client lives")
    }

    /// Whether a read by name waits.
    pub(crate) fn no_get(&mut self) -> bool {
        self.gets.try_recv().is_err()
    }

    pub(crate) async fn asked(&mut self) -> Asked {
        let asked = timeout(DEADLINE, self.asked.recv()).await.expect("a request before the deadline");
        asked.expect("the client lives")
    }

    /// The next request, which must be a list.
    pub(crate) async fn list(&mut self) -> Asked {
        self.is("a list", |asked| !asked.is_watch()).await
    }

    /// The next request, which must be a watch.
    pub(crate) async fn watch(&mut self) -> Asked {
        self.is("a watch", Asked::is_watch).await
    }

    async fn is(&mut self, what: &str, pick: fn(&Asked) -> bool) -> Asked {
        let asked = self.asked().await;
        assert!(pick(&asked), "{} is not {what}", asked.uri);
        asked
    }
}

impl Asked {
    fn is_watch(&self) -> bool {
        self.param("watch").is_some()
    }

    /// A parameter of the query, percent-encoded.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let query = self.uri.split_once('?')?.1;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// Answers a list.
    pub(crate) fn listed(self, version: u64, items: &[Value]) {
        self.store.lock().expect("no panic").object = items.first().cloned();
        self.page(version, items, "");
    }

    /// Answers with a page of a list.
    pub(crate) fn page(self, version: u64, items: &[Value], more: &str) {
        let list = json!({
            "apiVersion": "v1", "kind": "ConfigMapList",
            "metadata": { "resourceVersion": version.to_string(), "continue": more }, "items": items,
        });
        self.answer(200).line(&list);
    }

    /// Answers a read by name.
    pub(crate) fn got(self, object: Option<&Value>) {
        if let Some(object) = object {
            return self.answer(200).line(object);
        }
        let mut status = status(404, 0);
        status["details"]["name"] = json!("model");
        self.answer(404).line(&status);
    }

    fn shows_the_store(self) {
        let object = self.store.lock().expect("no panic").object.clone();
        self.got(object.as_ref());
    }

    /// Answers with an error.
    pub(crate) fn refused(self, code: u16, retry_after: u32) {
        self.answer(code).line(&status(code, retry_after));
    }

    /// Answers that the version lies ahead.
    pub(crate) fn refused_as_unreached(self) {
        self.answer(504).line(&unreached());
    }

    /// Answers a watch.
    pub(crate) fn opened(self) -> Running {
        self.answer(200)
    }

    fn answer(self, code: u16) -> Running {
        let (lines, receiver) = mpsc::channel::<io::Result<Bytes>>(16);
        let frames = stream::unfold(receiver, async |mut receiver| {
            let line = receiver.recv().await?;
            Some((line.map(Frame::data), receiver))
        });
        let response = Response::builder().status(code).body(StreamBody::new(frames).boxed_unsync());
        // The client may have given up already, as the test wants it.
        let _ = self.reply.send(response.expect("a response"));
        Running { lines, store: self.store }
    }
}

impl Running {
    fn line(&self, value: &Value) {
        self.raw(&value.to_string());
    }

    pub(crate) fn raw(&self, line: &str) {
        self.lines.try_send(Ok(Bytes::from(format!("{line}\n")))).expect("room for a line");
    }

    /// Sends an event.
    pub(crate) fn event(&self, kind: &str, object: &Value) {
        if kind != "BOOKMARK" && kind != "ERROR" {
            self.store.lock().expect("no panic").object = (kind != "DELETED").then(|| object.clone());
        }
        self.late(kind, object);
    }

    /// Sends an event of what the store may hold no more.
    pub(crate) fn late(&self, kind: &str, object: &Value) {
        self.line(&json!({ "type": kind, "object": object }));
    }

    pub(crate) fn bookmark(&self, version: u64) {
        let metadata = json!({ "resourceVersion": version.to_string() });
        self.event("BOOKMARK", &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata }));
    }

    /// Ends the synthetic events.
    pub(crate) fn synced(&self, version: u64) {
        let annotations = json!({ "k8s.io/initial-events-end": "true" });
        let metadata = json!({ "resourceVersion": version.to_string(), "annotations": annotations });
        self.event("BOOKMARK", &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata }));
    }

    pub(crate) fn error(&self, code: u16) {
        self.event("ERROR", &status(code, 0));
    }

    /// Says that the version lies ahead, as the API server says it to a watch.
    pub(crate) fn unreached(&self) {
        self.event("ERROR", &unreached());
    }

    /// Breaks the connection.
    pub(crate) fn cut(self) {
        self.lines.try_send(Err(io::Error::from(io::ErrorKind::ConnectionReset))).expect("room for an error");
    }
}

/// A `ConfigMap` named model.
pub(crate) fn map(uid: &str, version: u64, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": { "name": "model", "namespace": "apps", "uid": uid, "resourceVersion": version.to_string() },
    })
}

fn unreached() -> Value {
    let mut status = status(504, 1);
    status["reason"] = json!("Timeout");
    status["details"]["causes"] =
        json!([{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }]);
    status
}

fn status(code: u16, retry_after: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": "",
        "message": "scripted", "details": { "retryAfterSeconds": retry_after },
    })
}
