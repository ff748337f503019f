//! Files with what a client shows and trusts: read again, since they are renewed while it runs.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription as Alert, ClientConfig, RootCertStore};

use super::failure::{Failure, FailureKind};
use crate::bounds::{CLIENT_TOKEN_BYTES, TLS_FILE_BYTES};

/// How handshakes are made, by files that may change.
#[derive(Debug)]
pub(super) struct Trust {
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    /// What was made last, and of which files.
    made: Option<(MadeOf, Arc<ClientConfig>)>,
}

/// A hash of files, of which one is a key: never shown.
#[derive(PartialEq, Eq)]
struct MadeOf(blake3::Hash);

impl fmt::Debug for MadeOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MadeOf(..)")
    }
}

/// When files were changed last, and how long they are: enough to notice that one was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stamps(Vec<Option<(SystemTime, u64)>>);

impl Stamps {
    /// Those that files have now; a file that is not there has none.
    pub(super) async fn of(paths: &[&Path]) -> Self {
        let mut stamps = Vec::with_capacity(paths.len());
        for path in paths {
            let found = tokio::fs::metadata(path).await.and_then(|file| Ok((file.modified()?, file.len())));
            stamps.push(found.ok());
        }
        Self(stamps)
    }
}

impl Trust {
    pub(super) fn new(ca: Option<PathBuf>, certificate: Option<(PathBuf, PathBuf)>) -> Self {
        Self { ca, certificate, made: None }
    }

    /// The files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let pair = self.certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(pair).map(PathBuf::as_path)
    }

    /// What a handshake uses that begins now. Sessions are resumed as long as the files stay the same.
    pub(super) async fn config(&mut self) -> Result<Arc<ClientConfig>, Failure> {
        let files = Files {
            ca: read(self.ca.as_deref()).await?,
            certificate: read(self.certificate.as_ref().map(|(certificate, _)| &**certificate)).await?,
            key: read(self.certificate.as_ref().map(|(_, key)| &**key)).await?,
        };
        let made_of = files.made_of();
        if let Some((before, config)) = &self.made
            && *before == made_of
        {
            return Ok(Arc::clone(config));
        }
        // The system's certificates are many files.
        let making = tokio::task::spawn_blocking(move || files.config()).await;
        let making = making.unwrap_or_else(|error| Err(format!("reading certificates was broken off ({error})")));
        let config = Arc::new(making.map_err(|text| Failure::new(FailureKind::Unreachable, &text))?);
        self.made = Some((made_of, Arc::clone(&config)));
        Ok(config)
    }
}

type File = Option<(PathBuf, Vec<u8>)>;

struct Files {
    ca: File,
    certificate: File,
    key: File,
}

impl Files {
    fn made_of(&self) -> MadeOf {
        let mut hasher = blake3::Hasher::new();
        for (path, bytes) in [&self.ca, &self.certificate, &self.key].into_iter().flatten() {
            for part in [path.as_os_str().as_encoded_bytes(), bytes] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
        }
        MadeOf(hasher.finalize())
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            None => {
                let found = rustls_native_certs::load_native_certs();
                if roots.add_parsable_certificates(found.certs).0 == 0 {
                    return Err(
                        "the system has no authorities: install its package of them, or name a file (ca)".to_owned()
                    );
                }
            }
            Some(file) => {
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|error| of_file(&file.0, &error))?;
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| chain(&error))?
            .with_root_certificates(roots);
        let mut config = match (&self.certificate, &self.key) {
            (Some(certificate), Some((path, key))) => {
                // Nothing of a key is repeated.
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
                    format!("{} is no private key in PEM that is not encrypted: write one", path.display())
                })?;
                let chain = certificates(certificate)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| unfit(&certificate.0, path, &error))?
            }
            (Some(_) | None, Some(_) | None) => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates((path, bytes): &(PathBuf, Vec<u8>)) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let read = read.map_err(|error| of_file(path, &error))?;
    if read.is_empty() {
        return Err(format!("{} has no PEM section CERTIFICATE: write one", path.display()));
    }
    Ok(read)
}

fn of_file(path: &Path, error: &dyn Error) -> String {
    format!("{}: {}: name a file of certificates in PEM", path.display(), chain(error))
}

/// Which of the two files is at fault.
fn unfit(certificate: &Path, key: &Path, error: &rustls::Error) -> String {
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        let (key, certificate) = (key.display(), certificate.display());
        return format!("{key} is not the key of {certificate}: name the one that was made with it");
    }
    if matches!(error, rustls::Error::InvalidCertificate(_)) {
        return of_file(certificate, error);
    }
    format!("{}: {}: name a private key in PEM", key.display(), chain(error))
}

async fn read(path: Option<&Path>) -> Result<File, Failure> {
    let Some(path) = path else { return Ok(None) };
    bounded(path, TLS_FILE_BYTES).await.map(|bytes| Some((path.to_owned(), bytes)))
}

/// `Authorization` with the token that a file holds now.
pub(super) async fn authorization(path: &Path) -> Result<HeaderValue, Failure> {
    let bytes = bounded(path, CLIENT_TOKEN_BYTES).await?;
    let token = bytes.trim_ascii();
    let value = HeaderValue::try_from([b"Bearer ", token].concat()).ok();
    let Some(mut value) = value.filter(|_| !token.is_empty() && token.iter().all(u8::is_ascii_graphic)) else {
        let text = format!("{} holds no token: write one, on one line of ASCII", path.display());
        return Err(Failure::new(FailureKind::Unreachable, &text));
    };
    value.set_sensitive(true);
    Ok(value)
}

async fn bounded(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    use tokio::io::AsyncReadExt as _;
    let failed = |what: String| Failure::new(FailureKind::Unreachable, &format!("{}: {what}", path.display()));
    let reading = async {
        let mut bytes = Vec::new();
        tokio::fs::File::open(path).await?.take(most as u64 + 1).read_to_end(&mut bytes).await?;
        std::io::Result::Ok(bytes)
    };
    let bytes = reading.await.map_err(|error| failed(format!("{error}: let this process read it")))?;
    if bytes.len() > most {
        return Err(failed(format!("it is larger than {most} bytes: name another file")));
    }
    Ok(bytes)
}

const UNTRUSTED: &str = "it does not take the client certificate: give one of an authority that it trusts";

/// What is said of a client certificate, and what to do about it.
const KNOWN: [(Alert, &str); 7] = [
    (Alert::CertificateRequired, "it asks for a client certificate: give one with its key"),
    (Alert::UnknownCA, UNTRUSTED),
    (Alert::BadCertificate, UNTRUSTED),
    (Alert::CertificateUnknown, UNTRUSTED),
    (Alert::CertificateExpired, "the client certificate has expired: renew it, and see the clocks of both"),
    (Alert::CertificateRevoked, "the client certificate is revoked: give another one"),
    (Alert::AccessDenied, "it does not let this client certificate in: give another one"),
];

/// What to do where the other side has ended a handshake because of what the client has shown; none: it has not.
pub(super) fn remedy(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    let mut found = None;
    while let Some(error) = cause {
        // What an I/O error wraps is not its source, but what it is.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let inner = inner.map(|inner| inner as &(dyn Error + 'static));
        if let Some(rustls::Error::AlertReceived(alert)) = inner.unwrap_or(error).downcast_ref::<rustls::Error>() {
            found = Some(*alert);
        }
        cause = error.source();
    }
    let found = found?;
    KNOWN.into_iter().find(|(alert, _)| *alert == found).map(|(_, remedy)| remedy)
}

/// An error with its causes, each once.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}
