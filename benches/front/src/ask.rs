//! A question on a connection of its own, for what is not measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::answer::Answer;
use crate::outcome::{Outcome, because};

/// How long a candidate may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The body of a 2xx answer to a request without a body.
pub(crate) fn get(address: SocketAddr, path: &str) -> Outcome<Vec<u8>> {
    send(address, "GET", path, b"")
}

/// The body of a 2xx answer.
pub(crate) fn send(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Outcome<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let received = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..received]);
        match Answer::read(&bytes)? {
            Some(answer) if (200..300).contains(&answer.status) => return Ok(answer.body.to_vec()),
            None if received > 0 => {}
            _ => return Err(because(format!("{method} {path} at {address}: {}", String::from_utf8_lossy(&bytes)))),
        }
    }
}

/// Ports of this machine that were free just now, each another.
pub(crate) fn free<const N: usize>() -> Outcome<[SocketAddr; N]> {
    // They are held until all are there.
    let mut held = Vec::new();
    let mut ports = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for port in &mut ports {
        let listener = TcpListener::bind(*port)?;
        *port = listener.local_addr()?;
        held.push(listener);
    }
    Ok(ports)
}

/// Asks again and again until it is answered with 2xx.
pub(crate) fn until_answered(
    address: SocketAddr,
    path: &str,
    mut meanwhile: impl FnMut() -> Outcome<()>,
) -> Outcome<()> {
    until(|| {
        meanwhile()?;
        get(address, path).map(drop)
    })
}

/// Tries again and again until it succeeds.
pub(crate) fn until(mut succeeds: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    let start = Instant::now();
    loop {
        match succeeds() {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
