//! PURE. The credential of a request: the field `Authorization` (RFC 9110, section 11.6.2) with the scheme `Bearer` (RFC 6750,
//! section 2.1) or `Basic` (RFC 7617).

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// What a request brings to show who sends it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// A token.
    Bearer(&'a str),
    /// A name and a password, encoded.
    Basic(&'a str),
}

/// Why a request is not served to who sends it. Nothing here repeats what the client has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It has no credential, and needs one.
    Missing,
    /// Its credential is not good.
    Invalid(Invalid),
    /// Its credential is good no longer, while the request waited.
    Withdrawn,
    /// Whether its credential is good, or allows this, cannot be found out now.
    Unavailable,
    /// Too many bad credentials have come from where it comes from.
    TooManyBad,
    /// Too much was asked for that it may not have, so that nobody finds out what there is.
    TooManyForbidden,
    /// Too many that are not known yet are being judged of where it comes from.
    Crowded,
}

/// Why a credential is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// There are several.
    Several,
    /// It is of a scheme that is not asked for.
    Scheme,
    /// It has not the form that its scheme asks for.
    Form,
    /// Anybody on the way could have read it: the connection is neither protected nor on the same host.
    Clear,
    /// It was judged. What is wrong with it and the remedy, as the rest of a sentence that begins with "the credential".
    Judged(&'static str),
}

/// Nobody has this token, and nobody can say more of it.
pub const UNKNOWN: Invalid = Invalid::Judged("is not known: ask for another one");

/// The credential of a request; none: it has none.
pub fn read(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Invalid> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(Invalid::Several);
    }
    let field = field.to_str().map_err(|_| Invalid::Form)?;
    let (scheme, rest) = field.split_once(' ').unwrap_or((field, ""));
    let rest = rest.trim_matches(' ');
    let credential = if scheme.eq_ignore_ascii_case("Bearer") {
        Credential::Bearer(rest)
    } else if scheme.eq_ignore_ascii_case("Basic") {
        Credential::Basic(rest)
    } else {
        return Err(Invalid::Scheme);
    };
    Credential::checked(credential).map(Some).ok_or(Invalid::Form)
}

/// Whether this is a `token68` (RFC 9110, section 11.2), as `b64token` is one.
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

impl<'a> Credential<'a> {
    /// The same, if it has the form that its scheme asks for.
    #[must_use]
    pub fn checked(credential: Self) -> Option<Self> {
        let (Self::Bearer(text) | Self::Basic(text)) = credential;
        is_token68(text).then_some(credential)
    }

    /// As it is to be told apart from all others: its scheme and what follows.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &'a str) {
        match self {
            Self::Bearer(token) => ("Bearer ", token),
            Self::Basic(pair) => ("Basic ", pair),
        }
    }
}

/// Without the secret.
impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.parts().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read_all<'a>(headers: &'a mut HeaderMap, fields: &[&str]) -> Result<Option<Credential<'a>>, Invalid> {
        headers.clear();
        for field in fields {
            headers.append(AUTHORIZATION, field.parse().expect("a value"));
        }
        read(headers)
    }

    #[test]
    fn one_credential_is_read_and_nothing_else() {
        let headers = &mut HeaderMap::new();
        for (fields, expected) in [
            (&[][..], Ok(None)),
            (&["Bearer abc-._~+/1=="], Ok(Some(Credential::Bearer("abc-._~+/1==")))),
            (&["bEARER  abc "], Ok(Some(Credential::Bearer("abc")))),
            (&["Basic YTpi"], Ok(Some(Credential::Basic("YTpi")))),
            (&["BASIC YTpi="], Ok(Some(Credential::Basic("YTpi=")))),
            (&["Bearer"], Err(Invalid::Form)),
            (&["Bearer "], Err(Invalid::Form)),
            (&["Basic"], Err(Invalid::Form)),
            (&["Bearer =="], Err(Invalid::Form)),
            (&["Bearer a b"], Err(Invalid::Form)),
            (&["Bearer a,b"], Err(Invalid::Form)),
            (&["Bearer a=b"], Err(Invalid::Form)),
            (&["Bearer\ta"], Err(Invalid::Scheme)),
            (&["Negotiate"], Err(Invalid::Scheme)),
            (&["Digest a=b"], Err(Invalid::Scheme)),
            (&[""], Err(Invalid::Scheme)),
            (&["Bearer a", "Bearer a"], Err(Invalid::Several)),
            (&["Bearer a", "Basic YTpi"], Err(Invalid::Several)),
            (&["Basic YTpi", "Bearer a"], Err(Invalid::Several)),
        ] {
            assert_eq!(read_all(headers, fields), expected, "{fields:?}");
        }
        headers.clear();
        headers.insert(AUTHORIZATION, http::HeaderValue::from_bytes(b"Bearer \xe4").expect("opaque"));
        assert_eq!(read(headers), Err(Invalid::Form));
        assert_eq!(format!("{:?}", Credential::Bearer("s3cr3t")), "Bearer ");
    }
}
