//! Sessions against a client of rustls, in memory and by any pieces; and handshakes that come to no good end.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::fault::Fault;
use super::pair::Pair;
use super::session::Session;
use super::settings;
use super::{Acceptor, Failure, Stream, metrics};
use crate::bounds::{TLS_HANDSHAKE, TLS_HANDSHAKE_CROWDED, TLS_HANDSHAKES, TLS_INPUT_BYTES};

/// A server's configuration, and that of a client which trusts it.
fn configs(versions: &[&'static rustls::SupportedProtocolVersion]) -> (ServerConfig, Arc<ClientConfig>) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name").signed_by(&key, &issuer);
    let leaf = leaf.expect("a certificate").pem();
    let provider = settings::provider();
    let pair = Pair::parse(leaf.as_bytes(), key.serialize_pem().as_bytes(), &provider, 0).expect("a pair");
    let server = settings::server(pair, None, &[b"http/1.1"], Arc::clone(&provider)).expect("supported");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
    (server, Arc::new(client.with_root_certificates(roots).with_no_client_auth()))
}

/// The way between the two, as the server sees it.
#[derive(Debug, Default)]
struct Way {
    incoming: VecDeque<u8>,
    has_ended: bool,
    outgoing: Vec<u8>,
    /// Bytes that a read gives at most.
    piece: usize,
    /// Bytes for which there is room.
    room: usize,
}

impl Way {
    fn by(piece: usize) -> Self {
        Self { piece, room: usize::MAX, ..Self::default() }
    }
}

impl Read for Way {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let now = room.len().min(self.piece);
        self.incoming.read(&mut room[..now])
    }
}

impl Write for Way {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = bytes.len().min(self.room);
        if now == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.room < usize::MAX {
            self.room -= now;
        }
        self.outgoing.extend_from_slice(&bytes[..now]);
        Ok(now)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client, a session and the way between them.
struct Both {
    client: ClientConnection,
    session: Session,
    way: Way,
}

impl Both {
    /// After the handshake.
    fn new(piece: usize, versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
        let (server, client) = configs(versions);
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(client, name).expect("a client");
        let session = Session::new(Arc::new(server)).expect("a session");
        let mut both = Self { client, session, way: Way::by(piece) };
        while both.session.is_handshaking() || both.client.is_handshaking() {
            both.pass();
            while let Ok((_, given)) = both.session.receive(&mut both.way, &mut []) {
                assert_eq!(given, 0, "there is no room");
            }
        }
        both.pass();
        both
    }

    /// What each has written reaches the other.
    fn pass(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.way.incoming).expect("memory");
        }
        let mut bytes = &self.way.outgoing[..];
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).expect("memory");
            self.client.process_new_packets().expect("the server keeps to the protocol");
        }
        self.way.outgoing.clear();
    }

    /// All that the session can read, with so much room at a time.
    fn read(&mut self, room: usize) -> Result<Vec<u8>, Fault> {
        let mut all = Vec::new();
        let mut buffer = vec![0; room];
        loop {
            match self.session.read(&mut self.way, &mut buffer) {
                Ok(0) => return Ok(all),
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                Err(Fault::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(all),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// What the client can read.
    fn heard(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        // Ends where there is nothing more for now.
        let _ = self.client.reader().read_to_end(&mut all);
        all
    }
}

fn random(length: usize) -> Vec<u8> {
    (0..length).map(|_| fastrand::u8(..)).collect()
}

#[test]
fn bytes_pass_both_ways_by_any_pieces() {
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        for (piece, room) in [(1, 1), (7, 3), (1000, 16 * 1024), (usize::MAX, 5), (usize::MAX, usize::MAX >> 40)] {
            let mut both = Both::new(piece, versions);
            for length in [1, 100, 16 * 1024, 40_000] {
                let sent = random(length);
                both.client.writer().write_all(&sent).expect("memory");
                both.pass();
                assert_eq!(both.read(room).expect("good records"), sent);
                let (head, body) = sent.split_at(length / 3);
                let mut written = 0;
                let mut received = Vec::new();
                while written < length {
                    let parts = [&head[written.min(head.len())..], &body[written.saturating_sub(head.len())..]];
                    let parts = parts.map(IoSlice::new);
                    written += both.session.write(&mut both.way, &parts).expect("there is room");
                    both.pass();
                    received.extend(both.heard());
                }
                assert_eq!(received, sent);
            }
        }
    }
}

#[test]
fn what_is_written_is_told_when_all_of_it_is_sent() {
    let mut both = Both::new(usize::MAX, rustls::ALL_VERSIONS);
    let sent = random(100_000);
    let (mut written, mut heard) = (0, Vec::new());
    both.way.room = 0;
    while written < sent.len() {
        match both.session.write(&mut both.way, &[IoSlice::new(&sent[written..])]) {
            Ok(now) => written += now,
            Err(Fault::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                assert_eq!(both.way.room, 0);
                both.way.room = fastrand::usize(1..3000);
            }
            Err(fault) => panic!("{fault}"),
        }
        both.pass();
        heard.extend(both.heard());
        assert!(heard.len() >= written, "{} of {written}", heard.len());
    }
    assert_eq!(heard, sent);
}

#[test]
fn a_short_read_is_the_last_one_only_where_nothing_is_left() {
    let mut both = Both::new(usize::MAX, rustls::ALL_VERSIONS);
    let mut room = [0; 10];
    both.client.writer().write_all(&[7; 15]).expect("memory");
    both.pass();
    assert_eq!(both.session.read(&mut both.way, &mut room).expect("bytes"), 10);
    assert!(!both.session.short_read_is_last(), "5 are here yet");
    assert_eq!(both.session.read(&mut both.way, &mut room).expect("bytes"), 5);
    assert!(both.session.short_read_is_last());
    // An end behind the bytes is not to be missed.
    both.client.writer().write_all(b"bye").expect("memory");
    both.client.send_close_notify();
    both.pass();
    assert_eq!(both.session.read(&mut both.way, &mut room).expect("bytes"), 3);
    assert!(!both.session.short_read_is_last());
    assert_eq!(both.session.read(&mut both.way, &mut room).expect("the end"), 0);
}

#[test]
fn keys_are_updated_from_either_side() {
    let mut both = Both::new(100, &[&rustls::version::TLS13]);
    for round in 0..20_u8 {
        both.client.refresh_traffic_keys().expect("TLS 1.3");
        both.client.writer().write_all(&[round; 50]).expect("memory");
        both.pass();
        assert_eq!(both.read(1000).expect("good records"), [round; 50]);
        both.session.write(&mut both.way, &[IoSlice::new(&[round; 60])]).expect("room");
        both.pass();
        assert_eq!(both.heard(), [round; 60]);
    }
}

#[test]
fn an_end_is_announced_and_one_that_is_not_is_told_apart() {
    let mut both = Both::new(usize::MAX, rustls::ALL_VERSIONS);
    both.session.close(&mut both.way).expect("room");
    both.pass();
    let mut room = [0; 10];
    assert_eq!(both.client.reader().read(&mut room).expect("an announced end"), 0);
    both.client.writer().write_all(b"heard yet").expect("memory");
    both.pass();
    assert_eq!(both.read(100).expect("the other way is open"), b"heard yet");
    both.way.has_ended = true;
    let fault = both.read(100).expect_err("it was not announced");
    assert!(matches!(fault, Fault::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof));
}

#[test]
fn what_is_no_tls_ends_with_an_alert_or_is_known_as_http() {
    let (server, _) = configs(rustls::ALL_VERSIONS);
    let server = Arc::new(server);
    for (bytes, is_clear) in
        [(&b"GET / HTTP/1.1\r\n\r\n"[..], true), (b"PRI * HTTP/2.0", true), (b"\x80\x2e\x01", false)]
    {
        let mut session = Session::new(Arc::clone(&server)).expect("a session");
        let mut way = Way::by(usize::MAX);
        way.incoming.extend(bytes);
        way.incoming.extend([0; 2000]);
        let fault = session.read(&mut way, &mut [0; 10]).expect_err("no TLS");
        assert_eq!(matches!(fault, Fault::Clear), is_clear, "{fault}");
        assert_eq!(way.outgoing.first(), (!is_clear).then_some(&21), "an alert");
    }
}

#[test]
fn a_message_that_has_no_end_ends_the_connection() {
    let (server, _) = configs(rustls::ALL_VERSIONS);
    let mut session = Session::new(Arc::new(server)).expect("a session");
    let mut way = Way::by(usize::MAX);
    // A ClientHello of 65,000 bytes, one byte a record.
    let message = [vec![1, 0, 0xfd, 0xe8], vec![0; 65_000]].concat();
    way.incoming.extend(message.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]));
    let sent = way.incoming.len();
    session.read(&mut way, &mut [0; 10]).expect_err("it has no end");
    assert!(sent - way.incoming.len() <= TLS_INPUT_BYTES * 2, "{} of {sent} were read", sent - way.incoming.len());
}

/// Bytes of a good client, with some of them changed: an alert or an error, and never a panic.
#[test]
fn mutated_bytes_of_a_client_do_no_harm() {
    let (server, client) = configs(rustls::ALL_VERSIONS);
    let server = Arc::new(server);
    let mut hello = Vec::new();
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(client, name).expect("a client").write_tls(&mut hello).expect("memory");
    for _ in 0..2000 {
        let mut bytes = hello.clone();
        for _ in 0..fastrand::usize(1..8) {
            let at = fastrand::usize(..bytes.len());
            match fastrand::u8(..3) {
                0 => bytes[at] = fastrand::u8(..),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, fastrand::u8(..)),
            }
        }
        let mut session = Session::new(Arc::clone(&server)).expect("a session");
        let mut way = Way::by(fastrand::usize(1..300));
        way.incoming.extend(bytes);
        while session.read(&mut way, &mut [0; 10]).is_ok() {}
        let _ = session.write(&mut way, &[IoSlice::new(b"x")]);
        let _ = session.close(&mut way);
    }
    // The same behind a handshake.
    for _ in 0..200 {
        let mut both = Both::new(usize::MAX, rustls::ALL_VERSIONS);
        both.client.writer().write_all(&random(300)).expect("memory");
        both.client.write_tls(&mut both.way.incoming).expect("memory");
        let at = fastrand::usize(..both.way.incoming.len());
        both.way.incoming[at] ^= 1 << fastrand::u8(..8);
        both.read(100).map(|read| assert!(read.len() <= 300)).unwrap_or_default();
        let _ = both.session.write(&mut both.way, &[IoSlice::new(b"x")]);
    }
}

fn acceptor(server: ServerConfig) -> Acceptor {
    let families = metrics::Families::register(&Registry::new()).expect("new names");
    Acceptor::new(server, Vec::new(), families.of("clients"))
}

async fn connected(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address = listener.local_addr().expect("bound");
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("it listens"), accepted.expect("a connection").0)
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_its_time_and_a_stop_ends_it() {
    let (server, _) = configs(rustls::ALL_VERSIONS);
    let acceptor = acceptor(server);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    for (sends, over, lasts) in [
        (&b""[..], None, TLS_HANDSHAKE),
        (b"\x16\x03\x01", None, TLS_HANDSHAKE),
        (b"\x16", Some(Duration::from_millis(500)), Duration::from_millis(500)),
    ] {
        let (mut client, accepted) = connected(&listener).await;
        client.write_all(sends).await.expect("room");
        let start = Instant::now();
        let over = async {
            match over {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let (failure, _) = acceptor.accept(accepted, over).await.expect_err("it never ends");
        assert!(matches!(failure, Failure::Timeout), "{failure}");
        let lasted = start.elapsed();
        assert!(lasted >= lasts && lasted < lasts + Duration::from_millis(50), "{lasted:?}");
    }
    assert_eq!(acceptor.metrics.under_way.get(), 0);
}

#[tokio::test]
async fn handshakes_are_bounded_in_number_and_those_who_say_nothing_do_not_count() {
    let (server, client) = configs(rustls::ALL_VERSIONS);
    let acceptor = Arc::new(acceptor(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut tasks = tokio::task::JoinSet::new();
    let mut open = Vec::new();
    for number in 0..TLS_HANDSHAKES + 20 {
        let (mut client, accepted) = connected(&listener).await;
        if number >= 10 {
            client.write_all(b"\x16\x03").await.expect("room");
        }
        open.push(client);
        let acceptor = Arc::clone(&acceptor);
        tasks.spawn(async move { acceptor.accept(accepted, std::future::pending()).await.map(|_| ()) });
    }
    let limit = i64::try_from(TLS_HANDSHAKES).expect("few");
    while acceptor.metrics.under_way.get() < limit {
        tokio::task::yield_now().await;
    }
    // One of those that wait gets its turn when one of them ends; so does a good client behind them.
    let (stream, accepted) = connected(&listener).await;
    let name = ServerName::try_from("localhost").expect("a name");
    open.drain(10..40);
    let (shaken, accepted) = tokio::join!(
        tokio_rustls::TlsConnector::from(client).connect(name, stream),
        acceptor.accept(accepted, std::future::pending()),
    );
    shaken.expect("a good handshake");
    assert!(accepted.expect("a good handshake").client.is_none());
    assert!(acceptor.metrics.under_way.get() <= limit);
    drop(open);
    tasks.shutdown().await;
    assert_eq!(acceptor.metrics.under_way.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn clients_that_never_end_their_handshakes_keep_others_for_a_moment_only() {
    let (server, client) = configs(rustls::ALL_VERSIONS);
    let acceptor = Arc::new(acceptor(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut tasks = tokio::task::JoinSet::new();
    let mut open = Vec::new();
    for _ in 0..TLS_HANDSHAKES {
        let (mut client, accepted) = connected(&listener).await;
        client.write_all(b"\x16\x03").await.expect("room");
        open.push(client);
        let acceptor = Arc::clone(&acceptor);
        tasks.spawn(async move { acceptor.accept(accepted, std::future::pending()).await.map(|_| ()) });
    }
    let limit = i64::try_from(TLS_HANDSHAKES).expect("few");
    while acceptor.metrics.under_way.get() < limit {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    let (stream, accepted) = connected(&listener).await;
    let name = ServerName::try_from("localhost").expect("a name");
    let (shaken, accepted) = tokio::join!(
        tokio_rustls::TlsConnector::from(client).connect(name, stream),
        acceptor.accept(accepted, std::future::pending()),
    );
    shaken.expect("a good handshake");
    accepted.expect("a good handshake");
    assert!(start.elapsed() <= TLS_HANDSHAKE_CROWDED + Duration::from_millis(50), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stream_is_what_libraries_take() {
    let (server, client) = configs(rustls::ALL_VERSIONS);
    let (near, far) = tokio::io::duplex(100);
    let session = Session::new(Arc::new(server)).expect("a session");
    let mut stream = Stream::new(far, Box::new(session));
    let name = ServerName::try_from("localhost").expect("a name");
    let sent = random(200_000);
    let client = async {
        let mut client = tokio_rustls::TlsConnector::from(client).connect(name, near).await.expect("a handshake");
        client.write_all(&sent).await.expect("it reads");
        client.shutdown().await.expect("it reads");
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.expect("an announced end");
        heard
    };
    let server = async {
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await.expect("a handshake");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.expect("an announced end");
        stream.write_all(&heard).await.expect("it reads");
        stream.flush().await.expect("it reads");
        stream.shutdown().await.expect("it reads");
    };
    let (heard, ()) = tokio::join!(client, server);
    assert_eq!(heard, sent);
}

#[test]
fn a_session_is_small() {
    let size = std::mem::size_of::<Session>();
    assert!(size <= 1600, "{size}");
}
