//! How a port speaks TLS.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ALL_VERSIONS, CertificateError, DistinguishedName, Error, RootCertStore, ServerConfig};

use super::pair::{Leaf, Pair};
use super::signatures::signatures_by;
use crate::access::certificate::NameKind;

/// Which clients have to show a certificate.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Who verifies them.
    pub authorities: RootCertStore,
    /// A client without one is not let in.
    pub is_required: bool,
    /// Which of the names in it is the owner's.
    pub names: Vec<NameKind>,
}

/// The algorithms.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What handshakes use that begin with this pair, and ask for these clients.
pub fn server(
    pair: Pair,
    clients: Option<Clients>,
    protocols: &[&[u8]],
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(ALL_VERSIONS)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(Clients { authorities, is_required, names }) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
            let verifier = if is_required { verifier } else { verifier.allow_unauthenticated() };
            let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(Arc::new(NamedClients { verifier, names }))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair.key)));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    // What a session needs to be resumed is with the client. The keys of these tickets are made anew with each pair and each
    // file of authorities: who is resumed is not verified again.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Verifies a client's certificate, and that its owner has a name.
#[derive(Debug)]
struct NamedClients {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<NameKind>,
}

impl ClientCertVerifier for NamedClients {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        let leaf = Leaf::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
        if leaf.names.owner(&self.names).is_none() {
            tracing::debug!(names = ?leaf.names, "a client's certificate is good, and has no name that can be its owner's");
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(verified)
    }

    signatures_by!(verifier);
}
