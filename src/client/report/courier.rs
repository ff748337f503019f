//! A report on its way, by the connections and with the credentials that polls have.

use std::path::PathBuf;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;

use super::{Carrier, NotTaken};
use crate::bounds::CLIENT_PROBLEM_BYTES;
use crate::client::answer;
use crate::client::body;
use crate::client::connection::Connection;
use crate::client::credentials::{self, Trust};
use crate::client::endpoints::Place;
use crate::client::failure::{Failure, FailureKind};
use crate::client::line::{goes_on, insert};
use crate::client::settings::{Endpoint, Settings};
use crate::protocol::media_type::REPORT;
use crate::protocol::{AnswerHead, Query};

/// Brings reports to endpoints.
#[derive(Debug)]
pub(super) struct Courier {
    endpoints: Vec<Endpoint>,
    query: String,
    token_file: Option<PathBuf>,
    trust: Trust,
    /// The connection that is kept, and where it leads.
    kept: Option<(Place, Connection)>,
}

impl Courier {
    pub(super) fn new(settings: &Settings, endpoints: Vec<Endpoint>) -> Self {
        let query = Query { select: settings.select.clone(), ..Query::default() }.to_string();
        Self {
            endpoints,
            query: if query.is_empty() { query } else { format!("?{query}") },
            token_file: settings.token_file.clone(),
            trust: Trust::new(settings.ca.clone(), settings.certificate.clone()),
            kept: None,
        }
    }

    async fn request(&self, place: Place, report: Vec<u8>) -> Result<Request<Full<Bytes>>, Failure> {
        let endpoint = &self.endpoints[place.url];
        let mut request = Request::new(Full::from(report));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("{}{}", endpoint.path, self.query).parse::<Uri>().map_err(|error| {
            Failure::new(FailureKind::Refused, &format!("the query is no URL ({error}): select less"))
        })?;
        let fields = request.headers_mut();
        insert(fields, HOST, endpoint.authority.as_str());
        fields.insert(USER_AGENT, HeaderValue::from_static(concat!("tidewait/", env!("CARGO_PKG_VERSION"))));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(REPORT));
        if let Some(path) = &self.token_file {
            fields.insert(AUTHORIZATION, credentials::authorization(path).await?);
        }
        Ok(request)
    }

    async fn connection(&mut self, place: Place) -> Result<Connection, Failure> {
        if let Some((led, mut connection)) = self.kept.take()
            && led == place
            && connection.is_usable().await
        {
            return Ok(connection);
        }
        let Some(address) = place.address else {
            return Err(Failure::new(FailureKind::Unreachable, "no address is known"));
        };
        Connection::open(&self.endpoints[place.url], address, &mut self.trust).await
    }
}

impl Carrier for Courier {
    fn name(&self, place: Place) -> String {
        self.endpoints[place.url].name(place.address)
    }

    /// The connection is kept only after an answer that was read to its end.
    async fn bring(&mut self, place: Place, report: Vec<u8>) -> Result<(), NotTaken> {
        let request = self.request(place, report).await.map_err(NotTaken::Failed)?;
        let mut connection = self.connection(place).await.map_err(NotTaken::Failed)?;
        let response = connection.send(request).await.map_err(NotTaken::Failed)?;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            if goes_on(&response) {
                self.kept = Some((place, connection));
            }
            return Ok(());
        }
        let retry_after = match AnswerHead::read(status, response.headers()) {
            Ok(AnswerHead::Refused { retry_after, .. }) => retry_after,
            Ok(_) | Err(_) => None,
        };
        let (head, incoming) = response.into_parts();
        let said = body::beginning(incoming, CLIENT_PROBLEM_BYTES).await;
        let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let failure = answer::refusal(status, retry_after, media_type, &said);
        let is_unknown = matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
        Err(if is_unknown { NotTaken::Unknown(failure) } else { NotTaken::Failed(failure) })
    }
}
