//! `/events`, the files of the page, and what pages of other origins may, by a plain client.

use serde_json::Value;

use super::agent;
use crate::exchange::{ask, text};
use crate::model_file::ModelFile;
use crate::server::{Client, Server};
use crate::topic::Stream;

const OPEN: &str = "tidewait_admin_event_streams";
const REFUSED: &str = "tidewait_admin_event_streams_refused_total";

async fn serve(model: &ModelFile, more: &[&str]) -> Server {
    let mut server = Server::start(&[&["--file", model.arg(), "--topic", "/chat"], more].concat()).await;
    server.ready().await;
    server
}

async fn events(server: &Server) -> Stream {
    Stream::open(server.admin, "/events", "").await
}

/// The data of the next event of this name that is as wanted.
async fn next(stream: &mut Stream, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    loop {
        let event = stream.event().await;
        let (found, data) =
            event.strip_prefix("event: ").and_then(|rest| rest.split_once("\ndata: ")).expect("an event");
        let data: Value = serde_json::from_str(data).expect("JSON in one line");
        if found == name && is_it(&data) {
            return data;
        }
    }
}

#[tokio::test]
async fn a_stream_says_what_there_is_and_then_what_has_changed() {
    let model = ModelFile::new("{\"n\":1}");
    let server = serve(&model, &[]).await;
    let mut stream = events(&server).await;
    let head = stream.head.to_ascii_lowercase();
    for line in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store, no-transform\r\n",
        "x-accel-buffering: no\r\n",
        "x-content-type-options: nosniff\r\n",
    ] {
        assert!(head.contains(line), "{head}");
    }
    let first = stream.up_to("\n\n").await;
    let retry: u64 = first.strip_prefix("retry: ").and_then(|rest| rest.trim_end().parse().ok()).expect("retry first");
    assert!((2000..=5000).contains(&retry), "{retry}");
    let state = next(&mut stream, "state", |_| true).await;
    let mut asked = server.admin("/state").await.json();
    for ages in ["/operations/0/ageSeconds", "/operations/0/agents/trackedSeconds"] {
        *asked.pointer_mut(ages).expect("it is there") = state.pointer(ages).expect("it is there").clone();
    }
    assert_eq!(state, asked);
    assert_eq!(state["clients"]["listen"], server.listen.to_string());
    assert_eq!(state["clients"]["scheme"], "http");
    let none = next(&mut stream, "agents", |_| true).await;
    assert_eq!(
        (&none["operation"], &none["agents"], &none["more"]),
        (&"describe".into(), &Value::Array(Vec::new()), &false.into())
    );

    let id = server.get("/describe").await.id().to_owned();
    let _good = agent(server.listen, "a", &format!("since={id}"), None).await;
    let _picky = agent(server.listen, "b", &format!("since={id}&rejected={id}"), Some("too low")).await;
    let both =
        next(&mut stream, "agents", |page| page["agents"].as_array().is_some_and(|agents| agents.len() == 2)).await;
    assert_eq!(both["agents"][0]["name"], "b", "who rejects is first");
    assert_eq!(both["stateId"], id);
    model.replace("{\"n\":2}");
    let changed = next(&mut stream, "state", |state| state["operations"][0]["stateId"] != id).await;
    assert_eq!(changed["operations"][0]["agents"]["total"], 2);
}

#[tokio::test]
async fn streams_are_bounded_and_a_place_is_there_again_when_one_has_gone() {
    let model = ModelFile::new("{}");
    let server = serve(&model, &[]).await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(events(&server).await);
    }
    server.metric_becomes(OPEN, 16.0).await;
    let rest = text(&server.admin("/events").await);
    let (retry, busy) = rest.split_once("\n\n").expect("two blocks");
    let retry: u64 = retry.strip_prefix("retry: ").and_then(|rest| rest.parse().ok()).expect("retry first");
    assert!((5000..=11_000).contains(&retry), "{retry}");
    assert_eq!(busy, "event: busy\ndata: {\"retryAfter\":5}\n\n");
    server.metric_becomes(REFUSED, 1.0).await;
    // The head alone takes no place.
    let mut client = Client::connect(server.admin).await;
    client.send("HEAD", "/events", &[]).await;
    let head = client.reply().await;
    assert_eq!((head.status, head.field("content-type")), (200, "text/event-stream"));
    streams.pop();
    server.metric_becomes(OPEN, 15.0).await;
    next(&mut events(&server).await, "state", |_| true).await;
    assert_eq!(server.admin("/livez").await.status, 200);
}

#[tokio::test]
async fn a_drain_ends_streams_and_lets_no_further_one_begin() {
    let model = ModelFile::new("{}");
    let mut server = serve(&model, &["--grace=5s"]).await;
    let mut stream = events(&server).await;
    next(&mut stream, "state", |_| true).await;
    assert_eq!(ask(server.admin, "POST", "/drain", &[], "").await.status, 200);
    let rest = stream.rest().await;
    let (_, last) = rest.trim_end().rsplit_once("\n\n").expect("several blocks");
    let within: Value =
        serde_json::from_str(last.strip_prefix("event: move\ndata: ").expect("the last one")).expect("JSON");
    assert!(within["within"].as_u64().is_some_and(|within| within <= 6), "{within}");
    let later = text(&server.admin("/events").await);
    assert!(later.ends_with("event: busy\ndata: {\"retryAfter\":5}\n\n"), "{later}");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let model = ModelFile::new("{}");
    let server = serve(&model, &[]).await;
    let level = text(&server.admin("/log-level").await);
    let own = format!("http://{}", server.admin);
    for origin in ["http://evil.example", "null", &own] {
        for (method, path, body) in [("PUT", "/log-level", "debug"), ("POST", "/drain", "")] {
            // Its Host is another one.
            let reply = ask(server.admin, method, path, &[("Origin", origin)], body).await;
            assert_eq!(reply.status, 403, "{method} {path} {origin}: {reply:?}");
            assert_eq!(reply.json()["type"], "https://tidewait.dev/problems/foreign-origin");
        }
        assert_eq!(Client::connect(server.admin).await.get("/state", &[("Origin", origin)]).await.status, 200);
    }
    assert_eq!(text(&server.admin("/log-level").await), level);
    assert_eq!(server.admin("/readyz").await.status, 200, "it does not drain");
    server.metric_becomes("tidewait_admin_refused_total{reason=\"origin\"}", 6.0).await;
    // Those of its own may, and so may who is no page.
    for origin in [&[("Origin", "http://test")][..], &[]] {
        assert_eq!(ask(server.admin, "PUT", "/log-level", origin, "debug").await.status, 200);
    }
}

#[tokio::test]
async fn the_page_is_three_files_that_load_nothing_from_elsewhere() {
    let model = ModelFile::new("{}");
    let server = serve(&model, &[]).await;
    let mut files = Vec::new();
    for (path, media_type) in [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let reply = server.admin(path).await;
        assert_eq!((reply.status, reply.field("content-type")), (200, &*format!("{media_type}; charset=utf-8")));
        assert_eq!(reply.field("x-content-type-options"), "nosniff");
        let policy = reply.field("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.split("; ").any(|found| found == part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        files.push(text(&reply));
    }
    let [html, css, js] = &files[..] else { panic!("three") };
    for (file, never) in [
        (html, &["http://", "https://", "style=", "<style", " on", "<script>"][..]),
        (css, &["url(", "@import", "http"]),
        (
            js,
            &[
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                "import",
                "console.",
            ],
        ),
    ] {
        for word in never {
            let found = file.find(word).map(|at| &file[at..(at + 60).min(file.len())]);
            // Words of people.
            let is_text =
                word == &" on" && found.is_none_or(|found| !found.split(' ').nth(1).unwrap_or("").contains('='));
            assert!(found.is_none() || is_text, "{word}: {found:?}");
        }
    }
}
