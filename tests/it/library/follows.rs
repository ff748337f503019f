//! What the client makes of the built binary.

use tidewait::client::{Doing, FailureKind, Settings, State, Status};

use super::{Follower, settings};
use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::{Server, tidewait};

fn model(n: usize) -> String {
    let filler = "x".repeat(600);
    format!(r#"{{"filler":"{filler}","n":{n}}}"#)
}

fn at(server: &Server) -> Settings {
    Settings { agent_id: Some("node-2".to_owned()), ..settings(&format!("http://{}", server.listen)) }
}

/// Each change comes as a patch, over one connection, and is acknowledged.
#[tokio::test]
async fn twenty_changes_come_one_after_the_other() {
    let file = ModelFile::new(&model(0));
    let mut server = serve(&file, &["--min-interval", "10ms"]).await;
    server.ready().await;
    let mut follower = Follower::start(&at(&server));
    let mut ids = vec![follower.reaches(&model(0)).await.id().to_owned()];
    for n in 1..=20 {
        follower.parks_at(ids.last().expect("one")).await;
        file.replace(&model(n));
        let state = follower.take().await;
        assert_eq!(*state.bytes(), model(n));
        let patch = state.patch().expect("it is smaller");
        assert_eq!(Some(&patch.base), ids.last());
        ids.push(state.id().to_owned());
    }
    let status = follower.parks_at(ids.last().expect("one")).await;
    assert_eq!((status.counters.states, status.counters.patches, status.counters.failures), (21, 20, 0), "{status:?}");
    server.metric_becomes("tidewait_agents{operation=\"describe\",state=\"converged\"}", 1.0).await;
    let held = State::kept(ids.last().expect("one"), "application/json", model(20).into()).expect("its bytes");
    drop(follower);
    // Who begins with what is held is given nothing.
    let mut follower = Follower::holding(&at(&server), Some(held));
    follower.parks_at(ids.last().expect("one")).await;
    file.replace(&model(21));
    assert_eq!(*follower.take().await.bytes(), model(21));
}

/// The same server at the same address, once more.
async fn again(file: &ModelFile, at: std::net::SocketAddr, more: &[&str]) -> Server {
    let listen = at.to_string();
    let arguments = ["serve", "--listen", &listen, "--admin", "127.0.0.1:0", "--log-format", "json"];
    let arguments: Vec<_> = arguments.iter().chain(&["--file", file.arg()]).chain(more).copied().collect();
    Server::spawn(tidewait(&arguments)).await
}

#[tokio::test]
async fn a_server_that_is_killed_and_comes_back_with_its_state_sends_nothing_twice() {
    let file = ModelFile::new(&model(0));
    let kept = file.beside("state");
    let mut server = serve(&file, &["--state-dir", &kept]).await;
    server.ready().await;
    let mut follower = Follower::start(&at(&server));
    let id = follower.take().await.id().to_owned();
    follower.parks_at(&id).await;
    server.child.kill().await.expect("it runs");
    let lost = follower.becomes("lost", |status| status.failure.is_some()).await;
    let (failure, _) = lost.failure.expect("there is one");
    let begins = format!("http://{}: ", server.listen);
    assert!(failure.text.starts_with(&begins), "{}", failure.text);
    assert!(lost.held.as_deref() == Some(&id) && lost.doing != Doing::Polling, "{:?}", lost.doing);
    file.remove();
    let server = again(&file, server.listen, &["--state-dir", &kept]).await;
    let back = follower.becomes("back", |status| status.doing == Doing::Polling && status.failure.is_none()).await;
    assert_eq!((back.counters.states, back.held.as_deref()), (1, Some(&*id)));
    file.replace(&model(1));
    let state = follower.take().await;
    assert_eq!(*state.bytes(), model(1));
    drop(server);
}

#[tokio::test]
async fn a_server_without_a_state_is_asked_again_when_it_says() {
    let file = ModelFile::absent();
    let server = serve(&file, &[]).await;
    let mut follower = Follower::start(&at(&server));
    let failure = follower.fails().await;
    let FailureKind::Busy(Some(asked)) = failure.kind else { panic!("{failure:?}") };
    let begins = format!("http://{}: 503 Service Unavailable, ", server.listen);
    assert!(
        failure.text.starts_with(&begins)
            && failure.text.ends_with(&format!("asked again after {} s", asked.as_secs()))
    );
    file.replace(&model(1));
    follower.reaches(&model(1)).await;
    let polls = follower.status().counters.polls;
    assert!(polls <= 10, "{polls} polls");
}

#[tokio::test]
async fn a_drain_sends_the_client_to_another_replica_where_it_goes_on() {
    let file = ModelFile::new(&model(0));
    let mut servers = [serve(&file, &["--grace", "5s"]).await, serve(&file, &[]).await];
    for server in &mut servers {
        server.ready().await;
    }
    let [mut first, second] = servers;
    let endpoints = vec![format!("http://{}", first.listen), format!("http://{}", second.listen)];
    let mut follower = Follower::start(&Settings { endpoints: endpoints.clone(), ..at(&first) });
    let id = follower.take().await.id().to_owned();
    follower.parks_at(&id).await;
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.ended().await, Some(0));
    let moved = |status: &Status| status.endpoint == endpoints[1] && status.doing == Doing::Polling;
    let status = follower.becomes("at the other", moved).await;
    assert_eq!(status.counters.states, 1, "the ids are the same");
    // Over there it is a patch to what came from here.
    follower.becomes("well", |status| status.failure.is_none()).await;
    file.replace(&model(1));
    let state = follower.take().await;
    assert_eq!(state.patch().map(|patch| &*patch.base), Some(&*id));
}

#[tokio::test]
async fn selections_and_opaque_models_are_followed_too() {
    let file = ModelFile::new(r#"{"a":{"x":1,"y":2},"b":3,"c":4}"#);
    let mut server = serve(&file, &[]).await;
    server.ready().await;
    let select = vec!["/a/x".to_owned(), "/b".to_owned()];
    let mut follower = Follower::start(&Settings { select, ..at(&server) });
    let id = follower.reaches(r#"{"a":{"x":1},"b":3}"#).await.id().to_owned();
    follower.parks_at(&id).await;
    file.replace(r#"{"a":{"x":1,"y":9},"b":5,"c":4}"#);
    follower.reaches(r#"{"a":{"x":1},"b":5}"#).await;

    let file = ModelFile::new("one\n");
    let mut server = serve(&file, &["--format", "opaque:text/x-rules"]).await;
    server.ready().await;
    let mut follower = Follower::start(&at(&server));
    let state = follower.reaches("one\n").await;
    assert!((state.media_type(), state.document().is_none()) == ("text/x-rules", true));
    follower.parks_at(state.id()).await;
    file.replace("two\n");
    follower.reaches("two\n").await;
    // What cannot be selected is told, with the server's words.
    let follower = Follower::start(&Settings { select: vec!["/a".to_owned()], ..at(&server) });
    let failure = follower.fails().await;
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.text.contains("400 Bad Request: "), "{}", failure.text);
}

#[tokio::test]
async fn operators_see_what_is_held_applied_and_rejected() {
    let file = ModelFile::new(&model(0));
    let mut server = serve(&file, &[]).await;
    server.ready().await;
    let agents = |state: &str| format!("tidewait_agents{{operation=\"describe\",state=\"{state}\"}}");
    let mut follower = Follower::start(&at(&server));
    let id = follower.take().await.id().to_owned();
    follower.parks_at(&id).await;
    server.metric_becomes(&agents("converged"), 1.0).await;
    file.replace(&model(1));
    let rejected = follower.next().await;
    follower.reports.rejected(rejected.id(), "mtu 1400\nis below 1420");
    server.metric_becomes(&agents("rejecting"), 1.0).await;
    let seen = String::from_utf8(server.admin("/agents").await.body).expect("text");
    assert!(seen.contains("mtu 1400?is below 1420"), "{seen}");
    let status = follower.status();
    assert_eq!((status.held.as_deref(), status.rejected.as_deref()), (Some(&*id), Some(rejected.id())));
    file.replace(&model(2));
    follower.take().await;
    server.metric_becomes(&agents("converged"), 1.0).await;
    assert_eq!(follower.status().rejected, None);
}
