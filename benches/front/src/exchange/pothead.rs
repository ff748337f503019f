//! POTHEAD as it comes from `PyPI`, with the aiohttp that its hub needs: the folder that tests/clients/build.sh makes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::candidates::Place;
use crate::outcome::{Outcome, because};
use crate::process::Process;

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/build.sh");

/// What a worker makes in its folder when it begins.
pub(crate) const BEGUN: &str = "begun";

/// What the workers do: `?sleep=S` takes so many seconds, `?echo` gives the body back.
const APP: &str = "\
import time


def app(environ, start_response):
    job = environ['QUERY_STRING']
    if job.startswith('sleep='):
        open('begun', 'w').close()
        time.sleep(float(job[6:]))
    length = int(environ.get('CONTENT_LENGTH') or 0)
    body = environ['wsgi.input'].read(length) if length else b'done'
    start_response('418 Teapot' if job == 'teapot' else '200 OK', [('Content-Type', 'text/x'), ('X-A', 'b')])
    return [body]
";

/// Where it is, and where it is not, what to say.
pub(crate) fn installed() -> Result<&'static Path, &'static str> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let output = Command::new(BUILD).output().ok()?;
        let line = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        Some(Path::new(line.trim()).join("pothead"))
    });
    folder.as_deref().ok_or("POTHEAD is left out: tests/clients/build.sh fails, run it to see why")
}

/// Its hub.
pub(super) fn hub(address: SocketAddr, workers: SocketAddr) -> Outcome<Command> {
    let mut command = module("pothead.server", "")?;
    command.args(["--main-port", &address.port().to_string(), "--worker-port", &workers.port().to_string()]);
    Ok(command)
}

/// Its worker, with one slot, which dials in at `hub`.
pub(crate) fn worker(place: &Place, hub: SocketAddr) -> Outcome<Process> {
    std::fs::write(place.folder.join("app.py"), APP)?;
    let mut command = module("pothead.worker", ":.")?;
    command.args(["--workers", "1", "--connect", &hub.to_string(), "app:app"]).current_dir(&place.folder);
    // By default it waits for a second before each request.
    command.env("LOAD_BALANCER_CONNECTION_DELAY_BASE", "0");
    Process::start(&mut command, &place.folder.join("worker.log"), None)
}

fn module(name: &str, also: &str) -> Outcome<Command> {
    let folder = installed().map_err(because)?;
    let mut command = Command::new("python3");
    command.args(["-m", name]).env("PYTHONPATH", format!("{}{also}", folder.display()));
    Ok(command)
}
