//! PURE. The text of a token: a JWS in compact form (RFC 7515, section 7.1) whose payload is a set of claims (RFC 7519). What
//! is read here is what its bearer says; nothing of it is verified yet.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::members::Members;
use crate::bounds::ISSUER_TOKEN_BYTES;

const FORM: &str = "is no signed JWT: send an access token of the issuer";

/// A token that nobody has verified. It has no Debug on purpose.
pub(super) struct Token<'a> {
    header: Members,
    pub(super) claims: Members,
    /// What is signed.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Reads a token.
    pub(super) fn read(text: &'a str) -> Result<Self, &'static str> {
        if text.len() > ISSUER_TOKEN_BYTES {
            return Err("is longer than 16384 bytes: ask the issuer for one with fewer claims");
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(FORM)?;
        let (header, claims) = signed.split_once('.').ok_or(FORM)?;
        let part = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| FORM);
        let header = Members::read(&part(header)?).ok_or(FORM)?;
        let claims = Members::read(&part(claims)?).ok_or(FORM)?;
        Ok(Self { header, claims, signed, signature: part(signature)? })
    }

    /// The algorithm by which it says that it is signed. Nothing that must be understood is left out (RFC 7515, section 4.1.11).
    pub(super) fn algorithm(&self) -> Result<&str, &'static str> {
        if self.header.get("crit").is_some() {
            return Err("needs an extension that is not supported (crit): ask the issuer for one without");
        }
        self.header.text("alg").ok_or("does not say how it is signed: send an access token of the issuer")
    }

    /// The name of the key by which it says that it is signed; none: it names none.
    pub(super) fn key(&self) -> Result<Option<&str>, &'static str> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(name) => name.as_str().map(Some).ok_or("names its key by something else than text (kid)"),
        }
    }
}

/// The issuer that a token names, verified by nobody.
pub(super) fn issuer(text: &str) -> Option<String> {
    Token::read(text).ok()?.claims.text("iss").map(str::to_owned)
}
