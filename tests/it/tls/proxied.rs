//! Requests to the app over TLS, by either protocol, and connections that come back from there.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{PARKED, Rig};
use crate::server::{Client, STEP};

/// Answers what it was sent, and which scheme it was told of.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let scheme = request.headers().get("x-forwarded-proto").cloned();
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut response = Response::new(Full::new(body));
    if let Some(scheme) = scheme {
        response.headers_mut().insert("x-scheme", scheme);
    }
    Ok(response)
}

/// An app.
async fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let builder = hyper::server::conn::http1::Builder::new();
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    address
}

#[tokio::test]
async fn bodies_pass_both_ways_and_the_app_is_told_https() {
    let app = app().await;
    let rig = Rig::with(&["--upstream", &format!("http://{app}")]).await;
    let body: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (sent, got) = (rig.model.beside("sent"), rig.model.beside("got"));
    std::fs::write(&sent, &body).expect("written");
    for (flag, version) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["-sS", "--cacert", &rig.ca(), flag, "-D", "-", "-o", &got, "-H", "Expect:"]);
        curl.args(["--data-binary", &format!("@{sent}"), &format!("https://localhost:{}/echo", rig.port())]);
        let output = tokio::time::timeout(STEP, curl.kill_on_drop(true).output()).await.expect("in time");
        let output = output.expect("curl");
        let head = String::from_utf8_lossy(&output.stdout);
        assert!(head.contains(version) && head.contains("x-scheme: https"), "{flag}: {output:?}");
        assert!(std::fs::read(&got).expect("written") == body, "{flag}");
    }
}

#[tokio::test]
async fn a_connection_goes_to_the_app_and_comes_back_to_be_parked() {
    let app = app().await;
    let rig = Rig::with(&["--upstream", &format!("http://{app}")]).await;
    let mut client: Client<_> = rig.connect().await;
    for n in 2..5 {
        assert_eq!(client.get("/other", &[]).await.status, 200);
        let id = client.get("/describe", &[]).await.id().to_owned();
        client.send("GET", &format!("/describe?since={id}&wait=50"), &[]).await;
        rig.server.metric_becomes(PARKED, 1.0).await;
        let model = format!("{{\"n\":{n}}}");
        rig.model.replace(&model);
        assert_eq!(client.reply().await.body, model.as_bytes());
    }
    // Both in one write: what is behind the first is not lost on the way.
    client.send("GET", "/other", &[]).await;
    client.send("GET", "/describe", &[]).await;
    assert_eq!((client.reply().await.status, client.reply().await.status), (200, 200));
}

#[tokio::test]
async fn polls_of_http2_are_parked_and_told() {
    let rig = Rig::new().await;
    let url = format!("https://localhost:{}/describe", rig.port());
    let id = rig.connect().await.get("/describe", &[]).await.id().to_owned();
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["-sS", "--cacert", &rig.ca(), "--http2", "-w", " %{http_version}"]);
    let polled = curl.arg(format!("{url}?since={id}&wait=50")).kill_on_drop(true).output();
    let told = async {
        rig.server.metric_becomes(PARKED, 1.0).await;
        rig.model.replace("{\"n\":2}");
    };
    let (polled, ()) = tokio::join!(polled, told);
    assert_eq!(String::from_utf8_lossy(&polled.expect("curl").stdout), "{\"n\":2} 2");
}
