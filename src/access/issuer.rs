//! PURE. Issuers of tokens (OpenID Connect): what is asked of their tokens, as it is configured.

use std::path::PathBuf;

pub mod algorithm;
pub mod location;

pub use algorithm::{Algorithm, InvalidAlgorithm};
pub use location::{InvalidUrl, IssuerUrl};

/// An issuer whose tokens are good, and what is asked of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerConfig {
    /// Its URL, as its tokens have it in `iss`.
    pub url: IssuerUrl,
    /// What its tokens must have in `aud`.
    pub audience: String,
    /// The claim that is the name.
    pub name: String,
    /// The claim that has the groups.
    pub groups: Option<String>,
    /// Put before the name and before each group, so that two issuers, or an issuer and a file, never name the same.
    pub prefix: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// Certificates in PEM that may vouch for it, beside those of the system.
    pub ca: Option<PathBuf>,
    /// How its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Where it says (OpenID Connect Discovery 1.0).
    Discovery,
    /// In this file, which whoever owns the issuer follows (`Issuer::replace_keys`).
    File(PathBuf),
}

impl IssuerConfig {
    /// The defaults for an issuer with this URL.
    #[must_use]
    pub fn new(url: IssuerUrl, audience: String) -> Self {
        Self {
            url,
            audience,
            name: "sub".to_owned(),
            groups: None,
            prefix: String::new(),
            keys: KeySource::Discovery,
            ca: None,
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        }
    }
}
