//! A response body on its way through the fault-injecting proxy.

use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::server::{Body, BoxError, Setting, Shared};
use super::{Fault, Seen};

/// How much of a body a silent or slow network may hold; far more than a test sends.
const HELD_PIECES: usize = 4096;

/// A piece of a body, or its end.
type Piece = Option<Result<Frame<Bytes>, BoxError>>;

/// What has arrived of one body and waits until the fault lets it through.
///
/// A task of its own reads from the API server: a delay holds up each piece by the same time (latency), where reading
/// only after the last piece went out would add the delays up, and a silent network does not look to the API server
/// like a client that stopped reading.
#[derive(Debug)]
pub(crate) struct Flow {
    arrived: mpsc::Receiver<(Instant, Piece)>,
    settings: watch::Receiver<Setting>,
    watch: Option<RunningWatch>,
    request: Seen,
    /// The reader and the connection it reads from; they end with this value.
    _tasks: JoinSet<()>,
}

/// Counts a watch as running while it lives.
#[derive(Debug)]
struct RunningWatch {
    cuts: watch::Receiver<u64>,
    /// Only later orders concern this watch.
    orders_before: u64,
    shared: Arc<Shared>,
}

impl Flow {
    /// Starts to read `body`, whose connection is in `tasks`.
    pub(crate) fn start(mut body: Incoming, mut tasks: JoinSet<()>, request: Seen, shared: &Arc<Shared>) -> Self {
        let (sender, arrived) = mpsc::channel(HELD_PIECES);
        tasks.spawn(async move {
            loop {
                let piece = body.frame().await.map(|frame| frame.map_err(BoxError::from));
                let last = !matches!(piece, Some(Ok(_)));
                if sender.send((Instant::now(), piece)).await.is_err() || last {
                    return;
                }
            }
        });
        let watch = request.is_watch().then(|| RunningWatch::new(shared));
        Self { arrived, settings: shared.setting(), watch, request, _tasks: tasks }
    }

    pub(crate) fn into_body(self) -> Body {
        StreamBody::new(stream::unfold(self, Self::next)).boxed_unsync()
    }

    async fn next(mut self) -> Option<(Result<Frame<Bytes>, BoxError>, Self)> {
        let piece = tokio::select! {
            // First, so that a cut is not overtaken by pieces that lie ready.
            biased;
            () = cut(self.watch.as_mut()) => Some(Err("cut by the test".into())),
            piece = next_piece(&mut self.arrived, &mut self.settings, &self.request) => piece,
        };
        piece.map(|piece| (piece, self))
    }
}

async fn next_piece(
    arrived: &mut mpsc::Receiver<(Instant, Piece)>,
    settings: &mut watch::Receiver<Setting>,
    request: &Seen,
) -> Piece {
    let (at, piece) = arrived.recv().await?;
    let_through(settings, request, at).await;
    piece
}

/// Returns when there is an order to cut this watch; never for what is no watch.
async fn cut(watch: Option<&mut RunningWatch>) {
    match watch {
        Some(watch) => {
            let orders = watch.orders_before;
            // An error means that the proxy is gone, and with it every stream.
            drop(watch.cuts.wait_for(|now| *now > orders).await);
        }
        None => pending().await,
    }
}

/// Waits until something of the answer to `request` that arrived at `arrived` may go on to the program under test.
pub(crate) async fn let_through(settings: &mut watch::Receiver<Setting>, request: &Seen, arrived: Instant) {
    loop {
        let (number, due) = {
            let setting = settings.borrow();
            match setting.fault {
                Fault::Pass | Fault::Answer(_) | Fault::Late(_) => return,
                Fault::DelayOf(which, _) if !request.is(which) => return,
                Fault::Delay(by) | Fault::DelayOf(_, by) => (setting.number, Some(arrived + by)),
                // A refused stream is about to be cut.
                Fault::Blackhole | Fault::Refuse => (setting.number, None),
            }
        };
        let other = another(settings, number);
        match due {
            Some(due) => match timeout_at(due, other).await {
                Ok(()) => {}
                Err(_) => return,
            },
            None => other.await,
        }
    }
}

/// Waits until another fault than that of `number` is in effect.
pub(crate) async fn another(settings: &mut watch::Receiver<Setting>, number: u64) {
    if settings.wait_for(|setting| setting.number != number).await.is_err() {
        // The proxy is gone, and this task with it in a moment; looking again would find the same fault.
        pending::<()>().await;
    }
}

impl RunningWatch {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.count_watches(1);
        let cuts = shared.cuts();
        let orders_before = *cuts.borrow();
        Self { cuts, orders_before, shared: Arc::clone(shared) }
    }
}

impl Drop for RunningWatch {
    fn drop(&mut self) {
        self.shared.count_watches(-1);
    }
}
