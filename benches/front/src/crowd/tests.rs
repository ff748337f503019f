//! A run must fail where a server tells one client something else than it should.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;
use crate::model;

const CLIENTS: usize = 3;

fn answer(status: &str, generation: u64) -> String {
    let body = String::from_utf8(model::small(generation)).expect("text");
    format!("HTTP/1.1 {status}\r\nState-Id: {generation}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What the clients say of a server that gives each of them generation 1, and, polled again, tells all but the last
/// generation 2, and the last one `last`; an empty answer closes its connection.
fn verdict(last: &str) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let last = last.to_owned();
    std::thread::spawn(move || {
        let accept = |_| listener.accept().expect("a client").0;
        let mut clients: Vec<_> = (0..CLIENTS).map(accept).collect();
        let mut buffer = [0; 1024];
        for text in [&answer("200 OK", 1), ""] {
            for client in &mut clients {
                assert!(client.read(&mut buffer).expect("a poll") > 0);
                client.write_all(text.as_bytes()).expect("it reads");
            }
        }
        for client in &mut clients[1..] {
            client.write_all(answer("200 OK", 2).as_bytes()).expect("it reads");
        }
        clients[0].write_all(last.as_bytes()).expect("it reads");
        if last.is_empty() {
            drop(clients.remove(0));
        }
        // Until the clients are gone.
        for client in &mut clients {
            let _ = client.read(&mut buffer);
        }
    });
    let mut crowd = Crowd::new(address, Request::Whole, Expected::Whole(model::small(1)))?;
    crowd.grow(CLIENTS)?;
    crowd.expect(Expected::Whole(model::small(2)), Again::WhenAsked);
    crowd.until_told(CLIENTS)?;
    crowd.verdict(CLIENTS)
}

#[test]
fn a_right_state_for_all_passes() {
    verdict(&answer("200 OK", 2)).expect("all were told");
}

#[test]
fn an_older_state_an_error_two_states_or_a_lost_connection_for_one_client_fails() {
    let twice = answer("200 OK", 2).repeat(2);
    for last in [&answer("200 OK", 1), &answer("503 Service Unavailable", 2), &twice, ""] {
        let error = verdict(last).expect_err(last).to_string();
        assert!(
            error.contains("1 told a wrong state") || error.contains("1 refused") || error.contains("1 lost"),
            "{error}"
        );
    }
}
