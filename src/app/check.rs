//! What `tidewait check` reads beside the configuration: the files of credentials and of TLS, as the start does. All mistakes are
//! told, not the first one alone.

use std::path::Path;

use super::access_file::{self, AccessFileError, KEYS, Kind, TOKENS, USERS};
use super::tls_files::{Port, TlsFileError};
use crate::access::Tokens;
use crate::access::issuer::KeySource;
use crate::authentication::issuer::Keys;
use crate::authentication::users::Users;
use crate::config::{Config, Problems};
use crate::telemetry::chain;
use crate::tls::pair;

const CA: Kind = Kind { what: "certificates that vouch for an issuer", nobody: "leave ca out" };
const ISSUERS: &str = "access.issuers";

/// What is wrong with files that the configuration names.
#[must_use]
pub fn check(config: &Config) -> Problems {
    let mut problems = Problems::default();
    let access = &config.access;
    if let Some(path) = &access.tokens {
        note(&mut problems, "--access-tokens", access_file::read(path, TOKENS, Tokens::parse));
    }
    if let Some(path) = &access.users {
        note(&mut problems, "--access-users", access_file::read(path, USERS, Users::parse));
    }
    for issuer in &access.issuers {
        if let KeySource::File(path) = &issuer.keys {
            note(&mut problems, ISSUERS, access_file::read(path, KEYS, Keys::parse));
        }
        if let Some(path) = &issuer.ca {
            note(&mut problems, ISSUERS, access_file::read(path, CA, pair::authorities));
        }
    }
    for port in [Port::of_clients(config), Port::of_admin(config)].into_iter().flatten() {
        for fault in port.faults() {
            let (origin, message) = match &fault {
                TlsFileError::Read { setting, path, source } => {
                    (at(setting, path), format!("it cannot be read: name a file that can be: {source}"))
                }
                TlsFileError::Invalid { setting, path, source } => (at(setting, path), source.to_string()),
                TlsFileError::Unsupported(_) => (format!("--{}certificate", port.flags), chain(&fault)),
            };
            problems.push(origin, message);
        }
    }
    problems
}

fn at(setting: &str, path: &Path) -> String {
    format!("{setting} {}", path.display())
}

fn note<T>(problems: &mut Problems, origin: &str, read: Result<T, AccessFileError>) {
    if let Err(error) = read {
        problems.push(origin, chain(&error));
    }
}
