//! Tests of the servers themselves.

use async_nats::jetstream::stream;

use super::{Cluster, NatsServer, connect};

/// Makes a stream on so many servers, and stores a message there.
async fn store(url: &str, num_replicas: usize) {
    let context = connect(url).await;
    let subjects = vec!["words".to_owned()];
    let config = stream::Config { name: "WORDS".to_owned(), subjects, num_replicas, ..stream::Config::default() };
    context.create_stream(config).await.expect("a stream");
    let stored = context.publish("words", "hello".into()).await.expect("it is sent");
    assert_eq!(stored.await.expect("it is stored").sequence, 1);
}

/// The message that [`store`] has stored.
async fn stored(url: &str) -> bytes::Bytes {
    let stream = connect(url).await.get_stream("WORDS").await.expect("the stream");
    stream.get_raw_message(1).await.expect("the message").payload
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_store() {
    let server = NatsServer::start().await;
    let url = server.url();
    store(&url, 1).await;
    server.kill();
    async_nats::connect(&url).await.expect_err("nobody listens there");
    server.restart().await;
    assert_eq!(server.url(), url);
    assert_eq!(stored(&url).await, "hello");
    drop(server);
    async_nats::connect(&url).await.expect_err("a dropped server has ended");
}

#[tokio::test]
async fn a_cluster_loses_the_leader_of_a_stream_and_has_another() {
    let cluster = Cluster::start().await;
    let servers = cluster.url();
    store(&servers, 3).await;
    let killed = cluster.kill_leader_of("WORDS").await;
    assert_ne!(cluster.leader_of("WORDS").await, killed);
    assert_eq!(stored(&servers).await, "hello");
    cluster.restart_killed().await;
    cluster.restart_all().await;
    cluster.leader_of("WORDS").await;
    assert_eq!(stored(&servers).await, "hello");
}
