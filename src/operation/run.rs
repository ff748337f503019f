//! The task of an operation. It alone owns the [`Store`]: it takes a report, compares, waits for the
//! turn of the newest state, puts that on disk, and publishes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::keeper::Keeper;
use super::settings::Settings;
use super::tell::spread;
use super::{Applied, Facts, Operation, Published, Status};
use crate::bounds::CLIENT_STALE;
use crate::hub::Who;
use crate::model::{Content, Offer, StateId, Store};
use crate::sources::describe::Relayed;
use crate::sources::disk::{Disk, KeptState};
use crate::sources::{Draft, Report, Unusable, UnusableKind, wall_clock};

/// Content of more bytes is compared away from the threads that serve clients.
const LARGE: usize = 64 * 1024;

/// The reports of one source, from its start to its end.
#[derive(Debug)]
pub struct Feed {
    /// The identity of the source: to which history its states belong, in words.
    pub source: Arc<str>,
    /// Where its model holds its version, if that is how it has one.
    pub version_from: Option<String>,
    /// Its reports.
    pub reports: mpsc::Receiver<Report>,
}

/// The task of an operation: from reports to publications. Ends when no source can follow the last one.
#[derive(Debug)]
pub struct Run {
    operation: Arc<Operation>,
    store: Store,
    /// The newest state that the source gave.
    applied: Option<Applied>,
    /// What waits for its turn is older than what is published: the source was restored.
    goes_back: bool,
    /// The health of the source.
    status: Status,
    /// The settings in effect; newer ones may wait in the operation.
    settings: Settings,
    keeper: Keeper,
}

impl Run {
    /// A run that has no state yet and keeps those that it publishes on this disk.
    #[must_use]
    pub fn new(operation: Arc<Operation>, disk: Option<Disk>) -> Self {
        let settings = operation.settings.borrow().clone();
        let keeper = Keeper::new(Arc::clone(&operation), disk);
        Self {
            store: Store::new(settings.rules()),
            applied: None,
            goes_back: false,
            status: Status::default(),
            operation,
            settings,
            keeper,
        }
    }

    /// Takes the reports of one source after the other.
    pub async fn run(mut self, mut feeds: mpsc::Receiver<Feed>) {
        let mut settings = self.operation.settings.subscribe();
        let Some(mut feed) = feeds.recv().await else { return };
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
                biased;
                // Nothing of a source that is none any more is taken or published.
                next = feeds.recv() => match next {
                    Some(next) => {
                        feed = next;
                        self.source_changed();
                    }
                    None => return,
                },
                // What is due goes out before more is taken in: a source that never stops talking
                // must not keep clients from the newest state.
                () = turn => self.publish(&feed).await,
                () = self.operation.hurry.notified() => self.publish(&feed).await,
                () = changed => self.follow(),
                () = self.keeper.work() => {}
                Some(report) = feed.reports.recv() => self.take(report, &feed).await,
            }
        }
    }

    /// Goes on with what a former process left of this source, if that can be known in time.
    pub async fn restore(&mut self, source: &str) {
        let Some(KeptState { snapshot, confirmed }) = self.keeper.load(&Arc::from(source)).await else { return };
        let age = wall_clock().duration_since(confirmed).unwrap_or_default();
        self.operation.freshness.restored(age);
        let (operation, id) = (&self.operation.name, snapshot.id);
        tracing::info!(%operation, %id, age_seconds = age.as_secs(), "serving the state kept on disk");
        self.operation.hub.restore(&snapshot);
        self.store = Store::restored(self.settings.rules(), snapshot);
        self.update();
    }

    /// What is published stays until the first report of the new source; what is not published yet is discarded.
    fn source_changed(&mut self) {
        self.store.discard();
        self.operation.freshness.lost();
        self.set_status(Status::Lost("its source was changed".to_owned()));
        self.update();
    }

    /// Adopts the current settings.
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
        self.update();
    }

    async fn take(&mut self, report: Report, feed: &Feed) {
        match report {
            Report::Holds(draft) => match version_of(&draft, feed) {
                Ok(version) => {
                    let draft = self.shared(draft).await;
                    self.offer(&draft, version);
                    self.live();
                }
                Err(unusable) => self.unusable(unusable),
            },
            // It confirms the last report of the source, which counts only if that was usable.
            Report::Confirmed if matches!(self.status, Status::Unusable(_)) => {}
            Report::Confirmed => {
                self.live();
                self.keeper.confirmed(&feed.source);
            }
            // A request that waited for it sees that what it showed is published ([`Operation::catch_up`]).
            Report::ReadCompleted(number) => {
                self.operation.reads.complete(number, self.operation.freshness.is_live());
            }
            Report::Relayed(relayed) => self.relayed(relayed, feed).await,
            Report::Unusable(unusable) => self.unusable(unusable),
            Report::Lost { reason } => {
                self.operation.contact.lost();
                self.operation.freshness.lost();
                // Out of contact with a source that had nothing usable: that is still what to mend first.
                if !matches!(self.status, Status::Unusable(_)) {
                    self.set_status(Status::Lost(reason));
                    self.update();
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
        self.set_status(Status::Unusable(unusable));
        self.update();
    }

    /// The source holds what it last gave.
    fn live(&mut self) {
        self.set_status(Status::Live);
        self.update();
        // Who sees it sees also what waits now ([`Operation::catch_up`]).
        self.operation.freshness.live();
    }

    async fn relayed(&mut self, relayed: Relayed, feed: &Feed) {
        match relayed {
            Relayed::Holds { draft, age, read } => {
                let draft = self.shared(draft).await;
                self.offer(&draft, draft.version);
                match (read, age) {
                    (None, Some(age)) => self.confirmed_above(age, feed),
                    (None, None) => self.update(),
                    // The server above has looked, however old its answer is. It says nothing of the next change: the poll
                    // that would bring it may be cut off.
                    (Some(number), _) => {
                        self.update();
                        self.operation.reads.complete(number, true);
                    }
                }
            }
            Relayed::StillHolds { age } => self.confirmed_above(age, feed),
            Relayed::Behind { reason } => {
                self.operation.contact.answered();
                self.operation.freshness.lost();
                self.set_status(Status::Lost(reason));
                self.update();
            }
            Relayed::ReadFailed(number) => self.operation.reads.complete(number, false),
        }
    }

    /// The server that this relay polls has answered that its source confirmed the state so long ago.
    fn confirmed_above(&mut self, age: Duration, feed: &Feed) {
        self.operation.contact.answered();
        if age.is_zero() {
            self.live();
            self.keeper.confirmed(&feed.source);
            return;
        }
        self.operation.freshness.aged(age);
        // A server that asks its source at intervals is that old between two answers.
        if age < CLIENT_STALE {
            self.set_status(Status::Live);
        } else if !matches!(self.status, Status::Lost(_)) {
            self.set_status(Status::Lost("the server that is polled has lost its own source".to_owned()));
        }
        self.update();
    }

    fn set_status(&mut self, status: Status) {
        self.operation.metrics.status(&status);
        self.status = status;
    }

    fn offer(&mut self, draft: &Draft, version: u64) {
        let offer = self.store.offer(
            draft.epoch,
            version,
            &draft.content,
            draft.revisions,
            draft.provenance,
            draft.seen.into_std(),
        );
        if offer != Offer::Older {
            let id = StateId { epoch: draft.epoch, version, digest: draft.content.digest() };
            let applied = Applied { id, revisions: draft.revisions, source_objects: Arc::clone(&draft.source_objects) };
            self.applied = Some(applied);
        }
        let (name, epoch) = (&self.operation.name, draft.epoch);
        match offer {
            Offer::Changed { restored: true } => {
                tracing::warn!(operation = %name, %epoch, version, "the source went back to an older version, which is accepted");
                self.operation.metrics.restored.inc();
                self.goes_back = true;
            }
            Offer::VersionOnly => {
                if let Some(published) = self.store.published() {
                    self.operation.hub.bump_version(published.id.version);
                }
            }
            Offer::Changed { restored: false } | Offer::Same => {}
            Offer::Older => {
                tracing::debug!(operation = %name, %epoch, version, "dropped an older version");
                self.operation.metrics.older.inc();
            }
        }
    }

    /// Replaces the facts. After the hub: whoever reads here that a state is published finds it served, and the parts that
    /// it supersedes superseded.
    fn update(&self) {
        let store = &self.store;
        self.operation.set_facts(Facts {
            published: store.published().map(|it| Published { snapshot: it.clone(), revisions: store.revisions() }),
            applied: self.applied.clone(),
            waiting: store.waiting().map(|next| next.id),
            suppressed: store.suppressed().map(|next| next.id),
            blocked_change: store.blocked_change(),
            status: self.status.clone(),
        });
    }

    /// Publishes what waits, once it is on disk: a client holds what a restart could not give back only where the disk
    /// failed or hangs.
    async fn publish(&mut self, feed: &Feed) {
        let Some(snapshot) = self.store.waiting().cloned() else { return };
        self.keeper.keep(snapshot, &feed.source).await;
        let Some(publication) = self.store.publish(Instant::now().into_std()) else { return };
        let (id, bytes) = (publication.snapshot.id, publication.snapshot.content.len());
        let before = self.operation.hub.current().map(|served| served.snapshot.id.epoch);
        self.operation.begins(before, id.epoch);
        self.operation.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let unmade = self.operation.hub.publish(&publication);
        if std::mem::take(&mut self.goes_back) {
            // They hold a newer one, so it does not release them. They are to ask again soon, and are told the truth then.
            self.operation.hub.tell(Who::All, spread(self.operation.hub.parked()));
        }
        self.update();
        let parked = self.operation.hub.parked();
        tracing::info!(operation = %self.operation.name, %id, bytes, parked, "published");
        unmade.make().await;
    }
}

/// The version of a draft: the source's, or the integer in the model that `versionFrom` names.
fn version_of(draft: &Draft, feed: &Feed) -> Result<u64, Unusable> {
    let Some(pointer) = &feed.version_from else { return Ok(draft.version) };
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

#[cfg(test)]
mod tests;
