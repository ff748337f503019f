//! Who may poll, as it is configured.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::access::certificate::NameKind;
use crate::access::issuer::IssuerConfig;
use crate::access::{IdentityFields, Policy};

/// Who may poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The file with static tokens.
    pub tokens: Option<PathBuf>,
    /// The file with users and their hashed passwords.
    pub users: Option<PathBuf>,
    /// Tokens that the API server authenticates for one of these audiences; empty: none.
    pub audiences: Vec<String>,
    /// Issuers whose tokens are good.
    pub issuers: Vec<IssuerConfig>,
    /// Client certificates are asked for.
    pub certificates: bool,
    /// Which of the names in a client's certificate is its owner's.
    pub certificate_names: Vec<NameKind>,
    /// Who decides what callers may.
    pub judges: Judges,
    /// What callers may.
    pub policy: Policy,
    /// By which fields the app learns who sends a request.
    pub identity_fields: IdentityFields,
    /// Origins whose pages may do more than read, beside the server's own.
    pub origins: Vec<String>,
    /// Credentials are passed on to the app.
    pub forward_credentials: bool,
    /// Credentials are taken over connections that others can read.
    pub clear_credentials: bool,
}

/// Who decides what callers may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Judges {
    /// The rules.
    #[default]
    Rules,
    /// The API server, by `SubjectAccessReview`.
    Kubernetes,
    /// Both must allow it.
    Both,
}

impl Access {
    /// SHA-256, in hexadecimal digits, of what decides what callers may of an operation: as canonical JSON, so that two
    /// processes can compare it.
    #[must_use]
    pub fn rules_digest(&self, operation: &super::Operation) -> String {
        let rules = self.policy.of_operation(&operation.access, &operation.name);
        let judge = match self.judges {
            Judges::Rules => "rules",
            Judges::Kubernetes => "kubernetes",
            Judges::Both => "both",
        };
        let text =
            serde_json::json!({ "anonymous": self.policy.anonymous, "judge": judge, "rules": rules }).to_string();
        format!("{:x}", Sha256::digest(text.as_bytes()))
    }

    /// Whether clients are asked for a credential.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.tokens.is_some()
            || self.users.is_some()
            || !self.audiences.is_empty()
            || !self.issuers.is_empty()
            || self.certificates
    }

    /// Whether the API server is asked.
    #[must_use]
    pub fn asks_kubernetes(&self) -> bool {
        !self.audiences.is_empty() || self.judges != Judges::Rules
    }
}
