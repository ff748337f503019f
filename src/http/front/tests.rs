//! What an event loop allocates, and that it gives way to others. The clients are sockets of the kernel, and the loop is
//! driven by hand.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use prometheus::Registry;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{EventLoop, Inbox, Place, Places, Poller};
use crate::bounds::{HEAD_BYTES, SLICE};
use crate::config;
use crate::http::access::Access;
use crate::http::{Router, access, metrics};
use crate::hub::{self, Hub};
use crate::lifecycle::stop::Stop;
use crate::model::{Content, Document, Epoch, Publication, Snapshot};
use crate::operation::{self, Operation, OperationRegistry};

/// Pairs of sockets; who is ready is for the test to say.
#[derive(Debug)]
struct Pairs;

impl Poller for Pairs {
    type Socket = UnixStream;
    type Stream = tokio::net::UnixStream;

    fn add(&mut self, _key: u32, _socket: &mut UnixStream) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _socket: &UnixStream) -> io::Result<()> {
        Ok(())
    }

    fn stream(socket: UnixStream) -> io::Result<tokio::net::UnixStream> {
        tokio::net::UnixStream::from_std(socket)
    }

    fn socket(stream: tokio::net::UnixStream) -> io::Result<UnixStream> {
        stream.into_std()
    }

    fn read(socket: &mut UnixStream, room: &mut [u8]) -> io::Result<usize> {
        socket.read(room)
    }

    fn short_read_is_last(_socket: &UnixStream) -> bool {
        true
    }

    fn write(socket: &mut UnixStream, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        socket.write_vectored(bytes)
    }

    fn shutdown(socket: &mut UnixStream) -> io::Result<()> {
        UnixStream::shutdown(socket, std::net::Shutdown::Write)
    }
}

fn snapshot(version: u64) -> Snapshot {
    let json = format!(r#"{{"nodes":{{"a":{version},"b":{version}}}}}"#);
    let content = Content::Json(Document::from_json(json.as_bytes()).expect("a document"));
    Snapshot::of(Epoch::of(&["test"]), version, &content)
}

struct Rig {
    operation: Arc<Operation>,
    event_loop: EventLoop<Pairs>,
    places: Arc<Places>,
    /// The other ends.
    clients: Vec<UnixStream>,
    _stop: Stop,
}

impl Rig {
    fn new() -> Self {
        let registry = Registry::new();
        let config = config::Operation::example("test", "/describe");
        let hub = hub::Families::register(&registry).expect("new names").of("test");
        let hub = Hub::new(config.parked, config.limits, hub);
        let families = operation::Families::register(&registry).expect("new names");
        let operation = Arc::new(Operation::new(config, hub, families.of("test")));
        let stop = Stop::new(Duration::from_secs(20));
        let metrics = metrics::Metrics::register(&registry).expect("new names");
        let access = access::Metrics::register(&registry).expect("new names");
        let places = Places::new(usize::MAX, metrics.connections.clone());
        let table = Arc::new(OperationRegistry::of([Arc::clone(&operation)]));
        let router = Arc::new(Router::new(table, Arc::new(Access::open(access)), None, stop.watch(), metrics, false));
        let event_loop =
            EventLoop::new(router, Pairs, Inbox::new(), stop.watch(), TaskTracker::new(), Handle::current());
        let mut rig = Self { operation, event_loop, places, clients: Vec::new(), _stop: stop };
        rig.publish(1);
        rig
    }

    fn publish(&mut self, version: u64) {
        let seen = tokio::time::Instant::now().into_std();
        self.operation.hub.publish(&Publication { snapshot: snapshot(version), seen });
        self.event_loop.take_messages(&mut Context::from_waker(Waker::noop()));
    }

    fn step(&mut self) {
        self.event_loop.step(&mut Vec::new(), tokio::time::Instant::now().into_std());
    }

    fn place(&self) -> Place {
        self.places.take(([192, 0, 2, 1], 4711).into()).expect("there is no limit")
    }

    /// A client, and the key of its connection.
    fn connect(&mut self) -> u32 {
        let (client, server) = UnixStream::pair().expect("descriptors");
        server.set_nonblocking(true).expect("a socket");
        client.set_nonblocking(true).expect("a socket");
        self.clients.push(client);
        let place = self.place();
        self.event_loop.add(server, place).expect("room")
    }

    /// Sends a poll of the state of this version.
    fn poll(&mut self, key: u32, version: u64, rest: &str, fields: &str) {
        let id = snapshot(version).id;
        let raw = format!("GET /describe?since={id}{rest} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
        let client = self.clients.get_mut(key as usize).expect("it is connected");
        client.write_all(raw.as_bytes()).expect("room");
        self.event_loop.look(key, false);
    }

    /// What has come back to a client.
    fn answer(&mut self, key: usize) -> String {
        let mut room = vec![0; 4096];
        let read = self.clients[key].read(&mut room).unwrap_or(0);
        String::from_utf8(room[..read].to_vec()).expect("text")
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_allocated_for_a_client_that_is_told() {
    for (rest, fields) in [("", ""), ("&wait=50", "Accept-Encoding: gzip;q=0\r\n")] {
        let mut rig = Rig::new();
        for clients in [SLICE / 8, SLICE] {
            let allocations = told(&mut rig, clients, rest, fields);
            // The bytes of the answer, and tables that grow by doubling.
            assert!(allocations < 30, "{allocations} for {clients} clients");
        }
    }
}

/// How often memory is allocated while so many clients are told of a change.
fn told(rig: &mut Rig, clients: usize, rest: &str, fields: &str) -> u64 {
    let from = rig.clients.len();
    for _ in 0..clients {
        let key = rig.connect();
        rig.poll(key, 1, rest, fields);
    }
    assert_eq!(rig.operation.hub.parked(), clients);
    let version = 2 + from as u64;
    rig.publish(version);
    let counted = allocation_counter::measure(|| rig.step());
    assert_eq!(rig.operation.hub.parked(), 0);
    for key in from..rig.clients.len() {
        let answer = rig.answer(key);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(&snapshot(version).id.to_string()));
    }
    rig.publish(1);
    counted.count_total
}

#[tokio::test(start_paused = true)]
async fn nothing_is_allocated_for_a_stream_that_is_told() {
    let mut rig = Rig::new();
    let mut version = 1;
    let mut publish = |rig: &mut Rig| {
        version += 1;
        rig.publish(version);
        let counted = allocation_counter::measure(|| {
            rig.step();
            while rig.event_loop.is_busy() {
                rig.step();
            }
        });
        for key in 0..rig.clients.len() {
            let event = rig.answer(key);
            assert!(event.contains(&format!("id: {}\ndata: {{", snapshot(version).id)), "{event}");
        }
        assert_eq!(rig.operation.hub.parked(), rig.clients.len(), "each waits for the next one");
        counted.count_total
    };
    for clients in [SLICE / 8, SLICE] {
        for _ in 0..clients {
            let key = rig.connect();
            rig.poll(key, 1, "", "Accept: text/event-stream\r\n");
            assert!(rig.answer(key as usize).contains("\r\n\r\nd\r\nretry: "));
        }
        // At first each has a request of its own.
        publish(&mut rig);
        let allocations = publish(&mut rig);
        // Deadlines are in a tree, which has a node for some of them.
        assert!(allocations < 40 + rig.clients.len() as u64 / 4, "{allocations} for {clients} clients more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_fan_out_gives_way_every_slice() {
    let mut rig = Rig::new();
    for _ in 0..=2 * SLICE {
        let key = rig.connect();
        rig.poll(key, 1, "", "");
    }
    rig.publish(2);
    for left in [SLICE + 1, 1, 0] {
        rig.step();
        assert_eq!(rig.operation.hub.parked(), left);
    }
    // One that leaves in between, and one that comes, keep nobody from being told.
    rig.publish(3);
    let metrics = rig.operation.hub.metrics();
    assert_eq!((metrics.changed.get(), metrics.abandoned.get()), (2 * SLICE as u64 + 1, 0));
}

/// A client that sends without end is one of many.
#[tokio::test(start_paused = true)]
async fn a_look_at_a_connection_takes_one_buffer_of_what_it_has_sent() {
    let mut rig = Rig::new();
    let key = rig.connect();
    let poll = format!("HEAD /describe?wait=0 HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(2000));
    let count = 4 * HEAD_BYTES / poll.len();
    rig.clients[0].write_all(poll.repeat(count).as_bytes()).expect("room");
    let answered = |rig: &mut Rig| {
        let mut room = vec![0; 64 * 1024];
        let read = rig.clients[0].read(&mut room).unwrap_or(0);
        String::from_utf8_lossy(&room[..read]).matches("HTTP/1.1 200 OK").count()
    };
    rig.event_loop.look(key, false);
    let first = answered(&mut rig);
    assert!(first > 0 && first <= HEAD_BYTES / poll.len(), "{first} of {count}");
    let mut all = first;
    while rig.event_loop.is_busy() {
        rig.step();
        all += answered(&mut rig);
    }
    assert_eq!(all, count);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_sent_all_at_once_and_ends_is_seen_to_end() {
    let mut rig = Rig::new();
    let key = rig.connect();
    let id = snapshot(1).id;
    let padding = "x".repeat(HEAD_BYTES - 500);
    let raw = format!(
        "HEAD /describe?wait=0 HTTP/1.1\r\nHost: test\r\nX: {padding}\r\n\r\nGET /describe?since={id} HTTP/1.1\r\nHost: test\r\nX: {padding}\r\n\r\n"
    );
    rig.clients[0].write_all(raw.as_bytes()).expect("room");
    rig.clients[0].shutdown(std::net::Shutdown::Write).expect("a FIN");
    // One event tells of all of it.
    rig.event_loop.look(key, true);
    while rig.event_loop.is_busy() {
        rig.step();
    }
    assert!(rig.event_loop.clients.is_empty(), "what is parked is answered, and then it ends");
    assert_eq!(rig.operation.hub.parked(), 0);
}
