//! The corpus through Tidewait to an app that believes nothing: whatever a client sends, the app
//! gets whole requests in one spelling, each with one framing, and never one that was hidden.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{AT_ONCE, drive, is_well, make, start};
use crate::server::{Client, STEP};
use crate::talk::Talk;

/// How long a case may wait for bytes that it does not send.
const MORE: Duration = Duration::from_secs(1);

/// What the app was given.
#[derive(Debug, Default)]
struct Given {
    /// Targets, fields in lower case.
    requests: Vec<(String, Vec<(String, String)>)>,
    /// What no app should ever see.
    wrong: Vec<String>,
}

type Shared = Arc<Mutex<Given>>;

/// Answers every request with 200, and writes down what was asked.
async fn app(listener: TcpListener, given: Shared) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("it listens");
        let given = Arc::clone(&given);
        connections.spawn(async move {
            let mut stream = BufReader::new(stream);
            while let Ok(Some(request)) = request(&mut stream, &given).await {
                given.lock().expect("no panic").requests.push(request);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                if stream.get_mut().write_all(answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

type Request = (String, Vec<(String, String)>);

/// One line that ends in CR LF; none at the end of the connection.
async fn line(stream: &mut BufReader<TcpStream>, given: &Shared) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if stream.read_until(b'\n', &mut bytes).await? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.strip_suffix("\r\n") {
        Some(line) if !line.contains(|c: char| c.is_control() && c != '\t') => Ok(Some(line.to_owned())),
        _ => {
            given.lock().expect("no panic").wrong.push(format!("a line {text:?}"));
            Ok(None)
        }
    }
}

/// Reads one request as strictly as RFC 9112 can be read; none at the end, or after what is wrong.
async fn request(stream: &mut BufReader<TcpStream>, given: &Shared) -> std::io::Result<Option<Request>> {
    let Some(first) = line(stream, given).await? else { return Ok(None) };
    let mut fields = Vec::new();
    loop {
        let Some(line) = line(stream, given).await? else { return Ok(None) };
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, "\0"));
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if let Some(wrong) = judged(&first, &fields) {
        given.lock().expect("no panic").wrong.push(format!("{wrong}: {first} {fields:?}"));
        return Ok(None);
    }
    let length = fields.iter().find(|(name, _)| name == "content-length");
    if let Some((_, length)) = length {
        let mut body = vec![0; length.parse().expect("judged before")];
        stream.read_exact(&mut body).await?;
    } else if fields.iter().any(|(name, _)| name == "transfer-encoding") {
        while let Some(size) = line(stream, given).await? {
            let Ok(size) = usize::from_str_radix(&size, 16) else {
                given.lock().expect("no panic").wrong.push(format!("a chunk of {size:?}"));
                return Ok(None);
            };
            if size == 0 {
                while line(stream, given).await?.is_some_and(|trailer| !trailer.is_empty()) {}
                break;
            }
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await?;
        }
    }
    let target = first.split(' ').nth(1).unwrap_or_default();
    Ok(Some((target.to_owned(), fields)))
}

/// What is wrong with the head of a request that went through Tidewait.
fn judged(first: &str, fields: &[(String, String)]) -> Option<&'static str> {
    let all =
        |name: &str| fields.iter().filter(|(field, _)| field == name).map(|(_, value)| &**value).collect::<Vec<_>>();
    let parts: Vec<_> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return Some("no request line") };
    let (hosts, lengths, codings) = (all("host"), all("content-length"), all("transfer-encoding"));
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&c))
    };
    let hop = ["connection", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings", "x-auth"];
    if !token(method) || method == "CONNECT" || method == "TRACE" {
        Some("the method")
    } else if target.contains('#') || target.split('?').next() == Some("/describe") || target.contains("smuggled") {
        Some("the target")
    } else if hosts.len() != 1 || hosts[0].contains('@') {
        Some("the host")
    } else if lengths.len() + codings.len() > 1 || codings.iter().any(|coding| *coding != "chunked") {
        Some("the framing")
    } else if lengths.iter().any(|length| !length.bytes().all(|c| c.is_ascii_digit())) {
        Some("the length")
    } else if !fields.iter().all(|(name, value)| token(name) && value != "\0") {
        Some("a name")
    } else if fields.iter().any(|(name, _)| matches!(&**name, "content_length" | "transfer_encoding")) {
        Some("a look-alike")
    } else {
        // An upgrade may pass, but never to HTTP/2: then both of these must, and name nothing else.
        let upgrade =
            !all("upgrade").iter().any(|protocol| protocol.contains("h2c")) && all("connection") == ["upgrade"];
        let passes = |name: &str| upgrade && matches!(name, "connection" | "upgrade");
        let named = |name: &&str| !passes(name) && !all(name).is_empty();
        hop.iter().find(|name| named(name)).map(|_| "a field of one hop")
    }
}

#[tokio::test]
async fn the_app_gets_whole_requests_in_one_spelling_and_never_a_hidden_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!("http://{}", listener.local_addr().expect("an address"));
    let given = Shared::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(app(listener, Arc::clone(&given)));
    let (mut server, _folder) = start(&["--upstream", &upstream]).await;
    let listen = server.listen;
    assert_eq!(server.get("/alive").await.body, b"ok", "the app is behind");
    let cases = make::corpus();
    let sent = cases.iter().map(|case| async move {
        let mut talk = Talk::new(TcpStream::connect(listen).await.expect("it listens"), usize::MAX);
        talk.send(&case.raw);
        // Who ends takes its request back, so the answers come first; some want bytes that never come.
        let answered = talk.until(|seen| drive::is_answered(case, seen));
        let _ = tokio::time::timeout(MORE, answered).await;
        assert!(tokio::time::timeout(STEP, talk.finished()).await.is_ok(), "{} never ends", case.name);
    });
    futures::stream::iter(sent).buffer_unordered(AT_ONCE).collect::<()>().await;
    {
        let given = given.lock().expect("no panic");
        assert!(given.wrong.is_empty(), "{:#?}", given.wrong);
        assert!(given.requests.len() > 100, "most look-alikes of the path reach it: {}", given.requests.len());
    }
    assert_eq!(server.get("/alive").await.body, b"ok", "and still is");
    is_well(&mut server).await;
}

#[tokio::test]
async fn look_alikes_of_the_path_reach_the_app_byte_for_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!("http://{}", listener.local_addr().expect("an address"));
    let given = Shared::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(app(listener, Arc::clone(&given)));
    let (server, _folder) = start(&["--upstream", &upstream]).await;
    let mut client = Client::connect(server.listen).await;
    let paths = [
        "//describe",
        "/%64escribe",
        "/describe;a",
        "/a/../describe",
        "/describe%2F?x=%41",
        "/describe/",
        "/./describe?",
    ];
    for path in paths {
        let answer = client.get(path, &[("X-Auth", "1"), ("Connection", "X-Auth")]).await;
        assert_eq!((answer.status, &*answer.body), (200, b"ok".as_slice()), "{path}");
    }
    let given = given.lock().expect("no panic");
    assert!(given.requests.iter().map(|(target, _)| target).eq(paths.iter()), "{given:?}");
    assert!(given.wrong.is_empty(), "{:#?}", given.wrong);
}

#[tokio::test]
async fn who_asked_is_told_by_the_connection_and_not_by_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!("http://{}", listener.local_addr().expect("an address"));
    let given = Shared::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(app(listener, Arc::clone(&given)));
    let (server, _folder) = start(&["--upstream", &upstream]).await;
    let spoofed = [
        ("X-Forwarded-For", "192.0.2.66"),
        ("X-Forwarded-For", "192.0.2.67"),
        ("X-Real-IP", "192.0.2.66"),
        ("Forwarded", "for=192.0.2.66"),
        ("X-Forwarded-Client-Cert", "Subject=192.0.2.66"),
        ("X-Forwarded-Host", "192.0.2.66"),
    ];
    Client::connect(server.listen).await.get("/who", &spoofed).await;
    let given = given.lock().expect("no panic");
    let [(_, fields)] = &given.requests[..] else { panic!("one request: {given:?}") };
    assert!(fields.iter().all(|(_, value)| !value.contains("192.0.2.6")), "{fields:?}");
    assert!(fields.contains(&("x-forwarded-for".to_owned(), "127.0.0.1".to_owned())), "{fields:?}");
}
