//! PURE. Where an issuer is: its URL, as tokens name it, and what follows from that.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

/// The URL of an issuer: https, or http to this host itself. It has no query and no fragment (OpenID Connect Discovery 1.0,
/// section 3), and is compared as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl(Box<str>);

/// The rest of a sentence that begins with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It is no URL of an issuer.
    #[error("is no URL of an issuer: write https://HOST/PATH, without name, query or fragment")]
    Form,
    /// Anybody on the way could change what it says.
    #[error("is not protected: write https://, or http:// with a loopback address")]
    Clear,
}

impl IssuerUrl {
    /// As tokens have it in `iss`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it is described (OpenID Connect Discovery 1.0, section 4).
    pub(crate) fn configuration(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.strip_suffix('/').unwrap_or(&self.0))
    }

    /// Whether keys may be fetched from there: an issuer that is protected has protected keys.
    pub(crate) fn may_have_keys_at(&self, url: &str) -> Result<Uri, InvalidUrl> {
        let uri = url.parse::<Uri>().map_err(|_| InvalidUrl::Form)?;
        check(&uri)?;
        if uri.scheme() == Some(&Scheme::HTTP) && !self.0.starts_with("http:") {
            return Err(InvalidUrl::Clear);
        }
        Ok(uri)
    }
}

impl FromStr for IssuerUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let uri = text.parse::<Uri>().map_err(|_| InvalidUrl::Form)?;
        check(&uri)?;
        if uri.query().is_some() || text.contains('#') {
            return Err(InvalidUrl::Form);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(uri: &Uri) -> Result<(), InvalidUrl> {
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(InvalidUrl::Form)?;
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if is_loopback(authority.host()) => Ok(()),
        Some("http") => Err(InvalidUrl::Clear),
        Some(_) | None => Err(InvalidUrl::Form),
    }
}

/// RFC 6761, section 6.3: `localhost` is.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_reached_over_https_or_on_this_host() {
        for (text, expected) in [
            ("https://issuer.example", Ok("https://issuer.example/.well-known/openid-configuration")),
            ("https://issuer.example/a/", Ok("https://issuer.example/a/.well-known/openid-configuration")),
            ("http://127.0.0.1:1/x", Ok("http://127.0.0.1:1/x/.well-known/openid-configuration")),
            ("http://[::1]:1", Ok("http://[::1]:1/.well-known/openid-configuration")),
            ("http://localhost", Ok("http://localhost/.well-known/openid-configuration")),
            ("http://issuer.example", Err(InvalidUrl::Clear)),
            ("http://127.0.0.1.example", Err(InvalidUrl::Clear)),
            ("http://localhost.example", Err(InvalidUrl::Clear)),
            ("https://who@issuer.example", Err(InvalidUrl::Form)),
            ("https://issuer.example?a", Err(InvalidUrl::Form)),
            ("https://issuer.example#a", Err(InvalidUrl::Form)),
            ("ftp://issuer.example", Err(InvalidUrl::Form)),
            ("issuer.example", Err(InvalidUrl::Form)),
            ("/issuer", Err(InvalidUrl::Form)),
            ("", Err(InvalidUrl::Form)),
        ] {
            let url = text.parse::<IssuerUrl>();
            assert_eq!(url.map(|url| url.configuration()), expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_protected_issuer_has_protected_keys() {
        let far: IssuerUrl = "https://issuer.example".parse().expect("a URL");
        let near: IssuerUrl = "http://127.0.0.1:1".parse().expect("a URL");
        assert!(far.may_have_keys_at("https://keys.example/jwks?v=1").is_ok());
        assert!(near.may_have_keys_at("http://localhost:2/jwks").is_ok());
        assert_eq!(far.may_have_keys_at("http://127.0.0.1:1/jwks"), Err(InvalidUrl::Clear));
        assert_eq!(near.may_have_keys_at("http://keys.example/jwks"), Err(InvalidUrl::Clear));
        assert_eq!(far.may_have_keys_at("file:///etc/passwd"), Err(InvalidUrl::Form));
        assert_eq!(far.may_have_keys_at("jwks"), Err(InvalidUrl::Form));
    }
}
