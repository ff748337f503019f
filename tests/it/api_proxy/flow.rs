//! A response body on its way through the fault-injecting proxy.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Fault;
use super::server::{Body, BoxError, Setting, Shared};

/// A piece of a body, or its end.
type Piece = Option<Result<Frame<Bytes>, BoxError>>;

/// What has arrived of one body and waits until the fault lets it through.
///
/// A task of its own reads from the API server: a delay holds up each piece by the same time (latency), where reading
/// only after the last piece went out would add the delays up, and a silent network does not look to the API server
/// like a client that stopped reading.
#[derive(Debug)]
pub(crate) struct Flow {
    arrived: mpsc::UnboundedReceiver<(Instant, Piece)>,
    settings: watch::Receiver<Setting>,
    watch: Option<RunningWatch>,
    /// The reader and the connection it reads from; they end with this value.
    _tasks: JoinSet<()>,
}

/// Counts a watch as running while it lives.
#[derive(Debug)]
struct RunningWatch {
    cuts: watch::Receiver<u64>,
    shared: Arc<Shared>,
}

impl Flow {
    /// Starts to read `body`, whose connection is in `tasks`.
    pub(crate) fn start(
        mut body: Incoming,
        mut tasks: JoinSet<()>,
        is_watch: bool,
        shared: &Arc<Shared>,
    ) -> Self {
        let (sender, arrived) = mpsc::unbounded_channel();
        tasks.spawn(async move {
            loop {
                let piece = body
                    .frame()
                    .await
                    .map(|frame| frame.map_err(BoxError::from));
                let last = !matches!(piece, Some(Ok(_)));
                if sender.send((Instant::now(), piece)).is_err() || last {
                    return;
                }
            }
        });
        let watch = is_watch.then(|| RunningWatch::new(shared));
        Self {
            arrived,
            settings: shared.setting(),
            watch,
            _tasks: tasks,
        }
    }

    pub(crate) fn into_body(self) -> Body {
        StreamBody::new(stream::unfold(self, Self::next)).boxed_unsync()
    }

    async fn next(mut self) -> Option<(Result<Frame<Bytes>, BoxError>, Self)> {
        let piece = tokio::select! {
            // First, so that a cut is not overtaken by pieces that lie ready.
            biased;
            () = cut(self.watch.as_mut()) => Some(Err("cut by the test".into())),
            piece = next_piece(&mut self.arrived, &mut self.settings) => piece,
        };
        piece.map(|piece| (piece, self))
    }
}

async fn next_piece(
    arrived: &mut mpsc::UnboundedReceiver<(Instant, Piece)>,
    settings: &mut watch::Receiver<Setting>,
) -> Piece {
    let (at, piece) = arrived.recv().await?;
    let_through(settings, at).await;
    piece
}

/// Returns when there is an order to cut this watch; never for what is no watch.
async fn cut(watch: Option<&mut RunningWatch>) {
    match watch {
        // An error means that the proxy is gone, and with it every stream.
        Some(watch) => drop(watch.cuts.changed().await),
        None => std::future::pending().await,
    }
}

/// Waits until something that arrived at `arrived` may go on to the program under test.
pub(crate) async fn let_through(settings: &mut watch::Receiver<Setting>, arrived: Instant) {
    loop {
        let due = match settings.borrow_and_update().fault {
            Fault::Pass | Fault::Answer(_) => return,
            Fault::Delay(by) => Some(arrived + by),
            // A refused stream is about to be cut.
            Fault::Blackhole | Fault::Refuse => None,
        };
        let changed = settings.changed();
        let waited = match due {
            Some(due) => timeout_at(due, changed).await,
            None => Ok(changed.await),
        };
        // Due, or the proxy is gone; otherwise another fault is in effect, so look again.
        if !matches!(waited, Ok(Ok(()))) {
            return;
        }
    }
}

impl RunningWatch {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.count_watches(1);
        Self {
            cuts: shared.cuts(),
            shared: Arc::clone(shared),
        }
    }
}

impl Drop for RunningWatch {
    fn drop(&mut self) {
        self.shared.count_watches(-1);
    }
}
