//! A client of a port on the same host, which knows its certificate from a file.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ALL_VERSIONS, CertificateError, ClientConfig, Error, RootCertStore};

use super::pair::{InvalidPair, certificates};
use super::settings::provider;
use super::signatures::signatures_by;

/// Why there is no such client.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file is not good.
    #[error("{0}")]
    File(#[from] InvalidPair),
    /// rustls does not take it.
    #[error("no TLS can be spoken with it")]
    Unsupported(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A client that takes a server whose certificate is one of those in `file`, whatever its name, or is issued by one of them for
/// the name or address that is asked. The server has to prove that it has the key either way.
pub fn client(file: &[u8]) -> Result<ClientConfig, PinError> {
    let known = certificates(file).map_err(InvalidPair::Authorities)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(known.iter().cloned());
    let provider = provider();
    let issued = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let issued = issued.map_err(|error| PinError::Unsupported(error.into()))?;
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(ALL_VERSIONS);
    let builder = builder.map_err(|error| PinError::Unsupported(error.into()))?;
    // "Dangerous" as any verifier of one's own is: this one lets in a byte for byte copy, and else asks the usual one.
    let pinned = Arc::new(Pinned { known, issued });
    Ok(builder.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth())
}

#[derive(Debug)]
struct Pinned {
    known: Vec<CertificateDer<'static>>,
    issued: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.known.iter().any(|known| known == end_entity) {
            let leaf = super::pair::Leaf::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
            let has_expired = u64::try_from(leaf.not_after).unwrap_or(0) <= now.as_secs();
            return if has_expired {
                Err(CertificateError::Expired.into())
            } else {
                Ok(ServerCertVerified::assertion())
            };
        }
        self.issued.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    signatures_by!(issued);
}
