//! A `ConfigMap` as a source: one key of it, or all keys as one object.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::core::ApiResource;
use tokio::time::Instant;

use super::kubernetes::{ListWatch, Metrics, Object, Selector, Target, WatchEvent};
use super::last_report::LastReport;
use super::reads::Reader;
use super::{Draft, LARGE, Report, Reports, Unusable, UnusableKind};
use crate::config::Format;
use crate::model::{Content, Epoch, Provenance, SourceRevision, SourceRevisions};

pub mod content;

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

/// Watches the `ConfigMap`, reads it when `reader` is asked to, and reports, until its reports are no longer received.
pub async fn run(source: ConfigMapSource, client: Client, metrics: Metrics, reader: Reader, reports: Reports) {
    tokio::select! {
        () = reports.closed() => {}
        () = watch(source, client, metrics, reader, &reports) => {}
    }
}

async fn watch(source: ConfigMapSource, client: Client, metrics: Metrics, reader: Reader, reports: &Reports) {
    let target = Target {
        resource: ApiResource::erase::<ConfigMap>(&()),
        namespace: Some(source.namespace.clone()),
        selector: Selector::Name(source.name.clone()),
    };
    let mut watching = ListWatch::new(client, target, source.watch_timeout, metrics, reader);
    let mut last_report = LastReport::default();
    let source = Arc::new(source);
    loop {
        let report = match watching.next().await {
            WatchEvent::Listed { mut objects, mut malformed, .. } => Some(match (objects.pop(), malformed.pop()) {
                (Some(object), _) => last_report.answered(draft(object, Provenance::Read, &source).await),
                (None, Some(malformed)) => last_report.answered(Err(source.invalid(&malformed.why))),
                (None, None) => last_report.answered(Err(source.missing())),
            }),
            WatchEvent::Applied(object) => Some(last_report.answered(draft(object, Provenance::Stream, &source).await)),
            WatchEvent::Malformed(malformed) => Some(last_report.answered(Err(source.invalid(&malformed.why)))),
            WatchEvent::Deleted(_) => Some(last_report.answered(Err(source.missing()))),
            WatchEvent::Live => last_report.same(),
            WatchEvent::ReadCompleted(number) => Some(Report::ReadCompleted(number)),
            WatchEvent::Lost { reason, .. } => Some(last_report.lost(Report::Lost { reason })),
            WatchEvent::Denied { reason, .. } => {
                Some(last_report.lost(Report::Unusable(Unusable { kind: UnusableKind::Forbidden, detail: reason })))
            }
        };
        if let Some(report) = report
            && reports.send(report).await.is_err()
        {
            return;
        }
    }
}

async fn draft(object: Object, provenance: Provenance, source: &Arc<ConfigMapSource>) -> Result<Draft, Unusable> {
    let (seen, epoch, version) = (Instant::now(), source.epoch(&object.uid), object.version);
    // A ConfigMap has no generation.
    let revisions = SourceRevisions::of([SourceRevision { uid: &object.uid, revision: version }.hash()]);
    let content = read(object, source).await?;
    Ok(Draft { epoch, version, content, provenance, revisions, source_objects: Arc::default(), seen })
}

async fn read(object: Object, source: &Arc<ConfigMapSource>) -> Result<Content, Unusable> {
    if object.body.len() <= LARGE {
        return content::read(&object.body, source);
    }
    let source = Arc::clone(source);
    let reading = tokio::task::spawn_blocking(move || content::read(&object.body, &source));
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

    fn invalid(&self, why: &str) -> Unusable {
        let Self { namespace, name, .. } = self;
        Unusable { kind: UnusableKind::Invalid, detail: format!("ConfigMap {namespace}/{name}: {why}") }
    }
}

#[cfg(test)]
mod tests;
