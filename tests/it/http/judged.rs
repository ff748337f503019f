//! Credentials that take time to judge, over HTTP/1.1 by both ways and over HTTP/2: the request waits, and is parked or refused
//! once it is known whose they are. And the parts of a model that rules give.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tidewait::access::policy::Rule;
use tidewait::access::tokens::line;
use tidewait::access::{Credential, Policy, Tokens, Unverified, Verified};
use tidewait::authentication::{Authenticator, Challenge, Checked, Schemes};
use tidewait::bounds::PEER_CREDENTIALS_PENDING;
use tidewait::http::access::Access;
use tokio::time::Instant;

use super::{MODEL, Rig, Wire, ask, get, id, next};
use crate::hostile::make::frames;

/// Takes a second: `slow-NAME` is the token of NAME, `slow-away` cannot be judged, `slow-bad` is bad. `slow-bad-` and more is bad
/// at once. What it says holds for a minute.
#[derive(Debug, Default)]
pub(super) struct Slow {
    asked: AtomicUsize,
}

impl Slow {
    /// Such tokens, and these static ones, over any connection.
    pub(super) fn schemes(tokens: &str) -> (Schemes, Arc<Self>) {
        let slow = Arc::new(Self::default());
        let tokens = Some(Tokens::parse(tokens.as_bytes()).expect("tokens"));
        let authenticators: Vec<Arc<dyn Authenticator>> = vec![slow.clone()];
        (Schemes { tokens, authenticators, certificates: false, clear: true, trusted: Vec::new() }, slow)
    }
}

#[async_trait]
impl Authenticator for Slow {
    fn judges(&self, credential: Credential<'_>) -> bool {
        credential.parts().1.starts_with("slow-")
    }

    fn challenge(&self) -> Challenge {
        Challenge::Bearer
    }

    async fn verify(&self, credential: Credential<'_>) -> Result<Checked, Unverified> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !credential.parts().1.starts_with("slow-bad-") {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        match credential.parts().1 {
            "slow-away" => Err(Unverified::Unavailable("a test".to_owned())),
            bad if bad.starts_with("slow-bad") => Err(Unverified::Invalid("is bad: send another one")),
            good => {
                let name = good.trim_start_matches("slow-").to_owned();
                let lasts = Some(Duration::from_secs(60));
                Ok(Checked { verified: Verified { name, lasts, ..Verified::default() }, mark: None })
            }
        }
    }
}

fn field(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

async fn serving(rules: Vec<Rule>) -> (Rig, Arc<Slow>) {
    let (schemes, slow) = Slow::schemes(&line("fast", "fast", &[]));
    let policy = Policy { rules, ..Policy::default() };
    let rig = Rig::with_access(|metrics| Access::by(schemes, policy, metrics));
    let access = Arc::clone(&rig.access);
    tokio_util::task::TaskTracker::new().spawn(async move { access.maintain().await });
    rig.publish(7, MODEL).await;
    (rig, slow)
}

/// The same request as a plain poll, and as one with a body, which hyper serves.
fn ways(raw: &str) -> [String; 2] {
    [raw.to_owned(), raw.replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx")]
}

async fn sent(rig: &mut Rig, raw: &str) -> Wire {
    let mut wire = rig.connect();
    wire.send(raw.as_bytes());
    wire.flushed().await;
    wire
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_its_credential_is_judged_and_all_with_the_same_wait_together() {
    for (token, status) in [("slow-a", 200), ("slow-bad", 401), ("slow-away", 503)] {
        let (mut rig, slow) = serving(Vec::new()).await;
        let start = Instant::now();
        let mut wires = Vec::new();
        for raw in ways(&get("", &field(token))) {
            wires.push(sent(&mut rig, &raw).await);
        }
        // Another one is not kept by them.
        assert_eq!(rig.ask(&get("", &field("fast"))).await.status, 200);
        assert_eq!(start.elapsed(), Duration::ZERO);
        for wire in &mut wires {
            let answer = next(wire, false).await;
            assert_eq!((answer.status, start.elapsed()), (status, Duration::from_secs(1)), "{answer:?}");
            assert_eq!(answer.status == 503, !answer.field("retry-after").is_empty());
        }
        assert_eq!(slow.asked.load(Ordering::Relaxed), 1, "{token}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_request_ends_with_its_credential_and_no_sooner() {
    let (mut rig, _) = serving(Vec::new()).await;
    let start = Instant::now();
    let query = format!("since={}&wait=55", id(7, MODEL));
    assert_eq!(rig.ask(&get("", &field("slow-a"))).await.status, 200);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut wires = Vec::new();
    for raw in ways(&get(&query, &field("slow-a"))) {
        wires.push(sent(&mut rig, &raw).await);
    }
    let path = format!("/describe?{query}");
    let head = [frames::get(&path), vec![("authorization", "Bearer slow-a")]].concat();
    let mut http2 = rig.connect();
    http2.send(&frames::session(&[frames::frame(frames::HEADERS, 5, 1, &frames::fields(&head))]));
    http2.flushed().await;
    rig.parked(3).await;
    for wire in &mut wires {
        let answer = next(wire, false).await;
        assert_eq!((answer.status, start.elapsed()), (401, Duration::from_secs(61)), "{answer:?}");
        assert!(answer.field("state-id").is_empty());
    }
    rig.parked(0).await;
    assert_eq!(rig.operation.hub.metrics().withdrawn.get(), 3);
    rig.is_empty();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_credential_is_judged_is_forgotten() {
    let (mut rig, slow) = serving(Vec::new()).await;
    let query = format!("since={}&wait=50", id(7, MODEL));
    for raw in ways(&get(&query, &field("slow-a"))) {
        drop(sent(&mut rig, &raw).await);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.is_empty();
    assert_eq!(slow.asked.load(Ordering::Relaxed), 1);
    assert_eq!(rig.ask(&get("", &field("slow-a"))).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_bad_credentials_is_refused_without_being_judged() {
    let (mut rig, slow) = serving(Vec::new()).await;
    let mut statuses = Vec::new();
    for number in 0..30 {
        statuses.push(rig.ask(&get("", &field(&format!("slow-bad-{number}")))).await.status);
        assert_eq!(rig.ask(&get("", &field("fast"))).await.status, 200, "who is known is let in");
    }
    assert_eq!(statuses, [[401; 10].as_slice(), &[429; 20]].concat());
    assert_eq!(slow.asked.load(Ordering::Relaxed), 10);
    // One of those is refused by what is kept.
    assert_eq!(rig.ask(&get("", &field("slow-bad-0"))).await.status, 401);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.ask(&get("", &field("slow-bad-99"))).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn one_address_has_a_few_credentials_judged_at_once_and_the_same_one_counts_once() {
    let (mut rig, slow) = serving(Vec::new()).await;
    let mut wires = Vec::new();
    for number in 0..PEER_CREDENTIALS_PENDING {
        for _ in 0..2 {
            wires.push(sent(&mut rig, &get("", &field(&format!("slow-{number}")))).await);
        }
    }
    let start = Instant::now();
    for raw in ways(&get("", &field("slow-x"))) {
        let refused = rig.ask(&raw).await;
        assert_eq!((refused.status, start.elapsed()), (503, Duration::ZERO), "{refused:?}");
        assert!(
            !refused.field("retry-after").is_empty() && String::from_utf8_lossy(&refused.body).contains("try again"),
            "{refused:?}"
        );
    }
    assert_eq!(rig.ask(&get("", &field("fast"))).await.status, 200, "who is known is let in");
    for wire in &mut wires {
        assert_eq!(next(wire, false).await.status, 200);
    }
    assert_eq!(slow.asked.load(Ordering::Relaxed), PEER_CREDENTIALS_PENDING);
    assert_eq!(rig.ask(&get("", &field("slow-x"))).await.status, 200, "there is room again");
}

fn part(restrict: &[&str]) -> Rule {
    Rule {
        subjects: vec!["authenticated".parse().expect("a subject")],
        operations: vec!["*".parse().expect("a pattern")],
        restrict: restrict.iter().map(|text| text.parse().expect("a template")).collect(),
    }
}

const NODES: &str = r#"{"nodes":{"a":{"mtu":1},"b":{"mtu":2}},"secret":3,"shared":4}"#;

#[tokio::test(start_paused = true)]
async fn each_identity_is_given_its_part_and_learns_nothing_of_another_ones() {
    let (mut rig, _) = serving(vec![part(&["/shared", "/nodes/{name}"])]).await;
    rig.publish(8, NODES).await;
    let select = |pointer: &str| format!("select={}", pointer.replace('/', "%2F"));
    let mut ids = Vec::new();
    for (token, query, status, body) in [
        ("slow-a", String::new(), 200, r#"{"nodes":{"a":{"mtu":1}},"shared":4}"#),
        ("slow-b", String::new(), 200, r#"{"nodes":{"b":{"mtu":2}},"shared":4}"#),
        ("fast", String::new(), 200, r#"{"shared":4}"#),
        ("slow-a", select("/nodes/a/mtu"), 200, r#"{"nodes":{"a":{"mtu":1}}}"#),
        ("slow-a", select("/shared"), 200, r#"{"shared":4}"#),
        ("slow-a", select("/nodes/b"), 403, ""),
        ("slow-a", select("/nodes/nobody"), 403, ""),
        ("slow-a", select("/nodes"), 403, ""),
        ("slow-a", select("/secret"), 403, ""),
        ("slow-a", format!("{}&{}", select("/shared"), select("/secret")), 403, ""),
    ] {
        for raw in ways(&get(&query, &field(token))) {
            let answer = rig.ask(&raw).await;
            assert_eq!(answer.status, status, "{raw}");
            if status == 200 {
                assert_eq!(String::from_utf8_lossy(&answer.body), body, "{raw}");
                ids.push((body, answer.field("state-id").to_owned()));
            }
        }
    }
    // The same part is the same state, and another part another one.
    for (body, id) in &ids {
        assert!(ids.iter().all(|(other, of)| (other == body) == (of == id)), "{body} {ids:?}");
    }
    // A change of the part of one wakes nobody else.
    let of = |token: &str, rig: &Rig| {
        let body = if token == "slow-a" { ids[0].1.clone() } else { ids[2].1.clone() };
        (rig.operation.hub.parked(), get(&format!("since={body}&wait=50"), &field(token)))
    };
    let mut wires = Vec::new();
    for token in ["slow-a", "slow-b"] {
        let (before, raw) = of(token, &rig);
        let mut wire = rig.connect();
        wire.send(raw.as_bytes());
        wire.flushed().await;
        rig.parked(before + 1).await;
        wires.push(wire);
    }
    rig.publish(9, &NODES.replace(r#""mtu":1"#, r#""mtu":9"#)).await;
    let told = next(&mut wires[0], false).await;
    assert_eq!(String::from_utf8_lossy(&told.body), r#"{"nodes":{"a":{"mtu":9}},"shared":4}"#);
    rig.parked(1).await;
    let mut wire = rig.connect();
    assert_eq!(ask(&mut wire, &get("", &field("fast"))).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_rule_of_an_operation_that_goes_ends_the_requests_that_it_allowed() {
    let (mut rig, _) = serving(vec![part(&["/mtu"])]).await;
    let own = Rule { operations: Vec::new(), ..part(&[]) };
    let mut config = (*rig.operation.config()).clone();
    config.access = vec![own];
    rig.operation.change(config.clone());
    let query = format!("since={}&wait=50", id(7, MODEL));
    let mut wires = Vec::new();
    for raw in ways(&get(&query, &field("fast"))) {
        let before = rig.operation.hub.parked();
        let wire = sent(&mut rig, &raw).await;
        rig.parked(before + 1).await;
        wires.push(wire);
    }
    config.access = Vec::new();
    rig.operation.change(config);
    rig.access.rules_changed();
    for wire in &mut wires {
        assert_eq!(next(wire, false).await.status, 403);
    }
    rig.is_empty();
}
