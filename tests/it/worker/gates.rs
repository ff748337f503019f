//! Gates: when one more slot is offered.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use super::{Port, found, head, soon, worker, write};

const NOT_YET: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_command_opens_one_slot_after_the_other_and_takes_an_idle_one_back() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("free");
    let gate = format!("command=test -e {}", file.display());
    let _worker = worker(&exchange, &server, &["--gate", &gate]);
    found(&server).await;
    assert!(!exchange.is_dialled_within(NOT_YET).await, "the gate is shut");
    fs::write(&file, "").expect("written");
    let mut first = exchange.hub().await;
    assert_eq!(first.send.current_max_send_streams(), 1);
    assert!(!exchange.is_dialled_within(NOT_YET).await, "one idle slot is enough");
    let response = first.get("/job").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    // With one at work, the next is offered.
    let mut second = exchange.hub().await;
    fs::remove_file(&file).expect("removed");
    soon("GOAWAY", &mut second.driver).await.expect("no panic").expect("it is left in peace");
    write(&mut app, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(soon("the answer", response).await.expect("one").status(), 204);
    soon("GOAWAY", first.driver).await.expect("no panic").expect("it is left in peace");
    assert!(!exchange.is_dialled_within(NOT_YET).await, "the gate is shut");
}

#[tokio::test]
async fn a_url_opens_where_it_answers_2xx_and_all_gates_have_to() {
    let (exchange, server, asked) = (Port::new().await, Port::new().await, Port::new().await);
    let gate = format!("url={}/free?x", asked.url());
    let _worker = worker(&exchange, &server, &["--gate", &gate, "--gate", "command=exit 0"]);
    found(&server).await;
    for status in ["503 Service Unavailable", "302 Found", "204 No Content"] {
        let mut stream = asked.accept().await;
        assert!(head(&mut stream).await.starts_with("GET /free?x HTTP/1.1\r\n"));
        write(&mut stream, &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
        if status.starts_with("204") {
            break;
        }
        assert!(!exchange.is_dialled_within(Duration::from_millis(300)).await, "{status}");
    }
    let _hub = exchange.hub().await;
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_has_started_and_counts_as_shut() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let folder = TempDir::new().expect("a folder");
    let pid = folder.path().join("pid");
    let gate = format!("command=sleep 3600 & echo $! > {}; wait", pid.display());
    let mut worker = worker(&exchange, &server, &["--gate", &gate]);
    found(&server).await;
    worker.logged("it runs longer than").await;
    let first = fs::read_to_string(&pid).expect("it was started");
    let is_there = || {
        let command = fs::read(Path::new("/proc").join(first.trim()).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("3600")
    };
    for _ in 0..50 {
        if !is_there() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(!is_there(), "what it has started is left");
    assert!(!exchange.is_dialled_within(Duration::from_millis(100)).await);
}

#[tokio::test]
async fn cpu_and_memory_of_a_group_admit_the_first_always_and_a_second_where_there_is_room() {
    let (exchange, server) = (Port::new().await, Port::new().await);
    let folder = TempDir::new().expect("a folder");
    let write_to = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    for (name, text) in [
        ("cgroup.controllers", "cpu memory"),
        ("cpu.max", "max 100000"),
        ("cpu.stat", "usage_usec 0\n"),
        ("memory.max", "1048576"),
        ("memory.current", "1000000"),
        ("memory.stat", "inactive_file 0\n"),
    ] {
        write_to(name, text);
    }
    let group = folder.path().to_str().expect("UTF-8");
    let mut worker = worker(&exchange, &server, &["--gate", "memory=400Ki", "--cgroup", group, "--slots=2"]);
    worker.logged("gates read this control group").await;
    found(&server).await;
    let mut first = exchange.hub().await;
    let response = first.get("/job").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    assert!(!exchange.is_dialled_within(NOT_YET).await, "nothing is free");
    write_to("memory.current", "1000");
    let mut second = exchange.hub().await;
    let other = second.get("/job").await;
    let mut other_app = server.accept().await;
    head(&mut other_app).await;
    assert!(!exchange.is_dialled_within(NOT_YET).await, "--slots is the most");
    for (mut app, response) in [(app, response), (other_app, other)] {
        write(&mut app, "HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(soon("the answer", response).await.expect("one").status(), 204);
    }
}
