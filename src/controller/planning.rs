//! From the objects of all kinds to what is wanted of each, and what is known of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::KnownObjects;
use super::kinds::{Exchanges, Operations};
use super::objects::{Kind, Objects};
use super::plan::{Asked, Plan, Planner, Verdict};
use crate::config;
use crate::exchange::registry::ExchangeRegistry;
use crate::lifecycle::wanted::Wanted;
use crate::operation::OperationRegistry;

/// What `/readyz` and unknown paths wait for until the objects were listed once.
const UNLISTED_OPERATIONS: &str = "the list of DescribeOperations";
const UNLISTED_EXCHANGES: &str = "the list of Exchanges";

/// The objects of one kind as they are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known<S> {
    /// The verdict on each, by name.
    pub(super) verdicts: BTreeMap<String, Verdict>,
    /// The version at which each was seen, and its status there.
    pub(super) stands: BTreeMap<String, (u64, Option<S>)>,
}

impl<S> Default for Known<S> {
    fn default() -> Self {
        Self { verdicts: BTreeMap::new(), stands: BTreeMap::new() }
    }
}

/// Plans whenever the objects change; ends with the process.
pub(super) struct Planning {
    pub(super) planner: Planner,
    pub(super) operations: watch::Receiver<Option<Objects<Operations>>>,
    pub(super) exchanges: watch::Receiver<Option<Objects<Exchanges>>>,
    /// What is to run.
    pub(super) wanted: (watch::Sender<Wanted<config::Operation>>, watch::Sender<Wanted<config::Exchange>>),
    /// The verdict on each.
    pub(super) known: watch::Sender<Arc<KnownObjects>>,
}

impl Planning {
    /// Says that what is not listed yet may have any path: at once for the requests that come first, and for what is made of `wanted`
    /// until the lists are here.
    pub(super) fn wait(&self, operations: &OperationRegistry, exchanges: &ExchangeRegistry) {
        operations.wait_for(Some(UNLISTED_OPERATIONS));
        exchanges.wait_for(Some(UNLISTED_EXCHANGES));
        self.wanted.0.send_modify(|wanted| wanted.unknown = Some(UNLISTED_OPERATIONS));
        self.wanted.1.send_modify(|wanted| wanted.unknown = Some(UNLISTED_EXCHANGES));
    }

    /// Plans for ever.
    pub(super) async fn run(mut self) {
        let (mut operations, mut exchanges) = (None, None);
        loop {
            tokio::select! {
                others = others::<Operations>(&mut self.operations, operations.as_ref()) => operations = Some(others),
                others = others::<Exchanges>(&mut self.exchanges, exchanges.as_ref()) => exchanges = Some(others),
            }
            // Not before all are known: an older one may come that has the path.
            if let (Some(operations), Some(exchanges)) = (&operations, &exchanges) {
                self.plan(operations, exchanges);
            }
        }
    }

    fn plan(&mut self, operations: &Objects<Operations>, exchanges: &Objects<Exchanges>) {
        let (asked_operations, operation_stands) = asked::<Operations>(operations);
        let (asked_exchanges, exchange_stands) = asked::<Exchanges>(exchanges);
        let Plan { operations, exchanges, operation_verdicts, exchange_verdicts } =
            self.planner.plan(&asked_operations, &asked_exchanges);
        let known = KnownObjects {
            operations: Known { verdicts: operation_verdicts, stands: operation_stands },
            exchanges: Known { verdicts: exchange_verdicts, stands: exchange_stands },
        };
        let before = self.known.send_replace(Arc::new(known.clone()));
        complain(Operations::NAME, &before.operations.verdicts, &known.operations.verdicts);
        complain(Exchanges::NAME, &before.exchanges.verdicts, &known.exchanges.verdicts);
        // Writes to statuses come here too, and change nothing that runs.
        self.wanted.0.send_if_modified(|now| now.become_all(operations));
        self.wanted.1.send_if_modified(|now| now.become_all(exchanges));
    }
}

/// Waits for other objects than these. The watches end with the process.
async fn others<K: Kind>(seen: &mut watch::Receiver<Option<Objects<K>>>, known: Option<&Objects<K>>) -> Objects<K> {
    let are_others =
        |now: &Option<Objects<K>>| now.as_ref().is_some_and(|now| known.is_none_or(|known| !Arc::ptr_eq(now, known)));
    // The guard must not be held over an await.
    let next = seen.wait_for(are_others).await.ok().and_then(|now| now.clone());
    match next {
        Some(next) => next,
        None => std::future::pending().await,
    }
}

type AskedAndStands<K> =
    (BTreeMap<String, Asked<<K as Kind>::Config>>, BTreeMap<String, (u64, Option<<K as Kind>::Status>)>);

fn asked<K: Kind>(objects: &Objects<K>) -> AskedAndStands<K> {
    let asked = objects.iter().map(|(name, entry)| (name.clone(), entry.payload.asked.clone()));
    let stands = objects.iter().map(|(name, entry)| (name.clone(), (entry.version, entry.payload.status.clone())));
    (asked.collect(), stands.collect())
}

/// Logs what is newly refused.
fn complain(kind: &str, before: &BTreeMap<String, Verdict>, now: &BTreeMap<String, Verdict>) {
    for (name, verdict) in now {
        if let Some(refused) = &verdict.refused
            && before.get(name) != Some(verdict)
        {
            let (reason, message) = (refused.reason, &refused.message);
            tracing::warn!(object = %name, reason, %message, "{kind} is not accepted");
        }
    }
}

/// A planner for a process of this configuration.
pub(super) fn planner(config: &config::Config) -> Planner {
    Planner::new(&config.operations, &config.exchanges)
}
