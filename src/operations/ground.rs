//! What every operation stands on: the API server, the app, the state directory; and from it the
//! source of one operation.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use crate::config::{self, Source};
use crate::operation::Operation;
use crate::sources::{Reports, configmap, file, kubernetes};

/// What every operation stands on.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Ground {
    /// Where the last good states are kept; absent: in memory only.
    pub state_dir: Option<PathBuf>,
    /// Longest a Kubernetes watch runs before it is renewed.
    pub watch_timeout: Duration,
    /// The API server; absent where nothing was configured that needs one.
    pub client: Option<kube::Client>,
    /// What its requests count.
    pub cluster: kubernetes::Metrics,
}

/// A source at work; it ends when nobody listens to its reports.
pub(super) type Working = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why a source cannot begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum GroundError {
    /// No client was made at the start.
    #[error("its source {0} is in Kubernetes, and nothing made this process look for an API server")]
    NoCluster(Source),
}

impl Ground {
    /// The source of an operation, which speaks into `reports`.
    pub(super) fn source(
        &self,
        config: &config::Operation,
        _operation: &Operation,
        reports: Reports,
    ) -> Result<Working, GroundError> {
        let client = || self.client.clone().ok_or_else(|| GroundError::NoCluster(config.source.clone()));
        Ok(match &config.source {
            Source::File { path, format } => {
                let source =
                    file::FileSource { operation: config.name.clone(), path: path.clone(), format: format.clone() };
                Box::pin(file::run(source, reports))
            }
            Source::ConfigMap { namespace, name, key, format } => {
                let source = configmap::ConfigMapSource {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    key: key.clone(),
                    format: format.clone(),
                    watch_timeout: self.watch_timeout,
                };
                Box::pin(configmap::run(source, client()?, self.cluster.clone(), reports))
            }
        })
    }
}
