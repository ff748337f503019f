//! Deltas over HTTP: when they are given, and that whoever applies them has the state.

use base64::Engine as _;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use tidewait::config;
use tidewait::describe::accept::prefers_deltas;

use super::{Rig, get, id, next};
use crate::talk::Answer;

const PATCH: &str = "Accept: application/json-patch+json, application/json;q=0.5\r\n";

/// A model of some zones; long enough that a patch is shorter.
fn zones(mtus: &[u32]) -> String {
    let zones: Vec<_> = (0..)
        .zip(mtus)
        .map(|(at, mtu)| format!(r#""zone-{at:03}":{{"mtu":{mtu},"routes":["10.{at}.0.0/16","192.168.{at}.0/24"]}}"#))
        .collect();
    format!(r#"{{"zones":{{{}}}}}"#, zones.join(","))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(bytes)))
}

/// The state that a client has which had `base` and got this.
#[track_caller]
fn applied(base: &str, answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let state = if answer.field("content-type") == "application/json-patch+json" {
        assert_eq!(answer.field("etag"), "", "a delta has none");
        let mut document: serde_json::Value = serde_json::from_str(base).expect("JSON");
        let patch: json_patch::Patch = serde_json::from_slice(&answer.body).expect("a JSON Patch");
        json_patch::patch(&mut document, &patch).expect("it applies");
        document.to_string()
    } else {
        assert_eq!((answer.field("content-type"), answer.field("delta-base")), ("application/json", ""));
        assert!(!answer.field("etag").is_empty());
        String::from_utf8(answer.body.clone()).expect("JSON is UTF-8")
    };
    assert_eq!(answer.field("state-digest"), digest(state.as_bytes()), "of the state that it has then");
    state
}

fn is_delta(answer: &Answer) -> bool {
    answer.field("content-type") == "application/json-patch+json"
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_it_is_given_what_changed() {
    let mut rig = Rig::empty(|_| ());
    let states = [zones(&[1, 2, 3]), zones(&[1, 2, 9]), zones(&[1, 8, 9])];
    rig.publish(1, &states[0]).await;
    let full = rig.ask(&get("", PATCH)).await;
    assert_eq!(applied("", &full), states[0], "the null state");
    let query = format!("since={}&wait=50", id(1, &states[0]));
    let (mut by_patch, mut whole) = (rig.park(&query, PATCH).await, rig.park(&query, "").await);
    rig.publish(2, &states[1]).await;
    let answer = next(&mut by_patch, false).await;
    assert_eq!(answer.body, br#"[{"op":"replace","path":"/zones/zone-002/mtu","value":9}]"#);
    assert_eq!(answer.field("delta-base"), id(1, &states[0]).to_string());
    assert_eq!(answer.field("state-id"), id(2, &states[1]).to_string());
    assert_eq!(answer.field("link"), format!("<?since={}&wait=50>; rel=\"next\"", id(2, &states[1])));
    assert_eq!(answer.field("vary"), "Accept, Accept-Encoding, Prefer");
    assert_eq!(applied(&states[0], &answer), states[1]);
    assert_eq!(applied("", &next(&mut whole, false).await), states[1]);
    rig.publish(3, &states[2]).await;
    for base in 0..2 {
        let answer = rig.ask(&get(&format!("since={}", id(1 + base as u64, &states[base])), PATCH)).await;
        assert!(is_delta(&answer), "over {} changes: {answer:?}", 2 - base);
        assert_eq!(applied(&states[base], &answer), states[2]);
    }
    let etag = {
        let id = id(1, &states[0]);
        format!("{}.{}", id.epoch, id.digest)
    };
    let answer = rig.ask(&get(&format!("since=%22{etag}%22"), PATCH)).await;
    assert_eq!(
        (is_delta(&answer), answer.field("delta-base")),
        (true, &*etag),
        "an ETag names a state too: {answer:?}"
    );
    let metrics = rig.operation.hub.metrics();
    assert_eq!((metrics.history_hits.get(), metrics.history_misses.get()), (4, 0));
    assert_eq!((metrics.history_states.get(), metrics.delta_full_bytes.get()), (2, 4 * states[0].len() as u64));
    assert!(metrics.delta_bytes.get() < metrics.delta_full_bytes.get() && metrics.history_bytes.get() > 0);
}

#[tokio::test(start_paused = true)]
async fn the_full_state_is_given_where_a_delta_is_not_to_be_had() {
    let mut rig = Rig::empty(|config| config.limits.history_entries = 1);
    let states = [zones(&[1, 2, 3]), zones(&[1, 2, 9]), zones(&[1, 8, 9])];
    for (version, state) in (1..).zip(&states) {
        rig.publish(version, state).await;
    }
    let known = format!("since={}", id(2, &states[1]));
    let gone = format!("since={}", id(1, &states[0]));
    assert!(is_delta(&rig.ask(&get(&known, PATCH)).await));
    for (query, fields) in [
        (&*gone, PATCH),
        ("since=nonsense", PATCH),
        (&known, ""),
        (&known, "Accept: */*\r\n"),
        (&known, "Accept: application/json-patch+json, application/json\r\n"),
        (&known, "Accept: application/json-patch+json;q=0\r\n"),
        (&known, "Accept: text/html\r\n"),
    ] {
        let answer = rig.ask(&get(query, fields)).await;
        assert!(!is_delta(&answer), "{query} {fields}: {answer:?}");
        assert_eq!(applied("", &answer), states[2], "{query} {fields}");
    }
    let metrics = rig.operation.hub.metrics();
    assert_eq!((metrics.history_hits.get(), metrics.history_misses.get()), (1, 1));

    rig.publish(4, "[7]").await;
    let answer = rig.ask(&get(&format!("since={}", id(3, &states[2])), PATCH)).await;
    assert_eq!((is_delta(&answer), applied("", &answer)), (false, "[7]".to_owned()), "the patch is not smaller");
    rig.publish(5, "[8]").await;
    super::change::change(&rig, |config| config.limits.history_entries = 0);
    rig.publish(6, &states[0]).await;
    assert_eq!(rig.operation.hub.metrics().history_states.get(), 0, "none are kept");
}

#[tokio::test(start_paused = true)]
async fn conditions_and_head_are_of_the_state() {
    let mut rig = Rig::empty(|_| ());
    let states = [zones(&[1, 2, 3]), zones(&[1, 2, 9])];
    rig.publish(1, &states[0]).await;
    rig.publish(2, &states[1]).await;
    let (before, now) = (id(1, &states[0]), id(2, &states[1]));
    let condition = format!("{PATCH}If-None-Match: \"{}.{}\"\r\n", now.epoch, now.digest);
    let answer = rig.ask(&get(&format!("since={before}"), &condition)).await;
    assert_eq!((answer.status, answer.field("etag").is_empty()), (304, false));
    let answer = rig.ask(&get(&format!("since={now}&wait=0"), PATCH)).await;
    assert_eq!((answer.status, answer.field("etag").is_empty()), (204, false));
    let get = get(&format!("since={before}"), PATCH);
    let (full, head) = (rig.ask(&get).await, rig.ask(&get.replacen("GET", "HEAD", 1)).await);
    assert_eq!((head.status, &head.fields, head.body.len()), (full.status, &full.fields, 0));
}

#[tokio::test(start_paused = true)]
async fn a_delta_is_encoded_as_a_state_is() {
    let mut rig = Rig::empty(|_| ());
    let mtus: Vec<u32> = (0..400).collect();
    let others: Vec<u32> = (0..400).map(|mtu| mtu + u32::from(mtu % 3 == 0)).collect();
    rig.publish(1, &zones(&mtus)).await;
    rig.publish(2, &zones(&others)).await;
    let query = format!("since={}", id(1, &zones(&mtus)));
    let plain = rig.ask(&get(&query, PATCH)).await;
    let zstd = rig.ask(&get(&query, &format!("{PATCH}Accept-Encoding: zstd\r\n"))).await;
    assert_eq!((zstd.field("content-encoding"), is_delta(&zstd)), ("zstd", true));
    assert_eq!(zstd::decode_all(&*zstd.body).expect("zstd"), plain.body);
    assert_eq!(zstd.field("state-digest"), plain.field("state-digest"));
    assert_eq!(applied(&zones(&mtus), &plain), zones(&others));
}

#[tokio::test(start_paused = true)]
async fn a_selection_has_deltas_of_its_own() {
    let mut rig = Rig::empty(|_| ());
    let states = [zones(&[1, 2, 3]), zones(&[1, 2, 9]), zones(&[7, 2, 9])];
    let part =
        |mtu: u32| format!(r#"{{"zones":{{"zone-002":{{"mtu":{mtu},"routes":["10.2.0.0/16","192.168.2.0/24"]}}}}}}"#);
    for (version, state) in (1..).zip(&states) {
        rig.publish(version, state).await;
    }
    let answer = rig.ask(&get(&format!("since={}&select=/zones/zone-002", id(1, &part(3))), PATCH)).await;
    assert_eq!(answer.body, br#"[{"op":"replace","path":"/zones/zone-002/mtu","value":9}]"#);
    assert_eq!(applied(&part(3), &answer), part(9));
    let whole = rig.ask(&get(&format!("since={}&select=/zones/zone-002", id(1, &states[0])), PATCH)).await;
    assert_eq!((is_delta(&whole), applied("", &whole)), (false, part(9)), "the whole is no state of this selection");
}

/// What happens to the items of an array.
type Step = fn(&mut Vec<String>);

/// An array of 20,000 routes. The text of each past state is 300 kB.
#[tokio::test(start_paused = true)]
async fn one_item_of_a_long_array_is_a_line_and_a_past_state_costs_little() {
    let mut rig = Rig::empty(|_| ());
    let mut routes: Vec<_> = (0..20_000).map(|at| format!(r#""10.{}.{}.0/24""#, at / 256, at % 256)).collect();
    let text = |routes: &[String]| format!(r#"{{"routes":[{}]}}"#, routes.join(","));
    rig.publish(1, &text(&routes)).await;
    let mut states = vec![text(&routes)];
    let steps: [(&str, Step); 5] = [
        ("appended", |routes| routes.push("1".to_owned())),
        ("put first", |routes| routes.insert(0, "2".to_owned())),
        ("put in between", |routes| routes.insert(7_000, "3".to_owned())),
        ("removed", |routes| drop(routes.remove(9_000))),
        ("replaced", |routes| routes[11_000] = "4".to_owned()),
    ];
    for (version, (name, step)) in (2..).zip(steps) {
        step(&mut routes);
        rig.publish(version, &text(&routes)).await;
        let before = states.last().expect("a state");
        let answer = rig.ask(&get(&format!("since={}", id(version - 1, before)), PATCH)).await;
        assert!(is_delta(&answer) && answer.body.len() < 80, "{name}: {} bytes", answer.body.len());
        assert_eq!(applied(before, &answer), text(&routes), "{name}");
        states.push(text(&routes));
    }
    let answer = rig.ask(&get(&format!("since={}", id(1, &states[0])), PATCH)).await;
    assert!(is_delta(&answer) && answer.body.len() < 5 * 80, "all at once: {} bytes", answer.body.len());
    assert_eq!(applied(&states[0], &answer), text(&routes));
    let (held, bytes) =
        (rig.operation.hub.metrics().history_states.get(), rig.operation.hub.metrics().history_bytes.get());
    assert!(held == 5 && bytes < 50_000, "{held} past states hold {bytes} bytes");
}

/// Ten steps of random models, with one client on each route: after each step all have the same.
#[tokio::test(start_paused = true)]
async fn every_route_leads_to_the_same_document() {
    let accept = HeaderValue::from_static("application/json-patch+json, application/json;q=0.5");
    assert!(prefers_deltas(&HeaderMap::from_iter([(http::header::ACCEPT, accept)])));
    let mut rng = fastrand::Rng::with_seed(11);
    for round in 0..40 {
        let mut rig = Rig::empty(|_: &mut config::Operation| ());
        let mut clients: [(&str, &str, Option<String>, String); 4] = [
            ("", "", None, String::new()),
            ("", PATCH, None, String::new()),
            ("&select=/zones&select=/list", "", None, String::new()),
            ("&select=/list&select=/zones", PATCH, None, String::new()),
        ];
        for version in 1..12 {
            rig.publish(version, &model(&mut rng)).await;
            let mut seen = Vec::new();
            for (select, fields, since, state) in &mut clients {
                if rng.u8(..4) == 0 {
                    continue;
                }
                let since_text = since.clone().unwrap_or_default();
                let answer = rig.ask(&get(&format!("since={since_text}&wait=0{select}"), fields)).await;
                if answer.status == 200 {
                    *state = applied(state, &answer);
                }
                *since = Some(answer.field("state-id").to_owned());
                seen.push((select.is_empty(), state.clone()));
            }
            // The model has these two members alone, so that the selection is all of it.
            assert!(seen.windows(2).all(|two| two[0].1 == two[1].1), "round {round}: {seen:?}");
        }
        assert!(rig.operation.hub.metrics().history_hits.get() > 0, "round {round}");
    }
}

/// A model with objects, arrays that grow and shrink, and values that change their kind.
fn model(rng: &mut fastrand::Rng) -> String {
    let padding = "x".repeat(80);
    let list: Vec<_> =
        (0..rng.usize(1..6)).map(|_| format!(r#"{{"id":{},"note":"{padding}"}}"#, rng.u8(..6))).collect();
    let mut zones = Vec::new();
    for at in 0..4 {
        match rng.u8(..6) {
            0 => zones.push(format!(r#""z{at}":1.{}"#, rng.u8(..3))),
            1 => zones.push(format!(r#""z{at}":{{"mtu":{},"note":"{padding}"}}"#, rng.u8(..3))),
            2 => zones.push(format!(r#""z{at}":[{},null,"{padding}"]"#, rng.u8(..3))),
            _ => {}
        }
    }
    format!(r#"{{"list":[{}],"zones":{{{}}}}}"#, list.join(","), zones.join(","))
}
