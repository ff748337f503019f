//! Questions whose answers take time, each asked once for all who wait for its answer, and the verdicts that come of them
//! ([`Verdicts`]): they are kept, found out again while requests use them, and withdrawn.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::Shared;
use prometheus::IntGauge;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::access::caller::{Known, Loss};
use crate::access::verdicts::{Lasts, Verdict, Verdicts};

/// Who answers questions: `K` names one, `B` is what its answer rests on.
#[async_trait]
pub trait Inquirer<K, B>: Debug + Send + Sync {
    /// Whether what a good verdict rests on is still there.
    fn stands(&self, _basis: &B) -> bool {
        true
    }

    /// Answers a question.
    async fn inquire(&self, key: &K, basis: B) -> Finding<B>;
}

/// An answer.
#[derive(Debug)]
pub enum Finding<B> {
    /// The verdict is good: for whom, how long, and what it rests on.
    Good(Arc<Known>, Lasts, B),
    /// It is bad, and why.
    Bad(&'static str),
    /// It cannot be found out now.
    Unavailable,
}

/// What those are told who have waited for an answer.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A verdict.
    Verdict(Verdict),
    /// None: it cannot be found out now.
    Unavailable,
    /// None: there is room for no more.
    Full,
    /// None: the question was not begun.
    NotBegun,
}

/// The questions that are asked, and the verdicts that are kept.
#[derive(Debug)]
pub struct Inquiries<K, B> {
    inquirer: Box<dyn Inquirer<K, B>>,
    verdicts: Mutex<Verdicts<K, B>>,
    under_way: Mutex<HashMap<K, Shared<oneshot::Receiver<Outcome>>>>,
    /// What becomes of who loses a good verdict because a bad one follows it.
    loss: Loss,
    /// Counts up whenever somebody who was known is lost.
    withdrawals: Arc<watch::Sender<u64>>,
    /// The agenda has changed.
    planned: Notify,
    kept: IntGauge,
    /// Those that ask.
    tasks: TaskTracker,
}

/// Removes a question from those under way, whatever becomes of its task.
struct UnderWay<'a, K: Clone + Eq + Hash + Debug, B: Clone + Debug>(&'a Inquiries<K, B>, K);

impl<K: Clone + Eq + Hash + Debug, B: Clone + Debug> Drop for UnderWay<'_, K, B> {
    fn drop(&mut self) {
        self.0.under_way().remove(&self.1);
    }
}

impl<K: Clone + Eq + Hash + Debug, B: Clone + Debug> Inquiries<K, B> {
    /// No question yet. `withdrawals` counts up whenever somebody is lost; `kept` shows the good verdicts.
    #[must_use]
    pub fn new(
        inquirer: Box<dyn Inquirer<K, B>>,
        loss: Loss,
        withdrawals: Arc<watch::Sender<u64>>,
        kept: IntGauge,
    ) -> Arc<Self> {
        let (verdicts, under_way) = (Mutex::default(), Mutex::default());
        Arc::new(Self {
            inquirer,
            verdicts,
            under_way,
            loss,
            withdrawals,
            planned: Notify::new(),
            kept,
            tasks: TaskTracker::new(),
        })
    }

    /// The verdict that is kept, if it holds now.
    pub fn find(&self, key: &K) -> Option<Verdict> {
        self.verdicts().find(key, Instant::now().into_std())
    }

    /// Asks a question, or waits for its answer where it was asked already. To be called on a runtime: the question goes on
    /// where who has asked goes away, and ends with its inquirer's deadline. `begin` lets one begin that is not asked yet (none:
    /// it may not), and what it gives is dropped at the end of that.
    pub async fn ask<P>(self: &Arc<Self>, key: K, basis: B, begin: impl FnOnce() -> Option<P>) -> Outcome
    where
        K: Send + Sync + 'static,
        B: Send + Sync + 'static,
        P: Send + 'static,
    {
        let answer = {
            let mut under_way = self.under_way();
            // It may have been answered since whoever asks has looked.
            if let Some(verdict) = self.find(&key) {
                return Outcome::Verdict(verdict);
            }
            let ask = |permit: P| {
                let (tell, answer) = oneshot::channel();
                let (inquiries, key) = (Arc::clone(self), key.clone());
                self.tasks.spawn(async move {
                    let under_way = UnderWay(&inquiries, key.clone());
                    let finding = inquiries.inquirer.inquire(&key, basis).await;
                    let outcome = inquiries.note(key, finding);
                    drop((under_way, permit));
                    // Nobody may be left.
                    let _ = tell.send(outcome);
                });
                answer.shared()
            };
            match under_way.entry(key.clone()) {
                Entry::Occupied(asked) => asked.get().clone(),
                Entry::Vacant(place) => match begin() {
                    Some(permit) => place.insert(ask(permit)).clone(),
                    None => return Outcome::NotBegun,
                },
            }
        };
        // A defect that ends the task is no verdict.
        answer.await.unwrap_or(Outcome::Unavailable)
    }

    /// Keeps a verdict.
    fn note(&self, key: K, finding: Finding<B>) -> Outcome {
        let mut verdicts = self.verdicts();
        let (outcome, any_lost) = match finding {
            // Looked at while the lock is held: what goes from now on is withdrawn behind it.
            Finding::Good(_, _, basis) if !self.inquirer.stands(&basis) => (Outcome::Unavailable, false),
            Finding::Good(known, lasts, basis) => {
                match verdicts.keep(key, known, lasts, basis, Instant::now().into_std()) {
                    Ok((known, any_lost)) => (Outcome::Verdict(Verdict::Good(known)), any_lost),
                    Err(_) => (Outcome::Full, false),
                }
            }
            Finding::Bad(why) => {
                let any_lost = verdicts.refuse(key, why, self.loss, Instant::now().into_std());
                (Outcome::Verdict(Verdict::Bad(why)), any_lost)
            }
            Finding::Unavailable => (Outcome::Unavailable, false),
        };
        self.show(&verdicts);
        drop(verdicts);
        self.planned.notify_one();
        self.tell_of(any_lost);
        outcome
    }

    /// Ends the good verdicts whose basis does not stay, and forgets the bad ones.
    pub fn withdraw(&self, stays: impl Fn(&B) -> bool) {
        let mut verdicts = self.verdicts();
        let any_lost = verdicts.withdraw(stays);
        verdicts.forget_bad();
        self.show(&verdicts);
        drop(verdicts);
        self.tell_of(any_lost);
    }

    /// Ends verdicts when their time is over, and finds them out again before that; without end.
    pub async fn maintain(self: Arc<Self>)
    where
        K: Send + Sync + 'static,
        B: Send + Sync + 'static,
    {
        let mut again = JoinSet::new();
        loop {
            let next = self.verdicts().next();
            let time = async {
                match next {
                    Some(next) => tokio::time::sleep_until(Instant::from_std(next)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = time => {}
                () = self.planned.notified() => continue,
                // Their findings are kept already.
                Some(_) = again.join_next() => continue,
            }
            let mut verdicts = self.verdicts();
            let due = verdicts.due(Instant::now().into_std());
            self.show(&verdicts);
            drop(verdicts);
            self.tell_of(due.any_lost);
            for (key, basis) in due.again {
                let inquiries = Arc::clone(&self);
                again.spawn(async move {
                    let finding = inquiries.inquirer.inquire(&key, basis).await;
                    inquiries.note(key, finding);
                });
            }
        }
    }

    fn show(&self, verdicts: &Verdicts<K, B>) {
        self.kept.set(i64::try_from(verdicts.len()).unwrap_or(i64::MAX));
    }

    fn tell_of(&self, any_lost: bool) {
        if any_lost {
            self.withdrawals.send_modify(|count| *count += 1);
        }
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts<K, B>> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<K, Shared<oneshot::Receiver<Outcome>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{Duration, advance};

    use super::*;

    /// Says what it is told to, a second later.
    #[derive(Debug, Clone, Default)]
    struct Script {
        asked: Arc<AtomicUsize>,
        good: Arc<Mutex<Option<bool>>>,
    }

    #[async_trait]
    impl Inquirer<u32, ()> for Script {
        async fn inquire(&self, _: &u32, (): ()) -> Finding<()> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let until = Some(Instant::now().into_std() + Duration::from_secs(120));
            let lasts = Lasts { until, credential: None, again: true };
            match *self.good.lock().expect("whole") {
                Some(true) => Finding::Good(Known::new("a", Box::default()), lasts, ()),
                Some(false) => Finding::Bad("is bad"),
                None => Finding::Unavailable,
            }
        }
    }

    impl Script {
        fn says(&self, good: Option<bool>) {
            *self.good.lock().expect("whole") = good;
        }

        fn inquiries(&self) -> (Arc<Inquiries<u32, ()>>, watch::Receiver<u64>) {
            let withdrawals = Arc::new(watch::Sender::new(0));
            let told = withdrawals.subscribe();
            let kept = IntGauge::new("a", "b").expect("a name");
            (Inquiries::new(Box::new(self.clone()), Loss::Withdrawn, withdrawals, kept), told)
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_is_asked_once_for_all_who_wait() {
        let script = Script::default();
        script.says(Some(true));
        let (inquiries, _) = script.inquiries();
        let ask = || inquiries.ask(1, (), || Some(()));
        let (one, other, _) = tokio::join!(ask(), ask(), inquiries.ask(2, (), || Some(())));
        let (Outcome::Verdict(Verdict::Good(one)), Outcome::Verdict(Verdict::Good(other))) = (one, other) else {
            panic!("both are good")
        };
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(script.asked(), 2);
        ask().await;
        assert_eq!((script.asked(), inquiries.kept.get()), (2, 2), "it is kept");
        let refused = inquiries.ask(3, (), || None::<()>).await;
        assert!(matches!(refused, Outcome::NotBegun) && script.asked() == 2 && inquiries.under_way().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_goes_on_where_who_has_asked_goes_away() {
        let script = Script::default();
        script.says(Some(true));
        let (inquiries, _) = script.inquiries();
        let asked = tokio::time::timeout(Duration::from_millis(500), inquiries.ask(1, (), || Some(()))).await;
        assert!(asked.is_err());
        assert!(matches!(inquiries.ask(1, (), || Some(())).await, Outcome::Verdict(Verdict::Good(_))));
        assert_eq!((script.asked(), inquiries.under_way().len()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_in_use_is_found_out_again_and_ends_where_it_turns_bad_or_cannot_be() {
        for (then, loss, after) in [(Some(false), Loss::Withdrawn, 90), (None, Loss::Unconfirmed, 119)] {
            let script = Script::default();
            script.says(Some(true));
            let (inquiries, mut told) = script.inquiries();
            inquiries.tasks.spawn(Arc::clone(&inquiries).maintain());
            let Outcome::Verdict(Verdict::Good(held)) = inquiries.ask(1, (), || Some(())).await else { panic!("good") };
            // It is good twice more: 90 s after it was found out, for a second.
            tokio::time::sleep(Duration::from_secs(2 * 91 + 1)).await;
            assert_eq!((script.asked(), held.lost()), (3, None));
            script.says(then);
            let since = Instant::now();
            told.wait_for(|count| *count == 1).await.expect("it lives");
            assert_eq!((held.lost(), since.elapsed().as_secs()), (Some(loss), after), "{then:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_that_nobody_uses_is_not_found_out_again() {
        let script = Script::default();
        script.says(Some(true));
        let (inquiries, told) = script.inquiries();
        inquiries.tasks.spawn(Arc::clone(&inquiries).maintain());
        drop(inquiries.ask(1, (), || Some(())).await);
        advance(Duration::from_secs(130)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((script.asked(), inquiries.find(&1), *told.borrow()), (1, None, 0));
        assert_eq!(inquiries.kept.get(), 0);
    }
}
