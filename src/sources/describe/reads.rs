//! The reads of a relay: questions to its server about what clients hold, on a connection of their own.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Relayed, draft};
use crate::bounds::{CATCH_UP, RELAY_READ_EVERY};
use crate::client::{Confirmer, State, Status};
use crate::model::{Provenance, Since, StateId};
use crate::sources::reads::Reader;
use crate::sources::{Draft, Reports};

/// Asks the server whenever a client may hold a newer state than is served here. `only`: what an agent holds, where nothing
/// else is served, however new it is.
pub(super) async fn answer_reads(
    mut confirmer: Confirmer,
    mut reader: Reader,
    (status, only): (watch::Receiver<Status>, Option<watch::Receiver<Option<State>>>),
    reports: Reports,
) {
    loop {
        reader.requested().await;
        let next = Instant::now() + RELAY_READ_EVERY;
        let read = reader.begin_read();
        let client = status.borrow().clone();
        let asked = timeout(CATCH_UP, ask(&mut confirmer, &client, &read.held)).await;
        let report = match asked {
            Ok(Ok(Some(draft))) if may_serve(only.as_ref(), &draft) => {
                Relayed::Holds { draft, age: None, read: Some(read.number) }
            }
            Ok(Err(why)) => {
                tracing::info!(why, "a client may hold a newer state, and the server did not say whether");
                Relayed::ReadFailed(read.number)
            }
            Ok(Ok(Some(_) | None)) | Err(_) => Relayed::ReadFailed(read.number),
        };
        if reports.send(report.into()).await.is_err() {
            return;
        }
        sleep_until(next).await;
    }
}

/// Whether a state may be served: an agent serves what it holds.
fn may_serve(only: Option<&watch::Receiver<Option<State>>>, draft: &Draft) -> bool {
    let Some(only) = only else { return true };
    let held = only.borrow().as_ref().and_then(|state| StateId::parse(state.id()));
    held.is_some_and(|held| held.epoch == draft.epoch && held.digest == draft.content.digest())
}

/// What the server in use has, while clients hold these states: the newest that it names for any of them.
async fn ask(confirmer: &mut Confirmer, status: &Status, held: &[Since]) -> Result<Option<Draft>, String> {
    let mut found: Option<Draft> = None;
    for since in held {
        let state = confirmer.newest(status, &since.to_string()).await.map_err(|failure| failure.text)?;
        let draft = draft(&state)?;
        let id = StateId { epoch: draft.epoch, version: draft.version, digest: draft.content.digest() };
        // Only what is older than the state that it was asked about says that the source went back. The poll may have brought
        // a newer one meanwhile, which stays then.
        let is_known_to_go_back = found.as_ref().is_some_and(|found| {
            let was = StateId { epoch: found.epoch, version: found.version, digest: found.content.digest() };
            found.provenance == Provenance::Read && was == id
        });
        let goes_back = is_known_to_go_back || id.is_before(since);
        let provenance = if goes_back { Provenance::Read } else { Provenance::Stream };
        let is_older = found.as_ref().is_some_and(|found| found.epoch == id.epoch && found.version > id.version);
        if !is_older {
            found = Some(Draft { provenance, ..draft });
        }
    }
    Ok(found)
}
