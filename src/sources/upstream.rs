//! The app as a source: its model is fetched from the app behind, at an interval or on a trigger.
//!
//! [`driver`] decides when to ask, [`fetch`] asks, [`answer`] reads the head of what comes; this
//! file reads a model from it and reports what is new. The app sees an ordinary client: with
//! our own `User-Agent`, and with nothing of any client.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use tokio::time::{Instant, sleep_until};

use self::answer::{Head, Without};
use self::driver::{Action, Driver, Input};
use self::fetch::Model;
use self::reading::Reading;
use super::{Draft, LARGE, Report, Reports, Unusable, format};
use crate::bounds::TRIGGER_CONFIRM;
use crate::config::{Format, FormatName};
use crate::model::{Content, Digest, Epoch, Provenance, SourceRevisions};

mod answer;
mod driver;
mod fetch;
mod reading;
mod trigger;

pub use trigger::Trigger;

/// A model that the app serves.
#[derive(Debug, Clone)]
pub struct UpstreamSource {
    /// The operation's name: the history that the app's states belong to.
    pub operation: String,
    /// Where the app is; port 80 where none is named.
    pub authority: Authority,
    /// What is asked for.
    pub path: PathAndQuery,
    /// When it is asked for.
    pub refresh: Refresh,
    /// How the answer is read; none: by its media type.
    pub format: Option<FormatName>,
    /// The state that is served is one of the app's, and JSON.
    pub serves_json: bool,
}

/// When the app is asked for its model.
#[derive(Debug, Clone)]
pub enum Refresh {
    /// Each time this is over, less up to a tenth.
    Every(Duration),
    /// When this is pulled; also at the start, and once a minute, in case a pull was missed.
    On(Trigger),
}

/// The reports are no longer received.
#[derive(Debug)]
struct Closed;

/// The epoch of an app: the operation's name, so that a restart and another replica continue it.
#[must_use]
pub fn epoch(operation: &str) -> Epoch {
    Epoch::of(&["upstream", operation])
}

/// Reports the app's model until its reports are no longer received.
pub async fn run(source: UpstreamSource, reports: Reports) {
    tokio::select! {
        () = reports.closed() => {}
        Err(Closed) = follow(&source, &reports) => {}
    }
}

async fn follow(source: &UpstreamSource, reports: &Reports) -> Result<Infallible, Closed> {
    let (every, trigger) = match &source.refresh {
        Refresh::Every(every) => (*every, None),
        Refresh::On(trigger) => (TRIGGER_CONFIRM, Some(trigger)),
    };
    let mut pulled = trigger.map_or(0, Trigger::times);
    let mut driver = Driver::new(every, Instant::now().into_std());
    let mut last_report = LastReport::new(source);
    loop {
        if let Some(trigger) = trigger
            && trigger.times() != pulled
        {
            let times = trigger.times();
            driver.triggered(times.wrapping_sub(pulled), Instant::now().into_std());
            pulled = times;
        }
        match driver.step(Instant::now().into_std()) {
            Action::Sleep(until) => {
                let triggered = async {
                    match trigger {
                        Some(trigger) => trigger.pulled_since(pulled).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = triggered => {}
                    () = sleep_until(until.into()) => {}
                }
            }
            Action::Fetch => {
                // Not before the report can be taken, so that it is the newest then.
                let permit = reports.reserve().await.map_err(|_| Closed)?;
                driver.begins(Instant::now().into_std());
                let (outcome, report) = last_report.ask(source).await;
                driver.ended(outcome, Instant::now().into_std(), fastrand::f64());
                if let Some(report) = report {
                    permit.send(report);
                }
            }
        }
    }
}

/// What was fetched and reported last, so that nothing is read or reported twice.
#[derive(Debug)]
struct LastReport {
    /// Names the request in messages.
    what: String,
    reading: Reading,
    epoch: Epoch,
    known: Option<FetchedBody>,
    content: LastContent,
    /// Reported after that: why the app cannot be asked.
    lost: Option<String>,
}

/// A body that was fetched, with its head.
#[derive(Debug)]
struct FetchedBody {
    head: Head,
    hash: blake3::Hash,
}

#[derive(Debug)]
enum LastContent {
    Nothing,
    Good(Digest),
    Bad(Unusable),
}

impl LastReport {
    fn new(source: &UpstreamSource) -> Self {
        let what = format!("GET http://{}{}", source.authority, source.path);
        let reading = Reading { asked: source.format.clone(), was_json: source.serves_json };
        Self { what, reading, epoch: epoch(&source.operation), known: None, content: LastContent::Nothing, lost: None }
    }

    /// Asks the app once, and returns what is to be reported of its answer.
    async fn ask(&mut self, source: &UpstreamSource) -> (Input, Option<Report>) {
        let validator = self.known.as_ref().and_then(|known| known.head.validator.as_ref());
        match fetch::fetch(&source.authority, &source.path, validator, &self.reading, &self.what).await {
            Ok(model) => self.model(model).await,
            Err(Without::NotModified) => self.same(),
            Err(Without::Lost { reason, retry_after }) => {
                let known = self.lost.replace(reason.clone()).is_some_and(|last| last == reason);
                (Input::Lost(retry_after), (!known).then_some(Report::Lost { reason }))
            }
            Err(Without::Unusable(unusable)) => {
                self.known = None;
                (Input::Unusable, self.bad(unusable))
            }
        }
    }

    async fn model(&mut self, Model { head, bytes }: Model) -> (Input, Option<Report>) {
        let seen = Instant::now();
        let hash = blake3::hash(&bytes);
        let format = head.format.clone();
        let known = self.known.replace(FetchedBody { head, hash });
        if known.is_some_and(|known| (known.hash, known.head.format) == (hash, format.clone())) {
            return self.same();
        }
        match read(bytes, format, &self.what).await {
            Ok(content) => {
                let digest = content.digest();
                let outcome = match &self.content {
                    // Spelt in another way, perhaps by chance: no sign that the app has learnt of a change.
                    LastContent::Good(last) if *last == digest => Input::Unchanged,
                    LastContent::Good(_) | LastContent::Bad(_) | LastContent::Nothing => Input::Changed,
                };
                self.reading.was_json = matches!(content, Content::Json(_));
                (self.content, self.lost) = (LastContent::Good(digest), None);
                (outcome, Some(Report::Holds(self.draft(content, seen))))
            }
            Err(unusable) => (Input::Unusable, self.bad(unusable)),
        }
    }

    /// What the app holds is authoritative, but has no order of its own.
    fn draft(&self, content: Content, seen: Instant) -> Draft {
        Draft {
            epoch: self.epoch,
            version: 0,
            content,
            provenance: Provenance::Read,
            revisions: SourceRevisions::NONE,
            source_objects: Arc::default(),
            seen,
        }
    }

    /// The app holds what it held. Nothing is confirmed while that cannot be served: it would make
    /// the last good state look fresh.
    fn same(&mut self) -> (Input, Option<Report>) {
        let was_lost = self.lost.take().is_some();
        match &self.content {
            LastContent::Bad(unusable) => (Input::Unusable, was_lost.then(|| Report::Unusable(unusable.clone()))),
            LastContent::Good(_) | LastContent::Nothing => (Input::Unchanged, Some(Report::Confirmed)),
        }
    }

    fn bad(&mut self, unusable: Unusable) -> Option<Report> {
        let was_lost = self.lost.take().is_some();
        let known = matches!(&self.content, LastContent::Bad(last) if *last == unusable);
        self.content = LastContent::Bad(unusable.clone());
        (was_lost || !known).then_some(Report::Unusable(unusable))
    }
}

async fn read(bytes: bytes::Bytes, form: Format, what: &str) -> Result<Content, Unusable> {
    if bytes.len() <= LARGE {
        return format::read(&bytes, &form, what);
    }
    let what = what.to_owned();
    let reading = tokio::task::spawn_blocking(move || format::read(&bytes, &form, &what));
    reading.await.expect("reading content does not panic")
}
