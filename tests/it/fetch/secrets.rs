//! Credentials go where the user has sent them, and nowhere else.

use std::fs;

use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::Authority;

/// All that the server was sent, as text.
fn all(work: &Work) -> String {
    format!("{:?}", work.asked())
}

#[tokio::test]
async fn another_origin_gets_no_credential_and_none_comes_back() {
    let mut token = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut token, b"secret-token\n").expect("it is written");
    let home = Work::start(|_, _| says(200, &[], "home")).await;
    let back = home.url("/back");
    let away = Work::start(move |asked, _| match asked.target.as_str() {
        "/back" => says(303, &[("location", &back), ("retry-after", "0")], ""),
        _ => says(200, &[], "away"),
    })
    .await;
    let (there, around) = (away.url("/x"), away.url("/back"));
    let start = Work::start(move |asked, _| match asked.target.as_str() {
        "/here" => says(307, &[("location", "/away")], ""),
        "/away" => says(307, &[("location", &there), ("retry-after", "0")], ""),
        _ => says(307, &[("location", &around)], ""),
    })
    .await;
    let path = token.path().to_str().expect("UTF-8");
    let secrets = ["--token-file", path, "-H", "Cookie: secret-cookie", "-H", "X-Key: secret-key"];
    let (code, out, err) = parts(&fetch(&[&secrets[..], &["-d", "body", &start.url("/here")]].concat()).await);
    assert_eq!((code, &*out), (Some(0), "away"), "{err}");
    let (code, out, err) = parts(&fetch(&[&secrets[..], &[&start.url("/around")]].concat()).await);
    assert_eq!((code, &*out), (Some(0), "home"), "{err}");
    for asked in start.asked() {
        assert_eq!(asked.field("authorization"), Some("Bearer secret-token"));
        assert_eq!((asked.field("cookie"), asked.field("x-key")), (Some("secret-cookie"), Some("secret-key")));
    }
    assert_eq!(start.lines(), ["POST /here", "POST /away", "GET /around"]);
    assert_eq!(
        (away.lines(), home.lines()),
        (vec!["POST /x".into(), "GET /back".into()], vec!["GET /back".to_owned()])
    );
    assert_eq!(&*away.asked()[0].body, b"body", "307 sends it on");
    for work in [&away, &home] {
        assert!(!all(work).contains("secret"), "{}", all(work));
    }
    assert!(!err.contains("secret"), "{err}");
}

#[tokio::test]
async fn a_credential_goes_in_the_clear_only_where_that_is_allowed() {
    for credential in [["--token-file", "/no/such/file"], ["-H", "Authorization: Bearer x"]] {
        let (code, _, err) = parts(&fetch(&[&credential[..], &["http://192.0.2.1/"]].concat()).await);
        assert_eq!(code, Some(2));
        assert!(
            err.starts_with("URL: \"http://192.0.2.1/\": begin it with https, or the credential could be read"),
            "{err}"
        );
    }
}

/// A server that speaks TLS, and asks for a client certificate without needing one.
async fn secure(
    answers: impl Fn(&Asked, usize) -> Response<Full<Bytes>> + Send + Sync + 'static,
) -> (Work, Authority, tempfile::TempDir) {
    let authority = Authority::new("test");
    let made = authority.server();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("ca.pem"), authority.certificate()).expect("a file");
    let acceptor = acceptor(&made.certificate, &made.key, &authority);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (asked, answers) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(answers));
    let seen = Arc::clone(&asked);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.expect("it listens");
            let (acceptor, seen, answers) = (acceptor.clone(), Arc::clone(&seen), Arc::clone(&answers));
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                // What the connection shows is asked for by this field.
                let shown = stream.get_ref().1.peer_certificates().is_some();
                let answers = move |asked: &Asked, before: usize| {
                    let mut answer = answers(asked, before);
                    answer.headers_mut().insert("x-shown", shown.to_string().parse().expect("a value"));
                    answer
                };
                work(stream, seen, Arc::new(answers)).await;
            });
        }
    });
    (Work { address, asked, _tasks: tasks }, authority, folder)
}

fn acceptor(certificate: &str, key: &str, authority: &Authority) -> TlsAcceptor {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der()).expect("an authority");
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let clients = clients.allow_unauthenticated().build().expect("a verifier");
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(clients)
        .with_single_cert(chain.expect("PEM"), PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"))
        .expect("a pair");
    Arc::new(config).into()
}

#[tokio::test]
async fn tls_is_verified_never_left_and_a_certificate_is_shown_at_home_alone() {
    let clear = Work::start(|_, _| says(200, &[], "clear")).await;
    let down = clear.url("/");
    let (server, authority, folder) = secure(move |asked, _| match asked.target.as_str() {
        "/down" => says(303, &[("location", &down), ("retry-after", "0")], ""),
        "/other" => {
            // The same server, by another name: another origin.
            let other = format!(
                "https://localhost:{}/",
                asked.field("host").and_then(|host| host.rsplit(':').next()).expect("a port")
            );
            says(303, &[("location", &other), ("retry-after", "0")], "")
        }
        _ => says(200, &[], "done"),
    })
    .await;
    let client = authority.client("me", &[]);
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (certificate, key) = (write("me.pem", &client.certificate), write("me.key", &client.key));
    let ca = folder.path().join("ca.pem").to_str().expect("UTF-8").to_owned();
    let url = |path: &str| format!("https://{}{path}", server.address);
    let shows = ["--ca", &ca, "--certificate", &certificate, "--key", &key, "-i"];
    for (path, shown) in [("/", "x-shown: true"), ("/other", "x-shown: false")] {
        let (code, out, err) = parts(&fetch(&[&shows[..], &[&url(path)]].concat()).await);
        assert!(code == Some(0) && out.contains(shown) && out.ends_with("done"), "{path}: {out} {err}");
    }
    let (code, out, err) = parts(&fetch(&[&shows[..], &[&url("/down")]].concat()).await);
    assert_eq!((code, &*out, clear.lines().len()), (Some(1), "", 0));
    assert!(err.contains("which leads from https to http, where others could read and change what is sent"), "{err}");
    let (code, _, err) = parts(&fetch(&[&url("/")]).await);
    assert_eq!(code, Some(1));
    assert!(err.contains("the TLS handshake failed") || err.contains("no authorities"), "{err}");
}
