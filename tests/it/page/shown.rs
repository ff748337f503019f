//! What a person sees on the page, and reaches by keyboard and screen reader.

use serde_json::{Value, json};

use super::browser::Browser;
use super::{Front, agent};
use crate::exchange::{ask, send};
use crate::model_file::ModelFile;
use crate::server::Server;
use crate::topic::TEXT;

const REASON: &str = "mtu <script>window.hacked = 1</script><img src=x onerror=window.hacked=2> is low";
const FIRST: &str = "0123456789abcdef.0.0123456789abcdef0123456789abcdef";
const LINK: &str = "document.getElementById('link').textContent";

/// The texts of the rows of a table.
fn rows(of: &str) -> String {
    format!(
        "[...document.querySelectorAll('{of} tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
}

/// A server with something of each kind, and the page before it.
async fn begin(model: &ModelFile) -> (Server, Front, Browser) {
    let flags = ["--file", model.arg(), "--topic", "/chat", "--exchange", "/work"];
    let mut server = Server::start(&flags).await;
    server.ready().await;
    let front = Front::before(server.admin).await;
    let mut browser = Browser::start().await;
    browser.open(&front.origin()).await;
    browser.becomes(&format!("{LINK} === 'live'")).await;
    (server, front, browser)
}

#[tokio::test]
async fn the_page_shows_what_there_is_follows_it_and_goes_on_after_a_restart() {
    let model = ModelFile::new("{\"n\":1}");
    let (server, front, mut browser) = begin(&model).await;
    let id = server.get("/describe").await.id().to_owned();
    browser.eval("window.mark = 'the same page'").await;
    let _good = agent(server.listen, "node-1", &format!("since={id}"), None).await;
    let _picky = agent(server.listen, "node-2", &format!("since={FIRST}&rejected={id}"), Some(REASON)).await;
    let _waits = send(server.listen, "POST", "/work", &[], "a job").await;
    assert_eq!(ask(server.listen, "POST", "/chat", &[TEXT], "hello").await.status, 201);
    browser.becomes(&format!("{}.length === 2", rows("#agents"))).await;
    browser.becomes(&format!("{}[0][2] === '1'", rows("#topics"))).await;
    browser.becomes(&format!("{}[0][2] === '1'", rows("#exchanges-table"))).await;
    browser.becomes(&format!("{}[0][5] === '2'", rows("#operations"))).await;

    let agents = browser.eval(&rows("#agents")).await;
    assert_eq!(agents[0][0], "node-2", "who rejects is first: {agents}");
    assert_eq!(agents[0][1], "rejecting");
    assert_eq!([&agents[0][3], &agents[0][4]], [&json!("the current state"), &json!(REASON)]);
    assert_eq!([&agents[1][0], &agents[1][1], &agents[1][2]], ["node-1", "converged", "the current state"]);
    let operations = browser.eval(&rows("#operations")).await;
    assert_eq!([&operations[0][0], &operations[0][1], &operations[0][2]], ["describe at /describe", "live", &*id]);
    assert_eq!(operations[0][6], "1 of 2 converged, 1 rejecting");
    assert_eq!(browser.eval(&rows("#exchanges-table")).await[0][0], "work");
    assert_eq!(
        browser.eval("[window.hacked, document.querySelector('main img, main script')]").await,
        json!([null, null])
    );

    model.replace("{\"n\":2}");
    browser.becomes(&format!("{}[0][2] !== '{id}'", rows("#operations"))).await;
    browser.becomes(&format!("{}.some((row) => row[0] === 'node-1' && row[1] === 'lagging')", rows("#agents"))).await;
    assert_eq!(browser.complaints("").await, Vec::<Value>::new());

    drop(server);
    browser.becomes(&format!("{LINK}.startsWith('reconnecting since ')")).await;
    let mut server = Server::start(&["--file", model.arg(), "--topic", "/other"]).await;
    server.ready().await;
    front.behind.send_replace(server.admin);
    browser.becomes(&format!("{LINK} === 'live' && {}[0][0] === 'other'", rows("#topics"))).await;
    browser.becomes(&format!("{}.length === 0 && {}.length === 0", rows("#agents"), rows("#exchanges-table"))).await;
    browser.becomes("document.querySelector('#agents .none').checkVisibility()").await;
    assert_eq!(browser.eval("window.mark").await, "the same page");
    assert_eq!(browser.complaints(&format!("{}/events", front.origin())).await, Vec::<Value>::new());

    // It says that it goes before it does.
    ask(server.admin, "POST", "/drain", &[], "").await;
    browser.becomes(&format!("{LINK}.startsWith('reconnecting since ') && {LINK}.endsWith(' the server stops')")).await;
}

/// What can be focused and seen.
const REACHABLE: &str = "[...document.querySelectorAll('a[href], button, input, [tabindex=\"0\"]')]\
                         .filter((node) => node.checkVisibility()).map((node) => node.id || node.outerHTML.slice(0, 60))";

#[tokio::test]
async fn all_is_reached_by_keyboard_has_a_name_and_can_be_read_in_light_dark_and_narrow_windows() {
    let model = ModelFile::new("{\"n\":1}");
    let (server, front, mut browser) = begin(&model).await;
    let id = server.get("/describe").await.id().to_owned();
    let _good = agent(server.listen, "node-1", &format!("since={id}"), None).await;
    let _picky = agent(server.listen, "node-2", &format!("since={FIRST}&rejected={id}"), Some(REASON)).await;
    browser.becomes(&format!("{}.length === 2", rows("#agents"))).await;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        assert_eq!(browser.barriers().await, json!([]), "{scheme}");
    }
    let colours = "getComputedStyle(document.body).backgroundColor";
    assert_eq!(browser.eval(colours).await, "rgb(20, 24, 28)");
    for width in [320, 1280] {
        browser.resize(width).await;
        browser.becomes(&format!("document.documentElement.scrollWidth <= {width}")).await;
    }

    let all = browser.eval(REACHABLE).await;
    let all = all.as_array().expect("several");
    assert!(all.len() > 12, "{all:?}");
    let mut reached = Vec::new();
    for _ in all {
        browser.press("Tab", 9).await;
        let focused = "(({ id, outerHTML }) => id || outerHTML.slice(0, 60))(document.activeElement)";
        reached.push(browser.eval(focused).await);
        // Where it is can be seen.
        let outline = browser.eval("getComputedStyle(document.activeElement).outlineStyle").await;
        assert_eq!(outline, "solid", "{reached:?}");
    }
    assert_eq!(&reached, all, "in the order of the page");

    // The last one starts the demonstration, which this server does not let in.
    assert_eq!(browser.eval("document.activeElement.id").await, "toggle");
    let _ = browser.complaints("").await;
    browser.press("Enter", 13).await;
    let status = "document.getElementById('demo-status').textContent";
    browser.becomes(&format!("{status}.includes('start it with --access-origins {},')", front.origin())).await;
    browser.becomes("document.getElementById('toggle').textContent === 'Start'").await;
}
