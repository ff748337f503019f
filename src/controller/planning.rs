//! From the objects of all kinds to what is wanted of each, and what is known of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::kinds::{Exchanges, Operations, Topics};
use super::objects::{Entries, Kind, Objects};
use super::plan::{Asked, Plan, Planner, Verdict};
use super::{KnownObjects, Tables, Wants};

/// What `/readyz` and unknown paths wait for until the objects were listed once.
const UNLISTED: &str = "the lists of DescribeOperations, Exchanges and Topics";

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
    pub(super) topics: watch::Receiver<Option<Objects<Topics>>>,
    /// Who is told what is to run.
    pub(super) wants: Wants,
    /// What is known of each.
    pub(super) known: watch::Sender<Arc<KnownObjects>>,
}

/// The objects of all kinds.
struct AllObjects {
    operations: Objects<Operations>,
    exchanges: Objects<Exchanges>,
    topics: Objects<Topics>,
}

/// The objects of the kinds that are listed.
#[derive(Default)]
struct Listed {
    operations: Option<Objects<Operations>>,
    exchanges: Option<Objects<Exchanges>>,
    topics: Option<Objects<Topics>>,
}

impl Listed {
    /// The objects of all kinds, or what is not listed yet.
    fn all(&self) -> Result<AllObjects, &'static str> {
        let Self { operations, exchanges, topics } = self;
        match (operations, exchanges, topics) {
            (Some(operations), Some(exchanges), Some(topics)) => {
                let (operations, exchanges) = (Arc::clone(operations), Arc::clone(exchanges));
                Ok(AllObjects { operations, exchanges, topics: Arc::clone(topics) })
            }
            (None, None, None) => Err(UNLISTED),
            (None, None, Some(_)) => Err("the lists of DescribeOperations and Exchanges"),
            (None, Some(_), None) => Err("the lists of DescribeOperations and Topics"),
            (Some(_), None, None) => Err("the lists of Exchanges and Topics"),
            (None, Some(_), Some(_)) => Err("the list of DescribeOperations"),
            (Some(_), None, Some(_)) => Err("the list of Exchanges"),
            (Some(_), Some(_), None) => Err("the list of Topics"),
        }
    }
}

impl AllObjects {
    /// Whether they ask for the same.
    fn ask_as(&self, other: &Self) -> bool {
        asked::<Operations>(&self.operations).eq(asked::<Operations>(&other.operations))
            && asked::<Exchanges>(&self.exchanges).eq(asked::<Exchanges>(&other.exchanges))
            && asked::<Topics>(&self.topics).eq(asked::<Topics>(&other.topics))
    }
}

impl Planning {
    /// Says that what is not listed yet may have any path: at once for the requests that come first, and for what is made of `wants`
    /// until the lists are here.
    pub(super) fn wait(&self, tables: &Tables) {
        tables.operations.wait_for(Some(UNLISTED));
        tables.exchanges.wait_for(Some(UNLISTED));
        tables.topics.wait_for(Some(UNLISTED));
        self.wait_for(UNLISTED);
    }

    /// Says that this is not known yet: an object there may have a path of any kind.
    fn wait_for(&self, unlisted: &'static str) {
        let Wants { operations, exchanges, topics } = &self.wants;
        operations.send_modify(|wanted| wanted.unknown = Some(unlisted));
        exchanges.send_modify(|wanted| wanted.unknown = Some(unlisted));
        topics.send_modify(|wanted| wanted.unknown = Some(unlisted));
    }

    /// Plans for ever.
    pub(super) async fn run(mut self) {
        let mut listed = Listed::default();
        let mut planned: Option<AllObjects> = None;
        loop {
            let Listed { operations, exchanges, topics } = &mut listed;
            tokio::select! {
                others = others::<Operations>(&mut self.operations, operations.as_ref()) => *operations = Some(others),
                others = others::<Exchanges>(&mut self.exchanges, exchanges.as_ref()) => *exchanges = Some(others),
                others = others::<Topics>(&mut self.topics, topics.as_ref()) => *topics = Some(others),
            }
            // Not before all are known: an older one may come that has the path.
            match listed.all() {
                Ok(now) => {
                    self.become_known(planned.as_ref(), &now);
                    planned = Some(now);
                }
                Err(unlisted) => self.wait_for(unlisted),
            }
        }
    }

    /// Plans, unless these ask for what those before did: writes to statuses come here too.
    fn become_known(&mut self, before: Option<&AllObjects>, now: &AllObjects) {
        let verdicts = if before.is_some_and(|before| before.ask_as(now)) {
            let known = self.known.borrow();
            let KnownObjects { operations, exchanges, topics } = &**known;
            [&operations.verdicts, &exchanges.verdicts, &topics.verdicts].map(Arc::clone)
        } else {
            self.plan(now)
        };
        let [operations, exchanges, topics] = verdicts;
        self.known.send_replace(Arc::new(KnownObjects {
            operations: Known { verdicts: operations, seen: Arc::clone(&now.operations) },
            exchanges: Known { verdicts: exchanges, seen: Arc::clone(&now.exchanges) },
            topics: Known { verdicts: topics, seen: Arc::clone(&now.topics) },
        }));
    }

    /// Makes what is wanted what the objects ask for; returns the verdicts on them, by kind.
    fn plan(&mut self, all: &AllObjects) -> [Verdicts; 3] {
        let asks = (asked::<Operations>(&all.operations), asked::<Exchanges>(&all.exchanges));
        let plan = self.planner.plan(asks.0, asks.1, asked::<Topics>(&all.topics));
        let Plan { operations, exchanges, topics, operation_verdicts, exchange_verdicts, topic_verdicts } = plan;
        let before = Arc::clone(&self.known.borrow());
        complain(Operations::NAME, &before.operations.verdicts, &operation_verdicts);
        complain(Exchanges::NAME, &before.exchanges.verdicts, &exchange_verdicts);
        complain(Topics::NAME, &before.topics.verdicts, &topic_verdicts);
        // The last good spec may be the one that runs.
        self.wants.operations.send_if_modified(|now| now.become_all(operations));
        self.wants.exchanges.send_if_modified(|now| now.become_all(exchanges));
        self.wants.topics.send_if_modified(|now| now.become_all(topics));
        [operation_verdicts, exchange_verdicts, topic_verdicts].map(Arc::new)
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
    use crate::config;
    use crate::controller::objects::Read;
    use crate::crd::exchange::ExchangeStatus;
    use crate::lifecycle::wanted::Wanted;
    use crate::sources::kubernetes::set::ObjectEntry;

    type Says<K> = watch::Sender<Option<Objects<K>>>;

    type AllSay = (Says<Operations>, Says<Exchanges>, Says<Topics>);

    fn planning() -> (Planning, AllSay) {
        let (operations_say, operations) = watch::channel(None);
        let (exchanges_say, exchanges) = watch::channel(None);
        let (topics_say, topics) = watch::channel(None);
        let wants = Wants {
            operations: watch::channel(Wanted::all(Vec::new())).0,
            exchanges: watch::channel(Wanted::all(Vec::new())).0,
            topics: watch::channel(Wanted::all(Vec::new())).0,
        };
        let (planner, known) = (Planner::new(&[], &[], &[]), watch::channel(Arc::default()).0);
        (Planning { planner, operations, exchanges, topics, wants, known }, (operations_say, exchanges_say, topics_say))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_what_has_not_been_listed() {
        let settle = || tokio::time::sleep(std::time::Duration::from_millis(1));
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let (planning, says) = planning();
            let tables = Tables { operations: Arc::default(), exchanges: Arc::default(), topics: Arc::default() };
            planning.wait(&tables);
            let all = Some(UNLISTED);
            let unknown = [tables.operations.unknown(), tables.exchanges.unknown(), tables.topics.unknown()];
            assert_eq!(unknown, [all, all, all]);
            let Wants { operations, exchanges, topics } = &planning.wants;
            let wanted = (operations.subscribe(), exchanges.subscribe(), topics.subscribe());
            let unknown = || [wanted.0.borrow().unknown, wanted.1.borrow().unknown, wanted.2.borrow().unknown];
            assert_eq!(unknown(), [all, all, all]);
            let mut running = JoinSet::new();
            running.spawn(planning.run());
            let kinds = ["DescribeOperations", "Exchanges", "Topics"];
            for (at, kind) in order.into_iter().enumerate() {
                match kind {
                    0 => drop(says.0.send_replace(Some(Arc::default()))),
                    1 => drop(says.1.send_replace(Some(Arc::default()))),
                    _ => drop(says.2.send_replace(Some(Arc::default()))),
                }
                settle().await;
                let mut rest = order[at + 1..].to_vec();
                rest.sort_unstable();
                let told = match rest.as_slice() {
                    [one, other] => Some(format!("the lists of {} and {}", kinds[*one], kinds[*other])),
                    [one] => Some(format!("the list of {}", kinds[*one])),
                    _ => None,
                };
                let told = told.as_deref();
                assert_eq!(unknown(), [told, told, told]);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_that_was_written_is_seen_and_nothing_is_planned_anew() {
        let (planning, (operations_say, exchanges_say, topics_say)) = planning();
        let (known, mut running) = (planning.known.subscribe(), JoinSet::new());
        running.spawn(planning.run());
        operations_say.send_replace(Some(Arc::default()));
        topics_say.send_replace(Some(Arc::default()));
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
