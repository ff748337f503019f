//! From a worker's answer to the consumers that wait for it.

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::exchange::job::Job;
use crate::http::forwarded;

/// Why an answer was not passed on to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It is of no use any more.
    Useless,
    /// The worker broke off.
    Broke,
    /// It is none of HTTP.
    Malformed,
}

/// Checks the head of an answer and makes its fields those of an answer to a consumer.
fn head(mut parts: Parts) -> Option<(StatusCode, HeaderMap)> {
    let is_final = (200..600).contains(&parts.status.as_u16());
    if !is_final || forwarded::codings(&parts.headers).is_some() {
        return None;
    }
    forwarded::to_client(&mut parts.headers, false);
    Some((parts.status, parts.headers))
}

/// Passes an answer on.
pub(super) async fn pass<B>(mut job: Job, parts: Parts, mut body: B) -> Result<(), Stopped>
where
    B: Body<Data = Bytes> + Unpin,
{
    let Some((status, headers)) = head(parts) else {
        job.lost(crate::exchange::core::Lost::Malformed);
        return Err(Stopped::Malformed);
    };
    if job.answer(status, headers).is_err() {
        return Err(Stopped::Useless);
    }
    let mut trailers = None;
    loop {
        let frame = tokio::select! {
            biased;
            () = job.cancelled().cancelled() => return Err(Stopped::Useless),
            frame = body.frame() => frame,
        };
        match frame {
            None => break,
            // Dropped, the job is lost within its answer.
            Some(Err(_)) => return Err(Stopped::Broke),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => job.write(data).await.map_err(|_| Stopped::Useless)?,
                Err(frame) => {
                    trailers = frame.into_trailers().ok().map(|mut fields| {
                        forwarded::trailers_to_client(&mut fields);
                        fields
                    });
                }
            },
        }
    }
    job.finish(trailers).await.map_err(|_| Stopped::Useless)
}
