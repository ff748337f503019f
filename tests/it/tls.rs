//! The built binary over TLS. Its certificates are made for each test, and every client verifies them.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::model_file::ModelFile;
use crate::server::{Client, STEP, Server};

mod admin;
mod clients;
mod files;
mod hostile;
mod made;
mod openssl;
mod polls;
mod proxied;
mod stopping;

pub(crate) use made::{Authority, Made};

/// What the tests serve.
const MODEL: &str = r#"{"n":1}"#;

/// Requests parked.
const PARKED: &str = "tidewait_parked_requests{operation=\"describe\"}";

/// A server over TLS, and what its clients need.
struct Rig {
    model: ModelFile,
    authority: Authority,
    server: Server,
}

/// Replaces a file as editors and kubelets do: by a rename.
fn write(path: &str, bytes: impl AsRef<[u8]>) {
    let next = format!("{path}.next");
    std::fs::write(&next, bytes).expect("written");
    std::fs::rename(&next, Path::new(path)).expect("renamed");
}

/// Writes a certificate and its key beside a model, and gives the flags for them.
fn files(model: &ModelFile, made: &Made) -> Vec<String> {
    let (certificate, key) = (model.beside("tls.crt"), model.beside("tls.key"));
    write(&certificate, &made.certificate);
    write(&key, &made.key);
    vec!["--tls-certificate".to_owned(), certificate, "--tls-key".to_owned(), key]
}

impl Rig {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// One with further flags.
    async fn with(more: &[&str]) -> Self {
        Self::of(ModelFile::new(MODEL), Authority::new("server-ca"), more).await
    }

    async fn of(model: ModelFile, authority: Authority, more: &[&str]) -> Self {
        write(&model.beside("ca.crt"), authority.certificate());
        let files = files(&model, &authority.server());
        let flags = ["--file", model.arg()].into_iter().chain(files.iter().map(String::as_str));
        let flags: Vec<_> = flags.chain(more.iter().copied()).collect();
        let mut server = Server::start(&flags).await;
        server.ready().await;
        Self { model, authority, server }
    }

    /// The file with the authority of the server.
    fn ca(&self) -> String {
        self.model.beside("ca.crt")
    }

    fn port(&self) -> u16 {
        self.server.listen.port()
    }

    /// A client that trusts the server's authority.
    async fn connect(&self) -> Client<TlsStream<TcpStream>> {
        Client::on(self.shake_hands(config(&self.authority, None)).await.expect("a good handshake"))
    }

    async fn shake_hands(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.server.listen).await.expect("it listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        tokio::time::timeout(STEP, connecting).await.expect("in time")
    }
}

/// A client that trusts this authority, and has perhaps a certificate.
fn config(authority: &Authority, certificate: Option<&Made>) -> ClientConfig {
    config_of(rustls::ALL_VERSIONS, authority, certificate)
}

/// The same, with these versions.
fn config_of(
    versions: &[&'static rustls::SupportedProtocolVersion],
    authority: &Authority,
    certificate: Option<&Made>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = builder.expect("good versions").with_root_certificates(roots);
    let Some(made) = certificate else { return builder.with_no_client_auth() };
    let chain = CertificateDer::pem_slice_iter(made.certificate.as_bytes()).map(|one| one.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).expect("PEM");
    builder.with_client_auth_cert(chain, key).expect("a pair")
}
