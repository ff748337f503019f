//! Every task has a name and an owner; one that ends unexpectedly ends the process.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;

use tokio::task::{JoinError, JoinSet};

/// The result of a task: nothing when it was asked to end, a reason when it cannot go on.
pub type TaskResult = Result<(), Box<dyn Error + Send + Sync>>;

/// The tasks of the process. Dropping them aborts what still runs.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<(String, TaskResult)>,
}

/// Why the process cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A task gave up.
    #[error("task {name} failed")]
    Failed {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A task ended unexpectedly.
    #[error("task {0} ended though nobody asked it to")]
    Ended(String),
    /// A task panicked.
    #[error("a task panicked")]
    Panicked(#[source] JoinError),
}

impl Tasks {
    /// Starts a task.
    pub fn spawn<F>(&mut self, name: impl Into<String>, task: F)
    where
        F: Future<Output = TaskResult> + Send + 'static,
    {
        let name = name.into();
        // Boxed, so that a large future is moved once, not through the join set's own layers.
        let task: Pin<Box<dyn Future<Output = TaskResult> + Send>> = Box::pin(task);
        self.set.spawn(async move { (name, task.await) });
    }

    /// Ends them all, and waits until none runs any more.
    pub async fn end(mut self) {
        self.set.shutdown().await;
    }

    /// Waits until a task ends unexpectedly; for ever if there are none.
    pub async fn first_exit(&mut self) -> Fatal {
        match self.set.join_next().await {
            Some(Ok((name, Err(source)))) => Fatal::Failed { name, source },
            Some(Ok((name, Ok(())))) => Fatal::Ended(name),
            Some(Err(error)) => Fatal::Panicked(error),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_exit_that_nobody_asked_for_has_a_name_and_a_reason() {
        let mut tasks = Tasks::default();
        tasks.spawn("waits", std::future::pending());
        tasks.spawn("gives up", async { Err("the reason".into()) });
        let fatal = tasks.first_exit().await;
        assert_eq!(fatal.to_string(), "task gives up failed");
        assert_eq!(fatal.source().expect("a cause").to_string(), "the reason");
        tasks.spawn("leaves", async { Ok(()) });
        assert_eq!(tasks.first_exit().await.to_string(), "task leaves ended though nobody asked it to");
        tasks.spawn("panics", async { panic!("on purpose") });
        assert_eq!(tasks.first_exit().await.to_string(), "a task panicked");
    }
}
