//! Keeps what is published on disk: away from the threads that serve, one thing at a time, and
//! never waited for longer than [`STATE_ANSWER`]. A disk that answers again gets the newest state.

use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::Operation;
use crate::bounds::{STATE_ANSWER, STATE_CONFIRM};
use crate::model::{Snapshot, StateId};
use crate::sources::disk::{Disk, DiskError, KeptState, Left, Unused};
use crate::telemetry::chain;

/// Keeps the states of an operation.
#[derive(Debug)]
pub(super) struct Keeper {
    operation: Arc<Operation>,
    disk: Option<Disk>,
    /// What the file is to hold, and of which source that is.
    newest: Option<(Snapshot, Arc<str>)>,
    /// What it holds, as far as is known.
    kept: Option<StateId>,
    /// `newest` is to be written as soon as the disk is free.
    pending: bool,
    job: Option<Job>,
    /// The disk has not answered in time, which was logged.
    late: bool,
    confirm_due: Instant,
}

/// What the disk is doing.
#[derive(Debug)]
struct Job {
    done: JoinHandle<Result<(), DiskError>>,
    /// The state that the file holds after it.
    keeps: StateId,
}

impl Keeper {
    /// Keeps states on this disk; none: nowhere.
    pub(super) fn new(operation: Arc<Operation>, disk: Option<Disk>) -> Self {
        Self {
            operation,
            disk,
            newest: None,
            kept: None,
            pending: false,
            job: None,
            late: false,
            confirm_due: Instant::now(),
        }
    }

    /// What a former process left of this source. What cannot be used is logged: service begins without it.
    pub(super) async fn load(&mut self, source: &Arc<str>) -> Option<KeptState> {
        let disk = self.disk.clone()?;
        let name = Arc::clone(source);
        let Ok(loaded) = timeout(STATE_ANSWER, spawn_blocking(move || disk.load(&name))).await else {
            self.hangs();
            return None;
        };
        let operation = &self.operation.name;
        match loaded.ok()? {
            Ok(Left { kept, unused }) => {
                match unused {
                    Some(why @ Unused::OtherVersion { .. }) => {
                        tracing::warn!(%operation, %why, "the state on disk is not used");
                    }
                    Some(why @ Unused::OtherSource { .. }) => {
                        tracing::info!(%operation, %why, "the state on disk is not used");
                    }
                    None => {}
                }
                if let Some(kept) = &kept {
                    self.newest = Some((kept.snapshot.clone(), Arc::clone(source)));
                    self.kept = Some(kept.snapshot.id);
                }
                kept
            }
            Err(error) => {
                tracing::error!(%operation, error = %chain(&error), "the state on disk is not used");
                None
            }
        }
    }

    /// Keeps a state of this source, before it is published; service goes on without a disk that fails or hangs.
    pub(super) async fn keep(&mut self, snapshot: Snapshot, source: &Arc<str>) {
        if self.disk.is_none() {
            return;
        }
        self.newest = Some((snapshot, Arc::clone(source)));
        self.pending = true;
        self.confirm_due = Instant::now() + STATE_CONFIRM;
        if self.late {
            return;
        }
        let written = async {
            while self.is_busy() {
                self.answer().await;
            }
        };
        if timeout(STATE_ANSWER, written).await.is_err() {
            self.hangs();
        }
    }

    /// This source has confirmed its last report: now and then that is marked on disk, or what could not be kept is
    /// tried again.
    pub(super) fn confirmed(&mut self, source: &Arc<str>) {
        let Some((newest, of)) = &self.newest else { return };
        if self.job.is_some() || of != source || Instant::now() < self.confirm_due {
            return;
        }
        self.confirm_due = Instant::now() + STATE_CONFIRM;
        if self.kept == Some(newest.id) {
            let keeps = newest.id;
            self.begin(keeps, Disk::confirm);
        } else {
            self.pending = true;
        }
    }

    /// Goes on with what the disk is doing, and is to do; for ever if that is nothing. May be dropped.
    pub(super) async fn work(&mut self) {
        if !self.is_busy() {
            std::future::pending::<()>().await;
        }
        self.answer().await;
    }

    /// Begins what is to be done, if the disk is free. Whether it is doing anything.
    fn is_busy(&mut self) -> bool {
        if self.job.is_none()
            && std::mem::take(&mut self.pending)
            && let Some((newest, source)) = self.newest.clone()
        {
            self.begin(newest.id, move |disk| disk.store(&newest, &source));
        }
        self.job.is_some()
    }

    fn begin(&mut self, keeps: StateId, job: impl FnOnce(&Disk) -> Result<(), DiskError> + Send + 'static) {
        let Some(disk) = self.disk.clone() else { return };
        self.job = Some(Job { done: spawn_blocking(move || job(&disk)), keeps });
    }

    /// Waits for what the disk is doing. May be dropped.
    async fn answer(&mut self) {
        let Some(job) = &mut self.job else { return };
        let done = (&mut job.done).await;
        let keeps = job.keeps;
        self.job = None;
        let name = &self.operation.name;
        if std::mem::take(&mut self.late) {
            tracing::info!(operation = %name, "the state directory answers again");
        }
        match done {
            Ok(Ok(())) => self.kept = Some(keeps),
            Ok(Err(error)) => {
                // Serving goes on: a full disk must not keep a change from its clients.
                self.kept = None;
                self.operation.metrics.disk_errors.inc();
                tracing::error!(operation = %name, error = %chain(&error), "could not keep the state on disk");
            }
            // Only while the runtime shuts down.
            Err(_) => {}
        }
    }

    /// What is under way goes on: the next write follows when that is done, and is not waited for.
    fn hangs(&mut self) {
        self.late = true;
        self.operation.metrics.disk_errors.inc();
        tracing::error!(
            operation = %self.operation.name,
            "the state directory has not answered for {STATE_ANSWER:?}: states are published without being kept until it does"
        );
    }
}
