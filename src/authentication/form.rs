//! PURE. What a token says of itself (JSON Web Token: RFC 7519), which proves nothing. It is read to ask nobody about a token
//! that cannot be good, and to know when one that is good ends.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Its `exp` is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTime;

/// Whether it has the form of a signed JSON Web Token: three parts of base64url (RFC 7515, section 7.1).
#[must_use]
pub fn is_jwt(token: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let mut parts = token.split('.');
    let three = [parts.next(), parts.next(), parts.next()];
    parts.next().is_none() && three.iter().all(|part| part.is_some_and(is_part))
}

/// When it says that it ends (`exp`), since 1970; none: it does not say, or is no JSON Web Token.
pub fn expiry(token: &str) -> Result<Option<Duration>, NoTime> {
    let Some(claims) = claims(token) else { return Ok(None) };
    match claims.get("exp") {
        None | Some(Value::Null) => Ok(None),
        Some(exp) => exp.as_f64().and_then(|exp| Duration::try_from_secs_f64(exp).ok()).map(Some).ok_or(NoTime),
    }
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    if !is_jwt(token) {
        return None;
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_parts_of_base64url_are_a_json_web_token() {
        for (token, expected) in [
            ("a.b.c", true),
            ("eyJhbGciOiJub25lIn0.e30.x-_9", true),
            ("a.b.", false),
            (".b.c", false),
            ("a..c", false),
            ("a.b", false),
            ("a.b.c.d", false),
            ("a.b.c=", false),
            ("a.b/.c", false),
            ("abc", false),
            ("", false),
            ("..", false),
        ] {
            assert_eq!(is_jwt(token), expected, "{token:?}");
        }
    }

    #[test]
    fn the_end_of_a_token_is_read_without_its_proof() {
        for (claims, expected) in [
            (r#"{"exp":1700000000}"#, Ok(Some(1_700_000_000_000))),
            (r#"{"exp":1700000000.5,"sub":"x"}"#, Ok(Some(1_700_000_000_500))),
            (r#"{"exp":1.7e9}"#, Ok(Some(1_700_000_000_000))),
            (r#"{"exp":0}"#, Ok(Some(0))),
            (r#"{"exp":null}"#, Ok(None)),
            (r#"{"sub":"x"}"#, Ok(None)),
            (r#"{"exp":-1}"#, Err(NoTime)),
            (r#"{"exp":1e300}"#, Err(NoTime)),
            (r#"{"exp":"1700000000"}"#, Err(NoTime)),
            (r#"{"exp":[1]}"#, Err(NoTime)),
            ("[1]", Ok(None)),
            ("no JSON", Ok(None)),
        ] {
            let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
            let expected = expected.map(|time: Option<u64>| time.map(Duration::from_millis));
            assert_eq!(expiry(&token), expected, "{claims}");
        }
        for opaque in ["abc", "a.a.c", "e30.e30", "e30.!.c"] {
            assert_eq!(expiry(opaque), Ok(None), "{opaque}");
        }
    }
}
