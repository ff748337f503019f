//! SIGTERM: the exchange is told, what runs is finished, and the exit code says whether something was cut.

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};

use super::{Port, found, head, soon, whole, worker, write};

#[tokio::test]
async fn what_runs_is_finished_and_nothing_new_is_taken() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let mut worker = worker(&exchange, &server, &["--slots=2"]);
    found(&server).await;
    let mut hub = exchange.hub().await;
    let response = hub.get("/job").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    worker.signal(Signal::TERM);
    worker.logged("nothing new is taken").await;
    // Its GOAWAY comes at once; what is sent until then is taken, and taken back here.
    let refused = async {
        loop {
            let Ok(mut send) = hub.send.clone().ready().await else { return };
            let Ok((response, _)) = send.send_request(super::to("/late"), true) else { return };
            let Ok(answer) = timeout(Duration::from_millis(300), response).await else { continue };
            let error = answer.expect_err("it is not taken");
            let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            // h2 calls a stream broken that it may not begin any more.
            assert!(error.is_go_away() || error.is_io() || is_refused, "{error}");
            return;
        }
    };
    soon("GOAWAY", refused).await;
    write(&mut app, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
    assert_eq!(whole(soon("the answer", response).await.expect("one")).await.expect("whole"), "done");
    assert_eq!(worker.ended().await, Some(0));
    let last = worker.logged("\"finished\"").await;
    assert!(last.contains("\"cut\":0"), "{last}");
    soon("the end of the connection", hub.driver).await.expect("no panic").expect("it ends in peace");
}

#[tokio::test]
async fn what_is_not_finished_within_the_grace_is_cut_and_said() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let mut worker = worker(&exchange, &server, &["--grace=300ms"]);
    found(&server).await;
    let mut hub = exchange.hub().await;
    let response = hub.get("/job").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    let since = Instant::now();
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, Some(3));
    let took = since.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&took), "{took:?}");
    let last = worker.logged("\"finished\"").await;
    assert!(last.contains("\"finished\":0") && last.contains("\"cut\":1"), "{last}");
    assert!(soon("the end", response).await.is_err());
    let mut rest = Vec::new();
    let _ = soon("the server is let go", app.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_an_idle_one_ends_at_the_first() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let mut busy = worker(&exchange, &server, &["--grace=1h"]);
    found(&server).await;
    let mut hub = exchange.hub().await;
    let _response = hub.get("/job").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    busy.signal(Signal::TERM);
    busy.logged("nothing new is taken").await;
    busy.signal(Signal::TERM);
    assert_eq!(busy.ended().await, Some(3));
    for protocol in ["http1", "http2"] {
        let mut idle = worker(&exchange, &server, &["--protocol", protocol, "--grace=1h"]);
        found(&server).await;
        let mut http1 = None;
        let mut http2 = None;
        if protocol == "http2" {
            http2 = Some(exchange.hub().await);
        } else {
            http1 = Some(exchange.upgraded("http%2F1.1").await.0);
        }
        idle.logged("\"connected\"").await;
        idle.signal(Signal::TERM);
        assert_eq!(idle.ended().await, Some(0), "{protocol}");
        if let Some(mut stream) = http1 {
            assert_eq!(soon("FIN", stream.read(&mut [0])).await.expect("no reset"), 0);
        }
        drop(http2);
    }
}
