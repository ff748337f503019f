//! A `ConfigMap` as a source: one key of it, or all keys as one object.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::Instant;

use super::kubernetes::fold::{Change, One};
use super::kubernetes::{ListWatch, Metrics, Selector, Target};
use super::{Draft, Report, Reports, Unusable, UnusableKind};
use crate::config::Format;
use crate::model::{Content, Epoch};

pub mod content;

/// Content above this is read away from the threads that serve clients.
const LARGE: usize = 64 * 1024;

/// Which `ConfigMap`, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMapSource {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The key that holds the model; absent: all keys together are one object.
    pub key: Option<String>,
    /// How the key is read; without a key not used.
    pub format: Format,
    /// Longest a watch runs before it is renewed.
    pub watch_timeout: Duration,
}

/// What was last said, so that contact regained says the right thing again.
#[derive(Debug, Default)]
struct Said {
    /// Why the object itself cannot be served, if so.
    unusable: Option<Unusable>,
    /// Whether contact is lost.
    lost: bool,
}

/// Watches the `ConfigMap` and reports, until nobody listens.
pub async fn run(source: ConfigMapSource, client: Client, metrics: Metrics, reports: Reports) {
    tokio::select! {
        () = reports.closed() => {}
        () = watch(source, client, metrics, &reports) => {}
    }
}

async fn watch(source: ConfigMapSource, client: Client, metrics: Metrics, reports: &Reports) {
    let target = Target {
        resource: "configmaps".to_owned(),
        namespace: source.namespace.clone(),
        selector: Selector::Name(source.name.clone()),
    };
    let api: Api<ConfigMap> = Api::namespaced(client, &source.namespace);
    let mut watching = ListWatch::new(api, target, source.watch_timeout, metrics);
    let (mut one, mut said) = (One::default(), Said::default());
    let source = Arc::new(source);
    loop {
        let report = match one.take(watching.next().await) {
            Change::Holds { object, version, authority } => {
                let (seen, epoch) = (Instant::now(), source.epoch(&object.uid().unwrap_or_default()));
                let content = read(object, &source).await;
                Some(said.answered(content.map(|content| Draft { epoch, version, content, authority, seen })))
            }
            Change::Gone => Some(said.answered(Err(source.missing()))),
            Change::Same => said.same(),
            Change::Lost { reason } => Some(said.lost(Report::Lost { reason })),
            Change::Denied { reason } => {
                Some(said.lost(Report::Unusable(Unusable { kind: UnusableKind::Forbidden, detail: reason })))
            }
        };
        if let Some(report) = report
            && reports.send(report).await.is_err()
        {
            return;
        }
    }
}

async fn read(map: ConfigMap, source: &Arc<ConfigMapSource>) -> Result<Content, Unusable> {
    if content::size(&map) <= LARGE {
        return content::of(&map, source);
    }
    let source = Arc::clone(source);
    let reading = tokio::task::spawn_blocking(move || content::of(&map, &source));
    reading.await.expect("reading content does not panic")
}

impl ConfigMapSource {
    fn epoch(&self, uid: &str) -> Epoch {
        Epoch::of(&["ConfigMap", uid, self.key.as_deref().unwrap_or_default()])
    }

    fn missing(&self) -> Unusable {
        let Self { namespace, name, .. } = self;
        let detail = format!("ConfigMap {namespace}/{name} does not exist: create it, or correct namespace and name");
        Unusable { kind: UnusableKind::Missing, detail }
    }
}

impl Said {
    fn answered(&mut self, result: Result<Draft, Unusable>) -> Report {
        self.lost = false;
        self.unusable = result.as_ref().err().cloned();
        result.map_or_else(Report::Unusable, Report::Holds)
    }

    fn lost(&mut self, report: Report) -> Report {
        self.lost = true;
        report
    }

    /// Nothing changed. While the object cannot be served nothing is confirmed: that would make
    /// the last good state look fresh.
    fn same(&mut self) -> Option<Report> {
        let was_lost = std::mem::take(&mut self.lost);
        match &self.unusable {
            None => Some(Report::Confirmed),
            Some(unusable) => was_lost.then(|| Report::Unusable(unusable.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
