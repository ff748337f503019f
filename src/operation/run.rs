//! The task of an operation. It alone owns the [`Store`]: it takes a report, compares, waits for the
//! turn of the newest state, puts that on disk, and publishes it.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::settings::Settings;
use super::withheld::Withheld;
use super::{Applied, Operation, Status};
use crate::bounds::STATE_CONFIRM;
use crate::model::{Content, Offer, Snapshot, StateId, Store};
use crate::sources::disk::Disk;
use crate::sources::{Authority, Draft, Report, Unusable, UnusableKind, wall_clock};

/// Content of more bytes is compared away from the threads that serve clients.
const LARGE: usize = 64 * 1024;

/// The task of an operation: from reports to publications. Ends when its source does.
#[derive(Debug)]
pub struct Run {
    operation: Arc<Operation>,
    store: Store,
    /// What it goes on by; newer ones may wait in the operation.
    settings: Settings,
    disk: Option<Arc<Disk>>,
    confirm_due: Instant,
}

impl Run {
    /// A run that goes on with what is on disk, if anything is.
    #[must_use]
    pub fn new(operation: Arc<Operation>, disk: Option<Arc<Disk>>, kept: Option<(Snapshot, SystemTime)>) -> Self {
        let settings = operation.settings.borrow().clone();
        let rules = settings.rules();
        let store = match kept {
            None => Store::new(rules),
            Some((snapshot, confirmed)) => {
                let age = wall_clock().duration_since(confirmed).unwrap_or_default();
                operation.freshness.restored(age);
                let id = snapshot.id;
                tracing::info!(operation = %operation.name, %id, age_seconds = age.as_secs(), "serving the state kept on disk");
                operation.hub.restore(&snapshot);
                Store::restored(rules, snapshot)
            }
        };
        Self { operation, store, settings, disk, confirm_due: Instant::now() }
    }

    /// Takes reports until the source ends.
    pub async fn run(mut self, mut reports: mpsc::Receiver<Report>) {
        let mut settings = self.operation.settings.subscribe();
        if self.settings.confirmed.is_some() {
            self.store.confirm(self.settings.confirmed, Instant::now().into_std());
        }
        loop {
            let due = self.store.due(Instant::now().into_std()).map(Instant::from_std);
            let turn = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let changed = async {
                let seen = settings.wait_for(|settings| !settings.are(&self.settings)).await;
                debug_assert!(seen.is_ok(), "the operation holds the sender");
            };
            tokio::select! {
                // What is due goes out before more is taken in: a source that never stops talking
                // must not keep clients from the newest state.
                biased;
                () = turn => self.publish().await,
                () = self.operation.hurry.notified() => self.publish().await,
                () = changed => self.follow(),
                report = reports.recv() => match report {
                    Some(report) => self.take(report).await,
                    None => return,
                },
            }
        }
    }

    /// Goes on by the settings that hold now.
    fn follow(&mut self) {
        let (now, name) = (Instant::now().into_std(), &self.operation.name);
        let before = std::mem::replace(&mut self.settings, self.operation.settings.borrow().clone());
        match (before.config.paused, self.settings.config.paused) {
            (false, true) => tracing::info!(operation = %name, "paused: the published state stays"),
            (true, false) => tracing::info!(operation = %name, "resumed"),
            (true, true) | (false, false) => {}
        }
        self.store.set_rules(self.settings.rules(), now);
        // A confirmation is for once, so it is handed on when it changes and not with every other setting.
        if before.confirmed != self.settings.confirmed {
            self.store.confirm(self.settings.confirmed, now);
        }
        self.tell();
    }

    async fn take(&mut self, report: Report) {
        let operation = Arc::clone(&self.operation);
        match report {
            Report::Holds(draft) => match self.version_of(&draft) {
                Ok(version) => {
                    let draft = self.shared(draft).await;
                    self.offer(&draft, version);
                    operation.freshness.live();
                    operation.set_status(Status::Live);
                }
                Err(unusable) => self.unusable(unusable),
            },
            Report::Confirmed => {
                // It confirms what the source last said: which is worth something only if that was usable.
                if matches!(operation.status(), Status::Unusable(_)) {
                    return;
                }
                operation.freshness.live();
                operation.set_status(Status::Live);
                self.confirm_on_disk().await;
            }
            // Who waited for it sees that what it showed is published ([`Operation::catch_up`]).
            Report::Settled(number) => operation.reads.settle(number, operation.freshness.is_live()),
            Report::Unusable(unusable) => self.unusable(unusable),
            Report::Lost { reason } => {
                operation.freshness.lost();
                // Out of contact with a source that had nothing usable: that is still what to mend first.
                if !matches!(operation.status(), Status::Unusable(_)) {
                    operation.set_status(Status::Lost(reason));
                }
            }
        }
    }

    /// The draft, made of the parts of what is published wherever both agree: so past states cost their difference.
    async fn shared(&self, draft: Draft) -> Draft {
        let Some(published) = self.store.published() else { return draft };
        if draft.content.len() <= LARGE {
            return Draft { content: draft.content.sharing(&published.content), ..draft };
        }
        let (new, old) = (draft.content.clone(), published.content.clone());
        // It fails only while the runtime shuts down; the content alone serves as well. What is not shared is
        // given back there too, which costs as much as reading it did.
        match tokio::task::spawn_blocking(move || new.sharing(&old)).await {
            Ok(content) => Draft { content, ..draft },
            Err(_) => draft,
        }
    }

    fn unusable(&mut self, unusable: Unusable) {
        self.operation.freshness.lost();
        self.operation.set_status(Status::Unusable(unusable));
    }

    /// The version of a draft: the source's, or the integer in the model that `versionFrom` names.
    fn version_of(&self, draft: &Draft) -> Result<u64, Unusable> {
        let Some(pointer) = &self.settings.config.version_from else { return Ok(draft.version) };
        let found = match &draft.content {
            Content::Json(document) => document.scalar_at(pointer),
            Content::Opaque { .. } => None,
        };
        found.and_then(|text| text.parse().ok()).ok_or_else(|| Unusable {
            kind: UnusableKind::Invalid,
            detail: format!(
                "versionFrom {pointer} finds {} in the model: it must be an integer from 0 to {}",
                found.unwrap_or("nothing"),
                u64::MAX
            ),
        })
    }

    fn offer(&mut self, draft: &Draft, version: u64) {
        let truth = draft.authority == Authority::Read;
        let offer = self.store.offer(draft.epoch, version, &draft.content, draft.inputs, truth, draft.seen.into_std());
        if offer != Offer::Older {
            let id = StateId { epoch: draft.epoch, version, digest: draft.content.digest() };
            let applied = Applied { id, inputs: draft.inputs, parts: Arc::clone(&draft.parts) };
            *self.operation.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(applied);
        }
        let (name, epoch) = (&self.operation.name, draft.epoch);
        match offer {
            Offer::Changed { restored: true } => {
                tracing::warn!(operation = %name, %epoch, version, "the source went back to an older version: taken as the truth");
                self.operation.metrics.restored.inc();
            }
            Offer::Moved => {
                if let Some(published) = self.store.published() {
                    self.operation.hub.move_version(published.id.version);
                }
            }
            Offer::Changed { restored: false } | Offer::Same => {}
            Offer::Older => {
                tracing::debug!(operation = %name, %epoch, version, "dropped an older version");
                self.operation.metrics.older.inc();
            }
        }
        self.tell();
    }

    /// Says what waits and what may not be published.
    fn tell(&self) {
        self.operation.set_inputs(self.store.inputs());
        self.operation.waiting.send_replace(self.store.waiting().map(|next| next.id));
        let (id, held) = (self.store.withheld().map(|next| next.id), self.store.held());
        self.operation.set_withheld(Withheld { id, held });
    }

    /// Publishes what waits, once it is on disk: a client never holds what a restart could not give back.
    async fn publish(&mut self) {
        let Some(snapshot) = self.store.waiting().cloned() else { return };
        self.keep(snapshot).await;
        if let Some(publication) = self.store.publish(Instant::now().into_std()) {
            let (id, bytes) = (publication.snapshot.id, publication.snapshot.content.len());
            let before = self.operation.hub.current().map(|served| served.snapshot.id.epoch);
            self.operation.begins(before, id.epoch);
            self.operation.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            self.operation.hub.publish(&publication);
            self.operation.set_inputs(self.store.inputs());
            let parked = self.operation.hub.parked();
            tracing::info!(operation = %self.operation.name, %id, bytes, parked, "published");
        }
        self.tell();
    }

    async fn keep(&mut self, snapshot: Snapshot) {
        let Some(disk) = self.disk.clone() else { return };
        let kept = tokio::task::spawn_blocking(move || disk.store(&snapshot)).await;
        if let Ok(Err(error)) = kept {
            // Serving goes on: a full disk must not keep a change from its clients.
            self.disk_failed(&error);
        }
        self.confirm_due = Instant::now() + STATE_CONFIRM;
    }

    async fn confirm_on_disk(&mut self) {
        let Some(disk) = self.disk.clone() else { return };
        if Instant::now() < self.confirm_due || self.store.published().is_none() {
            return;
        }
        self.confirm_due = Instant::now() + STATE_CONFIRM;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || disk.confirm()).await {
            self.disk_failed(&error);
        }
    }

    fn disk_failed(&self, error: &crate::sources::disk::DiskError) {
        self.operation.metrics.disk_errors.inc();
        let error = crate::telemetry::chain(error);
        tracing::error!(operation = %self.operation.name, %error, "could not keep the state on disk");
    }
}
