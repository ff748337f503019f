//! Another request while everyone is told: asks for a state again and again on a connection of its own, and keeps the longest
//! time that an answer took.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::answer::Answer;
use crate::outcome::{Outcome, because};

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(3);

/// A request that is repeated until [`Probe::longest`].
pub(crate) struct Probe {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Outcome<Duration>>,
}

impl Probe {
    /// Begins to ask for `target`, which must be answered with 200 at once.
    pub(crate) fn start(address: SocketAddr, target: &str) -> Outcome<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let request = format!("GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n");
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !seen.load(Ordering::Relaxed) {
                longest = longest.max(ask(&mut stream, &request)?);
                std::thread::sleep(PAUSE);
            }
            Ok(longest)
        });
        Ok(Self { over, thread })
    }

    /// Ends it.
    pub(crate) fn longest(self) -> Outcome<Duration> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| because("the thread of the probe panicked"))?
    }
}

fn ask(stream: &mut TcpStream, request: &str) -> Outcome<Duration> {
    let start = Instant::now();
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 8 * 1024];
    loop {
        let received = stream.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..received]);
        match Answer::read(&bytes)? {
            Some(answer) if answer.status == 200 => return Ok(start.elapsed()),
            None if received > 0 => {}
            _ => return Err(because(format!("the probe was told {}", String::from_utf8_lossy(&bytes)))),
        }
    }
}
