//! An agent of the version before.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::wire::{self, Exchange, Recording, field, line, message};
use super::{before, model, of, serve};
use crate::model_file::ModelFile;
use crate::process::PARKED;
use crate::server::{STEP, Server, tidewait, until};

/// The one that it rejects.
const REJECTED: usize = 3;
const LAST: usize = 4;

/// Waits until operators see that the agent says this of the newest state.
async fn says(server: &Server, what: &str) -> String {
    until(what, async || {
        let newest = server.get("/describe").await.id().to_owned();
        let agent = server.admin("/agents").await.json()["agents"][0].clone();
        (agent["name"] == "edge" && agent[what] == newest && agent["applies"].is_null()).then_some(newest)
    })
    .await
}

/// Waits until this model is served, and gives its id.
async fn serves(server: &Server, n: usize) -> String {
    until("it is served", async || {
        let reply = server.get("/describe").await;
        (reply.body == model(n).as_bytes()).then(|| reply.id().to_owned())
    })
    .await
}

fn verdict(n: usize) -> &'static str {
    if n == REJECTED { "rejects" } else { "holds" }
}

/// Ids are of this run: their places are kept, by the numbers of the models.
fn with_places(text: &str, ids: &[String]) -> String {
    ids.iter().enumerate().fold(text.to_owned(), |text, (n, id)| text.replace(id, &format!("{{{}}}", n + 1)))
}

fn with_ids(text: &str, ids: &[String]) -> String {
    ids.iter().enumerate().fold(text.to_owned(), |text, (n, id)| text.replace(&format!("{{{}}}", n + 1), id))
}

#[tokio::test]
async fn it_is_served() {
    let file = ModelFile::new(&model(1));
    let server = serve(None, &file).await;
    match before() {
        Some(program) => record(program, &file, &server).await,
        None => replay(&file, &server).await,
    }
}

/// The real one holds what it can apply, and says so of what it cannot.
async fn record(program: std::ffi::OsString, file: &ModelFile, server: &Server) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    // So slow that it is told meanwhile that it applies.
    let script = format!("sleep 2\ngrep -q '\"n\":{REJECTED}' \"$TIDEWAIT_FILE\" && exit 1\nexit 0\n");
    std::fs::write(path("check"), script).expect("the folder can be written");
    let (n, now) = watch::channel(1);
    let recording = Recording::default();
    let url = format!("http://{}", recording.listen(server.listen, now).await);
    let (check, state, out) = (format!("/bin/sh {}", path("check")), path("state"), path("out"));
    let arguments = ["agent", "--endpoint", &url, "--operation=/describe", "--agent-id=edge", "--state-dir", &state];
    let arguments = [&arguments[..], &["--wait=3s", "--out", &out, "--check", &check]].concat();
    let agent = of(Some(program), tidewait(&arguments)).spawn().expect("it starts");
    let mut ids = Vec::new();
    for model_n in 1..=LAST {
        if model_n > 1 {
            n.send_replace(model_n);
            file.replace(&model(model_n));
            serves(server, model_n).await;
        }
        ids.push(says(server, verdict(model_n)).await);
    }
    until("a wait is over", async || recording.has("HTTP/1.1 204 ").then_some(())).await;
    until("it is parked again", async || (server.metric(PARKED).await > 0.0).then_some(())).await;
    drop(agent);
    recording.each(|text| with_places(text, &ids));
    recording.write("agent");
}

/// Each request is answered as it was.
async fn replay(file: &ModelFile, server: &Server) {
    let mut ids = Vec::new();
    let (mut now, mut stream) = (0, TcpStream::connect(server.listen).await.expect("it listens"));
    let change = async |to: usize, now: &mut usize, ids: &mut Vec<String>| {
        while *now < to {
            *now += 1;
            file.replace(&model(*now));
            ids.push(serves(server, *now).await);
        }
    };
    let said = wire::read("agent");
    for Exchange { sent, answered, request, answer } in &said {
        change(*sent, &mut now, &mut ids).await;
        let Some(expected) = answer else {
            // It is given up, with its connection.
            let mut given_up =
                std::mem::replace(&mut stream, TcpStream::connect(server.listen).await.expect("it listens"));
            given_up.write_all(with_ids(request, &ids).as_bytes()).await.expect("it reads");
            continue;
        };
        stream.write_all(with_ids(request, &ids).as_bytes()).await.expect("it reads");
        change(*answered, &mut now, &mut ids).await;
        let found = tokio::time::timeout(STEP, message(&mut stream)).await.expect("in time").expect("an answer");
        let status = |answer: &str| answer.split(' ').nth(1).map(str::to_owned);
        let body = |answer: &str| answer.split("\r\n\r\n").nth(1).map(str::to_owned);
        assert_eq!((status(&found), body(&found)), (status(expected), body(expected)), "{}", line(request));
        for name in ["state-id", "state-digest", "content-type", "delta-base", "connection"] {
            let expected = field(expected, name).map(|value| with_ids(value, &ids));
            assert_eq!(field(&found, name), expected.as_deref(), "{name} of {}", line(request));
        }
        assert_eq!(field(&found, "state-age"), Some("0"));
    }
    assert_eq!(now, LAST);
    says(server, "holds").await;
    let of = |what: &str| said.iter().filter(|exchange| line(&exchange.request).contains(what)).count();
    assert!(of("applying=") > 0 && of("rejected=") > 0 && of("since=") > 3, "a recording of all that it can say");
}
