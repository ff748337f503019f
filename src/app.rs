//! The composition root, and the only file that knows every module: bind (so that ports are
//! known and refusals come early), then run until a stop signal.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::followed::Followed;
use crate::admin::state::{Port as ClientPort, Shown};
use crate::admin::{self, Admin};
use crate::config::{self, Config, Judges};
use crate::controller;
use crate::exchange::registry::ExchangeRegistry;
use crate::http::topic::{Origins, Topics};
use crate::http::websocket::WebSockets;
use crate::http::{Router, listen, metrics, proxy};
use crate::hub;
use crate::lifecycle::ready::ReadinessCheck;
use crate::lifecycle::stop::{Signals, Stop, Watch};
use crate::lifecycle::tasks::{Fatal, Tasks};
use crate::lifecycle::wanted::Wanted;
use crate::nats;
use crate::operation::{self, OperationRegistry};
use crate::operations::{Dependencies, Operations};
use crate::sockets;
use crate::sources::describe::Holdings;
use crate::sources::disk::DiskError;
use crate::sources::kubernetes;
use crate::telemetry::Telemetry;
use crate::tls::{self, Acceptor};
use crate::topic::registry::TopicRegistry;
use tls_files::{Follower, Port, Ready};

mod access;
mod access_file;
mod banner;
mod check;
mod descriptors;
mod drain;
mod exchanges;
mod promises;
mod summary;
mod tls_files;
mod topics;

pub use check::check;
use descriptors::descriptors;
pub use promises::promises;
pub use summary::summary;

/// Where those of one kind are found, and who says which are to run.
type Started<R, C> = (Arc<R>, watch::Sender<Wanted<C>>);

/// A process that listens and has not begun to answer.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct App {
    config: Config,
    files: access::Files,
    tls: Option<(Port, Ready)>,
    admin_tls: Option<(Port, Ready)>,
    client: Option<kube::Client>,
    listener: TcpListener,
    listen: SocketAddr,
    admin: TcpListener,
    admin_address: SocketAddr,
    connections: usize,
    /// The raw ports of exchanges, in their order.
    raw: Vec<Option<TcpListener>>,
    /// The servers of NATS.
    nats: Option<nats::Connection>,
    holdings: Option<Holdings>,
}

/// Why the process cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({setting})")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no usable configuration for the API server.
    #[error("the Kubernetes API server cannot be found, and {needed_for} needs it")]
    Kubernetes {
        /// The setting, or the operation.
        needed_for: String,
        /// Why.
        #[source]
        source: kubernetes::connect_error::ConnectError,
    },
    /// A file with tokens, users or keys cannot be used.
    #[error("a file that says who may poll cannot be used (--access-tokens, --access-users, access.issuers)")]
    AccessFile(#[from] access_file::AccessFileError),
    /// A certificate, its key or authorities cannot be used.
    #[error("TLS cannot be spoken")]
    Tls(#[from] tls_files::TlsFileError),
    /// The servers of NATS cannot be spoken to.
    #[error(transparent)]
    Nats(#[from] nats::NatsError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A topic cannot begin.
    #[error(transparent)]
    Topic(crate::topics::BeginError),
    /// A metric's name is taken twice.
    #[error("metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// Signals cannot be taken over.
    #[error("signals cannot be taken over")]
    Signals(#[source] io::Error),
    /// A task ended.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// A second signal came.
    #[error("a second signal came: ended at once")]
    Aborted,
}

impl App {
    /// Listens, and finds the API server where one is needed.
    pub async fn bind(config: Config) -> Result<Self, AppError> {
        let files = access::Files::read(&config.access)?;
        let read = |port: Option<Port>| port.map(|port| port.read().map(|ready| (port, ready))).transpose();
        let (tls, admin_tls) = (read(Port::of_clients(&config))?, read(Port::of_admin(&config))?);
        let connections = descriptors(config.connections);
        let (listener, listen) = bind(config.listen, "--listen")?;
        let (admin, admin_address) = bind(config.admin, "--admin")?;
        tracing::info!(%listen, admin = %admin_address, "listening");
        let raw = exchanges::bind(&config)?;
        let client = match needs_cluster(&config) {
            Some(needed_for) => {
                let connected = kubernetes::client::connect(config.kubeconfig.as_deref()).await;
                Some(connected.map_err(|source| AppError::Kubernetes { needed_for, source })?)
            }
            None => None,
        };
        let nats = match &config.nats {
            Some(settings) => Some(nats::connect(settings).await?),
            None => None,
        };
        let holdings = None;
        Ok(Self {
            config,
            files,
            tls,
            admin_tls,
            client,
            listener,
            listen,
            admin,
            admin_address,
            connections,
            raw,
            nats,
            holdings,
        })
    }

    /// Serves what an agent of this process holds as its relayed operation.
    #[must_use]
    pub fn of_agent(self, holdings: Holdings) -> Self {
        Self { holdings: Some(holdings), ..self }
    }

    /// Starts the operations of the configuration, and the controller that adds others.
    async fn start_operations(
        &self,
        registry: &Registry,
        rules: &Arc<watch::Sender<u64>>,
        (exchanges, topics): (Started<ExchangeRegistry, config::Exchange>, Started<TopicRegistry, config::Topic>),
        tasks: &mut Tasks,
    ) -> Result<(Arc<OperationRegistry>, Option<controller::Dependencies>), AppError> {
        let dependencies = Dependencies {
            state_dir: self.config.state_dir.clone(),
            watch_timeout: self.config.watch_timeout,
            client: self.client.clone(),
            cluster: kubernetes::Metrics::register(registry)?,
            app: self.config.upstream.clone(),
            holdings: self.holdings.clone(),
            access: self.config.access.clone(),
            rules: Arc::clone(rules),
        };
        let requests = dependencies.cluster.clone();
        let families = operation::Families::register(registry)?;
        let mut operations = Operations::new(dependencies, hub::Families::register(registry)?, families);
        operations.start_all(&self.config.operations).await?;
        let table = operations.registry();
        let (wanted, wants) = watch::channel(Wanted::all(self.config.operations.clone()));
        tasks.spawn("operations", operations.run(wants));
        let controller = match (&self.config.controller, &self.client) {
            (Some(settings), Some(client)) => {
                let dependencies = controller::Dependencies {
                    client: client.clone(),
                    settings: controller::Settings::of(settings),
                    watch_timeout: self.config.watch_timeout,
                    requests,
                    metrics: controller::Metrics::register(registry)?,
                };
                let tables =
                    controller::Tables { operations: Arc::clone(&table), exchanges: exchanges.0, topics: topics.0 };
                let wants = controller::Wants { operations: wanted, exchanges: exchanges.1, topics: topics.1 };
                controller::start(&dependencies, &self.config, &tables, wants, tasks);
                Some(dependencies)
            }
            (_, _) => None,
        };
        Ok((table, controller))
    }

    /// Says who is let in nowhere, by settings that are good and perhaps not meant so.
    fn warn_of_closed_ports(&self) {
        let config = &self.config;
        let by_rules = config.access.judges != Judges::Kubernetes;
        if config.admin_access && by_rules && config.access.policy.paths.is_empty() {
            tracing::warn!(
                "no rule names a path of the admin port, so other hosts get nothing there but probes: write one with paths \
                 (access.rules), or give --access-authorization kubernetes"
            );
        }
        let access = &config.access;
        if access.asks() && access.policy.anonymous && !(access.policy.rules.is_empty() && by_rules) {
            tracing::warn!(
                "--allow-anonymous lets clients without a credential poll everything, more than rules or RBAC may allow to others: \
                 leave it out, and write rules for anonymous where some operations are for everybody"
            );
        }
        let is_far = |address: SocketAddr| !address.ip().to_canonical().is_loopback();
        if config.access.clear_credentials {
            return;
        }
        if config.access.asks() && config.tls.is_none() && is_far(self.listen) {
            tracing::warn!(
                "credentials are taken from the same host alone, since the connections of others are not encrypted: put \
                 what ends TLS on this host, or give --allow-clear-credentials where the network is trusted"
            );
        }
        if config.admin_access && config.admin_tls.is_none() && is_far(self.admin_address) {
            tracing::warn!(
                "no credential is taken at the admin port, since connections of other hosts are not encrypted: give \
                 --admin-tls-certificate, or --allow-clear-credentials where the network is trusted"
            );
        }
    }

    /// What makes TLS connections of those to the port of clients, and to that of operators; and what keeps that up to date.
    fn tls(
        &mut self,
        registry: &Registry,
        withdrawals: &Arc<watch::Sender<u64>>,
        (shown, tasks): (&mut Followed, &mut Tasks),
    ) -> Result<[Option<Arc<Acceptor>>; 2], AppError> {
        let ports = [("clients", self.tls.take()), ("admin", self.admin_tls.take())];
        if ports.iter().all(|(_, port)| port.is_none()) {
            return Ok([None, None]);
        }
        let families = tls::metrics::Families::register(registry)?;
        Ok(ports.map(|(name, port)| {
            let (port, ready) = port?;
            let (follower, acceptor) = Follower::new(port, ready, (name, families.of(name)), Arc::clone(withdrawals));
            shown.files.push(follower.shown());
            tasks.spawn("files for TLS", async move {
                follower.follow().await;
                Ok(())
            });
            Some(acceptor)
        }))
    }

    /// Answers until a signal, then drains.
    pub async fn run(self, telemetry: &Telemetry) -> Result<(), AppError> {
        let mut signals = Signals::new().map_err(AppError::Signals)?;
        self.run_until(telemetry, async || signals.next().await).await
    }

    /// Answers until it is asked to stop, then drains; asked again, it ends at once.
    pub async fn run_until(
        mut self,
        telemetry: &Telemetry,
        mut stops: impl AsyncFnMut() -> &'static str,
    ) -> Result<(), AppError> {
        let registry = Registry::new();
        registry.register(Box::new(telemetry.dropped_lines()))?;
        let stop = Arc::new(Stop::new(self.config.grace));
        let mut tasks = Tasks::default();
        let withdrawals = Arc::<watch::Sender<u64>>::default();
        let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
        let nats = self.nats.clone();
        let (exchanges, wanted) = exchanges::start(&mut self, &stop, (&registry, &mut tasks), (&connections, &cut))?;
        let (topics, wanted_topics) = topics::start(&self.config, nats, (&registry, &mut tasks)).await?;
        let wanted = ((Arc::clone(&exchanges), wanted), (Arc::clone(&topics), wanted_topics));
        let (table, controller) = self.start_operations(&registry, &withdrawals, wanted, &mut tasks).await?;
        let proxy = proxy_to_app(&self.config, &registry, (&connections, &cut))?;
        self.warn_of_closed_ports();
        let mut followed = Followed::default();
        let [tls, admin_tls] = self.tls(&registry, &withdrawals, (&mut followed, &mut tasks))?;
        let (client, shared) = (self.client.as_ref(), (&registry, withdrawals));
        let (access, others) = access::access(&self.config, self.files, client, shared, (&mut followed, &mut tasks))?;
        let front_metrics = metrics::Metrics::register(&registry)?;
        let (access_log, open) = (self.config.log.access, front_metrics.connections.clone());
        let port = exchanges::port(&self.config, &exchanges, connections.clone(), cut.clone());
        let origins = Origins::new(&self.config.access.origins);
        let trusted = &self.config.trusted_proxies;
        let port_of_topics = Arc::new(Topics::new(Arc::clone(&topics), trusted, origins.clone()));
        let router = Router::new(Arc::clone(&table), access, proxy, stop.watch(), front_metrics, access_log);
        let websockets = WebSockets::new(connections.clone(), cut.clone(), origins);
        let router = router.with_exchanges(Arc::new(port)).with_topics(port_of_topics).with_websockets(websockets);
        let router = Arc::new(router);
        let clients = ClientPort { listen: self.listen, tls: tls.is_some() };
        let admin = Admin {
            shown: Arc::new(Shown::new((&table, &exchanges, &topics), followed, clients)),
            events: admin::events::Events::register(&registry)?,
            readiness: ReadinessCheck::new(stop.watch(), self.config.upstream.is_some()),
            stop: Arc::clone(&stop),
            access: Arc::new(admin::access::Access::new(others, &registry)?),
            level: telemetry.level(),
            closed: admin::closed_connections(&registry)?,
            registry,
        };
        let admin = admin::listen::serve(self.admin, Arc::new(admin), admin_tls, TaskTracker::new());
        tasks.spawn("admin port", async move {
            admin.await;
            Ok(())
        });
        let accept = listen::serve(self.listener, self.connections, tls, router, stop.watch(), connections.clone());
        serve_clients(&mut tasks, accept, stop.watch());
        tokio::select! {
            fatal = tasks.first_exit() => return Err(fatal.into()),
            signal = stops() => drain::begin(&stop, &exchanges, signal),
        }
        let drained = drain::drain(&stop, (&table, &exchanges, &topics), &connections, &open);
        tokio::select! {
            () = drained => {}
            _ = stops() => return Err(AppError::Aborted),
        }
        cut.cancel();
        if let Some(dependencies) = controller {
            // What is deleted must not be created again by a task that still runs.
            tasks.end().await;
            controller::leave(&dependencies).await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Accepts connections of clients until that is over on request: then the owner of all tasks ends them.
fn serve_clients<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    tasks: &mut Tasks,
    accept: impl Future<Output = Result<(), E>> + Send + 'static,
    mut closing: Watch,
) {
    tasks.spawn("client port", async move {
        accept.await.map_err(Into::into)?;
        closing.closing().await;
        std::future::pending().await
    });
}

/// The way to the app; none: no app is behind.
fn proxy_to_app(
    config: &Config,
    registry: &Registry,
    (connections, cut): (&TaskTracker, &CancellationToken),
) -> Result<Option<proxy::Proxy>, AppError> {
    let Some(upstream) = &config.upstream else { return Ok(None) };
    let metrics = proxy::Metrics::register(registry)?;
    let (trusted, identity) = (&config.trusted_proxies, config.access.identity_fields.clone());
    Ok(Some(proxy::Proxy::new(upstream, trusted, identity, metrics, connections.clone(), cut.clone())))
}

/// What the API server is needed for; none: nothing.
fn needs_cluster(config: &Config) -> Option<String> {
    let settings = [
        (config.controller.is_some(), "--operations"),
        (!config.access.audiences.is_empty(), "--access-kubernetes"),
        (config.access.judges != Judges::Rules, "--access-authorization"),
    ];
    if let Some((_, setting)) = settings.into_iter().find(|(needs, _)| *needs) {
        return Some(setting.to_owned());
    }
    let operation = config.operations.iter().find(|operation| operation.source.is_in_cluster())?;
    Some(format!("the source of operation {}", operation.name))
}

fn bind(address: SocketAddr, setting: &'static str) -> Result<(TcpListener, SocketAddr), AppError> {
    sockets::listen(address).map_err(|source| AppError::Bind { address, setting, source })
}
