//! Answers that are kept here, and fetched by the consumers themselves, so that their bytes do not go through the exchange. Whoever
//! knows the key of one may fetch it, once.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderValue, Response};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::metrics::Ended;
use crate::bounds::WORKER_KEPT;

mod patience;
mod port;

pub(super) use self::port::serve_fetches;

/// Where answers are kept: as many at most as there are slots, since each keeps its own.
#[derive(Debug)]
pub(super) struct Redirect {
    /// The URL by which consumers come, without a slash at its end.
    advertise: String,
    kept: Mutex<HashMap<String, Kept>>,
}

#[derive(Debug)]
struct Kept {
    response: Response<Incoming>,
    sent: oneshot::Sender<Ended>,
}

/// An answer that is kept. It is gone once this is dropped.
#[derive(Debug)]
pub(super) struct Fetch {
    redirect: Arc<Redirect>,
    key: String,
    sent: oneshot::Receiver<Ended>,
    until: Instant,
}

impl Redirect {
    pub(super) fn new(advertise: &str) -> Self {
        Self { advertise: advertise.to_owned(), kept: Mutex::default() }
    }

    /// Keeps an answer; gives where it can be fetched.
    pub(super) fn keep(self: &Arc<Self>, response: Response<Incoming>) -> (HeaderValue, Fetch) {
        let key = key();
        let (sends, sent) = oneshot::channel();
        self.kept().insert(key.clone(), Kept { response, sent: sends });
        let location = HeaderValue::try_from(format!("{}/{key}", self.advertise));
        // It was a URL before the key was there.
        let location = location.unwrap_or_else(|_| HeaderValue::from_static("/"));
        let fetch = Fetch { redirect: Arc::clone(self), key, sent, until: Instant::now() + WORKER_KEPT };
        (location, fetch)
    }

    /// Takes an answer out, for good.
    fn take(&self, key: &str) -> Option<Kept> {
        self.kept().remove(key)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetch {
    /// Waits until the answer was fetched, or its time is over.
    pub(super) async fn ended(mut self) -> Ended {
        let of = |sent: Result<Ended, _>| sent.unwrap_or(Ended::Unfetched);
        tokio::select! {
            sent = &mut self.sent => return of(sent),
            () = sleep_until(self.until) => {}
        }
        // Where somebody fetches it, that goes on.
        if self.redirect.take(&self.key).is_some() {
            return Ended::Unfetched;
        }
        of((&mut self.sent).await)
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.redirect.take(&self.key);
    }
}

/// 128 bits that nobody foresees.
fn key() -> String {
    let mut random = [0; 16];
    #[expect(clippy::expect_used, reason = "without random numbers no key is a secret, and TLS could not work either")]
    aws_lc_rs::rand::fill(&mut random).expect("the system gives random bytes");
    random.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a text has the form of a key.
fn is_key(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_have_their_form() {
        let (one, other) = (key(), key());
        assert!(is_key(&one) && is_key(&other) && one != other, "{one} {other}");
        assert!(!is_key("") && !is_key(&"g".repeat(32)) && !is_key(&one[1..]));
    }
}
