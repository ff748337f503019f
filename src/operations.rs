//! Operations come, change and go while the process runs: what is wanted is compared with what
//! runs, by name, and the difference is made.
//!
//! Each operation is one task that holds its source and its writer. Other limits are changed in
//! place and release no request; another source begins a new history under the same waiters; another
//! path is another endpoint, so the old one ends and a new one begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::bounds::{REPORTS, STATE_ANSWER};
use crate::config;
use crate::hub::{self, Hub};
use crate::lifecycle::tasks::{Fatal, TaskResult};
use crate::lifecycle::wanted::{Follower, Wanted};
use crate::operation::{self, Feed, Operation, OperationRegistry, Run};
use crate::sources::disk::{Disk, DiskError};

mod dependencies;

pub use dependencies::Dependencies;

/// The operations that run.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Operations {
    dependencies: Arc<Dependencies>,
    hubs: hub::Families,
    families: operation::Families,
    table: Arc<OperationRegistry>,
    running: BTreeMap<String, Running>,
    /// Where they keep their states, and where those do that have ended and still write.
    disks: BTreeMap<String, Disk>,
    tasks: JoinSet<(String, TaskResult)>,
}

/// One that runs.
struct Running {
    operation: Arc<Operation>,
    /// What its task goes by.
    wanted: watch::Sender<config::Operation>,
    /// Ends its task.
    end: CancellationToken,
}

impl Operations {
    /// None runs yet.
    #[must_use]
    pub fn new(dependencies: Dependencies, hubs: hub::Families, families: operation::Families) -> Self {
        Self {
            dependencies: Arc::new(dependencies),
            hubs,
            families,
            table: Arc::default(),
            running: BTreeMap::new(),
            disks: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Where requests find them.
    #[must_use]
    pub fn registry(&self) -> Arc<OperationRegistry> {
        Arc::clone(&self.table)
    }

    /// Starts those that the process was started with; one whose state on disk is in use is refused.
    pub async fn start_all(&mut self, configs: &[config::Operation]) -> Result<(), DiskError> {
        let deadline = Instant::now() + STATE_ANSWER;
        let mut restored = Vec::new();
        for config in configs {
            let disk = self.disk(&config.name);
            if let Some(disk) = disk.clone() {
                // One that does not answer is logged by the keeper of its states.
                if let Ok(Ok(opened)) = timeout_at(deadline, spawn_blocking(move || disk.open())).await {
                    opened?;
                }
            }
            restored.push(self.start(config, disk));
        }
        // Whoever asks first is given what is kept, as far as the disk answers.
        let _ = timeout_at(deadline, futures::future::join_all(restored)).await;
        self.publish();
        Ok(())
    }

    /// Makes what runs what is wanted, until a task ends that nobody asked to. Once nobody can want
    /// anything else, it stays as it is.
    pub async fn run(mut self, wanted: watch::Receiver<Wanted<config::Operation>>) -> TaskResult {
        let mut wanted = Follower::new(wanted);
        loop {
            tokio::select! {
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((name, Err(source))) => return Err(Fatal::Failed { name, source }.into()),
                    Err(panicked) => return Err(Fatal::Panicked(panicked).into()),
                },
                next = wanted.next() => {
                    self.reconcile(&next.configs);
                    // Not before they are found: until then a path may be one of theirs.
                    self.table.wait_for(next.unknown);
                }
            }
        }
    }

    fn reconcile(&mut self, wanted: &[config::Operation]) {
        let gone = |running: &Running, name: &str| {
            !wanted.iter().any(|config| config.name == name && config.path == running.operation.path)
        };
        let gone: Vec<_> =
            self.running.iter().filter(|(name, it)| gone(it, name)).map(|(name, _)| name.clone()).collect();
        let mut ending = Vec::new();
        for name in gone {
            ending.extend(self.running.remove(&name));
        }
        // New polls no longer find it, before the parked requests are answered.
        self.publish();
        for running in ending {
            self.end(&running);
        }
        for config in wanted {
            if let Some(running) = self.running.get(&config.name) {
                running.change(config, &self.dependencies);
                continue;
            }
            let disk = self.disk(&config.name);
            self.start(config, disk);
        }
        self.disks.retain(|name, disk| self.running.contains_key(name) || disk.is_shared());
        self.publish();
    }

    fn publish(&self) {
        self.table.replace(self.running.values().map(|running| Arc::clone(&running.operation)));
    }

    /// What it gives ends once the operation has what a former process left.
    fn start(&mut self, config: &config::Operation, disk: Option<Disk>) -> oneshot::Receiver<()> {
        let name = &config.name;
        let hub = Hub::new(config.parked, config.limits, self.hubs.of(name));
        let operation = Arc::new(Operation::new(config.clone(), hub, self.families.of(name)));
        operation.lineage.allow(&operation::lineage::policy(config, &self.dependencies.access));
        let run = Run::new(Arc::clone(&operation), disk);
        let (wanted, goes_by) = watch::channel(config.clone());
        let end = CancellationToken::new();
        let (restored, is_restored) = oneshot::channel();
        let work = operate(Arc::clone(&operation), run, restored, Arc::clone(&self.dependencies), goes_by);
        let ended = end.clone();
        let task = async move {
            tokio::select! {
                biased;
                // Whatever it waits for.
                () = ended.cancelled() => Ok(()),
                outcome = work => outcome,
            }
        };
        let task_name = format!("operation {name}");
        self.tasks.spawn(async move { (task_name, task.await) });
        tracing::info!(operation = %name, path = %config.path, source = %config.source, "operation started");
        self.running.insert(name.clone(), Running { operation, wanted, end });
        is_restored
    }

    /// Answers the parked requests, and ends its task. What its disk is doing may go on; what comes next there waits for it.
    fn end(&self, running: &Running) {
        let name = &running.operation.name;
        tracing::info!(operation = %name, parked = running.operation.hub.parked(), "operation ended");
        running.operation.hub.close();
        running.end.cancel();
        self.hubs.forget(name);
        self.families.forget(name);
    }

    /// Where an operation that begins keeps its states: a former one of its name no longer writes there.
    fn disk(&mut self, name: &str) -> Option<Disk> {
        let directory = self.dependencies.state_dir.as_ref()?;
        let disk = self.disks.get(name).map_or_else(|| Disk::new(directory, name), Disk::successor);
        self.disks.insert(name.to_owned(), disk.clone());
        Some(disk)
    }
}

impl Running {
    fn change(&self, config: &config::Operation, dependencies: &Dependencies) {
        let differs = self.wanted.send_if_modified(|now| {
            let differs = now != config;
            if differs {
                now.clone_from(config);
            }
            differs
        });
        if differs {
            tracing::info!(operation = %config.name, "operation changed");
            let has_other_rules = self.operation.config().access != config.access;
            self.operation.change(config.clone());
            self.operation.lineage.allow(&operation::lineage::policy(config, &dependencies.access));
            if has_other_rules {
                dependencies.rules.send_modify(|count| *count += 1);
            }
        }
    }
}

/// The task of an operation: its writer, and one source after the other.
async fn operate(
    operation: Arc<Operation>,
    mut run: Run,
    restored: oneshot::Sender<()>,
    dependencies: Arc<Dependencies>,
    mut wanted: watch::Receiver<config::Operation>,
) -> TaskResult {
    // Before its source begins, which goes by what is served.
    let source = wanted.borrow().source.identity();
    run.restore(&source).await;
    drop(restored);
    let (feeds, taken) = mpsc::channel(1);
    let tells = Arc::clone(&operation).tell();
    let mut writer = Box::pin(async move {
        tokio::select! {
            () = run.run(taken) => {}
            () = tells => {}
        }
    });
    loop {
        let config = wanted.borrow_and_update().clone();
        let (reports, received) = mpsc::channel(REPORTS);
        let feed = Feed {
            source: config.source.identity().into(),
            version_from: config.version_from.clone(),
            reports: received,
        };
        tokio::select! {
            sent = feeds.send(feed) => sent.map_err(|_| "its writer ended")?,
            () = &mut writer => return Err("its writer ended".into()),
        }
        let source = dependencies.source(&config, &operation, reports)?;
        let other =
            |now: &config::Operation| (&now.source, &now.version_from) != (&config.source, &config.version_from);
        tokio::select! {
            () = &mut writer => return Err("its writer ended".into()),
            () = source => return Err("its source ended".into()),
            changed = wanted.wait_for(other) => if changed.is_err() { return Ok(()) },
        }
    }
}

#[cfg(test)]
mod tests;
