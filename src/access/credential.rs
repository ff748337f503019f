//! PURE. The credential of a request: the field `Authorization` (RFC 9110, section 11.6.2), of which `Bearer` (RFC 6750,
//! section 2.1) is read.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Why a request is not served to who sends it. Nothing here repeats what the client has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It has no credential, and needs one.
    Missing,
    /// Its credential is not good.
    Invalid(Invalid),
    /// Its credential is good no longer, while the request waited.
    Withdrawn,
}

/// Why a credential is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// There are several.
    Several,
    /// It is of a scheme that is not asked for.
    Scheme,
    /// It has not the form of a token.
    Form,
    /// Anybody on the way could have read it: the connection is neither protected nor on the same host.
    Clear,
    /// Nobody has this token.
    Unknown,
}

/// The bearer token of a request; none: it has no credential.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Invalid> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(Invalid::Several);
    }
    let field = field.to_str().map_err(|_| Invalid::Form)?;
    let (scheme, token) = field.split_once(' ').unwrap_or((field, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Invalid::Scheme);
    }
    let token = token.trim_matches(' ');
    if is_token(token) { Ok(Some(token)) } else { Err(Invalid::Form) }
}

/// Whether this is a `b64token`.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read<'a>(headers: &'a mut HeaderMap, fields: &[&str]) -> Result<Option<&'a str>, Invalid> {
        headers.clear();
        for field in fields {
            headers.append(AUTHORIZATION, field.parse().expect("a value"));
        }
        bearer(headers)
    }

    #[test]
    fn one_bearer_token_is_read_and_nothing_else() {
        let headers = &mut HeaderMap::new();
        for (fields, expected) in [
            (&[][..], Ok(None)),
            (&["Bearer abc-._~+/1=="], Ok(Some("abc-._~+/1=="))),
            (&["bEARER  abc "], Ok(Some("abc"))),
            (&["Bearer"], Err(Invalid::Form)),
            (&["Bearer "], Err(Invalid::Form)),
            (&["Bearer =="], Err(Invalid::Form)),
            (&["Bearer a b"], Err(Invalid::Form)),
            (&["Bearer a,b"], Err(Invalid::Form)),
            (&["Bearer a=b"], Err(Invalid::Form)),
            (&["Bearer\ta"], Err(Invalid::Scheme)),
            (&["Basic YTpi"], Err(Invalid::Scheme)),
            (&["Negotiate"], Err(Invalid::Scheme)),
            (&[""], Err(Invalid::Scheme)),
            (&["Bearer a", "Bearer a"], Err(Invalid::Several)),
            (&["Bearer a", "Basic YTpi"], Err(Invalid::Several)),
            (&["Basic YTpi", "Bearer a"], Err(Invalid::Several)),
        ] {
            assert_eq!(read(headers, fields), expected, "{fields:?}");
        }
        headers.clear();
        headers.insert(AUTHORIZATION, http::HeaderValue::from_bytes(b"Bearer \xe4").expect("opaque"));
        assert_eq!(bearer(headers), Err(Invalid::Form));
    }
}
