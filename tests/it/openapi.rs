//! src/admin/openapi.json says what the code does: parameters, statuses, fields and problems.

mod exchanges; // the paths of exchanges
mod topics; // the paths of topics

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidewait::admin::OPENAPI;
use tidewait::bounds::{RELAY_AGENTS, RELAY_REPORT_WORST};
use tidewait::describe::problem::{Kind, Problem};
use tidewait::protocol::report::WorstAgent;
use tidewait::protocol::{Report, fields, query};

use crate::http::golden;
use crate::server::Server;

type Names = BTreeSet<String>;

fn document() -> Value {
    serde_json::from_str(OPENAPI).expect("JSON")
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
    names.into_iter().map(str::to_ascii_lowercase).collect()
}

fn keys(value: &Value) -> Names {
    names(value.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str)))
}

/// What a `$ref` names, or the value itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
    let pointer = reference.strip_prefix('#').expect("a reference within the document");
    document.pointer(pointer).unwrap_or_else(|| panic!("{reference} is not there"))
}

/// Every `$ref` below a value.
fn references(value: &Value, found: &mut Names) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The operations of /describe by method, in upper case.
fn operations(document: &Value) -> BTreeMap<String, &Value> {
    let methods = document["paths"]["/describe"].as_object().expect("an object");
    methods.iter().map(|(method, operation)| (method.to_ascii_uppercase(), operation)).collect()
}

#[test]
fn it_is_openapi_3_1_and_every_component_is_there_and_used() {
    let document = document();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(keys(&document["paths"]), names(["/describe", topics::PATH].into_iter().chain(exchanges::PATHS)));
    let mut used = Names::new();
    references(&document, &mut used);
    let components = document["components"].as_object().expect("components").iter();
    let there: Names = components
        .flat_map(|(kind, all)| {
            all.as_object().expect(kind).keys().map(move |name| format!("#/components/{kind}/{name}"))
        })
        .collect();
    assert_eq!(used, there);
    let paths = document["paths"].as_object().expect("paths").values();
    let ids: Vec<_> = paths.flat_map(|path| path.as_object().expect("operations").values()).collect();
    let ids: Vec<_> = ids.into_iter().map(|operation| operation["operationId"].to_string()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each operation has an id of its own: {ids:?}");
}

#[test]
fn its_parameters_are_those_that_are_read() {
    let document = document();
    let fields = [
        fields::PREFER,
        fields::AGENT_ID,
        fields::REJECTED_REASON,
        fields::ENVOY_TIMEOUT,
        fields::RELAY,
        fields::LAST_EVENT_ID,
    ]
    .map(|name| name.as_str().to_owned());
    let fields = names(fields.iter().map(String::as_str).chain(["if-none-match", "accept", "accept-encoding"]));
    for (method, operation) in operations(&document) {
        let of = |place: &str| {
            let all = operation["parameters"].as_array().into_iter().flatten();
            let all = all.map(|parameter| resolved(&document, parameter)).filter(|parameter| parameter["in"] == place);
            names(all.map(|parameter| parameter["name"].as_str().expect("a name")))
        };
        let (query, header) = match &*method {
            "GET" | "HEAD" => (names(query::PARAMETERS), fields.clone()),
            "POST" => (names([query::SELECT]), Names::new()),
            _ => (Names::new(), Names::new()),
        };
        assert_eq!((of("query"), of("header")), (query, header), "{method}");
    }
}

/// The methods of /describe that a kind of problem can answer; refusals of what is hardly HTTP, of
/// connections, and what other paths and the admin port answer, are not of this document.
fn methods(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::MalformedRequest
        | Kind::Unauthorized
        | Kind::Forbidden
        | Kind::TooManyBadCredentials
        | Kind::AccessUnknown => &["GET", "HEAD", "OPTIONS", "POST"],
        Kind::MethodNotAllowed | Kind::BodyTooLarge | Kind::UnsupportedMediaType | Kind::TooManyReports => &["POST"],
        Kind::TooManyParked | Kind::Overloaded => &["GET"],
        Kind::BadParameter | Kind::SelectionNotOffered | Kind::TooManySelections => &["GET", "HEAD", "POST"],
        Kind::NoState | Kind::NotConfirmed | Kind::NotHeld | Kind::RelayPolicy | Kind::Loop => &["GET", "HEAD"],
        Kind::ExpectationFailed
        | Kind::HeadTooLarge
        | Kind::HttpsOnly
        | Kind::TooManyConnections
        | Kind::TransferCodingNotOffered
        | Kind::LoopbackOnly
        | Kind::NotFound
        // Of exchanges: see there.
        | Kind::ExchangeFull
        | Kind::TooManyQueued
        | Kind::NoWorker
        | Kind::NotClaimed
        | Kind::NotStored
        | Kind::WorkerTooSlow
        | Kind::WorkerBroke
        | Kind::WorkerMalformed
        | Kind::KeyReused
        | Kind::ResultGone
        | Kind::ClaimGone
        | Kind::AlreadyCompleted
        | Kind::Superseded
        | Kind::UpgradeRequired
        // Of topics: see there.
        | Kind::PublishRate
        | Kind::KeyUnderWay
        | Kind::HistoryGone
        | Kind::ForeignOrigin => &[],
    }
}

#[test]
fn its_statuses_are_those_that_can_be_answered() {
    let document = document();
    for (method, operation) in operations(&document) {
        let good: &[&str] = match &*method {
            "GET" | "HEAD" => &["200", "204", "304"],
            "OPTIONS" | "POST" => &["204"],
            _ => &[],
        };
        let problems = Kind::ALL.iter().filter(|kind| methods(**kind).contains(&&*method));
        let mut expected: Names = problems.map(|kind| kind.status().as_str().to_owned()).collect();
        expected.extend(names(good.iter().copied()));
        assert_eq!(keys(&operation["responses"]), expected, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn its_answers_have_the_fields_of_real_ones() {
    let document = document();
    // Of the connection, not of the answer; and Content-Type has a place of its own in the document.
    let apart = names(["date", "connection", "content-type"]);
    let mut real: BTreeMap<(String, String), Vec<Names>> = BTreeMap::new();
    for exchange in golden::exchanges().await {
        let Some(method) = exchange.describe_method() else { continue };
        let fields = names(exchange.answer.fields.iter().map(|(name, _)| &**name));
        let of = (method.to_owned(), exchange.answer.status.to_string());
        real.entry(of).or_default().push(fields.difference(&apart).cloned().collect());
    }
    let mut told = BTreeSet::new();
    for (method, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let response = resolved(&document, response);
            let of = (method.clone(), status.clone());
            let answers = real.get(&of).unwrap_or_else(|| panic!("no golden answer is a {status} to {method}"));
            let any: Names = answers.iter().flatten().cloned().collect();
            assert_eq!(keys(&response["headers"]), any, "{of:?}");
            for (name, header) in response["headers"].as_object().expect("headers") {
                let required = resolved(&document, header)["required"] == true;
                let always = answers.iter().all(|fields| fields.contains(&name.to_ascii_lowercase()));
                assert_eq!(required, always, "{of:?}: {name} is in all of {answers:?}");
            }
            told.insert(of);
        }
    }
    assert!(real.keys().all(|of| told.contains(of)), "{:?} are not {told:?}", real.keys());
}

#[test]
fn its_report_is_ours() {
    let document = document();
    let schema = &document["components"]["schemas"]["Report"];
    let worst = WorstAgent { agent: "node-2".to_owned(), reason: Some("no such interface".to_owned()) };
    let report = Report { instance: "5f0a".to_owned(), worst: vec![worst], ..Report::default() };
    let made: Value = serde_json::from_slice(&report.write()).expect("JSON");
    assert_eq!(keys(&schema["properties"]), keys(&made));
    assert_eq!(keys(&schema["properties"]["worst"]["items"]["properties"]), keys(&made["worst"][0]));
    assert_eq!(schema["properties"]["worst"]["maxItems"], RELAY_REPORT_WORST);
    assert_eq!(schema["properties"]["total"]["maximum"], RELAY_AGENTS);
    let required = names(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
    for name in keys(&made) {
        let mut without = made.clone();
        let key = made.as_object().and_then(|members| members.keys().find(|key| key.eq_ignore_ascii_case(&name)));
        without.as_object_mut().and_then(|members| members.remove(key?)).expect("it was there");
        assert_eq!(Report::read(without.to_string().as_bytes()).is_err(), required.contains(&name), "{name}");
    }
}

#[test]
fn its_problem_is_ours() {
    let document = document();
    let schema = &document["components"]["schemas"]["Problem"];
    let problem = Problem::retry(Kind::NoState, 1, "a test");
    let made: Value = serde_json::from_slice(&problem.to_json()).expect("JSON");
    assert_eq!(keys(&schema["properties"]), keys(&made));
    let required: Names = names(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
    assert_eq!(required, keys(&made));
    for (name, value) in made.as_object().expect("an object") {
        let expected = if value.is_number() { "integer" } else { "string" };
        assert_eq!(schema["properties"][name]["type"], expected, "{name}");
    }
}

#[tokio::test]
async fn the_admin_port_serves_it_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.json");
    std::fs::write(&path, "{}").expect("written");
    let server = Server::start(&["--file", path.to_str().expect("UTF-8")]).await;
    let answer = server.admin("/openapi.json").await;
    assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"));
    assert_eq!(answer.body, OPENAPI.as_bytes());
}
