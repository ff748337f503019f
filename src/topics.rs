//! Topics come, change and go while the process runs: what is wanted is compared with what runs, by name, and the difference is made.
//!
//! All settings but the backend change in place, and no message is lost by that but those for which a smaller history has no room. One that is not
//! wanted any more takes nothing new: its path is free, and its readers are told that it has ended.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

use crate::bounds::TOPIC_BEGIN_PAUSE;
use crate::config;
use crate::lifecycle::tasks::TaskResult;
use crate::lifecycle::wanted::{Follower, Wanted};
use crate::telemetry::chain;
use crate::topic::Topic;
use crate::topic::metrics::{Families, Metrics};
use crate::topic::registry::TopicRegistry;

/// Makes a topic that begins now, with the messages that it has already.
pub type Begin = Box<dyn Fn(config::Topic, Metrics) -> BoxFuture<'static, Result<Begun, BeginError>> + Send + Sync>;
/// Why one cannot begin.
pub type BeginError = Box<dyn std::error::Error + Send + Sync>;

/// A topic that has begun.
pub struct Begun {
    /// The topic.
    pub topic: Arc<Topic>,
    /// What is to run for as long as the topic does, if anything is.
    pub follows: Option<BoxFuture<'static, ()>>,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl From<Arc<Topic>> for Begun {
    fn from(topic: Arc<Topic>) -> Self {
        Self { topic, follows: None }
    }
}

/// The topics that run.
pub struct Topics {
    families: Families,
    begin: Begin,
    table: Arc<TopicRegistry>,
    running: Vec<Arc<Topic>>,
    /// What runs for topics.
    follows: JoinSet<()>,
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").field("running", &self.running).finish_non_exhaustive()
    }
}

impl Topics {
    /// None runs yet.
    #[must_use]
    pub fn new(families: Families, begin: Begin) -> Self {
        Self { families, begin, table: Arc::default(), running: Vec::new(), follows: JoinSet::new() }
    }

    /// Where requests find them.
    #[must_use]
    pub fn registry(&self) -> Arc<TopicRegistry> {
        Arc::clone(&self.table)
    }

    /// Makes what runs what is wanted. Once nobody can want anything else, it stays as it is.
    pub async fn run(mut self, wanted: watch::Receiver<Wanted<config::Topic>>) -> TaskResult {
        let mut wanted = Follower::new(wanted);
        let mut next = wanted.next().await;
        loop {
            let begun = self.reconcile(&next.configs).await;
            // Not before they are found: until then a path may be one of theirs.
            self.table.wait_for(next.unknown);
            let pause = begun.err().map(|error| {
                tracing::error!(error = %chain(&*error), "a topic cannot begin, which is tried again");
                TOPIC_BEGIN_PAUSE
            });
            next = tokio::select! {
                other = wanted.next() => other,
                // One of the same name may have ended a moment ago, and a disk may come back.
                () = sleep(pause.unwrap_or_default()), if pause.is_some() => next,
                panicked = panicked(&mut self.follows) => return Err(panicked.into()),
            };
        }
    }

    /// Makes what runs these. An error: one cannot begin; the others run.
    pub async fn reconcile(&mut self, wanted: &[config::Topic]) -> Result<(), BeginError> {
        let mut result = Ok(());
        let is_wanted = |topic: &Arc<Topic>| {
            let of_it = wanted.iter().find(|config| config.name == **topic.name());
            // With another backend it is another history.
            of_it.is_some_and(|config| config.backend == topic.config().backend)
        };
        let (staying, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running).into_iter().partition(is_wanted);
        self.running = staying;
        // Requests no longer find them, before their readers are told.
        self.publish();
        for topic in gone {
            tracing::info!(topic = %topic.name(), readers = topic.readers(), "topic ended");
            topic.end();
            self.families.forget(topic.name());
        }
        for config in wanted {
            let running = self.running.iter().find(|topic| **topic.name() == *config.name);
            match running {
                None => {
                    if let Err(error) = self.start(config.clone()).await {
                        result = Err(error);
                    }
                }
                Some(topic) if *topic.config() != *config => {
                    tracing::info!(topic = %config.name, path = %config.path, "topic changed");
                    topic.change(config.clone(), Instant::now().into_std());
                }
                Some(_) => {}
            }
        }
        self.publish();
        result
    }

    async fn start(&mut self, config: config::Topic) -> Result<(), BeginError> {
        let metrics = self.families.of(&config.name);
        let Begun { topic, follows } = (self.begin)(config, metrics).await?;
        if let Some(follows) = follows {
            self.follows.spawn(follows);
        }
        let last = topic.extent(Instant::now().into_std()).last;
        tracing::info!(topic = %topic.name(), path = %topic.config().path, %last, "topic started");
        self.running.push(topic);
        Ok(())
    }

    fn publish(&self) {
        self.table.replace(self.running.clone());
    }
}

/// Waits until one of these panics: its topic would hear nothing any more, and look well.
async fn panicked(tasks: &mut JoinSet<()>) -> JoinError {
    loop {
        match tasks.join_next().await {
            Some(Ok(())) => {}
            Some(Err(error)) => return error,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use prometheus::proto::{Metric, MetricFamily};

    use super::*;
    use crate::topic::backend::Backend;
    use crate::topic::id::Epoch;

    fn topics() -> (Registry, Topics) {
        let registry = Registry::new();
        let families = Families::register(&registry).expect("new names");
        let now = Instant::now().into_std();
        (
            registry,
            Topics::new(
                families,
                Box::new(move |config, metrics| {
                    let topic = Topic::new(config, Epoch::of(1).at(0), Backend::Memory, metrics, now);
                    Box::pin(std::future::ready(Ok(topic.into())))
                }),
            ),
        )
    }

    fn at(name: &str, path: &str) -> config::Topic {
        config::Topic { path: path.to_owned(), ..config::Topic::example(name) }
    }

    /// The topics that metrics name.
    fn named(registry: &Registry) -> Vec<String> {
        let families = registry.gather();
        let labels = families.iter().flat_map(MetricFamily::get_metric).flat_map(Metric::get_label);
        let mut named: Vec<_> =
            labels.filter(|label| label.name() == "topic").map(|label| label.value().to_owned()).collect();
        named.sort();
        named.dedup();
        named
    }

    #[tokio::test(start_paused = true)]
    async fn paths_follow_what_is_wanted_and_nothing_is_left_of_what_is_gone() {
        let (registry, mut topics) = topics();
        let table = topics.registry();
        let found = |path: &str| table.get(path).map(|topic| topic.name().to_string());
        topics.reconcile(&[at("a", "/a"), at("b", "/b")]).await.expect("they begin");
        assert_eq!(
            (found("/a").as_deref(), found("/b").as_deref(), named(&registry)),
            (Some("a"), Some("b"), vec!["a".to_owned(), "b".to_owned()])
        );
        let (a, b) = (table.get("/a").expect("it is there"), table.get("/b").expect("it is there"));
        // One takes the path that another leaves.
        topics.reconcile(&[at("a", "/c"), at("c", "/a")]).await.expect("they begin");
        assert_eq!((found("/a").as_deref(), found("/b"), found("/c").as_deref()), (Some("c"), None, Some("a")));
        assert!(Arc::ptr_eq(&a, &table.get("/c").expect("it has moved")) && !a.has_ended() && b.has_ended());
        assert_eq!(named(&registry), ["a", "c"]);
        // One of the same name later is another one, whose metrics nobody takes away.
        topics.reconcile(&[at("a", "/c")]).await.expect("they begin");
        topics.reconcile(&[at("a", "/c"), at("b", "/b")]).await.expect("they begin");
        assert!(!Arc::ptr_eq(&b, &table.get("/b").expect("it is there")));
        drop(b);
        assert_eq!(named(&registry), ["a", "b"]);
        topics.reconcile(&[]).await.expect("they begin");
        assert_eq!((table.all().len(), named(&registry).len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_what_runs_for_a_topic_ends_them_all() {
        let (_, mut topics) = topics();
        let (panics, panic) = tokio::sync::oneshot::channel::<()>();
        topics.follows.spawn(async {});
        topics.follows.spawn(async move { panic.await.expect("it is told to panic") });
        let (_wants, wanted) = watch::channel(Wanted::all(vec![at("a", "/a")]));
        let running = topics.run(wanted);
        drop(panics);
        let error = running.await.expect_err("it panicked");
        assert!(error.to_string().contains("panicked"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_is_unknown_until_all_topics_are_found() {
        let (_, topics) = topics();
        let table = topics.registry();
        let (wants, wanted) = watch::channel(Wanted { unknown: Some("the list"), ..Wanted::all(Vec::new()) });
        let mut running = tokio::task::JoinSet::new();
        running.spawn(topics.run(wanted));
        let settle = || tokio::time::sleep(std::time::Duration::from_millis(1));
        settle().await;
        assert_eq!(table.unknown(), Some("the list"));
        wants.send_if_modified(|now| now.become_all(vec![at("a", "/a")]));
        settle().await;
        assert_eq!((table.unknown(), table.all().len()), (None, 1));
    }
}
