//! Files that say who may poll or that TLS is made of, and issuers, as `/state` shows them: whether what is in use is what they
//! give now. Nothing of what they hold is shown.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;
use serde_json::{Value, json};

use crate::authentication::issuer::Issuer;
use crate::escape::escape;
use crate::tls::acceptor::unix_now;

const DAY: f64 = 86_400.0;

/// All that is followed.
#[derive(Debug, Default)]
pub struct Followed {
    /// Files.
    pub files: Vec<Arc<FollowedFile>>,
    /// Issuers.
    pub issuers: Vec<Arc<Issuer>>,
}

/// A file, or several of which all or none are taken.
#[derive(Debug)]
pub struct FollowedFile {
    holds: String,
    paths: Vec<PathBuf>,
    /// Whether it could be taken last time.
    good: IntGauge,
    /// When the certificate that is in use ends; absent: it holds none.
    not_after: Option<IntGauge>,
    /// Why it could not be taken; absent: what is in use is what it holds.
    fault: Mutex<Option<String>>,
}

impl FollowedFile {
    /// Files that were taken. `good` shows whether they still can be.
    #[must_use]
    pub fn new(holds: String, paths: Vec<PathBuf>, good: IntGauge, not_after: Option<IntGauge>) -> Arc<Self> {
        good.set(1);
        Arc::new(Self { holds, paths, good, not_after, fault: Mutex::default() })
    }

    /// What it holds now is in use.
    pub fn is_taken(&self) {
        *self.fault() = None;
        self.good.set(1);
    }

    /// It could not be taken, and why, as the log tells it: what was taken before stays in use. Whether that is new.
    pub fn is_not_taken(&self, why: &str) -> bool {
        self.good.set(0);
        let mut fault = self.fault();
        let is_new = fault.as_deref() != Some(why);
        *fault = Some(why.to_owned());
        is_new
    }

    fn fault(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) -> Value {
        let fault = self.fault().clone();
        json!({
            "holds": self.holds,
            "paths": self.paths.iter().map(|path| escape(&path.display().to_string()).into_owned()).collect::<Vec<_>>(),
            "status": if fault.is_none() { "current" } else { "outdated" },
            "detail": fault.map(|fault| escape(&fault).into_owned()),
            "daysLeft": self.not_after.as_ref().map(|not_after| days(not_after.get() - unix_now())),
        })
    }
}

impl Followed {
    pub(super) fn files(&self) -> Value {
        self.files.iter().map(|file| file.show()).collect()
    }

    /// The issuers whose keys were never there.
    pub(super) fn without_keys(&self) -> Vec<String> {
        let without = self.issuers.iter().filter(|issuer| issuer.health().keys.is_none());
        without.map(|issuer| issuer.config().url.to_string()).collect()
    }

    pub(super) fn issuers(&self) -> Value {
        self.issuers.iter().map(|issuer| show(issuer)).collect()
    }
}

fn show(issuer: &Issuer) -> Value {
    let health = issuer.health();
    let status = match (&health.failed, health.keys) {
        (Some(_), _) => "lost",
        (None, None) => "starting",
        (None, Some(_)) => "live",
    };
    json!({
        "url": issuer.config().url.as_str(),
        "status": status,
        "detail": health.failed.map(|failed| escape(&failed).into_owned()),
        "keys": health.keys.unwrap_or(0),
        "fetchedSeconds": health.fetched.map(|at| at.elapsed().as_secs()),
    })
}

/// In tenths.
#[expect(clippy::cast_precision_loss, reason = "tenths of days are shown")]
fn days(seconds: i64) -> f64 {
    (seconds as f64 / DAY * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_taken_is_outdated_until_it_can_be() {
        let good = IntGauge::new("a", "b").expect("a name");
        let not_after = IntGauge::new("c", "d").expect("a name");
        not_after.set(unix_now() + 10 * 86_400);
        let file =
            FollowedFile::new("certificate".to_owned(), vec!["/tls/tls.crt".into()], good.clone(), Some(not_after));
        let shown = |status: &str, detail: Option<&str>| {
            json!({
                "holds": "certificate", "paths": ["/tls/tls.crt"], "status": status, "detail": detail, "daysLeft": 10.0,
            })
        };
        assert_eq!((file.show(), good.get()), (shown("current", None), 1));
        assert!(file.is_not_taken("is gone"));
        assert!(!file.is_not_taken("is gone"), "the log says it once");
        assert_eq!((file.show(), good.get()), (shown("outdated", Some("is gone")), 0));
        assert!(file.is_not_taken("is a directory"));
        file.is_taken();
        assert_eq!((file.show(), good.get()), (shown("current", None), 1));
    }
}
