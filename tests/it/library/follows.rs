//! What the client makes of the built binary.

use tidewait::client::{Settings, State};

use super::{Follower, settings};
use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::Server;

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
