//! openssl as a client: versions, protocols, resumption, renegotiation.

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Rig;
use crate::server::STEP;

const GET: &str = "GET /describe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// What `s_client` says that sends this; it verifies the server, and ends if that fails.
async fn s_client(rig: &Rig, more: &[&str], sends: &str) -> Output {
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect", &format!("127.0.0.1:{}", rig.port()), "-CAfile", &rig.ca()]);
    openssl.args(["-verify_return_error", "-verify_hostname", "localhost", "-no_ign_eof"]).args(more);
    openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = openssl.spawn().expect("openssl");
    let mut stdin = child.stdin.take().expect("piped");
    // It may have ended already.
    let _ = stdin.write_all(sends.as_bytes()).await;
    let _ = stdin.flush().await;
    let output = child.wait_with_output();
    // Its input stays open until it ends by itself.
    let output = tokio::time::timeout(STEP, output).await.expect("in time").expect("a result");
    drop(stdin);
    output
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn versions_and_protocols_are_taken_or_refused_with_an_alert() {
    let rig = Rig::new().await;
    for (more, expected) in [
        (&["-tls1_3"][..], "HTTP/1.1 200 OK"),
        (&["-tls1_2"], "HTTP/1.1 200 OK"),
        (&["-tls1_3", "-ign_eof"], "Verify return code: 0 (ok)"),
        (&["-alpn", "http/1.1"], "ALPN protocol: http/1.1"),
        (&["-alpn", "http/1.1,h2"], "ALPN protocol: h2"),
        (&[], "No ALPN negotiated"),
        // What such a client does not offer is missed before its version is looked at.
        (&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "alert handshake failure"),
        (&["-alpn", "spdy/3"], "alert no application protocol"),
        (&["-tls1_2", "-cipher", "AES128-SHA"], "alert handshake failure"),
        // What is early data is not offered: a ticket says so by its absence.
        (&["-tls1_3", "-ign_eof"], "Max Early Data: 0"),
    ] {
        let output = text(&s_client(&rig, more, if more.contains(&"http/1.1,h2") { "Q\n" } else { GET }).await);
        assert!(output.contains(expected), "{more:?} {expected}:\n{output}");
    }
    let failed = "tidewait_tls_handshake_failures_total{port=\"clients\",reason=\"protocol\"}";
    assert_eq!(rig.server.metric(failed).await.to_string(), "3");
}

#[tokio::test]
async fn a_session_is_resumed_by_its_ticket() {
    let rig = Rig::new().await;
    let ticket = rig.model.beside("session");
    for version in ["-tls1_2", "-tls1_3"] {
        let first = text(&s_client(&rig, &[version, "-ign_eof", "-sess_out", &ticket], GET).await);
        assert!(first.contains("New, TLSv1"), "{first}");
        let second = text(&s_client(&rig, &[version, "-ign_eof", "-sess_in", &ticket], GET).await);
        assert!(second.contains("Reused, TLSv1") && second.contains("HTTP/1.1 200 OK"), "{second}");
    }
    let resumed = "tidewait_tls_handshakes_total{kind=\"resumed\",port=\"clients\"}";
    assert_eq!(rig.server.metric(resumed).await.to_string(), "2");
}

#[tokio::test]
async fn a_renegotiation_is_refused() {
    let rig = Rig::new().await;
    // `R` at the beginning of a line asks for one.
    let output = text(&s_client(&rig, &["-tls1_2"], "R\n").await);
    assert!(output.contains("no renegotiation"), "{output}");
    assert_eq!(rig.server.get("/describe").await.status, 400, "it serves others");
}
