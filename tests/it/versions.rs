//! The version before this one, which knew neither relays nor `Reconnect-Within`: an agent of it and a server of this one,
//! and the other way round.
//!
//! What it says is recorded, with its bytes, in `versions/before`: building it takes minutes, and its sources are not
//! everywhere where these tests are. To record it anew, or a later version in its place:
//!
//! ```sh
//! git archive COMMIT | tar x -C FOLDER && (cd FOLDER && cargo build --bin tidewait)
//! TIDEWAIT_TEST_BEFORE=FOLDER/target/debug/tidewait cargo test --test it -- versions
//! ```
//!
//! That runs the same tests with the real one, and writes what went over the wire.

use std::ffi::OsString;
use std::net::SocketAddr;

use tokio::sync::watch;

use self::wire::Recording;
use crate::model_file::ModelFile;
use crate::server::{Server, tidewait};

mod agent;
mod server;
mod wire;

/// The program of the version before, where what it says is recorded.
fn before() -> Option<OsString> {
    std::env::var_os("TIDEWAIT_TEST_BEFORE")
}

/// The model with this number. A change is smaller than the whole, and no encoding is, so that what is recorded can be read.
fn model(n: usize) -> String {
    let padding: String = ('0'..='9').chain('A'..='Z').chain('a'..='z').collect();
    format!(r#"{{"n":{n},"padding":"{padding}"}}"#)
}

/// `serve` of the model; its command line fits both versions.
async fn serve(program: Option<OsString>, model: &ModelFile) -> Server {
    let arguments =
        ["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--log-format=json", "--file", model.arg()];
    let ours = tidewait(&[&arguments[..], &["--min-interval=10ms", "--version-from=/n"]].concat());
    let mut server = Server::spawn(of(program, ours)).await;
    server.ready().await;
    server
}

/// The same command of another program.
fn of(program: Option<OsString>, ours: tokio::process::Command) -> tokio::process::Command {
    let Some(program) = program else { return ours };
    let mut theirs = tokio::process::Command::new(program);
    theirs.args(ours.as_std().get_args()).kill_on_drop(true).stdin(std::process::Stdio::null());
    for (name, value) in ours.as_std().get_envs() {
        if value.is_none() {
            theirs.env_remove(name);
        }
    }
    theirs
}

/// A server of the version before: the real one behind what records, or what it has said.
struct Before {
    address: SocketAddr,
    file: ModelFile,
    /// The number of the model: 1 at first.
    n: watch::Sender<usize>,
    recording: Option<(Server, Recording)>,
    name: &'static str,
}

impl Before {
    async fn new(name: &'static str) -> Self {
        let (n, now) = watch::channel(1);
        let file = ModelFile::new(&model(1));
        if let Some(program) = before() {
            let server = serve(Some(program), &file).await;
            let recording = Recording::default();
            let address = recording.listen(server.listen, now).await;
            return Self { address, file, n, recording: Some((server, recording)), name };
        }
        let address = wire::replay(wire::read(name), now).await;
        Self { address, file, n, recording: None, name }
    }

    fn change(&self, n: usize) {
        self.n.send_replace(n);
        self.file.replace(&model(n));
    }

    /// The end: what was recorded is kept.
    fn ends(self) {
        if let Some((_, recording)) = &self.recording {
            recording.write(self.name);
        }
    }
}
