//! The demonstration: one topic, read in four ways at once by a page of another origin.

use serde_json::{Value, json};

use super::Front;
use super::browser::Browser;
use crate::exchange::ask;
use crate::server::Server;
use crate::topic::TEXT;

const HOSTILE: &str = "<img src=x onerror=window.hacked=1>";
/// What each way shows: the numbers of its figures, and its last messages.
const WAYS: &str = "[...document.querySelectorAll('#ways article')].map((way) => ({
    name: way.querySelector('h3').textContent,
    p50: parseFloat(way.querySelector('.p50').textContent), p99: parseFloat(way.querySelector('.p99').textContent),
    messages: Number(way.querySelector('.messages').textContent),
    requests: parseFloat(way.querySelector('.requests').textContent), bytes: Number(way.querySelector('.bytes').textContent),
    note: way.querySelector('.note').textContent, last: [...way.querySelectorAll('li')].map((item) => item.textContent) }))";

/// `TIDEWAIT_SCREENSHOT` names a file for a picture of it.
#[tokio::test]
async fn streams_are_told_at_once_and_a_poll_is_told_later() {
    let shows = Server::start(&["--topic", "/here"]).await;
    let front = Front::before(shows.admin).await;
    let serves = Server::start(&["--topic", "/chat", "--access-origins", &front.origin()]).await;
    let mut browser = Browser::start().await;
    browser.open(&format!("{}/?server=http://{}&topic=/chat", front.origin(), serves.listen)).await;
    browser.becomes("document.getElementById('link').textContent === 'live'").await;
    browser.eval("document.getElementById('toggle').focus()").await;
    browser.press("Enter", 13).await;
    browser.becomes("document.getElementById('demo-status').textContent.startsWith('running')").await;
    browser.becomes(&format!("{WAYS}.every((way) => way.messages >= 30)")).await;
    if let Some(file) = std::env::var_os("TIDEWAIT_SCREENSHOT") {
        let clip = "(() => { const [from, to] = ['demonstration', 'ways'].map((id) => document.getElementById(id).getBoundingClientRect());
                    return { x: 0, y: from.top + scrollY, width: 1280, height: to.bottom - from.top + 16, scale: 1 }; })()";
        browser.resize(1280).await;
        let clip = browser.eval(clip).await;
        std::fs::write(file, browser.picture(clip).await).expect("it can be written");
    }
    let ways = browser.eval(WAYS).await;
    let ways = ways.as_array().expect("four").clone();
    let names: Vec<_> = ways.iter().map(|way| way["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["Poll each 3 s", "Long poll", "Server-sent events", "WebSocket"]);
    let number = |way: &Value, name: &str| way[name].as_f64().unwrap_or_else(|| panic!("{name} of {way}"));
    let [poll, long, events, socket] = &ways[..] else { panic!("four") };
    for way in [long, events, socket] {
        assert!(number(way, "p50") < number(poll, "p50"), "{way} is no sooner than {poll}");
        assert!(number(way, "bytes") > 50.0, "{way}");
    }
    for way in [events, socket] {
        assert!(number(way, "requests") < number(long, "requests"), "{way} asks as often as {long}");
    }
    assert!(
        ways.iter().all(|way| way["note"] == "" && way["last"].as_array().is_some_and(|last| last.len() == 8)),
        "{ways:?}"
    );

    // Of somebody else, and no markup. A slow poll shows the last of what has come since the one before it.
    browser.eval("document.getElementById('rate').value = 1").await;
    let reply = ask(serves.listen, "POST", "/chat", &[TEXT], HOSTILE).await;
    assert_eq!(reply.status, 201);
    let now = format!(
        "(window.seen ??= new Set(), {WAYS}.forEach((way) => way.last.includes('{HOSTILE}') && seen.add(way.name)), seen.size === 4)"
    );
    browser.becomes(&now).await;
    assert_eq!(browser.eval("[window.hacked, document.querySelector('main img')]").await, json!([null, null]));

    browser.press("Enter", 13).await;
    browser.becomes("document.getElementById('demo-status').textContent === 'stopped'").await;
    assert_eq!(browser.complaints("").await, Vec::<Value>::new());
    serves.metric_becomes("tidewait_topic_readers{topic=\"chat\"}", 0.0).await;
}
