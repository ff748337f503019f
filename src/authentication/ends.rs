//! Certificates that end while their clients are connected: their owners are lost then. One that ends later than any request
//! is held is looked at again with the next request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;

use crate::access::Certificate;
use crate::access::caller::{Known, Loss};

/// Longer than a request is held: an hour at most.
const AHEAD: Duration = Duration::from_secs(2 * 3600);

/// The certificates that end soon: no more than there are connections.
#[derive(Debug)]
pub(super) struct Ends {
    soon: Mutex<BTreeMap<(Instant, usize), Weak<Known>>>,
    added: Notify,
    withdrawals: Arc<watch::Sender<u64>>,
}

impl Ends {
    pub(super) fn new(withdrawals: Arc<watch::Sender<u64>>) -> Self {
        Self { soon: Mutex::default(), added: Notify::new(), withdrawals }
    }

    /// A request was sent with this certificate, which is lost at its end.
    pub(super) fn watch(&self, certificate: &Certificate, now: Instant) {
        let Certificate { owner, ends } = certificate;
        if *ends <= now {
            return owner.lose(Loss::Withdrawn);
        }
        if *ends > now + AHEAD {
            return;
        }
        let key = (*ends, Arc::as_ptr(owner).addr());
        // The weak reference keeps the place in memory, so no other owner has it while it is here.
        if self.soon().insert(key, Arc::downgrade(owner)).is_none() {
            self.added.notify_one();
        }
    }

    /// Ends them at their time; without end.
    pub(super) async fn maintain(&self) {
        loop {
            let next = self.soon().first_key_value().map(|((at, _), _)| *at);
            let time = async {
                match next {
                    Some(next) => sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => self.end(tokio::time::Instant::now().into_std()),
                () = self.added.notified() => {}
            }
        }
    }

    fn end(&self, now: Instant) {
        let mut any_lost = false;
        let mut soon = self.soon();
        while let Some(entry) = soon.first_entry().filter(|entry| entry.key().0 <= now) {
            if let Some(owner) = entry.remove().upgrade() {
                owner.lose(Loss::Withdrawn);
                any_lost = true;
            }
        }
        drop(soon);
        if any_lost {
            self.withdrawals.send_modify(|count| *count += 1);
        }
    }

    fn soon(&self) -> MutexGuard<'_, BTreeMap<(Instant, usize), Weak<Known>>> {
        self.soon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(lasts: Duration) -> Certificate {
        let ends = tokio::time::Instant::now().into_std() + lasts;
        Certificate { owner: Known::new("a", Box::default()), ends }
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_is_lost_when_the_certificate_ends() {
        let ends = Arc::new(Ends::new(Arc::default()));
        let mut told = ends.withdrawals.subscribe();
        let now = || tokio::time::Instant::now().into_std();
        let (soon, late, over) =
            (certificate(Duration::from_secs(60)), certificate(3 * AHEAD), certificate(Duration::ZERO));
        let maintained = Arc::clone(&ends);
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(async move { maintained.maintain().await });
        for certificate in [&soon, &soon, &late, &over] {
            ends.watch(certificate, now());
        }
        assert_eq!((over.owner.lost(), ends.soon().len()), (Some(Loss::Withdrawn), 1));
        let start = tokio::time::Instant::now();
        told.wait_for(|count| *count == 1).await.expect("it lives");
        assert_eq!((soon.owner.lost(), start.elapsed().as_secs()), (Some(Loss::Withdrawn), 60));
        assert_eq!((late.owner.lost(), ends.soon().len()), (None, 0));
    }
}
