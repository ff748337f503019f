//! PURE. The fields by which an app learns who sends a request. What a client sends under their names never reaches it.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::caller::Caller;

/// Their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityFields {
    /// Of the one with the caller's name.
    pub user: Option<HeaderName>,
    /// Of the one with its groups, with commas between them.
    pub groups: Option<HeaderName>,
}

/// What the fields of a request say already, or what frames it.
const TAKEN: [&str; 25] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

impl IdentityFields {
    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.user.is_none() && self.groups.is_none()
    }

    /// Whether `name` is that of one of them, however its marks are spelt.
    #[must_use]
    pub fn has(&self, name: &HeaderName) -> bool {
        [&self.user, &self.groups].into_iter().flatten().any(|own| is_same(own, name))
    }

    /// Says who sends a request; of a caller that nobody knows nothing.
    pub fn write(&self, caller: &Caller, headers: &mut HeaderMap) {
        let Caller::Known(known) = caller else { return };
        let fields = [(&self.user, known.name().to_owned()), (&self.groups, known.groups().join(","))];
        for (name, value) in fields {
            // Names of callers and groups have no character that a value may not have.
            if let (Some(name), Ok(value)) = (name, HeaderValue::try_from(value))
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        }
    }
}

/// Whether an app may take two names for one: CGI and WSGI read `_` and `-` as one, and some servers all that is neither letter
/// nor digit.
#[must_use]
pub fn is_same(one: &HeaderName, other: &HeaderName) -> bool {
    let dashed = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    one.as_str().bytes().map(dashed).eq(other.as_str().bytes().map(dashed))
}

/// A name that such a field can have.
pub fn name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| "is no name of a header field: write one such as X-Remote-User".to_owned())?;
    if TAKEN.iter().any(|taken| is_same(&HeaderName::from_static(taken), &name)) {
        return Err("means something else already: write a name such as X-Remote-User".to_owned());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Known;

    fn fields() -> IdentityFields {
        IdentityFields { user: name("X-Remote-User").ok(), groups: name("X-Remote-Groups").ok() }
    }

    #[test]
    fn both_spellings_are_one_name() {
        for (name, expected) in [
            ("x-remote-user", true),
            ("x_remote_user", true),
            ("x-remote_user", true),
            ("x.remote~user", true),
            ("x_remote-groups", true),
            ("x-remote-users", false),
            ("x-remote", false),
            ("remote-user", false),
        ] {
            assert_eq!(fields().has(&HeaderName::from_static(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_caller_is_named_with_its_groups_and_nobody_is_not() {
        let mut headers = HeaderMap::new();
        fields().write(&Caller::Anonymous, &mut headers);
        assert!(headers.is_empty());
        fields().write(&Caller::Known(Known::new("a", Box::default())), &mut headers);
        assert_eq!(headers.len(), 1, "{headers:?}");
        fields().write(&Caller::Known(Known::new("b", Box::new(["x".into(), "y:z".into()]))), &mut headers);
        assert_eq!(
            (&headers["x-remote-user"], &headers["x-remote-groups"]),
            (&"b".parse().expect("a value"), &"x,y:z".parse().expect("a value"))
        );
    }

    #[test]
    fn a_name_that_means_something_else_is_refused() {
        for (text, expected) in [
            ("Host", Some("means something else")),
            ("Content_Length", Some("means something else")),
            ("X-Forwarded-For", Some("means something else")),
            ("X-Forwarded-User", None),
            ("a b", Some("is no name")),
            ("", Some("is no name")),
            ("Remote-User", None),
        ] {
            let told = name(text).err();
            assert_eq!(told.is_some(), expected.is_some(), "{text}: {told:?}");
            assert!(told.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{text}");
        }
    }
}
