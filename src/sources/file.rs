//! The file source: a model that somebody else writes to a file.
//!
//! A rename over it, a write in place and the swap of a link on the way to it are all seen:
//! [`watch`] gives notices, and a look every [`FILE_POLL`] finds what had none. [`debounce`]
//! decides when to read; [`read`] reads; this file reports what was found, each thing once.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use self::debounce::{Action, Debounce, Noticed};
use self::read::Found;
use self::watch::Watcher;
use super::{Draft, Report, Reports, Unusable};
use crate::bounds::{FILE_ANSWER, FILE_NOTICES, FILE_POLL};
use crate::config::Format;
use crate::model::{Epoch, Provenance, SourceRevisions};

mod debounce;
mod read;
mod watch;

#[cfg(test)]
mod tests;

/// A file that holds a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// The operation's name: the history that the file's states belong to.
    pub operation: String,
    /// Its path; symbolic links are followed anew each time.
    pub path: PathBuf,
    /// How it is read.
    pub format: Format,
    /// Links may not lead out of this directory, which holds `path`; absent: they may lead anywhere.
    pub below: Option<PathBuf>,
}

/// The reports are no longer received.
#[derive(Debug)]
struct Closed;

/// The epoch of a file: the operation's name, never inode or time, so that a restart and another
/// replica continue it.
#[must_use]
pub fn epoch(operation: &str) -> Epoch {
    Epoch::of(&["file", operation])
}

/// Reports the file until its reports are no longer received.
pub async fn run(file: FileSource, reports: Reports) {
    let (sender, notices) = mpsc::channel(FILE_NOTICES);
    let watcher = Watcher::new(file.path.clone(), sender);
    let Err(Closed) = Follower::new(file, reports).follow(Some(watcher), notices).await;
}

struct Follower {
    file: FileSource,
    epoch: Epoch,
    reports: Reports,
    debounce: Debounce,
    last_report: LastReport,
}

impl Follower {
    fn new(file: FileSource, reports: Reports) -> Self {
        let epoch = epoch(&file.operation);
        Self { file, epoch, reports, debounce: Debounce::default(), last_report: LastReport::default() }
    }

    /// Without a watcher, looks alone find the changes.
    async fn follow(
        mut self,
        mut watcher: Option<Watcher>,
        mut notices: mpsc::Receiver<Noticed>,
    ) -> Result<Infallible, Closed> {
        let path = self.file.path.clone();
        let at_rest = self.answer(move || read::is_at_rest(&path)).await?;
        let mut why = if at_rest { Noticed::First } else { Noticed::Looked };
        loop {
            let woken = Instant::now();
            let path = self.file.path.clone();
            let identity;
            (watcher, identity) = self
                .answer(move || {
                    // The watch first, so that a change after the look has its notice.
                    watcher.iter_mut().for_each(Watcher::follow);
                    let identity = read::look(&path);
                    (watcher, identity)
                })
                .await?;
            let mut step = self.debounce.notice(why, identity, Instant::now().into_std());
            if step == Action::Read {
                step = self.read(woken).await?;
            }
            if step == Action::Nothing
                && let Some(report) = self.last_report.confirm(self.epoch, woken)
            {
                self.reports.send(report).await.map_err(|_| Closed)?;
            }
            let poll = woken + FILE_POLL;
            let until = if let Action::Wait(due) = step { Instant::from_std(due).min(poll) } else { poll };
            why = tokio::select! {
                () = self.reports.closed() => return Err(Closed),
                Some(notice) = notices.recv() => notice,
                () = sleep_until(until) => Noticed::Looked,
            };
            while let Ok(next) = notices.try_recv() {
                why = why.then(next);
            }
        }
    }

    /// Reads the file and reports what was found, if that is new. `woken`: when the change was seen.
    async fn read(&mut self, woken: Instant) -> Result<Action, Closed> {
        // Not before the report can be taken, so that it is the newest then.
        drop(self.reports.reserve().await.map_err(|_| Closed)?);
        let (FileSource { path, format, below, .. }, known) = (self.file.clone(), self.last_report.known());
        let (met, found) = self.answer(move || read::read(&path, below.as_deref(), &format, known)).await?;
        let (counts, step) = self.debounce.has_read(met, Instant::now().into_std());
        if counts && let Some(report) = self.last_report.report(found, self.epoch, woken) {
            self.reports.send(report).await.map_err(|_| Closed)?;
        }
        Ok(step)
    }

    /// What `work` gives, on a thread that may block. A file system that does not answer is
    /// reported, once, and waited for: a second attempt would block a second thread.
    async fn answer<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Closed> {
        let mut work = tokio::task::spawn_blocking(work);
        let mut late = false;
        let answer = loop {
            tokio::select! {
                () = self.reports.closed() => return Err(Closed),
                answer = &mut work => break answer,
                () = sleep(FILE_ANSWER), if !late => {
                    late = true;
                    let seconds = FILE_ANSWER.as_secs();
                    let reason = format!("file {}: the file system has not answered for {seconds} s", self.file.path.display());
                    if let Some(report) = self.last_report.report(Found::Lost(reason), self.epoch, Instant::now()) {
                        self.reports.send(report).await.map_err(|_| Closed)?;
                    }
                }
            }
        };
        answer.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down.
            Err(_) => Closed,
        })
    }
}

/// What was reported last, so that nothing is reported twice.
#[derive(Debug, Default)]
struct LastReport {
    content: LastContent,
    /// Reported after that: why the file cannot be asked.
    lost: Option<String>,
    /// When the last good state was last confirmed.
    confirmed: Option<Instant>,
}

#[derive(Debug, Default)]
enum LastContent {
    #[default]
    Nothing,
    Good(blake3::Hash),
    Bad(Unusable, Option<blake3::Hash>),
}

impl LastReport {
    /// The hash of the bytes that were reported last.
    fn known(&self) -> Option<blake3::Hash> {
        match &self.content {
            LastContent::Nothing => None,
            LastContent::Good(hash) => Some(*hash),
            LastContent::Bad(_, hash) => *hash,
        }
    }

    fn report(&mut self, found: Found, epoch: Epoch, seen: Instant) -> Option<Report> {
        match found {
            Found::Lost(reason) if self.lost.as_ref() == Some(&reason) => None,
            Found::Lost(reason) => {
                self.lost = Some(reason.clone());
                Some(Report::Lost { reason })
            }
            Found::Good(content, hash) => {
                *self = Self { content: LastContent::Good(hash), lost: None, confirmed: Some(seen) };
                Some(Report::Holds(Draft {
                    epoch,
                    version: 0,
                    content,
                    provenance: Provenance::Read,
                    revisions: SourceRevisions::NONE,
                    source_objects: Arc::default(),
                    seen,
                }))
            }
            Found::Bad(unusable, hash) => {
                let was_lost = self.lost.take().is_some();
                let known = matches!(&self.content, LastContent::Bad(last, _) if *last == unusable);
                self.content = LastContent::Bad(unusable.clone(), hash);
                (was_lost || !known).then_some(Report::Unusable(unusable))
            }
            Found::Known => {
                let was_lost = self.lost.take().is_some();
                match &self.content {
                    LastContent::Bad(unusable, _) => was_lost.then(|| Report::Unusable(unusable.clone())),
                    LastContent::Good(_) if was_lost => {
                        self.confirmed = Some(seen);
                        Some(Report::Confirmed)
                    }
                    LastContent::Good(_) | LastContent::Nothing => None,
                }
            }
        }
    }

    /// The file is as it was read: every second look says so, or the first after an absence.
    fn confirm(&mut self, epoch: Epoch, now: Instant) -> Option<Report> {
        if self.lost.is_some() {
            return self.report(Found::Known, epoch, now);
        }
        let is_due = self.confirmed.is_none_or(|confirmed| now >= confirmed + FILE_POLL * 3 / 2);
        (is_due && matches!(self.content, LastContent::Good(_))).then(|| {
            self.confirmed = Some(now);
            Report::Confirmed
        })
    }
}
