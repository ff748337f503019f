//! What every operation depends on: the API server, the app, the state directory; and from it the
//! source of one operation.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::bounds::RELAY_REPORT_PAUSE;
use crate::client::{self, Reporter};
use crate::config::{self, Source};
use crate::model::{Content, Epoch};
use crate::operation::{Operation, lineage};
use crate::sources::describe::{self, DescribeSource, Holdings, Server};
use crate::sources::resource::trigger::{self, TriggerObject};
use crate::sources::{Reports, configmap, file, kubernetes, resource, upstream};

/// What every operation depends on.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Dependencies {
    /// Where the last good states are kept; absent: in memory only.
    pub state_dir: Option<PathBuf>,
    /// Longest a Kubernetes watch runs before it is renewed.
    pub watch_timeout: Duration,
    /// The API server; absent where nothing was configured that needs one.
    pub client: Option<kube::Client>,
    /// What its requests count.
    pub cluster: kubernetes::Metrics,
    /// The app behind, if there is one.
    pub app: Option<config::Upstream>,
    /// What an agent of this process holds, which is what a relayed operation serves; absent: such a one polls by itself.
    pub holdings: Option<Holdings>,
    /// Who may poll, and so whom relays may serve.
    pub access: config::Access,
    /// Counts up when rules of who may poll have changed.
    pub rules: Arc<watch::Sender<u64>>,
}

/// A source that runs; it ends when its reports are no longer received.
pub(super) type Working = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why a source cannot begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// No client was made at the start.
    #[error("its source {0} is in Kubernetes, and nothing made this process look for an API server")]
    NoCluster(String),
    /// No app is behind.
    #[error("its source {0} is the app, and no app is behind (--upstream)")]
    NoApp(String),
    /// Its settings cannot be used.
    #[error("its source {0} cannot be polled")]
    Settings(String, #[source] client::InvalidSetting),
    /// What is asked of the app has no path.
    #[error("its source {0} cannot be asked for")]
    Path(String, #[source] http::uri::InvalidUri),
}

impl Dependencies {
    /// The source of an operation, which sends its reports to `reports`.
    pub(super) fn source(
        &self,
        config: &config::Operation,
        operation: &Arc<Operation>,
        reports: Reports,
    ) -> Result<Working, SourceError> {
        let client = || self.client.clone().ok_or_else(|| SourceError::NoCluster(config.source.to_string()));
        operation.lineage.begin(config);
        operation.freshness.polled(matches!(config.source, Source::Upstream { .. }));
        Ok(match &config.source {
            Source::File { path, format, below } => {
                let source = file::FileSource {
                    operation: config.name.clone(),
                    path: path.clone(),
                    format: format.clone(),
                    below: below.clone(),
                };
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
                Box::pin(configmap::run(source, client()?, self.cluster.clone(), operation.reads.reader(), reports))
            }
            Source::Resource { namespace, api_version, kind, objects, field } => {
                let source = resource::ResourceSource {
                    namespace: namespace.clone(),
                    api_version: api_version.clone(),
                    kind: kind.clone(),
                    objects: objects.clone(),
                    field: field.clone(),
                    watch_timeout: self.watch_timeout,
                };
                let reads = Arc::clone(&operation.reads);
                Box::pin(resource::run(source, client()?, self.cluster.clone(), reads, reports))
            }
            Source::Describe(settings) => self.relayed(settings, config, operation, reports)?,
            Source::Upstream { path, refresh, format } => {
                let app = self.app.as_ref().ok_or_else(|| SourceError::NoApp(config.source.to_string()))?;
                let (refresh, triggered) = self.refresh(refresh, client)?;
                let source = upstream::UpstreamSource {
                    operation: config.name.clone(),
                    authority: app.authority.clone(),
                    path: path.parse().map_err(|error| SourceError::Path(config.source.to_string(), error))?,
                    refresh,
                    format: format.clone(),
                    serves_json: serves_json(operation),
                };
                Box::pin(async move {
                    tokio::select! {
                        () = upstream::run(source, reports) => {}
                        () = triggered => {}
                    }
                })
            }
        })
    }

    /// The source that is another Tidewait. What it says of the way of its states is told to relays below from then on.
    fn relayed(
        &self,
        settings: &client::Settings,
        config: &config::Operation,
        operation: &Arc<Operation>,
        reports: Reports,
    ) -> Result<Working, SourceError> {
        let settings = client::Settings { relay: Some(lineage::relay(config, &self.access)), ..settings.clone() };
        let source = match &self.holdings {
            Some(holdings) => DescribeSource::of_agent(&settings, holdings.clone()),
            None => DescribeSource::start(&settings, held(operation)),
        };
        let source = source.map_err(|invalid| SourceError::Settings(config.source.to_string(), invalid))?;
        let (server, mut followed) = watch::channel(Server::default());
        let (of_path, of_served) = (Arc::clone(operation), Arc::clone(operation));
        let until_served: describe::Served = Box::new(move |id| {
            let operation = Arc::clone(&of_served);
            Box::pin(async move { operation.serves(id).await })
        });
        let follow = async move {
            loop {
                let now = followed.borrow_and_update().clone();
                of_path.lineage.follow(&now);
                if followed.wait_for(|next| *next != now).await.is_err() {
                    return;
                }
            }
        };
        let reader = operation.reads.reader_by_state();
        let tells = tell_of_agents(settings.clone(), source.status(), Arc::clone(operation));
        Ok(Box::pin(async move {
            tokio::select! {
                () = describe::run(source, reader, until_served, server, reports) => {}
                () = follow => {}
                () = tells => {}
            }
        }))
    }

    /// When the app is asked, and what has to go on for that.
    fn refresh(
        &self,
        refresh: &config::Refresh,
        client: impl Fn() -> Result<kube::Client, SourceError>,
    ) -> Result<(upstream::Refresh, Working), SourceError> {
        Ok(match refresh {
            config::Refresh::Interval(every) => (upstream::Refresh::Every(*every), Box::pin(std::future::pending())),
            config::Refresh::Trigger { namespace, api_version, kind, name } => {
                let object = TriggerObject {
                    namespace: namespace.clone(),
                    api_version: api_version.clone(),
                    kind: kind.clone(),
                    name: name.clone(),
                };
                let trigger = upstream::Trigger::new();
                let watch =
                    trigger::watch(object, client()?, self.watch_timeout, self.cluster.clone(), trigger.clone());
                (upstream::Refresh::On(trigger), Box::pin(watch))
            }
        })
    }
}

/// Tells the server of the agents below this relay, as they come to hold what is served.
async fn tell_of_agents(
    settings: client::Settings,
    status: watch::Receiver<client::Status>,
    operation: Arc<Operation>,
) {
    // Two operations of one process may relay one of the server, and each has its own agents.
    let instance = format!("{}.{}", lineage::instance(), Epoch::of(&["report", &operation.name]));
    let (said, reports) = watch::channel(operation.report(&instance));
    // The settings were good for the client.
    let Ok(_reporter) = Reporter::start(&settings, status, reports) else { return std::future::pending().await };
    let mut look = tokio::time::interval(RELAY_REPORT_PAUSE);
    loop {
        look.tick().await;
        said.send_replace(operation.report(&instance));
    }
}

/// The state that is served, as a client that holds it.
fn held(operation: &Operation) -> Option<client::State> {
    let snapshot = operation.hub.current()?.snapshot.clone();
    let (id, media_type) = (snapshot.id.to_string(), snapshot.content.media_type());
    client::State::kept(&id, media_type, snapshot.body().identity.clone()).ok()
}

/// Whether the state that is served is one of the app's, and JSON.
fn serves_json(operation: &Operation) -> bool {
    operation.hub.current().is_some_and(|served| {
        let snapshot = &served.snapshot;
        snapshot.id.epoch == upstream::epoch(&operation.name) && matches!(snapshot.content, Content::Json(_))
    })
}
