//! Who may poll, over HTTP/1.1 by both ways and over HTTP/2: who is refused, who loses its place, and what nobody learns.

use std::time::Duration;

use tidewait::access::policy::Rule;
use tidewait::access::tokens::line;
use tidewait::access::{Policy, Tokens};
use tidewait::registry::Listing;
use tidewait::sources::Report;
use tokio::time::Instant;

use super::{MODEL, Rig, Wire, ask, get, id, next};
use crate::hostile::make::frames;

const A: &str = "Authorization: Bearer token-a\r\n";
const B: &str = "Authorization: Bearer token-b\r\n";
const NOBODY: &str = "Authorization: Bearer token-c\r\n";

/// The test's clients are not on the same host.
const CLEAR: bool = true;

fn rule(subjects: &[&str], operations: &[&str]) -> Rule {
    Rule {
        subjects: subjects.iter().map(|subject| subject.parse().expect("a subject")).collect(),
        operations: operations.iter().map(|pattern| pattern.parse().expect("a pattern")).collect(),
        restrict: Vec::new(),
    }
}

fn file(owners: &[(&str, &str)]) -> String {
    owners.iter().map(|(token, name)| line(token, name, &[])).collect::<Vec<_>>().join("\n")
}

fn both() -> String {
    file(&[("token-a", "a"), ("token-b", "b")])
}

async fn serving(clear_credentials: bool) -> Rig {
    with(Policy::default(), clear_credentials).await
}

async fn with(policy: Policy, clear_credentials: bool) -> Rig {
    let rig = Rig::with_tokens(&both(), policy, clear_credentials);
    rig.publish(7, MODEL).await;
    rig
}

fn replace(rig: &Rig, file: &str) {
    rig.access.authentication().replace_tokens(Tokens::parse(file.as_bytes()).expect("tokens"));
}

fn current(fields: &str) -> String {
    get(&format!("since={}&wait=50", id(7, MODEL)), fields)
}

/// Sends a poll that is parked.
async fn park(rig: &mut Rig, raw: &str) -> Wire {
    let before = rig.operation.hub.parked();
    let mut wire = rig.connect();
    wire.send(raw.as_bytes());
    wire.flushed().await;
    rig.parked(before + 1).await;
    wire
}

/// The same request as a plain poll, and as one with a body, which hyper serves.
fn ways(raw: &str) -> [String; 2] {
    [raw.to_owned(), raw.replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx")]
}

#[tokio::test(start_paused = true)]
async fn every_request_for_an_operation_is_asked_for_a_credential() {
    let mut rig = serving(CLEAR).await;
    for (fields, status, challenge) in [
        ("", 401, "Bearer realm=\"tidewait\""),
        (A, 200, ""),
        (B, 200, ""),
        (NOBODY, 401, "Bearer realm=\"tidewait\", error=\"invalid_token\""),
        ("Authorization: Basic YTpi\r\n", 401, "Bearer realm=\"tidewait\", error=\"invalid_token\""),
        (
            "Authorization: Bearer token-a\r\nauthorization: Bearer token-b\r\n",
            401,
            "Bearer realm=\"tidewait\", error=\"invalid_token\"",
        ),
        ("Proxy-Authorization: Bearer token-a\r\n", 401, "Bearer realm=\"tidewait\""),
    ] {
        for raw in ways(&get("", fields)) {
            let answer = rig.ask(&raw).await;
            assert_eq!((answer.status, answer.field("www-authenticate")), (status, challenge), "{raw}");
            assert_eq!(answer.field("cache-control"), "no-store");
            assert!(status == 200 || !String::from_utf8_lossy(&answer.body).contains("token-"), "{answer:?}");
            assert!(status == 200 || answer.field("state-id").is_empty(), "{answer:?}");
        }
    }
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_does_not_learn_what_there_is() {
    let mut rig = serving(CLEAR).await;
    let mut seen = Vec::new();
    for raw in [
        "GET /describe HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET /other HTTP/1.1\r\nHost: test\r\n\r\n",
        "POST /describe HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
        "OPTIONS /describe HTTP/1.1\r\nHost: test\r\n\r\n",
        "DELETE /other HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET /describe?wait=nonsense HTTP/1.1\r\nHost: test\r\n\r\n",
        "GET /describe?select=%2Fno HTTP/1.1\r\nHost: test\r\n\r\n",
    ] {
        let answer = rig.ask(raw).await;
        seen.push((
            answer.status,
            answer.body,
            answer.fields.into_iter().filter(|(name, _)| name != "date").collect::<Vec<_>>(),
        ));
    }
    assert_eq!(seen[0].0, 401);
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:#?}");
    let answer = rig.ask("HEAD /describe HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.len()), (401, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_goes_on_and_each_of_its_requests_is_judged() {
    let mut rig = serving(CLEAR).await;
    let mut wire = rig.connect();
    for (fields, status) in [(A, 200), ("", 401), (A, 200), (NOBODY, 401), (B, 200), ("", 401), (A, 200)] {
        assert_eq!(ask(&mut wire, &get("", fields)).await.status, status, "{fields}");
    }
    assert!(!wire.ended);
}

#[tokio::test(start_paused = true)]
async fn a_credential_over_a_connection_that_others_can_read_is_refused() {
    let mut rig = serving(!CLEAR).await;
    let answer = rig.ask(&get("", A)).await;
    assert_eq!(answer.status, 401);
    let body = String::from_utf8(answer.body).expect("text");
    assert!(body.contains("others can read this connection") && body.contains("--allow-clear-credentials"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn anonymous_clients_are_let_in_where_that_is_said_and_bad_credentials_never_are() {
    let mut rig = with(Policy { anonymous: true, ..Policy::default() }, CLEAR).await;
    for (fields, status) in [("", 200), (A, 200), (NOBODY, 401), ("Authorization: Basic YTpi\r\n", 401)] {
        for raw in ways(&get("", fields)) {
            assert_eq!(rig.ask(&raw).await.status, status, "{raw}");
        }
    }
    // Rules for others change nothing for them; what is not there is not there.
    let rules = vec![rule(&["user:b"], &["other"])];
    let mut rig = with(Policy { rules, anonymous: true, ..Policy::default() }, CLEAR).await;
    for (path, fields, status) in [
        ("/describe", "", 200),
        ("/nothing", "", 404),
        ("/describe", A, 403),
        ("/nothing", A, 403),
        ("/nothing", NOBODY, 401),
    ] {
        let raw = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
        assert_eq!(rig.ask(&raw).await.status, status, "{raw}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_gone_ends_its_parked_requests_at_once_and_no_others() {
    let mut rig = serving(CLEAR).await;
    let mut gone = Vec::new();
    let mut stay = Vec::new();
    for raw in ways(&current(A)) {
        gone.push(park(&mut rig, &raw).await);
    }
    for raw in ways(&current(B)) {
        stay.push(park(&mut rig, &raw).await);
    }
    let path = format!("/describe?since={}&wait=50", id(7, MODEL));
    let head = [frames::get(&path), vec![("authorization", "Bearer token-a")]].concat();
    let mut http2 = rig.connect();
    http2.send(&frames::session(&[frames::frame(frames::HEADERS, 5, 1, &frames::fields(&head))]));
    http2.flushed().await;
    rig.parked(5).await;
    let withdrawn = Instant::now();
    replace(&rig, &file(&[("token-b", "b")]));
    for wire in &mut gone {
        let answer = next(wire, false).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.field("www-authenticate"), "Bearer realm=\"tidewait\", error=\"invalid_token\"");
        assert!(answer.field("state-id").is_empty() && !wire.ended, "the connection goes on");
    }
    rig.parked(2).await;
    assert_eq!(withdrawn.elapsed(), Duration::ZERO);
    assert_eq!(rig.operation.hub.metrics().withdrawn.get(), 3);
    rig.publish(8, "1").await;
    for wire in &mut stay {
        assert_eq!(next(wire, false).await.body, b"1");
    }
    for wire in &mut gone {
        assert_eq!(ask(wire, &get("", A)).await.status, 401, "nor is another request let in");
        assert_eq!(ask(wire, &get("", B)).await.status, 200);
    }
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn a_change_gives_no_state_to_who_has_lost_its_token_at_the_same_moment() {
    for _ in 0..8 {
        let mut rig = serving(CLEAR).await;
        let mut wires = Vec::new();
        for raw in ways(&current(A)) {
            wires.push(park(&mut rig, &raw).await);
        }
        // The loop hears of both together.
        replace(&rig, "# nobody\n");
        rig.publish(8, "1").await;
        for wire in &mut wires {
            assert_eq!(next(wire, false).await.status, 401);
        }
        rig.is_empty();
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_gives_no_state_to_who_is_in_other_groups_that_may_not_at_the_same_moment() {
    let file = |group: &str| line("token-a", "a", &[group.to_owned()]);
    for _ in 0..8 {
        let policy = Policy { rules: vec![rule(&["group:edge"], &["*"])], ..Policy::default() };
        let mut rig = Rig::with_tokens(&file("edge"), policy, CLEAR);
        rig.publish(7, MODEL).await;
        let mut wires = Vec::new();
        for raw in ways(&current(A)) {
            wires.push(park(&mut rig, &raw).await);
        }
        replace(&rig, &file("other"));
        rig.publish(8, "1").await;
        for wire in &mut wires {
            assert_eq!(next(wire, false).await.status, 403);
        }
        rig.is_empty();
    }
}

/// Its client claims a newer state, so the source is read before anything is said to it.
#[tokio::test(start_paused = true)]
async fn who_comes_to_other_groups_while_a_read_is_waited_for_is_judged_by_them_after_it() {
    for (group, status) in [("core", 200), ("other", 403)] {
        let policy = Policy { rules: vec![rule(&["group:edge", "group:core"], &["*"])], ..Policy::default() };
        let file = |group: &str| line("token-a", "a", &[group.to_owned()]);
        let mut rig = Rig::with_tokens(&file("edge"), policy, CLEAR);
        rig.publish(7, MODEL).await;
        let mut reader = rig.operation.reads.reader();
        let mut wires = Vec::new();
        for raw in ways(&get(&format!("since={}&wait=30", id(9, "0")), A)) {
            let mut wire = rig.connect();
            wire.send(raw.as_bytes());
            wire.flushed().await;
            wires.push(wire);
        }
        reader.requested().await;
        replace(&rig, &file(group));
        tokio::time::sleep(Duration::from_millis(10)).await;
        let number = reader.begin();
        rig.says(7, MODEL).await;
        rig.reports(Report::ReadCompleted(number)).await;
        for wire in &mut wires {
            assert_eq!(next(wire, false).await.status, status, "{group}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_stays_in_the_file_stays_parked() {
    let mut rig = serving(CLEAR).await;
    let mut wires = Vec::new();
    for raw in ways(&current(A)) {
        wires.push(park(&mut rig, &raw).await);
    }
    replace(&rig, &file(&[("token-c", "c"), ("token-a", "a")]));
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.parked(2).await;
    assert_eq!(rig.ask(&get("", NOBODY)).await.status, 200, "who is new is let in");
    replace(&rig, &file(&[("token-a", "another")]));
    for wire in &mut wires {
        assert_eq!(next(wire, false).await.status, 401, "the token is another one's now");
    }
    let mut again = park(&mut rig, &current(A)).await;
    rig.publish(8, "1").await;
    assert_eq!(next(&mut again, false).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_who_its_token_says() {
    let mut rig = serving(CLEAR).await;
    let mut wires = Vec::new();
    for fields in [A.to_owned(), format!("{A}Agent-Id: node-1\r\n"), format!("{B}Agent-Id: node-1\r\n")] {
        wires.push(park(&mut rig, &current(&fields)).await);
    }
    let (agents, _) = rig.operation.agents(&Listing { after: None, sync_status: None, limit: 10 }, None);
    let agents: Vec<_> =
        agents.iter().map(|agent| (agent.key.name().to_owned(), agent.key.is_authenticated())).collect();
    let expected = [("a", true), ("a node-1", true), ("b node-1", true)];
    assert_eq!(agents, expected.map(|(name, proved)| (name.to_owned(), proved)));
    drop(wires);
}

#[tokio::test(start_paused = true)]
async fn rules_say_who_may_poll_what_and_hide_the_rest() {
    let rules = vec![rule(&["user:a"], &["te*"]), rule(&["anonymous", "user:*"], &["other"])];
    let mut rig = with(Policy { rules, ..Policy::default() }, CLEAR).await;
    for (fields, status) in [(A, 200), (B, 403), ("", 401), (NOBODY, 401)] {
        for raw in ways(&get("", fields)) {
            assert_eq!(rig.ask(&raw).await.status, status, "{raw}");
        }
    }
    let mut wire = rig.connect();
    for (fields, status) in [(A, 200), (B, 403), (A, 200), ("", 401), (B, 403)] {
        assert_eq!(ask(&mut wire, &get("", fields)).await.status, status, "{fields}");
    }
    // What b may not poll and what does not exist answer alike.
    let mut seen = Vec::new();
    for raw in [
        get("", B),
        get("wait=nonsense", B),
        format!("GET /no-such-path HTTP/1.1\r\nHost: test\r\n{B}\r\n"),
        format!("OPTIONS /describe HTTP/1.1\r\nHost: test\r\n{B}\r\n"),
        format!("OPTIONS /no-such-path HTTP/1.1\r\nHost: test\r\n{B}\r\n"),
    ] {
        let answer = rig.ask(&raw).await;
        let fields: Vec<_> = answer.fields.into_iter().filter(|(name, _)| name != "date").collect();
        seen.push((answer.status, answer.body, fields));
    }
    assert_eq!(seen[0].0, 403);
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:#?}");
}

/// By each way, one client that is in group `edge` waits for the whole, and for a part.
#[tokio::test(start_paused = true)]
async fn who_is_in_other_groups_waits_on_as_far_as_these_may_and_gets_403_otherwise() {
    let mut of_racks = rule(&["group:rack"], &["*"]);
    of_racks.restrict = vec!["/zones".parse().expect("a template")];
    let rules = || vec![rule(&["group:edge", "group:core"], &["*"]), of_racks.clone()];
    let file = |group: &str| line("token-a", "a", &[group.to_owned()]);
    for (group, whole, part) in [("core", None, None), ("rack", Some(403), None), ("other", Some(403), Some(403))] {
        let policy = Policy { rules: rules(), ..Policy::default() };
        let mut rig = Rig::with_tokens(&file("edge"), policy, CLEAR);
        rig.publish(7, MODEL).await;
        assert_eq!(rig.ask(&get("", A)).await.status, 200);
        let selected = rig.ask(&get("select=/zones", A)).await;
        let selected = get(&format!("since={}&wait=50&select=/zones", selected.field("state-id")), A);
        let mut wires = Vec::new();
        for (raw, expected) in [(current(A), whole), (selected, part)] {
            for raw in ways(&raw) {
                wires.push((park(&mut rig, &raw).await, expected));
            }
        }
        let start = Instant::now();
        replace(&rig, &file(group));
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (wire, expected) in &mut wires {
            if let Some(status) = expected {
                let answer = next(wire, false).await;
                assert_eq!(answer.status, *status, "{group}");
            }
        }
        // What was read before is judged again too.
        assert_eq!(rig.ask(&get("", A)).await.status, if group == "other" { 403 } else { 200 });
        let whole = rig.ask(&get("", A)).await.body;
        assert_eq!(whole == MODEL.as_bytes(), group == "core", "{group}");
        rig.parked(wires.iter().filter(|(_, expected)| expected.is_none()).count()).await;
        assert!(start.elapsed() < Duration::from_secs(5));
        rig.publish(8, &MODEL.replace("mtu", "mtv").replace("zones", "zones2")).await;
        for (wire, expected) in &mut wires {
            if expected.is_none() {
                assert_ne!(next(wire, false).await.status, 401, "{group}");
            }
        }
    }
}
