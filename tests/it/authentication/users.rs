//! Users as the real htpasswd of apache2-utils makes them.

use std::path::Path;
use std::process::Command;

use prometheus::Registry;
use tidewait::authentication::users::basic::{self, Credentials};
use tidewait::authentication::users::{InvalidUsers, Metrics, Passwords, Users};

/// Runs `htpasswd -b FORM... FILE NAME PASSWORD`.
pub(super) fn htpasswd(tools: &Path, form: &[&str], file: &Path, name: &str, password: &str) {
    let mut command = Command::new(tools.join("htpasswd"));
    let output = command.arg("-b").args(form).arg(file).args([name, password]).output().expect("htpasswd runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn read(file: &Path) -> Result<Users, InvalidUsers> {
    Users::parse(&std::fs::read(file).expect("htpasswd has made it"))
}

#[tokio::test]
async fn users_that_htpasswd_makes_are_known_and_a_new_password_ends_the_old_one() {
    let tools = super::tools().await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("users");
    let long = "p".repeat(80);
    htpasswd(&tools, &["-c", "-B"], &file, "edge", "pass: wörd");
    htpasswd(&tools, &["-B", "-C", "4"], &file, "node-1@site", "");
    htpasswd(&tools, &["-B"], &file, "long", &long);
    let metrics = Metrics::register(&Registry::new()).expect("metrics");
    let passwords = Passwords::new(read(&file).expect("users"), metrics);
    let check = async |name: &str, password: &str| {
        passwords.check(Credentials { name: name.to_owned(), password: password.to_owned() }).await
    };
    for (name, password) in [("edge", "pass: wörd"), ("node-1@site", ""), ("long", &long)] {
        assert_eq!(check(name, password).await.expect("it is right").verified.name, name);
        assert!(check(name, &format!("!{password}")).await.is_err(), "{name}");
    }
    // As curl sends it.
    let sent = basic::read("ZWRnZTpwYXNzOiB3w7ZyZA==").expect("a form");
    let edge = passwords.check(sent).await.expect("it is right");
    let node = check("node-1@site", "").await.expect("it is right");
    htpasswd(&tools, &["-B"], &file, "edge", "another");
    passwords.replace(read(&file).expect("users"));
    assert!(!passwords.is_current(&edge) && passwords.is_current(&node));
    assert!(check("edge", "pass: wörd").await.is_err());
    assert!(check("edge", "another").await.is_ok());
}

#[tokio::test]
async fn what_htpasswd_makes_without_bcrypt_is_refused_by_its_line() {
    let tools = super::tools().await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for form in [&["-m"][..], &["-s"], &["-d"], &["-p"], &["-2"], &["-5"]] {
        let file = folder.path().join("users");
        htpasswd(&tools, &["-c", "-B", "-C", "4"], &file, "good", "secret");
        htpasswd(&tools, form, &file, "edge", "secret");
        let error = read(&file).expect_err("another form").to_string();
        let expected = "line 2: its password is not hashed with bcrypt or argon2id: set it anew with htpasswd -B";
        assert_eq!(error, expected, "{form:?}");
    }
    let file = folder.path().join("users");
    htpasswd(&tools, &["-c", "-B", "-C", "15"], &file, "slow", "secret");
    assert!(read(&file).expect_err("too costly").to_string().starts_with("line 1: its bcrypt cost is above 14"));
}
