//! Kubeconfigs as people and tools leave them about: lists of files, and files that end in a newline or are empty.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::apply;
use crate::control_plane::{ControlPlane, Namespace, WorkDir};
use crate::server::{STEP, Server, tidewait};

/// A kubeconfig whose user has this, in a folder of its own.
pub(super) fn kubeconfig(plane: &ControlPlane, user: impl FnOnce(&Value) -> Value) -> (WorkDir, PathBuf) {
    let text = std::fs::read_to_string(plane.kubeconfig()).expect("a kubeconfig");
    let mut config: Value = serde_yaml::from_str(&text).expect("YAML");
    config["users"][0]["user"] = user(&config["users"][0]["user"]);
    let dir = WorkDir::new().expect("a folder");
    let path = dir.write("kubeconfig", &config.to_string()).expect("it can be written");
    (dir, path)
}

fn serve(namespace: &Namespace) -> tokio::process::Command {
    let source = format!("{namespace}/network:network.json");
    let ports = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"];
    tidewait(&[&ports[..], &["--configmap", &source]].concat())
}

fn join(paths: &[&Path]) -> OsString {
    std::env::join_paths(paths).expect("no colon")
}

#[tokio::test]
async fn a_token_file_that_ends_in_a_newline_and_missing_files_of_a_list_are_as_for_kubectl() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("kubeconfig").await;
    apply(plane, &namespace, 1).await;
    let (dir, path) = kubeconfig(plane, |user| json!({ "tokenFile": "token", "token-of": user["token"] }));
    let token = std::fs::read_to_string(&path).expect("written");
    let token: Value = serde_json::from_str(&token).expect("JSON");
    let token = token["users"][0]["user"]["token-of"].as_str().expect("a token").to_owned();
    dir.write("token", &format!("  {token}\r\n\n")).expect("it can be written");
    let missing = dir.write("gone", "").expect("it can be written");
    std::fs::remove_file(&missing).expect("it was there");
    let mut command = serve(&namespace);
    command.env("KUBECONFIG", join(&[&missing, &path, &missing]));
    Server::spawn(command).await.ready().await;
}

/// What it says when it ends, as it must.
async fn refused(namespace: &Namespace, kubeconfig: impl AsRef<OsStr>) -> String {
    let mut command = serve(namespace);
    let ended = timeout(STEP, command.env("KUBECONFIG", kubeconfig).output()).await;
    let output = ended.expect("it ends").expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("kubeconfig").await;
    for (user, content, words) in [
        (json!({ "tokenFile": "file" }), " \n", "is empty: write a token into it"),
        (json!({ "client-certificate": "file", "client-key": "file" }), "\n", "is empty: write a certificate into it"),
    ] {
        let (dir, path) = kubeconfig(plane, |_| user.clone());
        let file = dir.write("file", content).expect("it can be written");
        let said = refused(&namespace, &path).await;
        assert!(said.contains(&*file.to_string_lossy()) && said.contains(words), "{said}");
    }
    // Nothing else is tried in the place of one that is there: it would be another cluster.
    let dir = WorkDir::new().expect("a folder");
    let broken = dir.write("broken", "clusters: 7").expect("it can be written");
    let said = refused(&namespace, join(&[&broken, plane.kubeconfig()])).await;
    assert!(said.contains(&*broken.to_string_lossy()), "{said}");
    let missing = dir.write("gone", "").expect("it can be written");
    std::fs::remove_file(&missing).expect("it was there");
    let said = refused(&namespace, &missing).await;
    assert!(said.contains(&*missing.to_string_lossy()), "{said}");
}
