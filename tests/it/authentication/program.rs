//! The program as its operator sees it, with users of the real htpasswd and tokens of the real issuer: who is let in, and who loses
//! a parked request when a password changes, or a key is published no more.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::provider::{AUDIENCE, Provider};
use super::users::htpasswd;
use crate::model_file::ModelFile;
use crate::process::{PARKED, serve};
use crate::server::{Client, Reply, Server};

/// As curl sends it with `--user`.
fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

async fn ask(server: &Server, credential: &str) -> Reply {
    Client::connect(server.listen).await.get("/describe", &[("Authorization", credential)]).await
}

async fn park(server: &Server, id: &str, credential: &str) -> Client {
    let mut client = Client::connect(server.listen).await;
    client.send("GET", &format!("/describe?since={id}&wait=50"), &[("Authorization", credential)]).await;
    server.metric_becomes(PARKED, 1.0).await;
    client
}

#[tokio::test]
async fn a_user_is_let_in_and_a_new_password_ends_what_waits_by_the_old_one() {
    let tools = super::tools().await;
    let model = ModelFile::new(r#"{"n":1}"#);
    let file = model.beside("users");
    let set = |form: &[&str], name: &str, password: &str| htpasswd(&tools, form, Path::new(&file), name, password);
    set(&["-c", "-B", "-C", "4"], "edge", "old secret");
    set(&["-B", "-C", "4"], "other", "another");
    let mut server = serve(&model, &["--access-users", &file]).await;
    server.ready().await;
    let refused = server.get("/describe").await;
    let challenge = "Basic realm=\"tidewait\", charset=\"UTF-8\"";
    assert_eq!((refused.status, refused.field("www-authenticate")), (401, challenge));
    for (credential, status) in [
        (basic("edge", "old secret"), 200),
        (basic("edge", "wrong"), 401),
        (basic("nobody", "old secret"), 401),
        ("Basic !".to_owned(), 401),
        ("Bearer abc".to_owned(), 401),
        (basic("other", "another"), 200),
    ] {
        assert_eq!(ask(&server, &credential).await.status, status, "{credential}");
    }
    let id = ask(&server, &basic("edge", "old secret")).await.id().to_owned();
    // A verdict is kept: a poll does not cost a hash.
    let hashed = "tidewait_access_passwords_hashed_total";
    let before = server.metric(hashed).await;
    for _ in 0..5 {
        assert_eq!(ask(&server, &basic("edge", "old secret")).await.status, 200);
    }
    assert!((server.metric(hashed).await - before).abs() < 0.5);
    let mut parked = park(&server, &id, &basic("edge", "old secret")).await;
    let changed = std::time::Instant::now();
    set(&["-B", "-C", "4"], "edge", "new secret");
    assert_eq!(parked.reply().await.status, 401);
    assert!(changed.elapsed().as_secs() < 5, "{:?}", changed.elapsed());
    assert_eq!(ask(&server, &basic("edge", "old secret")).await.status, 401);
    assert_eq!(ask(&server, &basic("edge", "new secret")).await.status, 200);
    let log = server.log.borrow().join("\n");
    assert!(!log.contains("secret") && !log.contains("$2y$"), "{log}");
}

#[tokio::test]
async fn a_token_of_an_issuer_is_let_in_while_the_issuer_is_away_and_not_once_its_key_is_gone() {
    let mut provider = Provider::new(true).await;
    provider.start().await;
    let model = ModelFile::new(r#"{"shared":1,"nodes":{"corp:edge":2,"other":3}}"#);
    let (keys, config) = (model.beside("keys.json"), model.beside("config.yaml"));
    std::fs::write(&keys, provider.jwks().await).expect("written");
    let text = json!({
        "apiVersion": "tidewait.dev/v1alpha1",
        "kind": "ServeConfig",
        "operations": [{"name": "describe", "source": {"file": {"path": model.arg()}}}],
        "access": {
            "issuers": [{"url": provider.url, "audience": AUDIENCE, "prefix": "corp:", "keys": keys}],
            "rules": [{
                "subjects": ["user:corp:*"], "verbs": ["get"], "operations": ["*"],
                "restrict": ["/shared", "/nodes/{name}"],
            }],
        },
    });
    std::fs::write(&config, text.to_string()).expect("written");
    let server = Server::start(&["--config", &config]).await;
    let token = provider.token().await;
    provider.stop().await;
    let bearer = format!("Bearer {token}");
    // Its keys are in a file, and it is away.
    let mut answer = ask(&server, &bearer).await;
    while answer.status == 503 {
        tokio::task::yield_now().await;
        answer = ask(&server, &bearer).await;
    }
    assert_eq!((answer.status, answer.json()), (200, json!({"shared": 1, "nodes": {"corp:edge": 2}})));
    let tampered = format!("{}x", &bearer[..bearer.len() - 1]);
    assert_eq!(ask(&server, &tampered).await.status, 401);
    let mut parked = park(&server, answer.id(), &bearer).await;
    std::fs::write(&keys, r#"{"keys":[]}"#).expect("written");
    assert_eq!(parked.reply().await.status, 401);
    assert_eq!(ask(&server, &bearer).await.status, 401);
    assert!(!server.log.borrow().join("\n").contains(&token), "no log shows a token");
}
