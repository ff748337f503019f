//! Waits until a [`super::set::Set`] has something to do, and for the list that it asked for.

use std::time::Instant;

use tokio::time::sleep_until;

use crate::sources::reads::{Number, Reads};

/// What is waited for.
#[derive(Debug, Default)]
pub struct Debounce {
    asking: Option<Number>,
}

impl Debounce {
    /// Asks for a list, unless one is asked for already. Whoever follows the objects sees it like any other.
    pub fn ask(&mut self, reads: &Reads) {
        self.asking = self.asking.or_else(|| reads.next());
    }

    /// Waits until `due`, which is [`super::set::Set::due`]; meanwhile a list that was asked for stays asked for.
    /// Nothing is lost when this is dropped midway.
    pub async fn due(&mut self, due: Option<Instant>, reads: &Reads) {
        let due = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let asked = async {
            if let Some(number) = self.asking {
                reads.ask(number).await;
                self.asking = None;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = due => {}
            () = asked => {}
        }
    }
}
