//! The body of a request that has no use for it. It is read and dropped, so that the connection can go on; a long or slow one
//! is not waited for, and then the connection ends with the answer.

use http::header::EXPECT;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::request_body::RequestBody;
use crate::bounds::{UNWANTED_BODY, UNWANTED_BODY_BYTES};

/// Reads and drops a body. Whether that was all of it.
pub(super) async fn read(mut body: RequestBody, parts: &Parts) -> bool {
    if body.is_end_stream() {
        return true;
    }
    // Who waits to be asked for it is not asked.
    if parts.headers.contains_key(EXPECT) {
        return false;
    }
    let all = async {
        let mut left = UNWANTED_BODY_BYTES;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, bytes::Bytes::len);
            let Some(rest) = left.checked_sub(length) else { return false };
            left = rest;
        }
        true
    };
    tokio::time::timeout(UNWANTED_BODY, all).await.unwrap_or(false)
}
