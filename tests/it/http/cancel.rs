//! A request may be dropped at any moment: whatever it had taken is given back.

use std::sync::Arc;
use std::time::Duration;

use futures::future::poll_immediate;
use http::Request;
use tidewait::access::{Caller, Connection, Scheme};
use tidewait::http::access::Admitted;
use tidewait::http::connection::ConnectionState;
use tidewait::http::describe::{answer, parse};
use tidewait::model::Publication;
use tidewait::registry::Listing;
use tokio::time::Instant;

use super::{MODEL, Rig, id, snapshot};

/// What happens between two polls of the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Nothing,
    Change,
    Back,
    Move,
    Expire,
    Drain,
    /// The operation ends.
    End,
}

use Event::{Back, Change, Drain, End, Expire, Move, Nothing};

/// Polls after which the handler is dropped; more than any of these needs.
const POLLS: usize = 8;

async fn happen(rig: &Rig, event: Event) {
    let publish = |version, json: &str| {
        let publication = Publication { snapshot: snapshot(version, json), seen: Instant::now().into_std() };
        rig.operation.hub.publish(&publication);
    };
    match event {
        Nothing => {}
        Change => publish(8, &MODEL.replace("1450", "9000")),
        Back => publish(9, MODEL),
        Move => rig.operation.hub.bump_version(10),
        End => rig.operation.hub.close(),
        Expire => tokio::time::advance(Duration::from_secs(60)).await,
        Drain => {
            rig.stop.drain();
            tokio::time::advance(Duration::from_secs(60)).await;
        }
    }
    // Others run: encodings are made on another thread.
    tokio::task::yield_now().await;
}

async fn dropped_after(polls: usize, query: &str, events: &[Event], spread: Duration) {
    let adjust = |config: &mut tidewait::config::Operation| {
        config.parked_per_agent = 1;
        config.wake_spread = spread;
    };
    let mut rig = Rig::serving(adjust).await;
    for _ in 0..3 {
        // The next one with this since is held for its pace.
        rig.poll(&format!("since={}", id(3, "{}")), "Agent-Id: node-1\r\n").await;
    }
    let request = Request::get(format!("/describe?{query}")).header("agent-id", "node-1");
    let request = request.header("accept", "application/json-patch+json");
    let request = request.header("accept-encoding", "gzip").body(()).expect("a request");
    let (stop, asks) = (rig.stop.watch(), parse(&rig.operation, &request.into_parts().0));
    let connection = Connection::new(([192, 0, 2, 1], 4711).into(), Scheme::Http);
    let connection = ConnectionState::new(Arc::new(connection));
    let mut handler = Box::pin(answer(
        &rig.operation,
        (&rig.access, Admitted { caller: Caller::Anonymous, part: None }),
        &stop,
        &connection,
        asks,
    ));
    let (mut parked, mut done) = (0, false);
    for poll in 0..polls {
        let outcome = poll_immediate(&mut handler).await;
        parked = parked.max(rig.operation.hub.parked());
        if outcome.is_some() {
            done = true;
            break;
        }
        happen(&rig, events.get(poll).copied().unwrap_or(Nothing)).await;
    }
    if polls == POLLS && !done {
        // Not dropped: it ends by itself, and gives back the same.
        tokio::time::timeout(Duration::from_secs(120), &mut handler).await.expect("it is answered");
    }
    drop(handler);
    let case = format!("{query} {events:?} after {polls}, spread over {spread:?}");
    rig.is_empty();
    let (agents, _) =
        rig.operation.agents(&Listing { after: None, sync_status: None, limit: 1 }, rig.operation.facts().state_id());
    assert_eq!(agents[0].polls, 0, "{case}: the agent's poll");
    drop(agents);
    let metrics = rig.operation.hub.metrics();
    let ends = [&metrics.changed, &metrics.expired, &metrics.drained, &metrics.ended, &metrics.abandoned]
        .map(prometheus::IntCounter::get);
    assert_eq!(ends.iter().sum::<u64>(), parked as u64, "{case}: each hold ends once: {ends:?}");
    tokio::time::timeout(Duration::from_secs(1), rig.operation.hub.emptied()).await.expect("told that it is empty");
    let current = rig.operation.hub.current().expect("a state").snapshot.id;
    let (again, _) = rig.poll(&format!("since={current}&wait=0.001"), "Agent-Id: node-1\r\n").await;
    assert_eq!(again.status, 204, "{case}: the agent's place");
    assert_eq!(rig.operation.hub.metrics().selections.get(), 0, "{case}: the share in a view");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_dropped_after_any_poll_gives_everything_back() {
    let (current, stale) = (format!("since={}", id(7, MODEL)), format!("since={}", id(3, "{}")));
    let part = format!("select=/mtu&since={}", id(7, r#"{"mtu":1450}"#));
    let part_of_stale = format!("select=/zones&{stale}");
    for query in ["", &*current, &format!("{current}&wait=0"), &stale, "wait=x", &part, &part_of_stale] {
        for events in [
            &[Nothing; POLLS][..],
            &[Change],
            &[Change, Back],
            &[Nothing, Move, Change],
            &[Expire],
            &[Nothing, Nothing, Expire],
            &[Drain],
            &[Change, Drain],
            &[Move, Expire],
            &[End],
            &[Nothing, End],
            &[Change, End],
            &[Drain, End],
        ] {
            for polls in 0..=POLLS {
                dropped_after(polls, query, events, Duration::ZERO).await;
                dropped_after(polls, query, events, Duration::from_secs(5)).await;
            }
        }
    }
}
