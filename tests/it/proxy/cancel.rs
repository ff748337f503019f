//! Clients that leave in the middle: the app is let go, and what it got never looks complete.

use bytes::Bytes;
use h2::Reason;
use http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::harness::{Front, RawApp};

/// A client of HTTP/2, and the task of its connection.
async fn http2(front: &Front) -> (h2::client::SendRequest<Bytes>, JoinSet<()>) {
    let stream = TcpStream::connect(front.address).await.expect("the front accepts");
    let (client, connection) = h2::client::handshake(stream).await.expect("speaks HTTP/2");
    let mut running = JoinSet::new();
    // How it ended is seen by its streams.
    running.spawn(async move { drop(connection.await) });
    (client.ready().await.expect("room for a stream"), running)
}

/// hyper takes a stream that was reset with these codes for one that has ended well.
#[tokio::test]
async fn an_upload_that_its_client_resets_never_looks_complete() {
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        for answered in [false, true] {
            let app = RawApp::new();
            let front = Front::before(app.address()).await;
            let (mut client, _connection) = http2(&front).await;
            let request = Request::post("http://a/").body(()).expect("a request");
            let (response, mut body) = client.send_request(request, false).expect("a stream");
            body.send_data(Bytes::from("half"), false).expect("room for it");
            let mut behind = app.accept().await;
            behind.head().await;
            assert_eq!(behind.until("half\r\n").await, "4\r\nhalf\r\n");
            let mut answer = None;
            if answered {
                behind.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                answer = Some(response.await.expect("a head"));
            }
            body.send_reset(reason);
            let (got, _) = behind.rest().await;
            assert_eq!(got, "", "of {reason}, answered: {answered}");
            front.until("tidewait_proxy_app_connections", "", 0.0).await;
            drop(answer);
        }
    }
}
