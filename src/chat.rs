//! `tidewait tail`, `publish` and `chat`: topics for people and shells. What is asked for, and what comes of it, is in docs/topics.md.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::bounds::{CHAT_OWN, CHAT_PAUSE, CLIENT_PROBLEM_BYTES};
use crate::client::fetch::{Fetch, FetchError, Fetched, Pause};
use crate::config::chat::{Publish, Tail};
use crate::fetch::output::{self, say};
use crate::fetch::{Exit, problem};

mod line;
mod lines;
mod publish;
mod tail;
mod websocket;

use lines::Lines;

/// Why a request is not answered as it was to be: the text says it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// The server is away, or does not answer as it should: it may be over.
    Lost(String),
    /// It is so, however often it is asked.
    Final(Exit, String),
}

/// Reads a topic, until it is told to end.
#[must_use]
pub fn tail(tail: &Tail) -> Exit {
    on_this_thread(async { until_told(tail::run(tail, &Own::default())).await })
}

/// Publishes messages, until all are stored.
#[must_use]
pub fn publish(publish: &Publish) -> Exit {
    on_this_thread(async { until_told(publish::run(publish, Lines::of(tokio::io::stdin()), &Own::default())).await })
}

/// Reads, and publishes what is typed, until that ends.
#[must_use]
pub fn chat(tail: &Tail, publish: &Publish) -> Exit {
    let own = Own::default();
    let both = async {
        tokio::select! {
            exit = tail::run(tail, &own) => exit,
            exit = publish::run(publish, Lines::of(tokio::io::stdin()), &own) => exit,
        }
    };
    on_this_thread(async { until_told(both).await })
}

/// What was published here and has not been read yet: whoever types a line sees it, and is not shown it again.
#[derive(Debug, Default)]
struct Own(RefCell<VecDeque<String>>);

impl Own {
    /// This is published.
    fn sends(&self, text: &[u8]) {
        let mut texts = self.0.borrow_mut();
        if texts.len() == CHAT_OWN {
            texts.pop_front();
        }
        texts.push_back(String::from_utf8_lossy(text).into_owned());
    }

    /// Whether a message with this text is the one that was published here.
    fn reads(&self, text: &str) -> bool {
        let mut texts = self.0.borrow_mut();
        let at = texts.iter().position(|own| own == text);
        at.and_then(|at| texts.remove(at)).is_some()
    }
}

fn on_this_thread(work: impl Future<Output = Exit>) -> Exit {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("no runtime can be had: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(work);
    // Who reads standard input must not keep it.
    runtime.shutdown_background();
    exit
}

/// Works until a signal comes, which is how such a command is told to end.
async fn until_told(work: impl Future<Output = Exit>) -> Exit {
    let signals = signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("signals cannot be followed: {error}"));
            return Exit::Failed;
        }
    };
    tokio::select! {
        exit = work => exit,
        _ = interrupt.recv() => Exit::Good,
        _ = terminate.recv() => Exit::Good,
    }
}

/// Sends a request; gives an answer that is good.
async fn ask(fetch: &Fetch, quiet: bool) -> Result<Fetched, Failure> {
    let told = |pause: &Pause| {
        if !quiet {
            say(&pause.to_string());
        }
    };
    let fetched = fetch.send(told).await.map_err(|error| failure(&error))?;
    if fetched.status.is_success() || fetched.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(fetched);
    }
    let (status, url) = (fetched.status, fetched.url.clone());
    let media_type = fetched.fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = fetched.bytes(CLIENT_PROBLEM_BYTES).await.unwrap_or_default();
    let text = problem::refusal(&url, status, media_type.as_deref(), &body);
    // A message that is being stored has its answer soon.
    Err(if status.is_server_error() || status == StatusCode::CONFLICT {
        Failure::Lost(text)
    } else {
        Failure::Final(Exit::Refused, text)
    })
}

fn failure(error: &FetchError) -> Failure {
    let text = error.to_string();
    match error {
        FetchError::Invalid(_) => Failure::Final(Exit::Misconfigured, text),
        FetchError::Location(_) | FetchError::Redirects(_) | FetchError::TooLarge(_) => {
            Failure::Final(Exit::Refused, text)
        }
        FetchError::Deadline(_)
        | FetchError::Unreachable(_)
        | FetchError::MayHaveBegun(_)
        | FetchError::Malformed(_)
        | FetchError::BrokenOff(_) => Failure::Lost(text),
    }
}

/// How long a server may be away.
#[derive(Debug)]
struct Patience {
    most: Duration,
    /// When it was there last.
    seen: Instant,
    pause: Duration,
}

impl Patience {
    fn new(most: Duration) -> Self {
        Self { most, seen: Instant::now(), pause: CHAT_PAUSE.0 }
    }

    /// How long the server may still be away.
    fn left(&self) -> Duration {
        self.most.saturating_sub(self.seen.elapsed())
    }

    /// The server is there.
    fn seen(&mut self) {
        (self.seen, self.pause) = (Instant::now(), CHAT_PAUSE.0);
    }

    /// Waits before it is asked again, and says why; false: it was away for too long.
    async fn wait(&mut self, why: &str, quiet: bool) -> bool {
        let left = self.left();
        if left.is_zero() {
            say(&format!("{why}; it was away for {} s, which is all that it may (--give-up)", self.most.as_secs()));
            return false;
        }
        let pause = self.pause.mul_f64(0.5 + 0.5 * fastrand::f64()).min(left);
        self.pause = (self.pause * 2).min(CHAT_PAUSE.1);
        if !quiet {
            say(&format!("{why}: asks again in {:.1} s", pause.as_secs_f64()));
        }
        tokio::time::sleep(pause).await;
        true
    }
}

/// Writes to standard output.
async fn print(text: &str) -> Result<(), Failure> {
    output::print(text.as_bytes()).await.map_err(|why| Failure::Final(Exit::Failed, why))
}
