//! Where the states of an operation come from, as relays below are told: `State-Path` and `Relay-Policy`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use http::HeaderValue;

use super::Operation;
use crate::bounds::{CATCH_UP, RELAY_HOP};
use crate::config::{self, Relays, Source};
use crate::model::{Selection, StateId};
use crate::protocol::relay::{Relay, Unfit};
use crate::protocol::{Instance, RelayPolicy, StatePath};
use crate::sources::describe::Server;

/// What relays are told with the states of an operation.
#[derive(Debug)]
pub struct Lineage {
    now: ArcSwap<Way>,
}

/// Which way states come, and who may be served them below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    path: StatePath,
    /// The part that a relay holds; none: the whole, or it is no relay.
    part: Option<Selection>,
    /// Whom this process lets relays serve.
    own: RelayPolicy,
    /// Whom the server that it polls does.
    above: Option<RelayPolicy>,
    /// That server lets this process serve nobody.
    refusal: Option<Unfit>,
    /// The URL of that server.
    endpoint: String,
}

/// How a relay stands with its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayStatus {
    /// The URL that it polls.
    pub endpoint: String,
    /// `State-Path` of its own answers.
    pub path: String,
    /// `Relay-Policy` of its own answers.
    pub policy: String,
    /// Processes between the source and this one, which count as 0 while nobody knows.
    pub hops: usize,
    /// Why it is not ready; none: it is.
    pub cut_off: Option<&'static str>,
    /// Why it serves nobody; none: it may.
    pub refusal: Option<Unfit>,
}

/// Names this process.
#[must_use]
pub fn instance() -> &'static Instance {
    static INSTANCE: LazyLock<Instance> = LazyLock::new(|| Instance::random(fastrand::u64(..)));
    &INSTANCE
}

impl Lineage {
    /// That of an operation with this source.
    #[must_use]
    pub fn new(config: &config::Operation) -> Self {
        let (path, part) = (first_path(config), part(config));
        let endpoint = String::new();
        let way = Way { path, part, own: RelayPolicy::Open, above: None, refusal: None, endpoint };
        Self { now: ArcSwap::from_pointee(way) }
    }

    /// What holds now.
    #[must_use]
    pub fn way(&self) -> Guard<Arc<Way>> {
        self.now.load()
    }

    /// Another source begins.
    pub fn begin(&self, config: &config::Operation) {
        let endpoint = match &config.source {
            Source::Describe(settings) => settings.endpoints.first().cloned().unwrap_or_default(),
            Source::File { .. } | Source::ConfigMap { .. } | Source::Resource { .. } | Source::Upstream { .. } => {
                String::new()
            }
        };
        let (path, part) = (first_path(config), part(config));
        let begins = Way { path, part, own: RelayPolicy::Open, above: None, refusal: None, endpoint };
        self.now.rcu(|way| Way { own: way.own.clone(), ..begins.clone() });
    }

    /// Whom this process lets relays serve.
    pub fn allow(&self, own: &RelayPolicy) {
        self.now.rcu(|way| Way { own: own.clone(), ..Way::clone(way) });
    }

    /// The server that is polled has answered, or has not.
    pub fn follow(&self, server: &Server) {
        self.now.rcu(|way| {
            let (refusal, endpoint) = (server.refusal, server.endpoint.clone());
            let asked = Way { refusal, endpoint, ..Way::clone(way) };
            match &server.path {
                None => asked,
                Some(above) => {
                    let path = StatePath::below(above.as_ref(), instance().clone());
                    Way { path, above: server.policy.clone(), ..asked }
                }
            }
        });
    }

    /// How long a request may wait while it is found out whether its client is ahead: the deeper a relay is, the less, so that a
    /// chain of them stays within what a client waits.
    #[must_use]
    pub fn time_to_catch_up(&self) -> Duration {
        let above = u32::try_from(self.way().path.hops().saturating_sub(1)).unwrap_or(u32::MAX);
        CATCH_UP.saturating_sub(RELAY_HOP.saturating_mul(above)).max(RELAY_HOP)
    }
}

impl Way {
    /// Whether the states come through this process.
    #[must_use]
    pub fn contains(&self, instance: &Instance) -> bool {
        self.path.contains(instance)
    }

    /// Whether it is known where the states come from.
    #[must_use]
    pub fn is_rooted(&self) -> bool {
        self.path.is_rooted()
    }

    /// The part that a relay holds; none: it is whole, or it is no relay.
    #[must_use]
    pub fn part(&self) -> Option<&Selection> {
        self.part.as_ref()
    }

    /// Why nobody may be served.
    #[must_use]
    pub fn refusal(&self) -> Option<Unfit> {
        self.refusal
    }

    /// `State-Path` and `Relay-Policy`.
    #[must_use]
    pub fn fields(&self) -> (HeaderValue, HeaderValue) {
        let value = |text: String| HeaderValue::try_from(text).expect("instances and words are field values");
        (value(self.path.to_string()), value(self.policy().to_string()))
    }

    /// The stricter of both.
    fn policy(&self) -> RelayPolicy {
        self.above.as_ref().map_or_else(|| self.own.clone(), |above| above.stricter(&self.own))
    }
}

/// The part that is held of an operation which is relayed.
fn part(config: &config::Operation) -> Option<Selection> {
    let Source::Describe(settings) = &config.source else { return None };
    Selection::parse(&settings.select, usize::MAX).ok().filter(|part| !part.is_whole())
}

/// The path of an operation before anything is known of its source.
fn first_path(config: &config::Operation) -> StatePath {
    match config.source {
        Source::Describe(_) => StatePath::unrooted(instance().clone()),
        Source::File { .. } | Source::ConfigMap { .. } | Source::Resource { .. } | Source::Upstream { .. } => {
            StatePath::root(instance().clone())
        }
    }
}

/// Whom relays may serve the states of an operation, by its configuration and that of its process.
#[must_use]
pub fn policy(config: &config::Operation, access: &config::Access) -> RelayPolicy {
    match (config.relays, access.asks()) {
        (Some(Relays::Open), _) | (None, false) => RelayPolicy::Open,
        (Some(Relays::Same), _) | (None, true) => RelayPolicy::Same { rules: access.rules_digest(config) },
        (Some(Relays::None), _) => RelayPolicy::None,
    }
}

/// What this process is to the server of an operation that it relays.
#[must_use]
pub fn relay(config: &config::Operation, access: &config::Access) -> Relay {
    Relay { instance: instance().clone(), rules: access.rules_digest(config) }
}

impl Operation {
    /// Why a relay is not ready to serve it; none: it is, or it is no relay.
    #[must_use]
    pub fn cut_off(&self) -> Option<&'static str> {
        let is_relayed = matches!(self.config().source, Source::Describe(_));
        self.contact.missing().filter(|_| is_relayed)
    }

    /// How it stands with its server; none: it is no relay.
    #[must_use]
    pub fn relayed(&self) -> Option<RelayStatus> {
        if !matches!(self.config().source, Source::Describe(_)) {
            return None;
        }
        let way = self.lineage.way();
        let hops = if way.path.is_rooted() { way.path.hops().saturating_sub(1) } else { 0 };
        Some(RelayStatus {
            endpoint: way.endpoint.clone(),
            path: way.path.to_string(),
            policy: way.policy().to_string(),
            hops,
            cut_off: self.cut_off(),
            refusal: way.refusal,
        })
    }

    /// Waits until this state is served, or another one of which it is no news.
    pub async fn serves(&self, id: StateId) {
        let is_news = |current: &StateId| !current.is_same_state(&id.into()) && !id.is_before(&(*current).into());
        self.hub.wait_for(|current| !is_news(current)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_tells_the_way_of_its_server_and_the_stricter_policy() {
        let own = config::Operation::example("net", "/net");
        let lineage = Lineage::new(&own);
        let me = instance();
        assert_eq!(
            lineage.way().fields(),
            (HeaderValue::from_str(me.as_str()).expect("a value"), HeaderValue::from_static("open"))
        );
        assert_eq!(lineage.time_to_catch_up(), CATCH_UP);
        let settings = crate::client::Settings::new("http://root.example", "/net");
        let relayed = config::Operation { source: Source::Describe(Box::new(settings)), ..own };
        lineage.begin(&relayed);
        assert_eq!(lineage.way().fields().0, format!("unrooted, {me}"));
        let path = StatePath::parse("a, b");
        let same = RelayPolicy::Same { rules: "1f".to_owned() };
        let answered = Server { path: Some(path), policy: Some(same), ..Server::default() };
        lineage.follow(&answered);
        let way = lineage.way();
        assert_eq!(
            way.fields(),
            (
                HeaderValue::from_str(&format!("a, b, {me}")).expect("a value"),
                HeaderValue::from_static("same; rules=1f")
            )
        );
        assert!(
            way.contains(me) && way.contains(&Instance::parse("a").expect("an instance")) && way.refusal().is_none()
        );
        assert_eq!(lineage.time_to_catch_up() + 2 * RELAY_HOP, CATCH_UP);
        // What is known of the way stays while the server does not answer.
        lineage.follow(&Server { refusal: Some(Unfit::Forbidden), ..Server::default() });
        assert_eq!((lineage.way().fields().0, lineage.way().refusal()), (way.fields().0, Some(Unfit::Forbidden)));
        lineage.allow(&RelayPolicy::None);
        assert_eq!(lineage.way().fields().1, "none");
    }
}
