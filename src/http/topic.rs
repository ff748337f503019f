//! Topics, as requests come to them.
//!
//! | request | goes to |
//! |---|---|
//! | `GET`, `HEAD` | [`read`]: 200, 204, a stream, or a problem |
//! | `POST` | [`publish`]: 201 or a problem |
//! | `OPTIONS` | 204 |
//!
//! Plain reads of HTTP/1.1 are served by the event loops ([`crate::http::front`]), all else here.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use ipnet::IpNet;

use super::access::Access;
use super::connection::ConnectionState;
use super::exchange::Answered;
use super::request_body::RequestBody;
use super::response::response;
use super::unwanted;
use crate::access::Caller;
use crate::access::policy::TopicVerb;
use crate::describe::problem::Kind;
use crate::describe::{Answer, Problem};
use crate::lifecycle::stop;
use crate::topic::Topic;
use crate::topic::registry::TopicRegistry;

mod by;
pub mod publish;
pub mod read;

pub use crate::describe::origin::Origins;
pub(super) use by::reader;
pub use read::TopicBody;
pub(super) use read::refuse;

/// The methods of a topic.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");

/// All topics, and what their requests need.
#[derive(Debug, Default)]
pub struct Topics {
    registry: Arc<TopicRegistry>,
    trusted: Box<[IpNet]>,
    pub(super) origins: Origins,
}

impl Topics {
    /// These topics. Forwarding fields of peers within `trusted` count, and pages of `origins` may publish.
    #[must_use]
    pub fn new(registry: Arc<TopicRegistry>, trusted: &[IpNet], origins: Origins) -> Self {
        Self { registry, trusted: trusted.into(), origins }
    }

    /// The topic at a path.
    pub(super) fn get(&self, path: &str) -> Option<Arc<Topic>> {
        self.registry.get(path)
    }

    /// All of them.
    pub(super) fn registry(&self) -> &TopicRegistry {
        &self.registry
    }
}

/// What the sender of a request with this method does.
pub(super) fn verb(method: &Method) -> TopicVerb {
    if *method == Method::POST { TopicVerb::Publish } else { TopicVerb::Get }
}

/// Answers a request whose caller may do this.
pub(super) async fn answer(
    topics: &Topics,
    topic: &Arc<Topic>,
    (access, caller): (&Arc<Access>, Caller),
    (connection, stop): (&ConnectionState, &stop::Watch),
    (parts, body): (Parts, RequestBody),
) -> Answered {
    if parts.method == Method::GET || parts.method == Method::HEAD {
        return read::answer(topic, (access, caller), (connection, stop), (parts, body)).await;
    }
    if parts.method == Method::POST {
        return publish::answer((topics, topic), caller, connection, (parts, body)).await;
    }
    let answer = if parts.method == Method::OPTIONS {
        Answer::other(StatusCode::NO_CONTENT, vec![(header::ALLOW, ALLOW)], None)
    } else {
        let detail = format!("{} is no method of a topic: GET reads messages, POST publishes one", parts.method);
        let problem = Problem::new(Kind::MethodNotAllowed, detail);
        Answer { allow: Some(ALLOW), ..Answer::problem(&problem, 0.0) }
    };
    let is_read = unwanted::read(body, &parts).await;
    Answered { is_read, ..Answered::of(response(answer, None)) }
}
