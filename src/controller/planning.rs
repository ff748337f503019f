//! From the objects of all kinds to what is wanted of each, and what is known of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::KnownObjects;
use super::kinds::{Exchanges, Operations};
use super::objects::{Entries, Kind, Objects};
use super::plan::{Asked, Plan, Planner, Verdict};
use crate::config;
use crate::exchange::registry::ExchangeRegistry;
use crate::lifecycle::wanted::Wanted;
use crate::operation::OperationRegistry;

/// What `/readyz` and unknown paths wait for until the objects were listed once.
const UNLISTED: &str = "the lists of DescribeOperations and Exchanges";
const UNLISTED_OPERATIONS: &str = "the list of DescribeOperations";
const UNLISTED_EXCHANGES: &str = "the list of Exchanges";

/// The objects of one kind as they are known.
#[derive(Debug, Clone)]
pub(super) struct Known<C, S> {
    /// The verdict on each, by name.
    pub(super) verdicts: Arc<BTreeMap<String, Verdict>>,
    /// As they were seen.
    seen: Entries<C, S>,
}

impl<C, S> Default for Known<C, S> {
    fn default() -> Self {
        Self { verdicts: Arc::default(), seen: Arc::default() }
    }
}

impl<C, S: Clone> Known<C, S> {
    /// The version at which an object was seen, and its status there.
    pub(super) fn status(&self, name: &str) -> (u64, Option<S>) {
        self.seen.get(name).map(|entry| (entry.version, entry.payload.status.clone())).unwrap_or_default()
    }
}

/// Plans whenever the objects ask for something else; ends with the process.
pub(super) struct Planning {
    pub(super) planner: Planner,
    pub(super) operations: watch::Receiver<Option<Objects<Operations>>>,
    pub(super) exchanges: watch::Receiver<Option<Objects<Exchanges>>>,
    /// What is to run.
    pub(super) wanted: (watch::Sender<Wanted<config::Operation>>, watch::Sender<Wanted<config::Exchange>>),
    /// What is known of each.
    pub(super) known: watch::Sender<Arc<KnownObjects>>,
}

/// The objects of all kinds.
type AllObjects = (Objects<Operations>, Objects<Exchanges>);

impl Planning {
    /// Says that what is not listed yet may have any path: at once for the requests that come first, and for what is made of `wanted`
    /// until the lists are here.
    pub(super) fn wait(&self, operations: &OperationRegistry, exchanges: &ExchangeRegistry) {
        operations.wait_for(Some(UNLISTED));
        exchanges.wait_for(Some(UNLISTED));
        self.wait_for(UNLISTED);
    }

    /// Says that this is not known yet: an object there may have a path of either kind.
    fn wait_for(&self, unlisted: &'static str) {
        self.wanted.0.send_modify(|wanted| wanted.unknown = Some(unlisted));
        self.wanted.1.send_modify(|wanted| wanted.unknown = Some(unlisted));
    }

    /// Plans for ever.
    pub(super) async fn run(mut self) {
        let (mut operations, mut exchanges) = (None, None);
        let mut planned: Option<AllObjects> = None;
        loop {
            tokio::select! {
                others = others::<Operations>(&mut self.operations, operations.as_ref()) => operations = Some(others),
                others = others::<Exchanges>(&mut self.exchanges, exchanges.as_ref()) => exchanges = Some(others),
            }
            // Not before all are known: an older one may come that has the path.
            match (&operations, &exchanges) {
                (Some(operations), Some(exchanges)) => {
                    let now = (Arc::clone(operations), Arc::clone(exchanges));
                    self.become_known(planned.as_ref(), &now);
                    planned = Some(now);
                }
                (Some(_), None) => self.wait_for(UNLISTED_EXCHANGES),
                (None, _) => self.wait_for(UNLISTED_OPERATIONS),
            }
        }
    }

    /// Plans, unless these ask for what those before did: writes to statuses come here too.
    fn become_known(&mut self, before: Option<&AllObjects>, now: &AllObjects) {
        let is_same = before.is_some_and(|before| {
            asked::<Operations>(&before.0).eq(asked::<Operations>(&now.0))
                && asked::<Exchanges>(&before.1).eq(asked::<Exchanges>(&now.1))
        });
        let (operations, exchanges) = if is_same {
            let known = self.known.borrow();
            (Arc::clone(&known.operations.verdicts), Arc::clone(&known.exchanges.verdicts))
        } else {
            self.plan(now)
        };
        self.known.send_replace(Arc::new(KnownObjects {
            operations: Known { verdicts: operations, seen: Arc::clone(&now.0) },
            exchanges: Known { verdicts: exchanges, seen: Arc::clone(&now.1) },
        }));
    }

    /// Makes what is wanted what the objects ask for; returns the verdicts on them.
    fn plan(&mut self, (operations, exchanges): &AllObjects) -> (Verdicts, Verdicts) {
        let Plan { operations, exchanges, operation_verdicts, exchange_verdicts } =
            self.planner.plan(asked::<Operations>(operations), asked::<Exchanges>(exchanges));
        let before = Arc::clone(&self.known.borrow());
        complain(Operations::NAME, &before.operations.verdicts, &operation_verdicts);
        complain(Exchanges::NAME, &before.exchanges.verdicts, &exchange_verdicts);
        // The last good spec may be the one that runs.
        self.wanted.0.send_if_modified(|now| now.become_all(operations));
        self.wanted.1.send_if_modified(|now| now.become_all(exchanges));
        (Arc::new(operation_verdicts), Arc::new(exchange_verdicts))
    }
}

type Verdicts = Arc<BTreeMap<String, Verdict>>;

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

/// What each of these asks for, by name.
fn asked<K: Kind>(objects: &Objects<K>) -> impl Iterator<Item = (&String, &Asked<K::Config>)> {
    objects.iter().map(|(name, entry)| (name, &entry.payload.asked))
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

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;
    use crate::controller::objects::Read;
    use crate::crd::exchange::ExchangeStatus;
    use crate::sources::kubernetes::set::ObjectEntry;

    type Says<K> = watch::Sender<Option<Objects<K>>>;

    fn planning() -> (Planning, Says<Operations>, Says<Exchanges>) {
        let (operations_say, operations) = watch::channel(None);
        let (exchanges_say, exchanges) = watch::channel(None);
        let wanted = (watch::channel(Wanted::all(Vec::new())).0, watch::channel(Wanted::all(Vec::new())).0);
        let planner = Planner::new(&[], &[]);
        (
            Planning { planner, operations, exchanges, wanted, known: watch::channel(Arc::default()).0 },
            operations_say,
            exchanges_say,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_what_has_not_been_listed() {
        let settle = || tokio::time::sleep(std::time::Duration::from_millis(1));
        for operations_first in [true, false] {
            let (planning, operations_say, exchanges_say) = planning();
            let (operations, exchanges) = (OperationRegistry::default(), ExchangeRegistry::default());
            planning.wait(&operations, &exchanges);
            let both = "the lists of DescribeOperations and Exchanges";
            assert_eq!((operations.unknown(), exchanges.unknown()), (Some(both), Some(both)));
            let wanted = (planning.wanted.0.subscribe(), planning.wanted.1.subscribe());
            let unknown = || (wanted.0.borrow().unknown, wanted.1.borrow().unknown);
            assert_eq!(unknown(), (Some(both), Some(both)));
            let mut running = JoinSet::new();
            running.spawn(planning.run());
            let rest = if operations_first {
                operations_say.send_replace(Some(Arc::default()));
                "the list of Exchanges"
            } else {
                exchanges_say.send_replace(Some(Arc::default()));
                "the list of DescribeOperations"
            };
            settle().await;
            assert_eq!(unknown(), (Some(rest), Some(rest)));
            operations_say.send_replace(Some(Arc::default()));
            exchanges_say.send_replace(Some(Arc::default()));
            settle().await;
            assert_eq!(unknown(), (None, None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_was_written_is_seen_and_nothing_is_planned_anew() {
        let (planning, operations_say, exchanges_say) = planning();
        let (known, mut running) = (planning.known.subscribe(), JoinSet::new());
        running.spawn(planning.run());
        operations_say.send_replace(Some(Arc::default()));
        let says = async |version, generation, status| {
            let config = Ok(config::Exchange::example("work"));
            let asked = Asked { uid: "u".to_owned(), created: 0, generation, config };
            let payload = Read { asked, status };
            let entry = ObjectEntry { uid: "u".to_owned(), version, generation: Some(generation), payload };
            exchanges_say.send_replace(Some(Arc::new(BTreeMap::from([("work".to_owned(), entry)]))));
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            let known = known.borrow();
            (known.exchanges.status("work"), Arc::clone(&known.exchanges.verdicts))
        };
        let (seen, planned) = says(7, 1, None).await;
        assert_eq!((seen, planned["work"].generation), ((7, None), 1));
        let (seen, same) = says(8, 1, Some(ExchangeStatus::default())).await;
        assert_eq!(seen, (8, Some(ExchangeStatus::default())));
        assert!(Arc::ptr_eq(&planned, &same));
        let (_, anew) = says(9, 2, None).await;
        assert_eq!(anew["work"].generation, 2);
    }
}
