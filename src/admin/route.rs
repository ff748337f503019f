//! What can be asked for, and what whoever asks for it from another host must be allowed.

use http::Method;

use super::page::File;
use crate::access::policy::Verb;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Livez,
    Readyz,
    Metrics,
    State,
    Agents,
    Events,
    Page(File),
    OpenApi,
    Level,
    SetLevel,
    Drain,
}

/// What somebody must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it is answered to everybody.
    Nothing,
    /// Nothing, but it must be known.
    Known,
    /// This, at this path.
    Verb(Verb, &'static str),
}

/// Every path, with the methods it has.
pub(super) const PATHS: [(&str, &str); 12] = [
    ("/livez", "GET, HEAD"),
    ("/readyz", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
    ("/state", "GET, HEAD"),
    ("/agents", "GET, HEAD"),
    ("/log-level", "GET, HEAD, PUT"),
    ("/drain", "POST"),
    ("/openapi.json", "GET, HEAD"),
    ("/events", "GET, HEAD"),
    ("/", "GET, HEAD"),
    ("/page.css", "GET, HEAD"),
    ("/page.js", "GET, HEAD"),
];

impl Route {
    /// What a request asks for; none: nothing that is here.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        Some(match (method.as_str(), path) {
            ("GET" | "HEAD", "/livez") => Self::Livez,
            ("GET" | "HEAD", "/readyz") => Self::Readyz,
            ("GET" | "HEAD", "/metrics") => Self::Metrics,
            ("GET" | "HEAD", "/state") => Self::State,
            ("GET" | "HEAD", "/agents") => Self::Agents,
            ("GET" | "HEAD", "/events") => Self::Events,
            ("GET" | "HEAD", "/") => Self::Page(File::Html),
            ("GET" | "HEAD", "/page.css") => Self::Page(File::Css),
            ("GET" | "HEAD", "/page.js") => Self::Page(File::Js),
            ("GET" | "HEAD", "/openapi.json") => Self::OpenApi,
            ("GET" | "HEAD", "/log-level") => Self::Level,
            ("PUT", "/log-level") => Self::SetLevel,
            ("POST", "/drain") => Self::Drain,
            _ => return None,
        })
    }

    pub(super) fn need(self) -> Need {
        match self {
            Self::Livez | Self::Readyz => Need::Nothing,
            Self::Metrics => Need::Verb(Verb::Get, "/metrics"),
            Self::State => Need::Verb(Verb::Get, "/state"),
            Self::Agents => Need::Verb(Verb::Get, "/agents"),
            Self::Events => Need::Verb(Verb::Get, "/events"),
            Self::Page(file) => Need::Verb(Verb::Get, file.path()),
            Self::OpenApi => Need::Verb(Verb::Get, "/openapi.json"),
            Self::Level => Need::Verb(Verb::Get, "/log-level"),
            Self::SetLevel => Need::Verb(Verb::Admin, "/log-level"),
            Self::Drain => Need::Verb(Verb::Admin, "/drain"),
        }
    }
}
