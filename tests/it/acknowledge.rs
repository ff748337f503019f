//! Which agent holds, lacks or rejects the state, as operators of the built binary see it.

use serde_json::{Value, json};

use crate::model_file::ModelFile;
use crate::server::{Client, Reply, Server};

const PARKED: &str = "tidewait_parked_requests{operation=\"describe\"}";
const REASON: &str = "subnet 10.0.0.0/33: prefix over 32";

/// Three agents: one follows, one rejects, one is given the state and says nothing more.
#[tokio::test]
async fn of_three_agents_one_rejects_and_operators_see_which_and_why() {
    let model = ModelFile::new("{\"n\":1}");
    let mut server = Server::start(&["--file", model.arg()]).await;
    server.ready().await;
    let first = server.get("/describe").await.id().to_owned();
    let mut agents = Vec::new();
    for name in ["good", "picky", "slow"] {
        let mut client = Client::connect(server.listen).await;
        assert_eq!(client.get("/describe", &[("Agent-Id", name)]).await.status, 200);
        poll(&mut client, name, &format!("since={first}"), None).await;
        agents.push(client);
    }
    server.metric_becomes(PARKED, 3.0).await;
    assert_eq!(counts(&server).await, [3, 0, 0]);
    let all = page(&server, "/agents").await;
    assert_eq!((&all["operation"], &all["stateId"], &all["next"]), (&json!("describe"), &json!(first), &Value::Null));
    assert_eq!(names(&all), ["good", "picky", "slow"]);

    model.replace("{\"n\":2}");
    let [good, picky, slow] = &mut agents[..] else { panic!("three") };
    let second = good.reply().await.id().to_owned();
    assert_eq!([picky.reply().await.id(), slow.reply().await.id()], [&*second, &*second]);
    poll(good, "good", &format!("since={second}"), None).await;
    poll(picky, "picky", &format!("since={first}&rejected={second}"), Some(REASON)).await;
    server.metric_becomes(PARKED, 2.0).await;
    assert_eq!(counts(&server).await, [1, 1, 1]);
    assert_one(&page(&server, "/agents?state=converged").await, "good", &[("holds", json!(second))]);
    let lags = [("holds", json!(first)), ("given", json!(second)), ("polls", json!(0))];
    assert_one(&page(&server, "/agents?state=lagging&operation=describe").await, "slow", &lags);
    let rejects = [
        ("holds", json!(first)),
        ("rejects", json!(second)),
        ("reason", json!(REASON)),
        ("authenticated", json!(false)),
        ("duplicate", json!(false)),
        ("polls", json!(1)),
    ];
    assert_one(&page(&server, "/agents?state=rejecting").await, "picky", &rejects);
    let totals = &server.admin("/state").await.json()["operations"][0]["agents"];
    assert_eq!((&totals["total"], &totals["rejecting"]), (&json!(3), &json!(1)), "{totals}");
    for (series, value) in
        [("tidewait_agent_rejections_total", 1.0), ("tidewait_duplicate_agents", 0.0), ("tidewait_evicted_agents", 0.0)]
    {
        server.metric_becomes(&format!("{series}{{operation=\"describe\"}}"), value).await;
    }
    server.metric_becomes("tidewait_lagging_agents{age=\"10s\",operation=\"describe\"}", 1.0).await;

    model.replace("{\"n\":3}");
    let third = picky.reply().await.id().to_owned();
    assert_eq!(good.reply().await.id(), third);
    for (client, name) in agents.iter_mut().zip(["good", "picky", "slow"]) {
        poll(client, name, &format!("since={third}"), None).await;
    }
    server.metric_becomes(PARKED, 3.0).await;
    assert_eq!(counts(&server).await, [3, 0, 0]);
    // Gone, and forgotten some seconds later.
    drop(agents);
    server.metric_becomes(PARKED, 0.0).await;
    assert_eq!(counts(&server).await, [3, 0, 0]);
    server.metric_becomes(&series("converged"), 0.0).await;
}

#[tokio::test]
async fn pages_are_followed_by_next_and_what_is_wrong_is_named() {
    let model = ModelFile::new("{}");
    let mut server = Server::start(&["--file", model.arg()]).await;
    server.ready().await;
    let mut client = Client::connect(server.listen).await;
    for number in 0..7 {
        client.get("/describe", &[("Agent-Id", &format!("rack:{number}"))]).await;
    }
    let (mut target, mut all) = ("/agents?state=lagging&limit=3".to_owned(), Vec::new());
    loop {
        let page = page(&server, &target).await;
        all.extend(names(&page));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut target),
            None => break,
        }
    }
    assert_eq!(target, "/agents?operation=describe&state=lagging&limit=3&after=rack:5");
    assert_eq!(all, (0..7).map(|number| format!("rack:{number}")).collect::<Vec<_>>());
    let long = "x".repeat(254);
    for (query, detail) in [
        ("limit=0", "limit is \"0\": give a number from 1 to 1000"),
        ("limit=1001", "limit is \"1001\": give a number from 1 to 1000"),
        (
            "state=happy",
            "state is \"happy\": give one of converged, lagging, applying, rejecting, or leave it out for all",
        ),
        ("operation=other", "operation is \"other\": name one of describe"),
        ("limit=1&limit=1", "limit is \"1\": it stands twice or more: give it once"),
        ("states=x", "states is \"x\": it is no parameter of /agents: give operation, state, limit or after"),
        (&format!("after={long}"), "follow next of the page before"),
    ] {
        let reply = server.admin(&format!("/agents?{query}")).await;
        let told = reply.json()["detail"].as_str().expect("a detail").to_owned();
        assert_eq!((reply.status, reply.field("content-type")), (400, "application/problem+json"));
        assert!(told.ends_with(detail), "{query}: {told}");
    }
    let mut client = Client::connect(server.admin).await;
    client.send("POST", "/agents", &[("Content-Length", "0")]).await;
    assert_eq!(client.reply().await.status, 405);
}

async fn poll(client: &mut Client, name: &str, query: &str, reason: Option<&str>) {
    let fields = [("Agent-Id", name)].into_iter().chain(reason.map(|reason| ("Rejected-Reason", reason)));
    client.send("GET", &format!("/describe?{query}&wait=50"), &fields.collect::<Vec<_>>()).await;
}

fn series(state: &str) -> String {
    format!("tidewait_agents{{operation=\"describe\",state=\"{state}\"}}")
}

/// Converged, lagging, rejecting, by the metrics.
async fn counts(server: &Server) -> [u64; 3] {
    let text = String::from_utf8(server.admin("/metrics").await.body).expect("text");
    ["converged", "lagging", "rejecting"].map(|state| {
        let value = text.lines().find_map(|line| line.strip_prefix(&*series(state)));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{state} in {text}"))
    })
}

async fn page(server: &Server, target: &str) -> Value {
    let reply: Reply = server.admin(target).await;
    assert_eq!((reply.status, reply.field("content-type")), (200, "application/json"), "{target}");
    reply.json()
}

fn names(page: &Value) -> Vec<String> {
    let agents = page["agents"].as_array().expect("a list");
    agents.iter().map(|agent| agent["name"].as_str().expect("a name").to_owned()).collect()
}

#[track_caller]
fn assert_one(page: &Value, name: &str, fields: &[(&str, Value)]) {
    assert_eq!(names(page), [name], "{page}");
    for (field, value) in fields {
        assert_eq!(page["agents"][0][field], *value, "{field} of {page}");
    }
}
