//! `--access-tokens` as its user sees it: a token is made, its line goes into a file, the file changes.

use std::path::Path;

use serde_json::json;

use super::{PARKED, serve};
use crate::model_file::ModelFile;
use crate::proxy::harness::RawApp;
use crate::server::{Client, Reply, Server, tidewait};

/// What `tidewait token` prints: a token and its line.
pub(crate) async fn made(arguments: &[&str]) -> (String, String) {
    let output = tidewait(&[&["token"], arguments].concat()).output().await.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<_> = text.lines().collect();
    let [token, line] = lines[..] else { panic!("{text}") };
    (token.to_owned(), line.to_owned())
}

/// Replaces a file as editors and kubelets do: by a rename.
fn write(path: &str, text: &str) {
    let next = format!("{path}.next");
    std::fs::write(&next, text).expect("written");
    std::fs::rename(&next, Path::new(path)).expect("renamed");
}

async fn ask(server: &Server, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    Client::connect(server.listen).await.get("/describe", &[("Authorization", &bearer)]).await
}

#[tokio::test]
async fn a_token_is_made_let_in_and_withdrawn() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let (file, state) = (model.beside("tokens"), model.beside("state"));
    let (one, of_one) = made(&["node-1"]).await;
    let (two, of_two) = made(&["node-2", "--groups", "edge,rack-7"]).await;
    assert!(one.starts_with("tw_") && one.len() == 46 && one != two, "{one}");
    assert!(of_one.starts_with("sha256:") && of_one.ends_with(" node-1") && !of_one.contains(&one));
    assert!(of_two.ends_with(" node-2 edge,rack-7"), "{of_two}");
    write(&file, &format!("# nodes\n{of_one}\n{of_two}\n"));
    let mut server = serve(&model, &["--access-tokens", &file, "--state-dir", &state]).await;
    server.ready().await;
    let refused = server.get("/describe").await;
    assert_eq!((refused.status, refused.field("www-authenticate")), (401, "Bearer realm=\"tidewait\""));
    assert_eq!(ask(&server, "tw_nobody").await.status, 401);
    let id = ask(&server, &one).await.id().to_owned();
    assert_eq!(ask(&server, &two).await.status, 200);
    assert_eq!(server.metric("tidewait_access_tokens").await.to_string(), "2");

    // A file that is not good withdraws nobody.
    write(&file, "");
    let logged = server.logged("the file with tokens is not good").await;
    assert!(logged.contains("it is empty: to withdraw all, write a line that begins with # into it"), "{logged}");
    assert_eq!(ask(&server, &two).await.status, 200);
    write(&file, &format!("{of_one}\nnonsense\n"));
    server.metric_becomes("tidewait_access_tokens_file_good", 0.0).await;
    let logged = server.logged("line 2: it does not begin").await;
    assert!(
        logged.contains("the file with tokens is not good")
            && logged.contains("line 2: it does not begin with 'sha256:'"),
        "{logged}"
    );
    let seen = server.admin("/state").await.json()["files"].take();
    assert_eq!(
        (&seen[0]["holds"], &seen[0]["status"], &seen[0]["daysLeft"]),
        (&json!("tokens"), &json!("outdated"), &json!(null))
    );
    assert_eq!(seen[0]["paths"], json!([file]));
    assert!(logged.contains(seen[0]["detail"].as_str().expect("why")), "{seen} {logged}");
    assert_eq!(ask(&server, &two).await.status, 200);
    // Nor does it become good by being looked at again.
    tokio::time::timeout(
        std::time::Duration::from_secs(2),
        server.metric_becomes("tidewait_access_tokens_file_good", 1.0),
    )
    .await
    .expect_err("it is still not good");

    let bearer = format!("Bearer {two}");
    let mut parked = Client::connect(server.listen).await;
    parked.send("GET", &format!("/describe?since={id}&wait=50"), &[("Authorization", &bearer)]).await;
    server.metric_becomes(PARKED, 1.0).await;
    let withdrawn = std::time::Instant::now();
    write(&file, &format!("{of_one}\n"));
    let ended = parked.reply().await;
    assert_eq!(ended.status, 401, "{ended:?}");
    assert!(withdrawn.elapsed() < std::time::Duration::from_secs(5), "{:?}", withdrawn.elapsed());
    assert_eq!(ask(&server, &two).await.status, 401);
    assert_eq!(ask(&server, &one).await.status, 200);
    server.metric_becomes("tidewait_access_tokens", 1.0).await;
    assert_eq!(server.admin("/state").await.json()["files"][0]["status"], "current");
    let withdrawals =
        server.metric("tidewait_released_requests_total{operation=\"describe\",reason=\"withdrawn\"}").await;
    assert_eq!(withdrawals.to_string(), "1");

    // Nobody who reads logs, metrics or states learns a token or its digest.
    let digests = [&of_one, &of_two].map(|line| line[7..71].to_owned());
    let log = server.log.borrow().join("\n");
    for target in ["/metrics", "/state", "/agents"] {
        let text = String::from_utf8(server.admin(target).await.body).expect("text");
        for secret in [&one, &two].into_iter().chain(&digests) {
            assert!(!text.contains(secret.as_str()) && !log.contains(secret.as_str()), "{target}");
        }
    }
}

#[tokio::test]
async fn a_file_of_tokens_that_cannot_be_used_is_a_sentence_and_exit_code_1() {
    let model = ModelFile::new("{}");
    let file = model.beside("tokens");
    for (text, expected) in [
        (None, "tokens: it cannot be read: name a file that can be"),
        (Some(""), "tokens: it is empty: write tokens into it, or a line that begins with # where there are none"),
        (
            Some("sha256:1 a"),
            "tokens: it is no file of tokens: line 1: what follows sha256: is not 64 digits of base 16",
        ),
    ] {
        if let Some(text) = text {
            write(&file, text);
        }
        let mut command =
            tidewait(&["serve", "--file", model.arg(), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let output = command.args(["--access-tokens", &file]).output().await.expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(expected) && told.contains("--access-tokens"), "{told}");
    }
}

#[tokio::test]
async fn the_app_learns_no_credential_unless_it_is_forwarded() {
    let model = ModelFile::new("{}");
    let file = model.beside("tokens");
    let (_, line) = made(&["node-1"]).await;
    write(&file, &line);
    for (settings, is_told) in [
        (&["--access-tokens", &file][..], false),
        (&["--access-tokens", &file, "--forward-credentials"], true),
        // No client is asked for one: it is the app's own.
        (&[], true),
    ] {
        let app = RawApp::new();
        let upstream = format!("http://{}", app.address());
        let server = serve(&model, &[settings, &["--upstream", &upstream]].concat()).await;
        for credential in ["Bearer abc", "Basic YTpi"] {
            let mut client = Client::connect(server.listen).await;
            // A misspelt path of an operation goes to the app.
            client.send("GET", "/describ", &[("Authorization", credential), ("X-Other", "1")]).await;
            let head = app.accept().await.head().await.to_ascii_lowercase();
            assert!(head.contains("x-other: 1"), "{head}");
            assert_eq!(head.contains("authorization:"), is_told, "{settings:?} {head}");
        }
    }
}

#[tokio::test]
async fn the_app_is_told_who_asks_and_what_clients_say_of_that_is_removed() {
    let model = ModelFile::new("{}");
    let file = model.beside("tokens");
    let (token, line) = made(&["node-2", "--groups", "edge,rack-7"]).await;
    write(&file, &line);
    let app = RawApp::new();
    let upstream = format!("http://{}", app.address());
    let fields = ["--forward-user", "X-Remote-User", "--forward-groups", "X-Forwarded-Groups"];
    let settings =
        [&["--access-tokens", &file, "--upstream", &upstream, "--trusted-proxies", "127.0.0.0/8"], &fields[..]];
    let server = serve(&model, &settings.concat()).await;
    let bearer = format!("Bearer {token}");
    // One that is not good never becomes anonymous, and does not reach the app.
    let mut client = Client::connect(server.listen).await;
    let reply = client.get("/bad", &[("Authorization", "Bearer other")]).await;
    assert_eq!(reply.status, 401);
    assert!(reply.field("www-authenticate").starts_with("Bearer"), "{reply:?}");
    let forged = [
        ("X-Remote-User", "root"),
        ("x_remote_user", "root"),
        ("X-Remote-User", "admin"),
        ("X-FORWARDED-GROUPS", "wheel"),
        ("X_Forwarded-Groups", "wheel"),
        ("X-Other", "1"),
    ];
    let known = ["x-remote-user: node-2", "x-forwarded-groups: edge,rack-7"];
    for (sent, told) in [
        (vec![("Authorization", &*bearer)], &known[..]),
        (vec![("Authorization", &*bearer), ("Connection", "x-remote-user, x-forwarded-groups")], &known),
        (vec![], &[]),
    ] {
        let mut client = Client::connect(server.listen).await;
        client.send("GET", "/page", &[&sent[..], &forged].concat()).await;
        let head = app.accept().await.head().await.to_ascii_lowercase();
        assert!(head.starts_with("get /page "), "{head}");
        let about = |line: &&str| line.starts_with("x-remote") || line.contains("groups") || line.starts_with("x_");
        assert_eq!(head.lines().filter(about).collect::<Vec<_>>(), told, "{sent:?}\n{head}");
        assert!(head.contains("x-other: 1") && !head.contains("authorization"), "{head}");
    }
}
