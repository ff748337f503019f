//! Plain polls are answered by the event loop itself, and could be served by hyper as all other requests are: both ways give
//! the same bytes, for thousands of requests, and wherever what is sent is cut in two.

use std::time::Duration;

use super::{MODEL, Rig, id};

/// What differs from one answer to the next: the date, and what is spread at random.
fn plain(seen: &[u8]) -> String {
    let text = String::from_utf8_lossy(seen);
    let masked = text.split_inclusive("\r\n").map(|line| match line.split_once(": ") {
        Some((name @ ("date" | "retry-after"), _)) => format!("{name}: *\r\n"),
        _ => line.to_owned(),
    });
    masked.collect()
}

/// What comes back for these pieces within a minute, and whether the connection ended.
async fn talk(rig: &mut Rig, pieces: &[&[u8]]) -> (String, bool) {
    let mut wire = rig.connect();
    for piece in pieces {
        wire.send(piece);
        wire.flushed().await;
        // The server has read it before the next one comes.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Either it ends, or nothing more comes.
    let _ = tokio::time::timeout(Duration::from_secs(60), wire.until(|_| false)).await;
    (plain(&wire.seen), wire.ended)
}

struct Ways {
    own: Rig,
    hyper: Rig,
    wrong: Vec<String>,
}

impl Ways {
    async fn new() -> Self {
        let own = Rig::empty(|_| ());
        let hyper = Rig::with_polls_by_hyper();
        for rig in [&own, &hyper] {
            rig.publish(7, MODEL).await;
        }
        Self { own, hyper, wrong: Vec::new() }
    }

    async fn compare(&mut self, pieces: &[&[u8]]) {
        let own = talk(&mut self.own, pieces).await;
        let hyper = talk(&mut self.hyper, pieces).await;
        if own != hyper {
            let sent: Vec<_> = pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect();
            self.wrong.push(format!("{sent:?}\n  own:   {own:?}\n  hyper: {hyper:?}"));
        }
    }

    fn judge(self) {
        let first: Vec<_> = self.wrong.iter().take(5).map(String::as_str).collect();
        assert!(self.wrong.is_empty(), "{} differ:\n{}", self.wrong.len(), first.join("\n"));
        self.own.is_empty();
        self.hyper.is_empty();
    }
}

fn targets() -> Vec<String> {
    let (current, older) = (id(7, MODEL), id(6, "{}"));
    vec![
        "/describe".to_owned(),
        "/describe?".to_owned(),
        format!("/describe?since={current}&wait=0"),
        format!("/describe?since={current}&wait=1&x=%20y"),
        format!("/describe?since=\"{current}\"&wait=1"),
        format!("/describe?since={older}"),
        format!("/describe?since={}", id(8, "{}")),
        "/describe?since=nonsense&wait=1".to_owned(),
        format!("/describe?rejected={current}&since={older}&wait=1"),
        "/describe?select=/mtu".to_owned(),
        format!("/describe?select=/mtu&since={}&wait=1", id(7, r#"{"mtu":1450}"#)),
        "/describe?select=mtu".to_owned(),
        "/describe?wait=x".to_owned(),
        "/describe/".to_owned(),
        "/nowhere".to_owned(),
        "http://test/describe?wait=0".to_owned(),
        "/describe?a=#b".to_owned(),
    ]
}

fn fields() -> Vec<String> {
    let id = id(7, MODEL);
    [
        "",
        "Agent-Id: node-1\r\n",
        "agent-ID:\tnode-2 \r\nX: y\r\n",
        "Agent-Id: a b\r\n",
        "Accept-Encoding: gzip\r\n",
        "Accept-Encoding: zstd;q=1, gzip;q=0.5\r\n",
        "Accept: application/json-patch+json\r\n",
        "Prefer: wait=1\r\n",
        "If-None-Match: *\r\n",
        &format!("If-None-Match: \"{}.{}~gzip\"\r\nAccept-Encoding: gzip\r\n", id.epoch, id.digest),
        "Connection: close\r\n",
        "Connection: Keep-Alive\r\n",
        "Connection: keep-alive, x\r\nx: 1\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Expect: something\r\n",
        "X: y\n",
        "Host: other\r\n",
        " folded: x\r\n",
        "Rejected-Reason: because\r\nx-envoy-expected-rq-timeout-ms: 1500\r\n",
    ]
    .map(str::to_owned)
    .to_vec()
}

const METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "DELETE"];
const BEHIND: [&str; 4] = ["", "GET /describe HTTP/1.1\r\nHost: test\r\n\r\n", "HEAD /describe?wait=0 HT", "GET\n"];

#[tokio::test(start_paused = true)]
async fn thousands_of_requests_are_answered_the_same_both_ways() {
    let mut ways = Ways::new().await;
    let mut sent = 0;
    for method in METHODS {
        for target in targets() {
            for fields in fields() {
                for behind in BEHIND {
                    let raw = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n{behind}");
                    ways.compare(&[raw.as_bytes()]).await;
                    sent += 1;
                }
            }
        }
    }
    assert!(sent > 5000, "{sent}");
    ways.judge();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cut_anywhere_is_answered_the_same_both_ways() {
    let mut ways = Ways::new().await;
    let id = id(7, MODEL);
    for raw in [
        format!("GET /describe?since={id}&wait=1 HTTP/1.1\r\nHost: test\r\n\r\nGET /describe HTTP/1.1\r\nHost: a\r\n\r\n"),
        "\r\n\r\nHEAD /describe?wait=0 HTTP/1.1\r\nHost: test\r\nAgent-Id: node-1\r\n\r\n".to_owned(),
        "POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabcGET /describe HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /describe HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\n".to_owned(),
        "GET /describe HTTP/1.0\r\n\r\n".to_owned(),
        "GET /describe?x=\"<>\" HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n".to_owned(),
    ] {
        for cut in 1..raw.len() {
            let (first, second) = raw.as_bytes().split_at(cut);
            ways.compare(&[first, second]).await;
        }
    }
    ways.judge();
}
