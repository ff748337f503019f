//! PURE. Whether the claims of a token (RFC 7519, section 4.1) are those that are asked for, and whose it is by them.

use std::time::Duration;

use serde_json::Value;

use super::IssuerConfig;
use super::members::Members;
use crate::access::Verified;
use crate::access::tokens::is_name;
use crate::bounds::{CREDENTIAL_LEEWAY, IDENTITY_GROUPS};

/// Seconds since 1970 of the end of the year 9999; a time after it is none.
const LAST: f64 = 253_402_300_799.0;
const NAME: &str = "has a name with other characters than letters, digits and -._:/@, or more than 253, or none: \
                    name another claim";
const GROUPS: &str = "has groups that are neither a text nor a list of texts: name another claim";

/// What the claims say, and until when, with the leeway.
#[derive(Debug)]
pub(super) struct Claimed {
    name: String,
    groups: Vec<String>,
    ends: Duration,
}

impl Claimed {
    /// Checks the claims alone, not the signature over them. `now`: since 1970.
    pub(super) fn read(claims: &Members, config: &IssuerConfig, now: Duration) -> Result<Self, &'static str> {
        if claims.text("iss") != Some(config.url.as_str()) {
            return Err("is of another issuer: send one of the issuer that is configured");
        }
        if !is_for(claims.get("aud"), &config.audience) {
            return Err("is for another audience: ask the issuer for one with the audience that is configured");
        }
        let ends =
            time(claims, "exp")?.ok_or("has no end (exp): have the issuer set one")?.saturating_add(CREDENTIAL_LEEWAY);
        if now >= ends {
            return Err("has expired: ask the issuer for a new one");
        }
        for (claim, early) in [
            ("nbf", "is not valid yet (nbf): set the clocks of the issuer and of this host"),
            ("iat", "was issued in the future (iat): set the clocks of the issuer and of this host"),
        ] {
            if time(claims, claim)?.is_some_and(|time| time > now.saturating_add(CREDENTIAL_LEEWAY)) {
                return Err(early);
            }
        }
        Ok(Self { name: name(claims, config)?, groups: groups(claims, config)?, ends })
    }

    /// Whose token it is, once its signature is verified.
    pub(super) fn verified(self, now: Duration) -> Verified {
        let lasts = Some(self.ends.saturating_sub(now));
        Verified { name: self.name, groups: self.groups, lasts, ..Verified::default() }
    }
}

fn is_for(audiences: Option<&Value>, audience: &str) -> bool {
    match audiences {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(audience)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}

/// A time, in seconds since 1970, which may have a fraction; none: it is not there.
fn time(claims: &Members, name: &str) -> Result<Option<Duration>, &'static str> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=LAST).contains(seconds));
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.map(Some).ok_or("has a time that is no number of seconds since 1970 (exp, nbf, iat)")
}

fn name(claims: &Members, config: &IssuerConfig) -> Result<String, &'static str> {
    let text = claims.text(&config.name).ok_or(NAME)?;
    // Anybody may have claimed another's address, until it is verified (OpenID Connect Core 1.0, section 5.7).
    if config.name == "email" && claims.get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
        return Err("has an address that its issuer has not verified (email_verified): verify it there");
    }
    prefixed(config, text).ok_or(NAME)
}

/// One group as a text, or several as an array.
fn groups(claims: &Members, config: &IssuerConfig) -> Result<Vec<String>, &'static str> {
    let Some(groups) = config.groups.as_ref().and_then(|claim| claims.get(claim)) else { return Ok(Vec::new()) };
    let groups = match groups {
        Value::Array(several) => several.as_slice(),
        Value::String(_) => std::slice::from_ref(groups),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(GROUPS),
    };
    if groups.len() > IDENTITY_GROUPS {
        return Err("has more than 256 groups: have the issuer give fewer");
    }
    let texts: Vec<&str> = groups.iter().map(Value::as_str).collect::<Option<_>>().ok_or(GROUPS)?;
    // One that no rule could name is left out: whoever is in it may no more than others.
    Ok(texts.into_iter().filter_map(|group| prefixed(config, group)).collect())
}

fn prefixed(config: &IssuerConfig, text: &str) -> Option<String> {
    let name = format!("{}{text}", config.prefix);
    (!text.is_empty() && is_name(&name)).then_some(name)
}
