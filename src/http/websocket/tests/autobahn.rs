//! The Autobahn suite (crossbario/autobahn-testsuite) is the client: its cases of framing, pings, reserved bits, opcodes,
//! fragments, UTF-8 and closing. Those left out are of large messages (9) and of compression (12, 13), which is not offered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::process::Stdio;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::super::{Opening, WebSockets};
use super::*;
use crate::access::{Connection, Scheme};
use crate::http::connection::ConnectionState;
use crate::http::http1;

/// Cases of 1 to 7 and 10.
const CASES: usize = 247;

/// What the suite says of a case, and of how it ended.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    behavior: String,
    behavior_close: String,
}

impl Case {
    fn has_failed(&self) -> bool {
        [&self.behavior, &self.behavior_close]
            .into_iter()
            .any(|said| !matches!(&**said, "OK" | "NON-STRICT" | "INFORMATIONAL"))
    }
}

/// Serves whoever connects: from the request on it is what serves all clients.
async fn serve(listener: TcpListener) {
    let (sockets, cut) = (WebSockets::default(), IntCounter::new("cut", "cut").expect("a name"));
    let mut connections = JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        let connection = Arc::new(ConnectionState::new(Arc::new(Connection::new(peer, Scheme::Http))));
        let (sockets, cut) = (sockets.clone(), cut.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (mut parts, _) = request.into_parts();
            let opening = Opening::new(&mut parts, false);
            let accepted = opening.accept(&sockets, Echo, 1024 * 1024, (&connection, &cut));
            std::future::ready(Ok::<_, Infallible>(accepted))
        });
        connections.spawn(http1::builder().serve_connection(TokioIo::new(stream), service).with_upgrades());
    }
}

#[tokio::test]
async fn the_autobahn_suite_finds_nothing_wrong() {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/autobahn/build.sh");
    let built = Command::new(SCRIPT).stderr(Stdio::inherit()).output().await.expect("the script runs");
    assert!(built.status.success(), "tests/autobahn/build.sh failed: run it and see why");
    let python = String::from_utf8(built.stdout).expect("a path");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener));
    let folder = tempfile::tempdir().expect("a folder");
    let cases: Vec<_> = [1, 2, 3, 4, 5, 6, 7, 10].map(|number| format!("{number}.*")).into();
    let spec = serde_json::json!({
        "outdir": "reports",
        "servers": [{"agent": "tidewait", "url": url}],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    std::fs::write(folder.path().join("spec.json"), spec.to_string()).expect("written");
    let run = "from autobahntestsuite.wstest import run; run()";
    let suite = Command::new(python.trim_end())
        .args(["-c", run, "--mode", "fuzzingclient", "--spec", "spec.json"])
        .current_dir(folder.path())
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .output();
    let suite = timeout(Duration::from_secs(300), suite).await.expect("it ends").expect("it starts");
    let said = String::from_utf8_lossy(&suite.stderr);
    assert!(suite.status.success(), "{said}");
    let report =
        std::fs::read(folder.path().join("reports/index.json")).unwrap_or_else(|error| panic!("{error}: {said}"));
    let report: BTreeMap<String, BTreeMap<String, Case>> = serde_json::from_slice(&report).expect("a report");
    let cases = &report["tidewait"];
    let failed: Vec<_> = cases
        .iter()
        .filter(|(_, case)| case.has_failed())
        .map(|(name, case)| format!("{name}: {}, closed: {}", case.behavior, case.behavior_close))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(cases.len(), CASES);
}
