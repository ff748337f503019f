//! Tells systemd how the process is (`sd_notify(3)`): one datagram to the socket that it names, and nothing where it names none.
//! Nobody waits for an answer, and what cannot be said is not: the process is no worse for it.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::escape::escape;

/// systemd, or nobody.
#[derive(Debug, Default)]
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

/// What systemd has put into the environment of the process, which hands it on to no other one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'e> {
    /// `NOTIFY_SOCKET`.
    pub socket: Option<&'e OsStr>,
    /// `WATCHDOG_USEC`.
    pub watchdog: Option<&'e OsStr>,
    /// `WATCHDOG_PID`: whose watchdog it is.
    pub watchdog_pid: Option<&'e OsStr>,
}

impl Notify {
    /// Whom to tell.
    pub fn new(given: Given<'_>) -> io::Result<Self> {
        let Some(path) = given.socket.filter(|path| !path.is_empty()) else { return Ok(Self::default()) };
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(path)?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "NOTIFY_SOCKET is neither a path nor @name")),
        };
        let socket = UnixDatagram::unbound()?;
        // A full queue must not hold up the loop that says that it is alive.
        socket.set_nonblocking(true)?;
        let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
        let is_ours = given.watchdog_pid.is_none_or(|pid| number(pid) == Some(u64::from(std::process::id())));
        let watchdog = given.watchdog.filter(|_| is_ours).and_then(number).filter(|micros| *micros > 0);
        Ok(Self { to: Some((socket, address)), watchdog: watchdog.map(Duration::from_micros) })
    }

    /// How often to call [`Notify::alive`]: half of the time after which systemd would end the process.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / 2)
    }

    /// What is ordered after the process may start.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", status_line(status)));
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&status_line(status));
    }

    /// The process ends: now, or `within` at most, where that may be longer than systemd waits.
    pub fn stopping(&self, within: Duration) {
        let extension = match within.as_micros() {
            0 => String::new(),
            micros => format!("EXTEND_TIMEOUT_USEC={micros}\n"),
        };
        self.send(&format!("STOPPING=1\n{extension}"));
    }

    /// The loop that owns all else goes round. Never because of contact with a server.
    pub fn alive(&self) {
        self.send("WATCHDOG=1\n");
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.to {
            // Lost, should systemd be away or busy: the next one says the same.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

fn status_line(status: &str) -> String {
    format!("STATUS={}\n", escape(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn systemd_is_told_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let name = format!("tidewait-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).expect("a socket");
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let by_name = UnixDatagram::bind_addr(&address).expect("a socket");
        for (given, socket) in [(path.into_os_string(), by_path), (format!("@{name}").into(), by_name)] {
            let notify = Notify::new(Given { socket: Some(&given), ..Given::default() }).expect("a socket");
            notify.ready("holds e.1.d\nREADY=0");
            assert_eq!(received(&socket), "READY=1\nSTATUS=holds e.1.d\\nREADY=0\n");
            notify.status("waits");
            assert_eq!(received(&socket), "STATUS=waits\n");
            notify.alive();
            assert_eq!(received(&socket), "WATCHDOG=1\n");
            notify.stopping(Duration::from_secs(20));
            assert_eq!(received(&socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000\n");
            notify.stopping(Duration::ZERO);
            assert_eq!(received(&socket), "STOPPING=1\n");
            drop(socket);
            notify.alive();
        }
    }

    #[test]
    fn nobody_is_told_where_there_is_nobody_and_a_full_queue_is_not_waited_for() {
        let silent = Notify::new(Given::default()).expect("nobody");
        silent.ready("x");
        assert!(Notify::new(Given { socket: Some(OsStr::new("vsock:1:2")), ..Given::default() }).is_err());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let _socket = UnixDatagram::bind(&path).expect("a socket");
        let notify = Notify::new(Given { socket: Some(path.as_os_str()), ..Given::default() }).expect("a socket");
        (0..10_000).for_each(|_| notify.alive());
    }

    #[test]
    fn the_watchdog_is_that_of_this_process() {
        let own = std::process::id().to_string();
        for (micros, pid, expected) in [
            (Some("30000000"), None, Some(15)),
            (Some("30000000"), Some(&*own), Some(15)),
            (Some("30000000"), Some("1"), None),
            (Some("0"), None, None),
            (Some("x"), None, None),
            (None, None, None),
        ] {
            let [watchdog, watchdog_pid] = [micros, pid].map(|text| text.map(OsStr::new));
            let given = Given { socket: Some(OsStr::new("/none")), watchdog, watchdog_pid };
            let notify = Notify::new(given).expect("a socket");
            assert_eq!(notify.watchdog(), expected.map(Duration::from_secs));
        }
    }
}
