//! What the document says of topics.

use std::collections::BTreeMap;

use super::exchanges::fits;
use super::*;
use crate::exchange::ask;

pub(super) const PATH: &str = "/{topicPath}";

const ALL: &[&str] = &["readTopic", "lookAtTopic", "publish", "topicOptions"];
const READS: &[&str] = &["readTopic", "lookAtTopic"];
const PUBLISH: &[&str] = &["publish"];

/// The kinds of problem that a topic can answer, and which of its operations. Of other methods there is 405.
const ANSWERED: [(Kind, &[&str]); 16] = [
    (Kind::Unauthorized, ALL),
    (Kind::Forbidden, ALL),
    (Kind::TooManyBadCredentials, ALL),
    (Kind::AccessUnknown, ALL),
    (Kind::BadParameter, &["readTopic", "lookAtTopic", "publish"]),
    (Kind::NotFound, &["readTopic", "lookAtTopic", "publish"]),
    (Kind::HistoryGone, READS),
    (Kind::Overloaded, &["readTopic"]),
    (Kind::MalformedRequest, PUBLISH),
    (Kind::ForeignOrigin, PUBLISH),
    (Kind::BodyTooLarge, PUBLISH),
    (Kind::UnsupportedMediaType, PUBLISH),
    (Kind::KeyReused, PUBLISH),
    (Kind::KeyUnderWay, PUBLISH),
    (Kind::NotStored, PUBLISH),
    (Kind::PublishRate, PUBLISH),
];

#[test]
fn its_statuses_and_problems_are_those_of_topics() {
    let document = document();
    for operation in document["paths"][PATH].as_object().expect("it is there").values() {
        let id = operation["operationId"].as_str().expect("a name");
        let good: &[&str] = match id {
            "readTopic" => &["200", "204"],
            "lookAtTopic" => &["200"],
            "publish" => &["201"],
            _ => &["204"],
        };
        let mut expected: BTreeMap<String, Names> =
            good.iter().map(|status| ((*status).to_owned(), Names::new())).collect();
        for (kind, _) in ANSWERED.iter().filter(|(_, operations)| operations.contains(&id)) {
            expected.entry(kind.status().as_str().to_owned()).or_default().insert(kind.slug().to_owned());
        }
        assert_eq!(keys(&operation["responses"]), expected.keys().cloned().collect(), "{id}");
        for (status, slugs) in expected {
            let response = &operation["responses"][&status];
            let text = response["description"].as_str().unwrap_or_default();
            if response.get("$ref").is_none() && !slugs.is_empty() {
                let told = text.rsplit_once('(').expect("the problems").1.trim_end_matches(')');
                assert_eq!(names(told.split(", ")), slugs, "{id} {status}");
            }
        }
    }
}

#[tokio::test]
async fn real_answers_of_a_topic_are_as_it_says() {
    let document = document();
    let server = Server::start(&["--topic", "/chat"]).await;
    let text = ("Content-Type", "text/plain");
    let key = ("Idempotency-Key", "k");
    let said = ask(server.listen, "POST", "/chat", &[text, key], "a").await;
    let id = said.json()["id"].as_str().expect("an id").to_owned();
    for (method, reply, status) in [
        ("post", said, 201),
        ("post", ask(server.listen, "POST", "/chat", &[text, key], "a").await, 201),
        ("post", ask(server.listen, "POST", "/chat", &[text, key], "b").await, 422),
        ("post", ask(server.listen, "POST", "/chat", &[], "b").await, 415),
        ("get", server.get("/chat").await, 200),
        ("get", server.get("/chat?limit=x").await, 400),
        ("get", server.get(&format!("/chat?since={id}&wait=0")).await, 204),
        ("get", server.get("/chat?since=x&on-gap=close").await, 410),
        ("options", ask(server.listen, "OPTIONS", "/chat", &[], "").await, 204),
    ] {
        assert_eq!(reply.status, status, "{method}");
        fits(&document, PATH, method, &reply);
    }
}
