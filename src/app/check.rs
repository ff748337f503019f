//! What `tidewait check` reads beside the configuration: the files of credentials and of TLS, as the start does. All mistakes are
//! told, not the first one alone.

use std::convert::Infallible;
use std::error::Error;
use std::path::Path;

use super::access_file::{self, AccessFileError, KEYS, Kind, TOKENS, USERS};
use super::tls_files::{Port, TlsFileError};
use crate::access::Tokens;
use crate::access::issuer::KeySource;
use crate::access::tokens::InvalidTokens;
use crate::authentication::issuer::Keys;
use crate::authentication::users::{InvalidUsers, Users};
use crate::bounds::CHECK_MISTAKES;
use crate::client::Settings;
use crate::config::{Config, Nats, Problems, Source};
use crate::telemetry::chain;
use crate::tls::pair;

const CA: Kind = Kind { what: "certificates that vouch for an issuer", nobody: "leave ca out" };
const SERVERS: Kind = Kind { what: "certificates that vouch for a server", nobody: "leave ca out" };
const NATS_CA: Kind = Kind { what: "certificates that vouch for a server", nobody: "leave --nats-ca out" };
const NATS: Kind = Kind { what: "NATS credentials", nobody: "leave --nats-credentials out" };
const ISSUERS: &str = "access.issuers";

/// What is wrong with files that the configuration names.
#[must_use]
pub fn check(config: &Config) -> Problems {
    let mut problems = Problems::default();
    let access = &config.access;
    if let Some(path) = &access.tokens {
        lines(&mut problems, ("--access-tokens", path, TOKENS), Tokens::parse, InvalidTokens::line);
    }
    if let Some(path) = &access.users {
        lines(&mut problems, ("--access-users", path, USERS), Users::parse, InvalidUsers::line);
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
    if let Some(nats) = &config.nats {
        of_nats(&mut problems, nats);
    }
    for operation in &config.operations {
        if let Source::Describe(settings) = &operation.source {
            of_server(&mut problems, &operation.name, settings);
        }
    }
    problems
}

/// Notes what is wrong with the files by which a relay knows its server, and shows who it is.
fn of_server(problems: &mut Problems, operation: &str, settings: &Settings) {
    let origin = |field: &str| format!("source.describe.{field} of operation {operation}");
    if let Some(ca) = &settings.ca {
        note(problems, &origin("ca"), access_file::read(ca, SERVERS, pair::authorities));
    }
    let pair = settings.certificate.iter().flat_map(|(certificate, key)| [("certificate", certificate), ("key", key)]);
    for (field, path) in pair.chain(settings.token_file.iter().map(|path| ("tokenFile", path))) {
        let message = match std::fs::read(path) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => "it is empty".to_owned(),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        problems.push(origin(field), format!("{}: name a file that can be used: {message}", path.display()));
    }
}

/// Notes what is wrong with the files by which NATS servers are known, and are shown who this process is.
fn of_nats(problems: &mut Problems, nats: &Nats) {
    if let Some(ca) = &nats.ca {
        note(problems, "--nats-ca", access_file::read(ca, NATS_CA, pair::authorities));
    }
    if let Some(credentials) = &nats.credentials {
        note(problems, "--nats-credentials", access_file::read(credentials, NATS, nats_credentials));
    }
}

/// Two blocks, as `nsc` writes them. What is in them is for the server to judge.
fn nats_credentials(bytes: &[u8]) -> Result<(), InvalidCredentials> {
    let text = std::str::from_utf8(bytes).map_err(|_| InvalidCredentials)?;
    let has = |begin: &str| {
        let mut lines = text.lines().skip_while(|line| !line.contains(begin)).skip(1);
        lines.next().is_some_and(|line| !line.trim().is_empty() && !line.starts_with('-'))
    };
    if has("BEGIN NATS USER JWT") && has("BEGIN USER NKEY SEED") { Ok(()) } else { Err(InvalidCredentials) }
}

/// A file that is none of credentials.
#[derive(Debug, thiserror::Error)]
#[error("it has no user JWT and no seed after it: write it with nsc generate creds, or nats auth user credential")]
struct InvalidCredentials;

/// Notes what is wrong with each line of a file.
fn lines<T, E: Error + Send + Sync + 'static>(
    problems: &mut Problems,
    (origin, path, kind): (&str, &Path, Kind),
    parse: fn(&[u8]) -> Result<T, E>,
    line: fn(&E) -> Option<usize>,
) {
    let read = access_file::read(path, kind, |bytes| Ok::<_, Infallible>(bytes.to_vec()));
    let mut bytes = match read {
        Ok(bytes) => bytes,
        Err(error) => return problems.push(origin, chain(&error)),
    };
    for _ in 0..CHECK_MISTAKES {
        let Err(error) = parse(&bytes) else { return };
        let bad = line(&error);
        let error = AccessFileError::Invalid { path: path.into(), what: kind.what, source: error.into() };
        problems.push(origin, chain(&error));
        // Once more, without that line.
        let bad = bad.and_then(|bad| bytes.split_mut(|byte| *byte == b'\n').nth(bad.checked_sub(1)?));
        let Some(bad) = bad else { return };
        bad.fill(b' ');
    }
}

fn at(setting: &str, path: &Path) -> String {
    format!("{setting} {}", path.display())
}

fn note<T>(problems: &mut Problems, origin: &str, read: Result<T, AccessFileError>) {
    if let Err(error) = read {
        problems.push(origin, chain(&error));
    }
}
