//! Every address of a name: the worker runs with a file of hosts of its own.

use std::fs;
use std::process::Command as Program;
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Port, found, head, soon, whole, write};
use crate::agent::Agent;
use crate::server::tidewait;

/// A worker for which /etc/hosts is this file.
fn worker(hosts: &NamedTempFile, exchange: &str, server: &Port, more: &[&str]) -> Agent {
    let plain = tidewait(&["worker", "--to", &server.url(), "--exchange", exchange, "--log-format=json"]);
    let plain = plain.as_std();
    let mut command = Program::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
    command.arg(hosts.path()).arg(plain.get_program()).args(plain.get_args()).args(more);
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    Agent::spawn(command)
}

fn names(hosts: &NamedTempFile, addresses: &[&Port]) {
    let mut lines = String::new();
    for port in addresses {
        lines += &format!("{} hub.test\n", port.address.ip());
    }
    // In place: what is mounted is the file, not its name.
    fs::write(hosts.path(), lines).expect("it can be written");
}

fn slots(asked: &str) -> &str {
    let lines = asked.lines().map(str::trim);
    lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("exchange-slots"))
        .expect("it says")
        .1
}

#[tokio::test]
async fn each_address_has_its_part_and_one_that_goes_is_left_in_peace() {
    let first = Port::new().await;
    let port = first.address.port();
    let (second, server) = (Port::at(&format!("127.0.0.2:{port}")).await, Port::new().await);
    let hosts = NamedTempFile::new().expect("a file");
    names(&hosts, &[&first, &second]);
    let url = format!("http://hub.test:{port}/exchange/work");
    let _worker = worker(&hosts, &url, &server, &["--slots=3"]);
    found(&server).await;
    let (one, mut other) = (first.hub().await, second.hub().await);
    assert_eq!((slots(&one.asked), slots(&other.asked)), ("2", "1"));
    assert!(one.asked.contains(&format!("hub.test:{port}")), "{}", one.asked);
    let response = other.get("/job").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    // The second goes, and a third comes.
    let third = Port::at(&format!("127.0.0.3:{port}")).await;
    names(&hosts, &[&first, &third]);
    let new = third.hub().await;
    assert_eq!(slots(&new.asked), "1");
    // What runs there is finished, and then the connection ends.
    write(&mut app, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
    assert_eq!(whole(soon("the answer", response).await.expect("one")).await.expect("whole"), "done");
    soon("GOAWAY", other.driver).await.expect("no panic").expect("it is left in peace");
    assert!(!second.is_dialled_within(Duration::from_millis(300)).await);
    // The only one that is left has all of the slots.
    names(&hosts, &[&first]);
    let all = first.hub().await;
    assert_eq!(slots(&all.asked), "3");
    soon("GOAWAY", one.driver).await.expect("no panic").expect("it is left in peace");
    // A name that is not found any more leaves things as they are.
    names(&hosts, &[]);
    assert!(!first.is_dialled_within(Duration::from_secs(6)).await);
}

#[tokio::test]
async fn several_exchanges_are_dialled_and_requests_beyond_the_slots_wait_for_each_other() {
    let (first, second, server) = (Port::new().await, Port::new().await, Port::new().await);
    let more = format!("{}/exchange/other", second.url());
    let _worker = super::worker(&first, &server, &["--exchange", &more, "--slots=1"]);
    found(&server).await;
    let (mut one, mut other) = (first.hub().await, second.hub().await);
    assert!(other.asked.starts_with("GET /exchange/other/reverse HTTP/1.1"), "{}", other.asked);
    let responses = [one.get("/1").await, other.get("/2").await];
    let mut app = server.accept().await;
    head(&mut app).await;
    assert!(timeout(Duration::from_millis(300), server.listener.accept()).await.is_err(), "one at a time");
    write(&mut app, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    let mut app = server.accept().await;
    head(&mut app).await;
    write(&mut app, "HTTP/1.1 204 No Content\r\n\r\n").await;
    for response in responses {
        assert_eq!(soon("an answer", response).await.expect("one").status(), 204);
    }
}
