//! What the client shows and whom it trusts: TLS, client certificates and tokens, all in files that change.

use tidewait::client::{FailureKind, Settings};

use super::{Follower, settings};
use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::Server;
use crate::tls::{Authority, Made};

/// Replaces a file as editors and kubelets do: by a rename.
fn write(path: &str, bytes: &str) {
    let next = format!("{path}.next");
    std::fs::write(&next, bytes).expect("written");
    std::fs::rename(&next, path).expect("renamed");
}

/// A model, a server of it over TLS, and the file with the server's authority.
struct Rig {
    model: ModelFile,
    server: Server,
    ca: String,
}

impl Rig {
    async fn new(more: &[&str]) -> Self {
        let authority = Authority::new("server-ca");
        Self::of(&authority, &authority.server(), more).await
    }

    async fn of(authority: &Authority, made: &Made, more: &[&str]) -> Self {
        let model = ModelFile::new(r#"{"n":1}"#);
        let [ca, certificate, key] = ["ca.crt", "tls.crt", "tls.key"].map(|name| model.beside(name));
        write(&ca, &authority.certificate());
        write(&certificate, &made.certificate);
        write(&key, &made.key);
        let flags = ["--tls-certificate", &certificate, "--tls-key", &key];
        let mut server = serve(&model, &[&flags[..], more].concat()).await;
        server.ready().await;
        Self { model, server, ca }
    }

    fn settings(&self, host: &str) -> Settings {
        let port = self.server.listen.port();
        Settings { ca: Some((&self.ca).into()), ..settings(&format!("https://{host}:{port}")) }
    }
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_its_name() {
    let rig = Rig::new(&["--allow-anonymous=true"]).await;
    // A name with an address that nobody listens at, of another family, costs no pause.
    for host in ["localhost", "127.0.0.1"] {
        let mut follower = Follower::start(&rig.settings(host));
        let id = follower.reaches(r#"{"n":1}"#).await.id().to_owned();
        follower.parks_at(&id).await;
    }
    let other = rig.model.beside("other.crt");
    write(&other, &Authority::new("another-ca").certificate());
    let broken = rig.model.beside("broken.crt");
    write(&broken, "nothing");
    for (ca, expected) in [
        (Some(&other), "the TLS handshake failed ("),
        (Some(&broken), "broken.crt has no PEM section CERTIFICATE: write one"),
        (Some(&rig.model.beside("none")), "none: No such file or directory (os error 2): let this process read it"),
        // The system's authorities know nothing of ours, if there are any.
        (None, ""),
    ] {
        let follower = Follower::start(&Settings { ca: ca.map(Into::into), ..rig.settings("127.0.0.1") });
        let failure = follower.fails().await;
        assert_eq!(failure.kind, FailureKind::Unreachable);
        assert!(failure.text.contains(expected), "{}", failure.text);
    }
    let authority = Authority::new("server-ca");
    let elsewhere = rcgen::CertificateParams::new(vec!["elsewhere.example".to_owned()]).expect("a name");
    let misnamed = Rig::of(&authority, &authority.issue(&elsewhere), &["--allow-anonymous=true"]).await;
    let failure = Follower::start(&misnamed.settings("127.0.0.1")).fails().await;
    assert!(failure.text.contains("see that the certificate names this host"), "{}", failure.text);
    // A port in the clear is no port over TLS, and the other way round.
    let plain = serve(&rig.model, &[]).await;
    let follower = Follower::start(&rig.settings("127.0.0.1").at(plain.listen.port(), "https"));
    assert!(follower.fails().await.text.contains("that this port speaks TLS"));
    let follower = Follower::start(&rig.settings("127.0.0.1").at(rig.server.listen.port(), "http"));
    let failure = follower.fails().await;
    assert!(failure.text.contains("400 Bad Request: "), "{}", failure.text);
}

trait At {
    fn at(self, port: u16, scheme: &str) -> Self;
}

impl At for Settings {
    fn at(mut self, port: u16, scheme: &str) -> Self {
        self.endpoints = vec![format!("{scheme}://127.0.0.1:{port}")];
        self
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_a_renewed_one_is_taken() {
    let clients = Authority::new("client-ca");
    let folder = ModelFile::absent();
    let [ca, certificate, key] = ["clients.crt", "client.crt", "client.key"].map(|name| folder.beside(name));
    write(&ca, &clients.certificate());
    let rig = Rig::new(&["--tls-client-ca", &ca, "--tls-client-auth", "required"]).await;
    let show = |made: &Made| {
        write(&certificate, &made.certificate);
        write(&key, &made.key);
    };
    show(&Authority::new("another-ca").client("node-1", &[]));
    let shown = Some(((&certificate).into(), (&key).into()));
    let mut follower = Follower::start(&Settings { certificate: shown, ..rig.settings("127.0.0.1") });
    let failure = follower.fails().await;
    assert!(failure.text.contains("UnknownCA"), "the alert is told: {}", failure.text);
    assert!(failure.text.ends_with("give one of an authority that it trusts"), "{}", failure.text);
    let without = Follower::start(&rig.settings("127.0.0.1"));
    let failure = without.fails().await;
    assert!(failure.text.ends_with("it asks for a client certificate: give one with its key"), "{}", failure.text);
    show(&clients.client("node-1", &[]));
    follower.reaches(r#"{"n":1}"#).await;
    write(&key, &clients.client("node-2", &[]).key);
    let of_another = Some(((&certificate).into(), (&key).into()));
    let follower = Follower::start(&Settings { certificate: of_another, ..rig.settings("127.0.0.1") });
    let failure = follower.fails().await;
    let expected = format!("{key} is not the key of {certificate}: name the one that was made with it");
    assert!(failure.text.ends_with(&expected), "{}", failure.text);
    let not_the_key = Some(((&certificate).into(), (&ca).into()));
    let follower = Follower::start(&Settings { certificate: not_the_key, ..rig.settings("127.0.0.1") });
    let failure = follower.fails().await;
    assert!(
        failure.text.ends_with("clients.crt is no private key in PEM that is not encrypted: write one"),
        "{}",
        failure.text
    );
}

#[tokio::test]
async fn a_token_is_read_again_for_each_poll_and_a_bad_one_is_no_tight_loop() {
    let model = ModelFile::new(r#"{"n":1}"#);
    let [tokens, file] = ["tokens", "token"].map(|name| model.beside(name));
    let [(one, of_one), (two, of_two)] =
        [crate::process::made(&["node-1"]).await, crate::process::made(&["node-2"]).await];
    write(&tokens, &format!("{of_one}\n"));
    let mut server = serve(&model, &["--access-tokens", &tokens]).await;
    server.ready().await;
    let endpoint = format!("http://{}", server.listen);
    let with_token = || Settings { token_file: Some((&file).into()), ..settings(&endpoint) };
    let mut follower = Follower::start(&with_token());
    assert!(
        follower
            .fails()
            .await
            .text
            .ends_with("token: No such file or directory (os error 2): let this process read it")
    );
    write(&file, &format!("{one}\n"));
    let id = follower.reaches(r#"{"n":1}"#).await.id().to_owned();
    follower.parks_at(&id).await;
    // The token is withdrawn while it is shown, and its successor is in its file already: one answer of 401, one more poll.
    let polls = follower.status().counters.polls;
    write(&file, &two);
    write(&tokens, &format!("{of_two}\n"));
    follower.becomes("let in", |status| status.counters.failures > 0 && status.failure.is_none()).await;
    model.replace(r#"{"n":2}"#);
    follower.reaches(r#"{"n":2}"#).await;
    assert!(follower.status().counters.polls - polls <= 5, "{:?}", follower.status());

    write(&file, "tw_nobody");
    let follower = Follower::start(&with_token());
    let status = follower.becomes("refused twice", |status| status.counters.failures == 2).await;
    let failure = status.failure.expect("there is one").0;
    assert_eq!(failure.kind, FailureKind::Denied);
    assert!(failure.text.contains("401 Unauthorized: ") && !failure.text.contains("tw_nobody"), "{}", failure.text);
    // A good one ends the pause of half a minute.
    write(&file, &two);
    follower.becomes("let in", |status| status.counters.states == 1).await;
    write(&file, "");
    let follower = Follower::start(&with_token());
    assert!(follower.fails().await.text.ends_with("token holds no token: write one, on one line of ASCII"));
}
