//! Gates that somebody else decides: a command, and a URL.

use std::process::Stdio;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command as Process;
use tokio::time::timeout;

use crate::bounds::{WORKER_GATE_LIMIT, WORKER_HEAD_BYTES, WORKER_KEEP_ALIVE};
use crate::telemetry::chain;

/// A command, by a shell.
#[derive(Debug)]
pub(super) struct Command {
    text: String,
    told: Told,
}

/// A URL.
#[derive(Debug)]
pub(super) struct Url {
    place: Uri,
    client: Client<HttpConnector, Empty<Bytes>>,
    told: Told,
}

/// What could not be asked is logged once.
#[derive(Debug, Default)]
struct Told(bool);

impl Command {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), told: Told::default() }
    }

    /// Whether its exit code is 0.
    pub(super) async fn says_free(&mut self) -> bool {
        let mut command = Process::new("/bin/sh");
        command.arg("-c").arg(&self.text).current_dir("/").process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // They are of this process alone.
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                self.told.tell(&format!("it cannot be started ({error})"), "command");
                return false;
            }
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let waited = timeout(WORKER_GATE_LIMIT, child.wait()).await;
        match waited {
            Ok(Ok(status)) => {
                self.told.0 = false;
                status.success()
            }
            Ok(Err(error)) => {
                self.told.tell(&format!("its end is not known ({error})"), "command");
                false
            }
            Err(_) => {
                // It is not waited for yet, so the number is still its own.
                if let Some(group) = group {
                    let _ = kill_process_group(group, Signal::KILL);
                }
                let _ = child.wait().await;
                self.told.tell(&format!("it runs longer than {WORKER_GATE_LIMIT:?}"), "command");
                false
            }
        }
    }
}

impl Url {
    pub(super) fn new(url: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(WORKER_GATE_LIMIT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(WORKER_KEEP_ALIVE)
            .http1_max_buf_size(WORKER_HEAD_BYTES)
            .build(connector);
        Self { place: url, client, told: Told::default() }
    }

    /// Whether it answers 2xx.
    pub(super) async fn says_free(&mut self) -> bool {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.place.clone();
        match timeout(WORKER_GATE_LIMIT, self.client.request(request)).await {
            Ok(Ok(response)) => {
                self.told.0 = false;
                response.status().is_success()
            }
            Ok(Err(error)) => {
                self.told.tell(&format!("it does not answer ({})", chain(&error)), "url");
                false
            }
            Err(_) => {
                self.told.tell(&format!("it does not answer within {WORKER_GATE_LIMIT:?}"), "url");
                false
            }
        }
    }
}

impl Told {
    fn tell(&mut self, why: &str, gate: &str) {
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(gate, why, "a gate cannot be asked: it counts as shut");
        }
    }
}
