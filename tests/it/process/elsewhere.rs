//! The admin port as other hosts see it: who may ask what there, and what the rest is told.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidewait::access::tokens::line;

use crate::model_file::ModelFile;
use crate::server::{Client, Reply, Server, far, tidewait};
use crate::topic::Stream;

/// The token of each is its name, backwards.
const NAMES: [(&str, &[&str]); 5] =
    [("prometheus", &[]), ("node-1", &["edge"]), ("jane", &["ops"]), ("joe", &["log"]), ("root", &[])];

fn token(name: &str) -> String {
    name.chars().rev().collect()
}

/// A server that listens everywhere, with the settings of a file.
async fn serve(model: &ModelFile, settings: Value) -> (Server, SocketAddr) {
    let tokens = NAMES.map(|(name, groups)| {
        let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
        line(&token(name), name, &groups)
    });
    std::fs::write(model.beside("tokens"), tokens.join("\n")).expect("written");
    let mut config = json!({
        "apiVersion": "tidewait.dev/v1alpha1",
        "kind": "ServeConfig",
        "listen": "127.0.0.1:0",
        "admin": "0.0.0.0:0",
        "log": {"format": "json", "level": "debug"},
        "operations": [{"name": "describe", "source": {"file": {"path": model.arg()}}}],
    });
    let settings = settings.as_object().expect("settings").clone();
    config.as_object_mut().expect("an object").extend(settings);
    let file = model.beside("config.yaml");
    std::fs::write(&file, config.to_string()).expect("written");
    let mut server = Server::spawn(tidewait(&["serve", "--config", &file])).await;
    server.ready().await;
    let ip = far().expect("an address of this host that is not loopback: other hosts are seen by such a one");
    let elsewhere = SocketAddr::new(ip, server.admin.port());
    (server, elsewhere)
}

fn rules() -> Value {
    json!([
        {"subjects": ["user:prometheus"], "verbs": ["get"], "paths": ["/metrics"]},
        {"subjects": ["group:ops"], "verbs": ["get"], "paths": ["*"]},
        {"subjects": ["group:log"], "verbs": ["admin", "get"], "paths": ["/log*"]},
        {"subjects": ["user:root"], "verbs": ["get", "admin"], "paths": ["*"]},
        {"subjects": ["authenticated"], "verbs": ["get"], "operations": ["*"]},
    ])
}

async fn ask(to: SocketAddr, who: &str, method: &str, path: &str) -> Reply {
    let bearer = format!("Bearer {}", token(who));
    let body = if method == "PUT" { "info" } else { "" };
    let length = body.len().to_string();
    let credential = ("Authorization", &*bearer);
    let fields = [("Content-Length", &*length), credential];
    let fields = if who == "nobody" { &fields[..1] } else { &fields };
    let mut client = Client::connect(to).await;
    client.send(method, path, fields).await;
    tokio::io::AsyncWriteExt::write_all(client.stream.get_mut(), body.as_bytes()).await.expect("it reads");
    client.reply().await
}

/// What each gets, in the order of the columns.
#[tokio::test]
async fn the_table_of_who_may_ask_what_from_another_host() {
    let model = ModelFile::new("{}");
    let access = json!({"tokens": model.beside("tokens"), "rules": rules()});
    let settings = json!({"adminAccess": true, "allowClearCredentials": true, "access": access});
    let (server, elsewhere) = serve(&model, settings).await;
    let who = ["nobody", "nonsense", "prometheus", "node-1", "jane", "joe", "root"];
    for (method, path, expected) in [
        ("GET", "/livez", [200, 200, 200, 200, 200, 200, 200]),
        ("GET", "/readyz", [200, 200, 200, 200, 200, 200, 200]),
        ("GET", "/metrics", [401, 401, 200, 403, 200, 403, 200]),
        ("GET", "/metrics?a=b", [401, 401, 200, 403, 200, 403, 200]),
        ("GET", "/state", [401, 401, 403, 403, 200, 403, 200]),
        ("GET", "/agents", [401, 401, 403, 403, 200, 403, 200]),
        ("GET", "/openapi.json", [401, 401, 403, 403, 200, 403, 200]),
        ("GET", "/", [401, 401, 403, 403, 200, 403, 200]),
        ("GET", "/page.js", [401, 401, 403, 403, 200, 403, 200]),
        ("HEAD", "/events", [401, 401, 403, 403, 200, 403, 200]),
        ("GET", "/log-level", [401, 401, 403, 403, 200, 200, 200]),
        ("PUT", "/log-level", [401, 401, 403, 403, 403, 200, 200]),
        // It is not there, or not by this method, which is no secret to who is known.
        ("GET", "/nowhere", [401, 401, 404, 404, 404, 404, 404]),
        ("GET", "//metrics", [401, 401, 404, 404, 404, 404, 404]),
        ("GET", "/%6Detrics", [401, 401, 404, 404, 404, 404, 404]),
        ("POST", "/metrics", [401, 401, 405, 405, 405, 405, 405]),
        ("DELETE", "/log-level", [401, 401, 405, 405, 405, 405, 405]),
        ("PUT", "/livez", [401, 401, 405, 405, 405, 405, 405]),
        ("POST", "/drain", [401, 401, 403, 403, 403, 403, 200]),
    ] {
        for (who, expected) in who.into_iter().zip(expected) {
            let reply = ask(elsewhere, who, method, path).await;
            assert_eq!(reply.status, expected, "{who} {method} {path}: {reply:?}");
            assert!(reply.field("cache-control").starts_with("no-store"));
            let challenge = match (reply.status, who) {
                (401, "nobody") => "Bearer realm=\"tidewait\"",
                (401, _) => "Bearer realm=\"tidewait\", error=\"invalid_token\"",
                _ => "",
            };
            assert_eq!(reply.field("www-authenticate"), challenge, "{who} {method} {path}");
            if reply.status == 403 && method != "HEAD" {
                let (verb, path) = if method == "GET" { ("get", path) } else { ("admin", path) };
                let remedy = format!("verbs: [{verb}] and paths: [{}]", path.split('?').next().expect("a path"));
                assert!(reply.json()["detail"].as_str().is_some_and(|told| told.contains(&remedy)), "{reply:?}");
            }
        }
    }
    // The same host needs nothing, and what it brings means nothing.
    let near = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), elsewhere.port());
    for who in ["nobody", "nonsense", "node-1"] {
        for (method, path) in [("GET", "/state"), ("PUT", "/log-level"), ("GET", "/metrics")] {
            assert_eq!(ask(near, who, method, path).await.status, 200, "{who} {method} {path}");
        }
    }
    let refused = |reason: &str| format!("tidewait_admin_refused_total{{reason=\"{reason}\"}}");
    for (reason, expected) in [("missing", 17.0), ("invalid", 17.0), ("forbidden", 31.0), ("limited", 0.0)] {
        assert!((server.metric(&refused(reason)).await - expected).abs() < 0.5, "{reason}");
    }
    let log = server.log.borrow().join("\n");
    assert!(
        log.contains("\"by\":\"joe\"") && log.contains("\"by\":\"root\"") && log.contains("\"by\":\"the same host\"")
    );
    assert!(NAMES.iter().all(|(name, _)| !log.contains(&token(name))), "{log}");
}

#[tokio::test]
async fn a_credential_in_the_clear_is_refused_unless_it_is_allowed() {
    let model = ModelFile::new("{}");
    let access = json!({"tokens": model.beside("tokens"), "rules": rules()});
    let (mut server, elsewhere) = serve(&model, json!({"adminAccess": true, "access": access})).await;
    server.logged("no credential is taken at the admin port").await;
    for who in ["prometheus", "nonsense"] {
        let reply = ask(elsewhere, who, "GET", "/metrics").await;
        assert_eq!(reply.status, 401);
        let told = reply.json()["detail"].as_str().expect("text").to_owned();
        assert!(told.contains("others can read this connection"), "{told}");
    }
    assert_eq!(ask(elsewhere, "nobody", "GET", "/livez").await.status, 200);
    assert!((server.metric("tidewait_admin_refused_total{reason=\"clear\"}").await - 2.0).abs() < 0.5);
}

/// `htpasswd -nbB -C 4 edge 'pass word £4'` (apache2-utils 2.4.71).
const EDGE: &str = "edge:$2y$04$DADQjQLkqm2ILHDUJE6Wwuyxt4nAe.EApQypAfe5MahEntkFeRQ96";

#[tokio::test]
async fn a_user_with_a_password_gets_in_and_bad_ones_are_bounded_there_too() {
    let model = ModelFile::new("{}");
    let users = model.beside("users");
    std::fs::write(&users, EDGE).expect("written");
    let rules = json!([{"subjects": ["user:edge"], "verbs": ["get"], "paths": ["/state"]}]);
    let access = json!({"tokens": model.beside("tokens"), "users": users, "rules": rules});
    let settings = json!({"adminAccess": true, "allowClearCredentials": true, "access": access});
    let (server, elsewhere) = serve(&model, settings).await;
    let get = async |pair: &str| {
        let basic = format!("Basic {}", STANDARD.encode(pair));
        Client::connect(elsewhere).await.get("/state", &[("Authorization", &basic)]).await
    };
    let challenge = "Bearer realm=\"tidewait\", Basic realm=\"tidewait\", charset=\"UTF-8\"";
    let missing = ask(elsewhere, "nobody", "GET", "/state").await;
    assert_eq!((missing.status, missing.field("www-authenticate")), (401, challenge));
    assert_eq!(get("edge:pass word £4").await.status, 200);
    let mut statuses = Vec::new();
    for number in 0..30 {
        let reply = get(&format!("edge:wrong {number}")).await;
        assert!(reply.status != 429 || reply.field("retry-after") == "2", "{reply:?}");
        statuses.push(reply.status);
    }
    assert!(statuses[..10].iter().all(|status| *status == 401) && statuses.contains(&429), "{statuses:?}");
    assert!(server.metric("tidewait_admin_refused_total{reason=\"limited\"}").await > 0.5);
    assert_eq!(get("edge:pass word £4").await.status, 200, "who is known is let in");
}

#[tokio::test]
async fn without_a_rule_for_a_path_nobody_may_ask_there_and_a_warning_says_so() {
    let model = ModelFile::new("{}");
    let access = json!({"tokens": model.beside("tokens")});
    let settings = json!({"adminAccess": true, "allowClearCredentials": true, "access": access});
    let (mut server, elsewhere) = serve(&model, settings).await;
    server.logged("no rule names a path of the admin port").await;
    // Whoever has a credential may poll everything, which says nothing of the admin port.
    for (path, status) in [("/metrics", 403), ("/agents", 403), ("/readyz", 200)] {
        assert_eq!(ask(elsewhere, "root", "GET", path).await.status, status, "{path}");
    }
}

/// What is open is open to all others, and what they bring means nothing.
#[tokio::test]
async fn without_the_setting_others_read_everything_and_change_nothing() {
    let model = ModelFile::new("{}");
    let access = json!({"tokens": model.beside("tokens")});
    let (server, elsewhere) = serve(&model, json!({"access": access})).await;
    for who in ["nobody", "nonsense", "root"] {
        for (method, path, status) in [
            ("GET", "/metrics", 200),
            ("GET", "/state", 200),
            ("GET", "/agents", 200),
            ("GET", "/nowhere", 404),
            ("POST", "/metrics", 405),
            ("PUT", "/log-level", 403),
            ("POST", "/drain", 403),
        ] {
            let reply = ask(elsewhere, who, method, path).await;
            assert_eq!(reply.status, status, "{who} {method} {path}: {reply:?}");
            if status == 403 {
                assert_eq!(reply.json()["type"], "https://tidewait.dev/problems/loopback-only");
            }
        }
    }
    assert!((server.metric("tidewait_admin_refused_total{reason=\"forbidden\"}").await - 6.0).abs() < 0.5);
}

/// A rule may open a path to those without a credential, and opens nothing else.
#[tokio::test]
async fn a_rule_for_anonymous_opens_its_path_alone() {
    let model = ModelFile::new("{}");
    let rules = json!([{"subjects": ["anonymous"], "verbs": ["get"], "paths": ["/metrics"]}]);
    let access = json!({"tokens": model.beside("tokens"), "rules": rules});
    // To poll is open to all, which says nothing of the admin port.
    let settings =
        json!({"adminAccess": true, "allowClearCredentials": true, "allowAnonymous": true, "access": access});
    let (_server, elsewhere) = serve(&model, settings).await;
    for (who, path, status) in [
        ("nobody", "/metrics", 200),
        ("nobody", "/state", 401),
        ("nonsense", "/metrics", 401),
        ("root", "/metrics", 403),
        ("root", "/state", 403),
    ] {
        assert_eq!(ask(elsewhere, who, "GET", path).await.status, status, "{who} {path}");
    }
}

#[tokio::test]
async fn a_token_that_is_withdrawn_is_refused_there_too() {
    let model = ModelFile::new("{}");
    let tokens = model.beside("tokens");
    let access = json!({"tokens": tokens, "rules": rules()});
    let settings = json!({"adminAccess": true, "allowClearCredentials": true, "access": access});
    let (server, elsewhere) = serve(&model, settings).await;
    assert_eq!(ask(elsewhere, "root", "GET", "/state").await.status, 200);
    std::fs::write(&tokens, line(&token("jane"), "jane", &["ops".into()])).expect("written");
    server.metric_becomes("tidewait_access_tokens", 1.0).await;
    assert_eq!(ask(elsewhere, "root", "GET", "/state").await.status, 401);
    assert_eq!(ask(elsewhere, "jane", "GET", "/state").await.status, 200);
}

/// A stream of events ends within seconds where its reader may not read any more.
#[tokio::test]
async fn events_end_with_the_credential() {
    let model = ModelFile::new("{}");
    let access = json!({"tokens": model.beside("tokens"), "rules": rules()});
    let settings = json!({"adminAccess": true, "allowClearCredentials": true, "access": access});
    let (_server, elsewhere) = serve(&model, settings).await;
    let bearer = format!("Authorization: Bearer {}\r\n", token("jane"));
    let mut stream = Stream::open(elsewhere, "/events", &bearer).await;
    assert!(stream.event().await.starts_with("event: state\n"));
    std::fs::write(model.beside("tokens"), line(&token("root"), "root", &[])).expect("written");
    let rest = stream.rest().await;
    let (_, last) = rest.trim_end().rsplit_once("\n\n").expect("several events");
    assert!(last.starts_with("event: auth\ndata: {\"reason\":"), "{last}");
    let again = Stream::ask(elsewhere, "/events", &bearer).await;
    assert!(again.head.starts_with("HTTP/1.1 401 "), "{}", again.head);
}
