//! A certificate chain and its key, as files hold them (PEM, RFC 7468).

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::access::certificate::Names;
use crate::bounds::TLS_FILE_BYTES;

/// Why files cannot be used. Which of them, what is wrong with it, and the remedy; nothing of a key is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPair {
    /// The certificate.
    #[error("the certificate {0}")]
    Certificate(&'static str),
    /// The key.
    #[error("the key {0}")]
    Key(&'static str),
    /// Both are good, and not of each other.
    #[error(
        "the key is not that of the certificate, which stands first in its file: give the two that were made together"
    )]
    Mismatch,
    /// The authorities.
    #[error("the file with authorities {0}")]
    Authorities(&'static str),
}

const TOO_LARGE: &str = "is larger than 1048576 bytes: name a PEM file";

/// A certificate chain and its key, which belong together.
#[derive(Debug)]
pub struct Pair {
    pub(super) key: CertifiedKey,
    /// When the certificate ends, in seconds of Unix time.
    pub not_after: i64,
}

/// What is read of a certificate, beside what rustls verifies.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) not_after: i64,
    pub(super) names: Names,
}

impl Pair {
    /// Reads both, and checks that they belong together, and that the certificate has not ended at `now`.
    pub fn parse(certificate: &[u8], key: &[u8], provider: &CryptoProvider, now: i64) -> Result<Self, InvalidPair> {
        let chain = certificates(certificate).map_err(InvalidPair::Certificate)?;
        let leaf = chain.first().and_then(|leaf| Leaf::parse(leaf));
        let leaf = leaf.ok_or(InvalidPair::Certificate("does not parse as X.509: make it anew"))?;
        if leaf.not_after <= now {
            return Err(InvalidPair::Certificate("has expired: renew it"));
        }
        if key.len() > TLS_FILE_BYTES {
            return Err(InvalidPair::Key(TOO_LARGE));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| InvalidPair::Key("is no PEM file with a private key that is not encrypted: write one"))?;
        let key = provider.key_provider.load_private_key(key).map_err(|_| {
            InvalidPair::Key("is of no kind that can sign: make one of ECDSA P-256, Ed25519 or RSA 2048")
        })?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // A key that does not tell its public half is tried by the first client.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(InvalidPair::Mismatch),
            Err(_) => return Err(InvalidPair::Certificate("does not parse as X.509 version 3: make it anew")),
        }
        Ok(Self { key, not_after: leaf.not_after })
    }
}

/// Reads the authorities that client certificates are verified by.
pub fn authorities(file: &[u8]) -> Result<RootCertStore, InvalidPair> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file).map_err(InvalidPair::Authorities)? {
        store
            .add(certificate)
            .map_err(|_| InvalidPair::Authorities("holds a certificate that is no X.509 version 3: leave it out"))?;
    }
    Ok(store)
}

pub(super) fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    if file.len() > TLS_FILE_BYTES {
        return Err(TOO_LARGE);
    }
    let chain = CertificateDer::pem_slice_iter(file).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| "is no PEM file: write it as PEM")?;
    if chain.is_empty() { Err("has no PEM section CERTIFICATE: write one") } else { Ok(chain) }
}

impl Leaf {
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut names = Names::default();
        let extension = certificate.subject_alternative_name().ok()?;
        for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
            if let GeneralName::URI(uri) = name {
                names.uris.push((*uri).to_owned());
            } else if let GeneralName::DNSName(name) = name {
                names.dns.push((*name).to_owned());
            }
        }
        let common = certificate.subject().iter_common_name();
        // What is no text becomes a name that nobody can have.
        names.cn = common.map(|name| name.as_str().unwrap_or_default().to_owned()).collect();
        Some(Self { not_after: certificate.validity().not_after.timestamp(), names })
    }
}
