//! The body of a request, on its way to the app.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use super::Sender;
use super::pool::StreamPermit;
use crate::http::proxy::body::BodyError;
use crate::http::proxy::connect::Cut;
use crate::http::proxy::upload::Upload;
use crate::room::room;

/// Why an upload ended early.
enum UploadEnd {
    /// The client's body broke off.
    Client(BodyError),
    /// The app wants no more of it, or its connection is gone: the task that waits for the answer sees that.
    App,
}

/// Sends `body`, until `stream` is cut; reports what was wrong with it.
pub(super) async fn run(
    mut send: Sender,
    mut body: Upload,
    stream: Cut,
    _place: Arc<StreamPermit>,
    report: oneshot::Sender<BodyError>,
) {
    let ended = tokio::select! {
        biased;
        () = stream.is_cut() => return send.send_reset(Reason::CANCEL),
        ended = copy(&mut send, &mut body) => ended,
    };
    if let Err(UploadEnd::Client(error)) = ended {
        // Reported first, since the reset ends the answer too.
        let _ = report.send(error);
        send.send_reset(Reason::CANCEL);
    }
}

async fn copy(send: &mut Sender, body: &mut Upload) -> Result<(), UploadEnd> {
    loop {
        let frame = tokio::select! {
            biased;
            _ = poll_fn(|cx| send.poll_reset(cx)) => return Err(UploadEnd::App),
            frame = body.frame() => frame,
        };
        match frame {
            None => return send.send_data(Bytes::new(), true).map_err(|_| UploadEnd::App),
            Some(Err(error)) => return Err(UploadEnd::Client(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => write(send, data).await?,
                Err(frame) => {
                    let Ok(trailers) = frame.into_trailers() else { continue };
                    return send.send_trailers(trailers).map_err(|_| UploadEnd::App);
                }
            },
        }
    }
}

/// Sends what the app has room for, until all is sent.
async fn write(send: &mut Sender, mut data: Bytes) -> Result<(), UploadEnd> {
    while !data.is_empty() {
        let room = room(send, data.len()).await.ok_or(UploadEnd::App)?;
        send.send_data(data.split_to(room), false).map_err(|_| UploadEnd::App)?;
    }
    Ok(())
}
