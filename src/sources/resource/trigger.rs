//! An object whose changes trigger a fetch, since the app may hold something new.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::time::sleep;

use crate::sources::backoff::Backoff;
use crate::sources::kubernetes::discover::{self, Undiscovered};
use crate::sources::kubernetes::{ListWatch, Metrics, Selector, Target, WatchEvent};
use crate::sources::reads::Reads;
use crate::sources::upstream::Trigger;

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerObject {
    /// Its namespace.
    pub namespace: String,
    /// Group and version, or the version alone for the core group.
    pub api_version: String,
    /// Its kind, as in a manifest.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Pulls `trigger` whenever the object changes, comes or goes; for ever. While it cannot be watched,
/// the app is asked as often as without it.
pub async fn watch(object: TriggerObject, client: Client, watch_timeout: Duration, metrics: Metrics, trigger: Trigger) {
    let TriggerObject { namespace, api_version, kind, name } = object;
    let mut backoff = Backoff::default();
    let resource = loop {
        let Undiscovered { report, retry_after } = match discover::resource(&client, &api_version, &kind).await {
            Ok(resource) => break resource,
            Err(undiscovered) => undiscovered,
        };
        tracing::warn!(why = ?report, "the trigger cannot be watched");
        sleep(backoff.failed(fastrand::f64(), retry_after)).await;
    };
    let target = Target { resource, namespace: Some(namespace), selector: Selector::Name(name) };
    let reads = Arc::new(Reads::default());
    let mut watching = ListWatch::new(client, target, watch_timeout, metrics, reads.reader());
    let mut known = None;
    loop {
        match watching.next().await {
            WatchEvent::Listed { version, .. } => {
                // The first look is no change, and a look that shows the same is none either.
                if known.replace(version).is_some_and(|known| known != version) {
                    trigger.pull();
                }
            }
            WatchEvent::Applied(object) | WatchEvent::Deleted(object) => {
                known = Some(object.version);
                trigger.pull();
            }
            WatchEvent::Malformed(_) => trigger.pull(),
            WatchEvent::Live | WatchEvent::ReadCompleted(_) => {}
            WatchEvent::Lost { reason, .. } | WatchEvent::Denied { reason, .. } => {
                tracing::warn!(%reason, "the trigger cannot be watched");
            }
        }
    }
}
