//! What a relay reports of the agents below it: `POST` on the path of an operation, with the media type of reports. The caller
//! has passed the check that polls pass. Any other `POST` is for [`super::describe`] to refuse.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::access::{Access, Admitted};
use super::describe::{Asking, loss, narrow, nothing};
use super::request_body::RequestBody;
use super::unwanted;
use crate::access::Connection;
use crate::bounds::{RELAY_REPORT_BODY, RELAY_REPORT_BYTES};
use crate::describe::problem::Kind;
use crate::describe::{Answer, PollRequest, Problem};
use crate::hub::Missing;
use crate::operation::{NotTaken, Operation, ReportResult};
use crate::protocol::media_type::REPORT;
use crate::protocol::{InvalidParameter, Report};
use crate::registry::relays::{RelayReport, Reported};

/// Seconds after which a relay that has reported too often may again.
const AGAIN: u32 = 1;

/// What begins the media types of Tidewait: one that is not known here is perhaps of a later version.
const OURS: &str = "application/vnd.tidewait.";

/// A request that brings a report, or something that only a relay would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    /// A report.
    Report,
    /// Another type of ours, or an encoded report.
    Unsupported,
}

impl Brought {
    /// What a request brings to the path of an operation; none: it is no report.
    pub(super) fn by(Parts { method, headers, .. }: &Parts) -> Option<Self> {
        if *method != Method::POST {
            return None;
        }
        let media_type = only(headers, &CONTENT_TYPE)?;
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media_type != REPORT {
            return media_type.starts_with(OURS).then_some(Self::Unsupported);
        }
        let is_encoded = headers.contains_key(CONTENT_ENCODING)
            && only(headers, &CONTENT_ENCODING).is_none_or(|coding| !coding.trim().eq_ignore_ascii_case("identity"));
        Some(if is_encoded { Self::Unsupported } else { Self::Report })
    }
}

/// Answers a request that brought something, and says whether all of it was read.
pub(super) async fn answer(
    brought: Brought,
    operation: &Arc<Operation>,
    (access, admitted): (&Access, Admitted),
    connection: &Arc<Connection>,
    parts: &Parts,
    mut body: RequestBody,
) -> (Answer, bool) {
    let read = match brought {
        Brought::Report => read(&mut body).await,
        Brought::Unsupported => {
            let detail =
                format!("this is no report that is understood here: send {REPORT}, without a Content-Encoding");
            Err(Problem::new(Kind::UnsupportedMediaType, detail))
        }
    };
    let (is_read, taken) = match read {
        Ok(bytes) => (true, take(operation, (access, admitted), connection, parts, &bytes)),
        Err(problem) => (unwanted::read(body, parts).await, Err((ReportResult::Refused, problem))),
    };
    let (result, answer) = match taken {
        Ok(result) => (result, Answer::reported()),
        Err((result, problem)) => (result, Answer::problem(&problem, fastrand::f64())),
    };
    operation.count_report(result);
    (answer, is_read)
}

fn take(
    operation: &Arc<Operation>,
    (access, Admitted { caller, part }): (&Access, Admitted),
    connection: &Arc<Connection>,
    parts: &Parts,
    bytes: &[u8],
) -> Result<ReportResult, (ReportResult, Problem)> {
    let refused = |problem| (ReportResult::Refused, problem);
    let report = understood(bytes).map_err(|invalid| refused(invalid.into()))?;
    let config = operation.config();
    let asked =
        PollRequest::parse(&Method::HEAD, parts.uri.query(), &HeaderMap::new(), config.wait, config.limits.pointers)
            .map_err(refused)?;
    let Some(asked) = narrow(asked, part) else { return Err(refused(access.forbid())) };
    let identity = caller.identity().map(Arc::clone);
    let asking = Asking::new(Arc::clone(operation), Arc::new(asked), caller).map_err(refused)?;
    // The body may have taken its time.
    if let Some(loss) = loss(access, &asking) {
        return Err(refused(access.lost(loss)));
    }
    match operation.take_report(identity, report, &asking.subscription, Arc::clone(connection)) {
        Ok(Reported::Taken) => Ok(ReportResult::Taken),
        Ok(Reported::Older) => Ok(ReportResult::Older),
        Err(NotTaken::TooSoon(too_soon)) => {
            let detail = format!("{too_soon}: send the newest report later");
            Err((ReportResult::TooSoon, Problem::retry(Kind::TooManyReports, AGAIN, detail)))
        }
        Err(NotTaken::NoParts) => Err(refused(nothing(operation, Missing::NoParts))),
    }
}

fn understood(bytes: &[u8]) -> Result<RelayReport, InvalidParameter> {
    Report::read(bytes).and_then(RelayReport::of)
}

/// Reads a body, which is short and comes soon.
async fn read(body: &mut RequestBody) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let detail = format!("a report has at most {RELAY_REPORT_BYTES} bytes: name fewer agents under worst");
        Problem::new(Kind::BodyTooLarge, detail)
    };
    // Who waits to be asked for it is not asked.
    if body.size_hint().lower() > RELAY_REPORT_BYTES as u64 {
        return Err(too_large());
    }
    let all = async {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|_| Problem::new(Kind::MalformedRequest, "the body broke off: send all of it"))?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            if bytes.len() + data.len() > RELAY_REPORT_BYTES {
                return Err(too_large());
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes)
    };
    timeout(RELAY_REPORT_BODY, all).await.unwrap_or_else(|_| Err(late()))
}

fn late() -> Problem {
    let seconds = Duration::as_secs(&RELAY_REPORT_BODY);
    Problem::new(Kind::MalformedRequest, format!("the body did not come within {seconds} s: send all of it at once"))
}

/// The value of a field that stands once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_report_is_told_by_its_media_type_and_all_else_is_no_report() {
        for (method, fields, expected) in [
            ("POST", &[("content-type", REPORT)][..], Some(Brought::Report)),
            ("POST", &[("content-type", "Application/VND.tidewait.Report+json; charset=utf-8")], Some(Brought::Report)),
            ("POST", &[("content-type", REPORT), ("content-encoding", "identity")], Some(Brought::Report)),
            ("POST", &[("content-type", REPORT), ("content-encoding", "gzip")], Some(Brought::Unsupported)),
            (
                "POST",
                &[("content-type", REPORT), ("content-encoding", "a"), ("content-encoding", "b")],
                Some(Brought::Unsupported),
            ),
            ("POST", &[("content-type", "application/vnd.tidewait.report+cbor")], Some(Brought::Unsupported)),
            ("POST", &[("content-type", REPORT), ("content-type", REPORT)], None),
            ("POST", &[("content-type", "application/json")], None),
            ("POST", &[], None),
            ("PUT", &[("content-type", REPORT)], None),
            ("GET", &[("content-type", REPORT)], None),
        ] {
            let mut request = Request::builder().method(method).uri("/describe");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(Brought::by(&parts), expected, "{method} {fields:?}");
        }
    }
}
