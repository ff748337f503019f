//! Whether the agent's own loop goes round: it is asked, and answers when it comes by. So nothing has to tick for that.

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::bounds::AGENT_PULSE;

/// Asks the loop.
#[derive(Debug)]
pub(super) struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

/// What the loop answers by.
#[derive(Debug)]
pub(in crate::agent) struct Heart(mpsc::Receiver<oneshot::Sender<()>>);

/// Both ends.
pub(super) fn pulse() -> (Pulse, Heart) {
    let (asks, asked) = mpsc::channel(1);
    (Pulse(asks), Heart(asked))
}

impl Pulse {
    /// Whether the loop comes by within [`AGENT_PULSE`].
    pub(super) async fn beats(&self) -> bool {
        let asked = async {
            let (answers, answered) = oneshot::channel();
            self.0.send(answers).await.is_ok() && answered.await.is_ok()
        };
        timeout(AGENT_PULSE, asked).await.unwrap_or(false)
    }
}

impl Heart {
    /// One that nobody asks.
    pub(in crate::agent) fn unasked() -> Self {
        pulse().1
    }

    /// Answers who asks, for as long as this is awaited. Dropping the future loses nothing.
    pub(in crate::agent) async fn beat(&mut self) {
        while let Some(answers) = self.0.recv().await {
            // Who asked may have gone.
            let _ = answers.send(());
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_comes_by_is_felt_and_one_that_does_not_is_not() {
        let (pulse, mut heart) = pulse();
        assert!(tokio::select! { beats = pulse.beats() => beats, () = heart.beat() => false });
        let start = Instant::now();
        // Those that wait do not get in each other's way, nor stay longer than they may.
        let both = tokio::join!(pulse.beats(), pulse.beats());
        assert_eq!((both, start.elapsed()), ((false, false), AGENT_PULSE));
        assert!(tokio::select! { beats = pulse.beats() => beats, () = heart.beat() => false });
        drop(heart);
        assert!(!pulse.beats().await);
    }
}
