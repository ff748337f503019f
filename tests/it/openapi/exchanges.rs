//! What the document says of exchanges.

use std::collections::BTreeMap;

use super::*;
use crate::server::{Client, Reply};

const WORK: &str = "/exchange/{exchange}/work/{item}";
const CLAIMS: &str = "/exchange/{exchange}/claims";
const CLAIM: &str = "/exchange/{exchange}/claims/{claim}";
const BEAT: &str = "/exchange/{exchange}/claims/{claim}/beat";
const PUSH: &str = "/exchange/{exchange}/push";
const REVERSE: &str = "/exchange/{exchange}/reverse";
const PATH: &str = "/{exchangePath}";
pub(super) const PATHS: [&str; 7] = [WORK, CLAIMS, CLAIM, BEAT, PUSH, REVERSE, PATH];

const CONSUMERS: [&str; 5] = ["submitGet", "submitPost", "awaitWork", "lookAtWork", "deleteWork"];
const SUBMIT: [&str; 2] = ["submitGet", "submitPost"];
const WAITING: [&str; 4] = ["submitGet", "submitPost", "awaitWork", "lookAtWork"];
const COMING_BACK: [&str; 3] = ["awaitWork", "lookAtWork", "deleteWork"];
const WORKERS: [&str; 6] = ["claim", "answerClaim", "giveBackClaim", "touchClaim", "push", "dialIn"];
const OF_CLAIMS: [&str; 4] = ["claim", "answerClaim", "giveBackClaim", "touchClaim"];

/// The operations of exchanges that a kind of problem can answer. Of other methods there is 405.
fn answered_by(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::Unauthorized | Kind::Forbidden | Kind::TooManyBadCredentials | Kind::AccessUnknown => {
            [&CONSUMERS[..], &WORKERS].concat()
        }
        Kind::MalformedRequest => [&SUBMIT[..], &["answerClaim", "push"]].concat(),
        Kind::BadParameter => vec!["awaitWork", "claim", "answerClaim", "touchClaim", "push", "dialIn"],
        Kind::BodyTooLarge => [&SUBMIT[..], &["push"]].concat(),
        Kind::MethodNotAllowed | Kind::ExchangeFull | Kind::TooManyQueued | Kind::KeyReused => SUBMIT.to_vec(),
        Kind::NotStored => [&SUBMIT[..], &COMING_BACK[..], &["answerClaim", "giveBackClaim", "touchClaim"]].concat(),
        Kind::NotFound => [&COMING_BACK[..], &WORKERS].concat(),
        Kind::NoWorker | Kind::NotClaimed | Kind::WorkerTooSlow | Kind::WorkerBroke | Kind::WorkerMalformed => {
            WAITING.to_vec()
        }
        Kind::ResultGone => CONSUMERS.to_vec(),
        Kind::ClaimGone | Kind::AlreadyCompleted => OF_CLAIMS.to_vec(),
        Kind::Superseded => vec!["claim"],
        Kind::UpgradeRequired => vec!["dialIn"],
        // Of describe, of topics, of connections, and of what is hardly HTTP.
        Kind::SelectionNotOffered
        | Kind::PublishRate
        | Kind::KeyUnderWay
        | Kind::HistoryGone
        | Kind::ForeignOrigin
        | Kind::UnsupportedMediaType
        | Kind::NotHeld
        | Kind::ExpectationFailed
        | Kind::HeadTooLarge
        | Kind::TooManyReports
        | Kind::TooManyParked
        | Kind::TransferCodingNotOffered
        | Kind::NoState
        | Kind::NotConfirmed
        | Kind::TooManySelections
        | Kind::TooManyConnections
        | Kind::RelayPolicy
        | Kind::Overloaded
        | Kind::Loop
        | Kind::HttpsOnly
        | Kind::LoopbackOnly => Vec::new(),
    }
}

/// What is answered where nothing is wrong; `default` is what a worker says.
fn good(operation: &str) -> &'static [&'static str] {
    match operation {
        "submitGet" | "submitPost" | "awaitWork" | "lookAtWork" => &["202", "303", "default"],
        "claim" => &["200", "204"],
        "dialIn" => &["101"],
        _ => &["204"],
    }
}

fn operations_of_exchanges(document: &Value) -> Vec<&Value> {
    let all = PATHS.iter().flat_map(|path| document["paths"][*path].as_object().expect("it is there").values());
    all.collect()
}

#[test]
fn its_statuses_and_problems_are_those_that_can_be_answered() {
    let document = document();
    for operation in operations_of_exchanges(&document) {
        let id = operation["operationId"].as_str().expect("a name");
        let mut expected: BTreeMap<String, Names> = BTreeMap::new();
        for status in good(id) {
            expected.entry((*status).to_owned()).or_default();
        }
        for kind in Kind::ALL.iter().filter(|kind| answered_by(**kind).contains(&id)) {
            expected.entry(kind.status().as_str().to_owned()).or_default().insert(kind.slug().to_owned());
        }
        let responses = operation["responses"].as_object().expect("responses");
        assert_eq!(keys(&operation["responses"]), expected.keys().cloned().collect(), "{id}");
        for (status, slugs) in expected {
            let response = &responses[&status];
            let text = response["description"].as_str().unwrap_or_default();
            // What all operations have in common has its own text.
            if response.get("$ref").is_none() && !slugs.is_empty() {
                let told = text.rsplit_once('(').expect("the problems").1.trim_end_matches(')');
                assert_eq!(names(told.split(", ")), slugs, "{id} {status}");
            }
        }
    }
}

#[test]
fn its_parameters_are_those_of_exchanges() {
    let document = document();
    let of = |id: &str, place: &str| {
        let all = operations_of_exchanges(&document);
        let operation = all.into_iter().find(|operation| operation["operationId"] == id).expect("it is there");
        let all = operation["parameters"].as_array().expect("parameters").iter();
        let all = all.map(|parameter| resolved(&document, parameter)).filter(|parameter| parameter["in"] == place);
        names(all.map(|parameter| parameter["name"].as_str().expect("a name")))
    };
    for (id, query, header) in [
        ("submitPost", &[][..], &[fields::PREFER, fields::IDEMPOTENCY_KEY, fields::PRIORITY][..]),
        ("awaitWork", &["n", "wait"], &[fields::PREFER]),
        ("claim", &["wait", "key", "slot"], &[fields::AGENT_ID, http::header::ACCEPT]),
        ("answerClaim", &[], &[fields::EXCHANGE_STATUS]),
        ("touchClaim", &["wait"], &[]),
        ("push", &["key"], &[fields::EXCHANGE_STATUS]),
        ("dialIn", &["key"], &[http::header::UPGRADE, fields::ALPN, fields::EXCHANGE_SLOTS, fields::AGENT_ID]),
    ] {
        assert_eq!(of(id, "query"), names(query.iter().copied()), "{id}");
        assert_eq!(of(id, "header"), header.iter().map(|name| name.as_str().to_owned()).collect(), "{id}");
    }
}

/// That an answer is as the document says.
pub(super) fn fits(document: &Value, path: &str, method: &str, reply: &Reply) {
    let responses = &document["paths"][path][method]["responses"];
    let Some(response) = responses.get(reply.status.to_string()) else {
        return assert!(responses.get("default").is_some(), "{method} {path}: {}", reply.status);
    };
    let response = resolved(document, response);
    let apart = names(["date", "connection", "content-type", "transfer-encoding"]);
    let real = names(reply.fields.iter().map(|(name, _)| &**name));
    let told = keys(&response["headers"]);
    let extra: Vec<_> = real.iter().filter(|name| !apart.contains(*name) && !told.contains(*name)).collect();
    assert!(extra.is_empty(), "{method} {path} {}: {extra:?} is not told", reply.status);
    for (name, header) in response["headers"].as_object().expect("headers") {
        let is_required = resolved(document, header)["required"] == true;
        let is_there = real.contains(&name.to_ascii_lowercase());
        assert!(is_there || !is_required, "{method} {path} {}: {name} is missing in {real:?}", reply.status);
    }
}

async fn ask(server: &Server, method: &str, target: &str, fields: &[(&str, &str)]) -> Reply {
    let mut client = Client::connect(server.listen).await;
    client.send(method, target, &[&[("Content-Length", "0")], fields].concat()).await;
    client.reply().await
}

#[tokio::test]
async fn real_answers_of_an_exchange_are_as_it_says() {
    let document = document();
    let server = Server::start(&["--exchange", "/work"]).await;
    let once = [("Idempotency-Key", "k"), ("Prefer", "wait=0")];
    let told = ask(&server, "POST", "/work", &once).await;
    let item = told.field("location").to_owned();
    let behind = ask(&server, "POST", "/work", &[("Prefer", "respond-async")]).await;
    let pending = ask(&server, "GET", &format!("{item}&wait=0"), &[]).await;
    let look = ask(&server, "HEAD", &item, &[]).await;
    let claims = "/exchange/work/claims";
    let given = ask(&server, "POST", claims, &[("Agent-Id", "w")]).await;
    let claim = given.field("location").to_owned();
    let beat = format!("{claim}/beat");
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "ptth")];
    for (path, method, reply, status) in [
        (PATH, "post", told, 303),
        (PATH, "post", behind.clone(), 202),
        (PATH, "post", ask(&server, "POST", "/work?other", &once).await, 422),
        (WORK, "get", pending, 303),
        (WORK, "head", look, 303),
        (WORK, "get", ask(&server, "GET", "/exchange/work/work/x", &[]).await, 404),
        (WORK, "delete", ask(&server, "DELETE", behind.field("location"), &[]).await, 204),
        (WORK, "get", ask(&server, "GET", behind.field("location"), &[]).await, 410),
        (CLAIMS, "post", given, 200),
        (BEAT, "post", ask(&server, "POST", &beat, &[]).await, 204),
        (CLAIM, "post", ask(&server, "POST", &claim, &[("Exchange-Status", "x")]).await, 400),
        (CLAIM, "post", ask(&server, "POST", &claim, &[]).await, 204),
        (CLAIM, "post", ask(&server, "POST", &claim, &[]).await, 409),
        (BEAT, "post", ask(&server, "POST", "/exchange/work/claims/x/beat", &[]).await, 410),
        (CLAIMS, "post", ask(&server, "POST", &format!("{claims}?wait=0"), &[]).await, 204),
        (CLAIMS, "post", ask(&server, "POST", &format!("{claims}?kez=a"), &[]).await, 400),
        (PUSH, "post", ask(&server, "POST", "/exchange/work/push", &[]).await, 204),
        (REVERSE, "get", ask(&server, "GET", "/exchange/work/reverse", &[]).await, 426),
        (REVERSE, "get", ask(&server, "GET", "/exchange/work/reverse", &upgrade).await, 101),
    ] {
        assert_eq!(reply.status, status, "{method} {path}");
        fits(&document, path, method, &reply);
    }
}
