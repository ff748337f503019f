//! PURE. URLs: the one that a fetch was given, and those that answers lead to.

use std::fmt;

use http::uri::{Authority, PathAndQuery};
use iri_string::format::ToDedicatedString as _;
use iri_string::types::{UriAbsoluteString, UriReferenceStr, UriStr};
use rustls::pki_types::ServerName;

use crate::bounds::FETCH_SHOWN;
use crate::client::settings::Endpoint;
use crate::escape::escape;

/// Where a request goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Without a fragment.
    url: UriAbsoluteString,
    pub(super) endpoint: Endpoint,
}

/// Scheme, host and port (RFC 9110, 4.3.1): who may be shown a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Target {
    /// An absolute URL. An error is what is wrong, and the remedy.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let Ok(url) = UriStr::new(text) else { return Err("is no URL") };
        Self::of(url.to_absolute().to_owned())
    }

    /// What a `Location` leads to from here (RFC 3986, 5.2). An error is what is wrong.
    pub(super) fn join(&self, location: &str) -> Result<Self, &'static str> {
        let Ok(reference) = UriReferenceStr::new(location) else { return Err("is no URL") };
        let joined = reference.resolve_against(&self.url);
        if joined.ensure_rfc3986_normalizable().is_err() {
            return Err("is no URL");
        }
        let there = Self::of(joined.to_dedicated_string().to_absolute().to_owned())?;
        if self.endpoint.tls.is_some() && there.endpoint.tls.is_none() {
            return Err("leads from https to http, where others could read and change what is sent");
        }
        Ok(there)
    }

    fn of(url: UriAbsoluteString) -> Result<Self, &'static str> {
        let is_tls = match url.scheme_str() {
            scheme if scheme.eq_ignore_ascii_case("https") => true,
            scheme if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err("is neither http nor https"),
        };
        let Some(parts) = url.authority_components().filter(|parts| !parts.host().is_empty()) else {
            return Err("names no host");
        };
        if parts.userinfo().is_some() {
            return Err("has a user or password in it");
        }
        let port = match parts.port() {
            None | Some("") => Some(if is_tls { 443 } else { 80 }),
            Some(port) => port.parse().ok().filter(|port| *port != 0),
        };
        let Some(port) = port else { return Err("has no port between 1 and 65535") };
        let host = parts.host().to_ascii_lowercase();
        let Ok(authority) = format!("{host}{}", url.authority_str().map_or("", |all| &all[host.len()..])).parse()
        else {
            return Err("names no host that can be connected to");
        };
        let authority: Authority = authority;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let Ok(name) = ServerName::try_from(host.clone()) else {
            return Err("names no host that can be connected to");
        };
        let path = match (url.path_str(), url.query_str()) {
            ("", None) => "/".to_owned(),
            ("", Some(query)) => format!("/?{query}"),
            (path, None) => path.to_owned(),
            (path, Some(query)) => format!("{path}?{query}"),
        };
        if path.parse::<PathAndQuery>().is_err() {
            return Err("has no path that can be asked for");
        }
        let tls = is_tls.then_some(name);
        let endpoint = Endpoint { url: url.as_str().to_owned(), authority, host, port, tls, path };
        Ok(Self { url, endpoint })
    }

    pub(super) fn origin(&self) -> Origin {
        let Endpoint { host, port, tls, .. } = &self.endpoint;
        Origin { is_tls: tls.is_some(), host: host.clone(), port: *port }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

/// Text of others for people: on one line, not too long, and without what may be a password.
pub(super) fn shown(text: &str) -> String {
    let start = text.find("//").map_or(0, |at| at + 2);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    let text = match text[start..end].rfind('@') {
        Some(at) => format!("{}***{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    };
    cut(&text)
}

/// Text of others for people: on one line, and not too long.
pub(super) fn cut(text: &str) -> String {
    let safe = escape(text);
    match safe.char_indices().nth(FETCH_SHOWN) {
        Some((end, _)) => format!("{}...", &safe[..end]),
        None => safe.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_leads_where_rfc_3986_says() {
        let here = Target::parse("https://a.example:8443/b/c/d;p?q#part").expect("a URL");
        assert_eq!(here.endpoint.path, "/b/c/d;p?q", "a fragment is not sent");
        for (location, expected) in [
            ("/work/1", "https://a.example:8443/work/1"),
            ("g", "https://a.example:8443/b/c/g"),
            ("./g/", "https://a.example:8443/b/c/g/"),
            ("../g?y#s", "https://a.example:8443/b/g?y"),
            ("../../../../g", "https://a.example:8443/g"),
            ("?n=2", "https://a.example:8443/b/c/d;p?n=2"),
            ("", "https://a.example:8443/b/c/d;p?q"),
            ("#s", "https://a.example:8443/b/c/d;p?q"),
            ("//other/x", "https://other/x"),
            ("https://other", "https://other"),
            ("HTTPS://Other:443/%7e", "HTTPS://Other:443/%7e"),
            ("https://[::1]:9/x", "https://[::1]:9/x"),
        ] {
            assert_eq!(here.join(location).map(|there| there.to_string()).as_deref(), Ok(expected), "{location}");
        }
    }

    #[test]
    fn what_leads_nowhere_says_why() {
        let here = Target::parse("https://a/b").expect("a URL");
        for (location, expected) in [
            ("http://a/b", "leads from https to http, where others could read and change what is sent"),
            ("ftp://a/b", "is neither http nor https"),
            ("mailto:me@a", "is neither http nor https"),
            ("javascript:x", "is neither http nor https"),
            ("https://me:secret@a/", "has a user or password in it"),
            ("https://me@a/", "has a user or password in it"),
            ("https:///b", "names no host"),
            ("https:b", "names no host"),
            ("https://a:99999/", "has no port between 1 and 65535"),
            ("https://a:0/", "has no port between 1 and 65535"),
            ("https://a_b..c/", "names no host that can be connected to"),
            ("https://[::1/", "is no URL"),
            ("/a b", "is no URL"),
            ("/a\"b", "is no URL"),
            ("/%zz", "is no URL"),
            ("/ä", "is no URL"),
        ] {
            assert_eq!(here.join(location).map(|there| there.to_string()), Err(expected), "{location}");
        }
        for text in ["", "/x", "host:80/x", "localhost", "https://a b"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
        let clear = Target::parse("http://a/b").expect("a URL");
        assert!(clear.join("https://a/b").is_ok(), "the way up is open");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |text: &str| Target::parse(text).expect("a URL").origin();
        for same in ["https://a", "HTTPS://A:443/x?y", "https://a:/"] {
            assert_eq!(origin(same), origin("https://a/"), "{same}");
        }
        for other in ["http://a/", "https://b/", "https://a:8443/", "http://a:443/", "https://a.b/"] {
            assert_ne!(origin(other), origin("https://a/"), "{other}");
        }
        assert_eq!(Target::parse("http://[::1]:8/?x").expect("a URL").endpoint.host, "::1");
        assert_eq!(Target::parse("http://a?x").expect("a URL").endpoint.path, "/?x");
    }

    #[test]
    fn what_is_shown_has_no_password_and_drives_no_terminal() {
        for (text, expected) in [
            ("https://me:secret@a/b", "https://***@a/b"),
            ("//me:sec@ret@a", "//***@a"),
            ("/a@b", "/a@b"),
            ("me:secret@a", "***@a"),
            ("/\u{1b}[2J\r\n", "/\\u{1b}[2J\\r\\n"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&"x".repeat(1000)), format!("{}...", "x".repeat(FETCH_SHOWN)));
    }
}
