//! The answer to a poll, from a decision, a state and its bytes.

use super::arrive::Asking;
use crate::describe::answer::{Representation, State};
use crate::describe::problem::Kind;
use crate::describe::{Answer, Coding, Decision, Problem};
use crate::hub::{Payload, Served, Wanted};
use crate::registry::LivePoll;

/// The client holds a newer state than the one that is known to be current.
pub(in crate::http) fn not_confirmed() -> Problem {
    let detail = "since names a newer state than this replica could confirm: try again, or another endpoint";
    Problem::retry(Kind::NotConfirmed, 1, detail)
}

impl Asking {
    /// The answer, with what has to be made for it.
    pub async fn answer(
        &self,
        served: &Served,
        decision: Decision,
        live: Option<&LivePoll>,
    ) -> Result<Answer, Problem> {
        let payload = match self.wanted(decision) {
            Some(wanted) => Some(self.subscription.payload(served, wanted).await),
            None => None,
        };
        self.answer_with(served, decision, live, payload)
    }

    /// The body that this decision takes, or takes the tag of; none: no body.
    #[must_use]
    pub fn wanted(&self, decision: Decision) -> Option<Wanted> {
        match decision {
            Decision::State => Some(Wanted::by(&self.request)),
            // The tag is that of what a 200 would have carried (RFC 9110, section 15.4.5).
            Decision::NotModified => Some(Wanted { coding: self.request.coding, base: None }),
            Decision::Unchanged | Decision::Behind => None,
        }
    }

    /// The answer, with the body that is [`Self::wanted`].
    pub fn answer_with(
        &self,
        served: &Served,
        decision: Decision,
        live: Option<&LivePoll>,
        payload: Option<Payload>,
    ) -> Result<Answer, Problem> {
        match (decision, payload) {
            (Decision::State, Some(payload)) => {
                if let Some(live) = live {
                    live.sent(&served.snapshot.id);
                }
                self.subscription.count(served, &payload);
                Ok(self.state(served, payload))
            }
            (Decision::NotModified, Some(payload)) => {
                let ahead = self.at_client_version(served);
                Ok(Answer::not_modified(self.about(ahead.as_ref().unwrap_or(served), Some(payload.coding))))
            }
            (Decision::Unchanged, _) => {
                let ahead = self.at_client_version(served);
                Ok(Answer::unchanged(self.about(ahead.as_ref().unwrap_or(served), Some(Coding::Identity))))
            }
            (Decision::Behind | Decision::State | Decision::NotModified, _) => Err(not_confirmed()),
        }
    }

    /// The state, or what leads to it.
    fn state(&self, served: &Served, payload: Payload) -> Answer {
        let (is_delta, body, digest) = (payload.is_delta(), (payload.coding, payload.bytes), payload.digest);
        match &self.request.since {
            Some(since) if is_delta => {
                let representation = Representation::delta(&self.request, since, body, digest);
                Answer::state(self.about(served, None), representation)
            }
            Some(_) | None => {
                let state = self.about(served, Some(body.0));
                Answer::state(state, Representation::whole(&self.request, served.fields(), body, digest))
            }
        }
    }

    fn about(&self, served: &Served, coding: Option<Coding>) -> State {
        let terms = self.request.relay.as_ref().map(|_| self.operation.lineage.way().fields());
        let now = tokio::time::Instant::now().into_std();
        let times = (self.operation.freshness.age(), self.operation.hub.reconnect_within(now));
        State { terms, ..State::new(&self.request, served.fields(), coding, times) }
    }

    /// The same state at the version that the client has it at, if that is newer.
    fn at_client_version(&self, served: &Served) -> Option<Served> {
        served.at_least(self.request.version_of(&served.snapshot.id))
    }
}
