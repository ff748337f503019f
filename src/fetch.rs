//! `tidewait fetch`: asks, comes back as often as it is asked to, and puts the answer out. What is asked when is decided in
//! `client::fetch`.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use signal_hook::low_level::emulate_default_handler;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::bounds::{CLIENT_PROBLEM_BYTES, FETCH_BODY_BYTES};
use crate::client::fetch::{FetchError, Fetched, Pause};
use crate::config::fetch::{Data, Fetching};
use crate::files::whole::is_special;

pub(crate) mod output;
pub(crate) mod problem;

use output::{Output, say};

/// How a command ends that asks a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The server has answered as it was asked to, and the answer is put out; or the command was told to end.
    Good,
    /// There is no answer, or not all of one, or it could not be put out.
    Failed,
    /// It cannot be asked for.
    Misconfigured,
    /// The server refuses it.
    Refused,
    /// The deadline is over, or would be before what was asked for.
    Late,
}

impl Exit {
    /// The exit code: docs/fetch.md, docs/topics.md.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Failed => 1,
            Self::Misconfigured => 2,
            Self::Refused => 3,
            Self::Late => 4,
        }
    }
}

/// Why a fetch ends without an answer that is put out: the exit and its reason.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Ended {
    exit: Exit,
    text: String,
}

fn failed(text: String) -> Ended {
    Ended { exit: Exit::Failed, text }
}

impl From<FetchError> for Ended {
    fn from(error: FetchError) -> Self {
        let exit = match error {
            FetchError::Invalid(_) => Exit::Misconfigured,
            FetchError::Deadline(_) => Exit::Late,
            FetchError::Unreachable(_)
            | FetchError::MayHaveBegun(_)
            | FetchError::Malformed(_)
            | FetchError::Location(_)
            | FetchError::Redirects(_)
            | FetchError::BrokenOff(_)
            | FetchError::TooLarge(_) => Exit::Failed,
        };
        Self { exit, text: error.to_string() }
    }
}

/// Fetches, and says on standard error what it waits for and why it fails.
#[must_use]
pub fn run(mut fetching: Fetching) -> Exit {
    let fetched = body(&fetching.data).and_then(|body| {
        fetching.fetch.body = body;
        // On this thread alone: there is one request at a time.
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(format!("no runtime can be had: {error}")))?;
        let ended = runtime.block_on(until_signalled(&fetching));
        // A name that is looked up still must not keep it.
        runtime.shutdown_background();
        ended.unwrap_or_else(|signal| Err(ends_by(signal)))
    });
    match fetched {
        Ok(exit) => exit,
        Err(ended) => {
            say(&ended.text);
            ended.exit
        }
    }
}

/// Fetches, unless a signal comes first.
async fn until_signalled(fetching: &Fetching) -> Result<Result<Exit, Ended>, SignalKind> {
    // They end the process at once where there is nothing to remove; a pipe is waited for as it is opened.
    let Some(path) = &fetching.output else { return Ok(fetch(fetching, Output::Standard).await) };
    let fetched = async { fetch(fetching, Output::file(path)?).await };
    if is_special(path) {
        return Ok(fetched.await);
    }
    let signalled = match signalled() {
        Ok(signalled) => signalled,
        Err(error) => return Ok(Err(failed(format!("signals cannot be followed: {error}")))),
    };
    tokio::select! {
        biased;
        signal = signalled => Err(signal),
        fetched = fetched => Ok(fetched),
    }
}

/// Waits for what ends the process.
fn signalled() -> io::Result<impl Future<Output = SignalKind>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        }
    })
}

/// Ends the process as the signal does, now that the temporary file is removed: a shell looks at how a process ended.
fn ends_by(signal: SignalKind) -> Ended {
    let ended = emulate_default_handler(signal.as_raw_value());
    failed(format!("signal {} does not end the process: {ended:?}", signal.as_raw_value()))
}

async fn fetch(fetching: &Fetching, mut output: Output) -> Result<Exit, Ended> {
    let quiet = fetching.quiet;
    let told = |pause: &Pause| {
        if !quiet {
            say(&pause.to_string());
        }
    };
    let mut fetched = fetching.fetch.send(told).await?;
    if fetching.include {
        output::print(&head(&fetched)).await.map_err(failed)?;
    }
    if fetched.status.is_success() {
        while let Some(bytes) = fetched.chunk().await? {
            output.write(&bytes).await?;
        }
        output.finish()?;
        return Ok(Exit::Good);
    }
    // It is no result: a file stays as it was.
    drop(output);
    let mut beginning = Vec::new();
    while let Some(bytes) = fetched.chunk().await? {
        output::print(&bytes).await.map_err(failed)?;
        let room = CLIENT_PROBLEM_BYTES - beginning.len();
        beginning.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    let media_type = fetched.fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    say(&problem::refusal(&fetched.url, fetched.status, media_type, &beginning));
    Ok(Exit::Refused)
}

/// The head of an answer as it came, but for the case of names.
fn head(fetched: &Fetched) -> Vec<u8> {
    let mut head = format!("{:?} {}\r\n", fetched.version, fetched.status).into_bytes();
    for (name, value) in &fetched.fields {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The body of the request.
fn body(data: &Data) -> Result<Bytes, Ended> {
    let wrong = |what: String| Ended { exit: Exit::Misconfigured, text: format!("--data: {what}") };
    let bytes = match data {
        Data::None => return Ok(Bytes::new()),
        Data::Text(text) => return Ok(text.clone().into()),
        Data::File(path) => {
            let read = File::open(path).and_then(bounded);
            read.map_err(|error| wrong(format!("{}: {error}: name a file that can be read", path.display())))?
        }
        Data::Input => {
            bounded(io::stdin()).map_err(|error| wrong(format!("standard input cannot be read: {error}")))?
        }
    };
    if bytes.len() as u64 > FETCH_BODY_BYTES {
        return Err(wrong(format!("there are more than {FETCH_BODY_BYTES} bytes: send less")));
    }
    Ok(bytes.into())
}

fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(FETCH_BODY_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
