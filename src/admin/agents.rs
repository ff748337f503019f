//! `/agents`: which agent holds, lacks or rejects which state, a page at a time; the first page has the relays, too.
//!
//! | parameter | meaning |
//! |---|---|
//! | `operation` | its name; may be left out where there is only one |
//! | `state` | only agents that are `converged`, `lagging` (those that are `applying` included), `applying` or `rejecting` |
//! | `limit` | agents on a page, 1 to [`AGENTS_PAGE`]; [`PAGE`] where it is left out |
//! | `after` | only agents whose name comes after this one: the `next` of an answer has it |

use std::fmt::Write as _;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::bounds::{AGENT_ID_BYTES, AGENTS_PAGE};
use crate::describe::Problem;
use crate::escape::escape;
use crate::operation::{Agent, Operation, Relay};
use crate::registry::relays::RelayCounts;
use crate::registry::{AgentKey, Listing, SyncStatus};

/// Agents on a page that names no `limit`.
const PAGE: usize = 100;

/// What is asked for.
#[derive(Debug)]
struct Query<'a> {
    operation: &'a Operation,
    listing: Listing,
}

/// The page that `query` asks for.
pub(super) fn of(operations: &[Arc<Operation>], query: &str) -> Result<Value, Problem> {
    let Query { operation, listing } = parse(operations, query)?;
    let facts = operation.facts();
    let (agents, more) = operation.agents(&listing, facts.state_id());
    let last = agents.last().filter(|_| more);
    let mut page = json!({
        "operation": operation.name,
        "stateId": facts.state_id().map(ToString::to_string),
        "agents": agents.iter().map(one).collect::<Vec<_>>(),
        "next": last.map(|last| next(operation, &listing, last)),
    });
    // Few enough for one page.
    if listing.after.is_none() {
        page["relays"] = relays(&operation.list_relays(facts.state_id()));
    }
    Ok(page)
}

/// What who watches an operation is to see first: at most `most` agents, those that reject before those that lag, and these before
/// others; and how many they are.
pub(super) fn watched(operation: &Operation, most: usize) -> (Value, usize) {
    let facts = operation.facts();
    let (mut shown, mut more) = (Vec::new(), false);
    for sync_status in [SyncStatus::Rejecting, SyncStatus::Lagging, SyncStatus::Converged] {
        let limit = PAGE.min(most).saturating_sub(shown.len());
        let listing = Listing { after: None, sync_status: Some(sync_status), limit };
        let (agents, are_more) = operation.agents(&listing, facts.state_id());
        shown.extend(agents.iter().map(one));
        more |= are_more;
    }
    let count = shown.len();
    let page = json!({
        "operation": operation.name,
        "stateId": facts.state_id().map(ToString::to_string),
        "agents": shown,
        "more": more,
        "relays": relays(&operation.list_relays(facts.state_id())),
    });
    (page, count)
}

fn relays(relays: &[Relay]) -> Value {
    relays.iter().map(relay).collect()
}

/// A relay with the agents below it, of which nothing is proved.
fn relay(relay: &Relay) -> Value {
    let RelayCounts { converged, lagging, rejecting, applying } = relay.counts;
    let instance = &relay.key.instance;
    let worst = relay.worst.iter().map(|worst| {
        let name = format!("{instance}/{}", worst.agent);
        json!({ "name": escape(&name), "authenticated": false, "reason": worst.reason.as_deref().map(escape) })
    });
    json!({
        "instance": instance,
        "identity": relay.key.identity.as_deref(),
        "peer": relay.peer.to_string(),
        "select": relay.selected.as_ref().and_then(|subscription| subscription.selection()).map(|selection| {
            selection.pointers().iter().map(ToString::to_string).collect::<Vec<_>>()
        }),
        "serves": relay.state.map(|state| state.to_string()),
        "total": relay.counts.total(),
        "converged": converged,
        "lagging": lagging,
        "rejecting": rejecting,
        "applying": applying,
        "oldestLagSeconds": relay.oldest_lag.map(|lag| lag.as_secs()),
        "ageSeconds": relay.age.as_secs(),
        "gone": relay.gone,
        "worst": worst.collect::<Vec<_>>(),
    })
}

fn one(agent: &Agent) -> Value {
    json!({
        "name": agent.key.name(),
        "authenticated": agent.key.is_authenticated(),
        "select": agent.selected.as_ref().and_then(|subscription| subscription.selection()).map(|selection| {
            selection.pointers().iter().map(ToString::to_string).collect::<Vec<_>>()
        }),
        "state": agent.sync_status.as_str(),
        "holds": agent.acknowledged.map(|holds| holds.to_string()),
        "given": agent.sent.map(|given| given.to_string()),
        "applies": agent.applying.map(|applying| applying.to_string()),
        "rejects": agent.rejects.map(|rejects| rejects.to_string()),
        "reason": agent.reason.as_deref().map(escape),
        "rejectingSeconds": agent.rejecting.map(|rejecting| rejecting.as_secs()),
        "laggingSeconds": agent.lagging.map(|lagging| lagging.as_secs()),
        "lastSeenSeconds": agent.last_seen.as_secs(),
        "polls": agent.polls,
        "duplicate": agent.polls > 1,
        "peer": agent.peer.to_string(),
    })
}

/// The target of the next page. Names of operations and agents need no encoding in a query.
fn next(operation: &Operation, listing: &Listing, last: &Agent) -> String {
    let mut target = format!("/agents?operation={}", operation.name);
    if let Some(sync_status) = listing.sync_status {
        let _ = write!(target, "&state={}", sync_status.as_str());
    }
    let _ = write!(target, "&limit={}&after={}", listing.limit, last.key.name());
    target
}

fn parse<'a>(operations: &'a [Arc<Operation>], query: &str) -> Result<Query<'a>, Problem> {
    let [mut operation, mut state, mut limit, mut after] = [const { None }; 4];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let [name, value] = [name, value].map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
        let slot = match &*name {
            "operation" => &mut operation,
            "state" => &mut state,
            "limit" => &mut limit,
            "after" => &mut after,
            _ => {
                let allowed = "it is no parameter of /agents: give operation, state, limit or after";
                return Err(Problem::parameter(&name, &value, allowed));
            }
        };
        if slot.replace(value.clone()).is_some() {
            return Err(Problem::parameter(&name, &value, "it stands twice or more: give it once"));
        }
    }
    let listing = Listing {
        after: after.as_deref().map(key).transpose()?,
        sync_status: state.as_deref().map(sync_status).transpose()?,
        limit: limit.as_deref().map_or(Ok(PAGE), page)?,
    };
    Ok(Query { operation: named(operations, operation.as_deref())?, listing })
}

fn named<'a>(operations: &'a [Arc<Operation>], name: Option<&str>) -> Result<&'a Operation, Problem> {
    let found = match (name, operations) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(name), all) => all.iter().find(|operation| operation.name == name),
    };
    found.map(Arc::as_ref).ok_or_else(|| {
        let names: Vec<_> = operations.iter().map(|operation| &*operation.name).collect();
        Problem::parameter("operation", name.unwrap_or(""), &format!("name one of {}", names.join(", ")))
    })
}

fn sync_status(text: &str) -> Result<SyncStatus, Problem> {
    let found = SyncStatus::ALL.into_iter().find(|sync_status| sync_status.as_str() == text);
    found.ok_or_else(|| {
        let names = SyncStatus::ALL.map(SyncStatus::as_str).join(", ");
        Problem::parameter("state", text, &format!("give one of {names}, or leave it out for all"))
    })
}

fn page(text: &str) -> Result<usize, Problem> {
    let limit = text.parse().ok().filter(|limit| (1..=AGENTS_PAGE).contains(limit));
    limit.ok_or_else(|| Problem::parameter("limit", text, &format!("give a number from 1 to {AGENTS_PAGE}")))
}

fn key(text: &str) -> Result<AgentKey, Problem> {
    if text.len() > AGENT_ID_BYTES {
        return Err(Problem::parameter("after", text, "no agent has so long a name: follow next of the page before"));
    }
    Ok(AgentKey::claimed(text))
}
