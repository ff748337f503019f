//! What is to run: whoever decides that tells it to whoever starts, changes and ends it.

use std::sync::Arc;

use tokio::sync::watch;

/// What is to run, by its configurations.
#[derive(Debug)]
pub struct Wanted<C> {
    /// No two have a name or a path in common.
    pub configs: Arc<Vec<C>>,
    /// What must be known before these are all; none: they are.
    pub unknown: Option<&'static str>,
}

/// Follows what is to run.
#[derive(Debug)]
pub struct Follower<C> {
    wanted: watch::Receiver<Wanted<C>>,
    /// What it gave last.
    given: Option<Wanted<C>>,
}

impl<C> Wanted<C> {
    /// Exactly these.
    #[must_use]
    pub fn all(configs: Vec<C>) -> Self {
        Self { configs: Arc::new(configs), unknown: None }
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.configs, &other.configs) && self.unknown == other.unknown
    }
}

impl<C: PartialEq> Wanted<C> {
    /// Becomes exactly these; false: it is that already.
    pub fn become_all(&mut self, configs: Vec<C>) -> bool {
        let differs = *self.configs != configs || self.unknown.is_some();
        if differs {
            *self = Self::all(configs);
        }
        differs
    }
}

impl<C> Clone for Wanted<C> {
    fn clone(&self) -> Self {
        Self { configs: Arc::clone(&self.configs), unknown: self.unknown }
    }
}

impl<C> Follower<C> {
    /// Gives what is to run now first.
    #[must_use]
    pub fn new(wanted: watch::Receiver<Wanted<C>>) -> Self {
        Self { wanted, given: None }
    }

    /// Waits for something else than it gave last. Once nobody can want anything else, that is for ever.
    pub async fn next(&mut self) -> Wanted<C> {
        let Self { wanted, given } = self;
        let differs = |wanted: &Wanted<C>| given.as_ref().is_none_or(|given| !given.is(wanted));
        // The guard must not be held over an await.
        let next = wanted.wait_for(differs).await.ok().map(|wanted| wanted.clone());
        match next {
            Some(next) => {
                *given = Some(next.clone());
                next
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn each_change_is_given_once_and_the_last_stays() {
        let (wants, wanted) = watch::channel(Wanted::all(vec![1]));
        let mut follower = Follower::new(wanted);
        let mut next = || follower.next().now_or_never().map(|wanted| (wanted.configs.to_vec(), wanted.unknown));
        assert_eq!(next(), Some((vec![1], None)));
        assert_eq!(next(), None);
        assert!(!wants.send_if_modified(|now| now.become_all(vec![1])));
        assert_eq!(next(), None);
        wants.send_modify(|now| now.unknown = Some("more"));
        assert_eq!(next(), Some((vec![1], Some("more"))));
        assert!(wants.send_if_modified(|now| now.become_all(vec![1])), "now they are all");
        assert_eq!(next(), Some((vec![1], None)));
        drop(wants);
        assert_eq!(next(), None);
    }
}
