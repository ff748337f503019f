//! The servers that are measured, each a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ask;
use crate::clients::Request;
use crate::cluster::Cluster;
use crate::kernel::Cgroup;
use crate::model::ModelFile;
use crate::outcome::{Outcome, because};
use crate::process::Process;

pub(crate) mod floor;
pub(crate) mod hyper;
pub(crate) mod nginx;
mod watched;

/// Tidewait waits so long until it reads a file that was just written.
const AT_REST: Duration = Duration::from_millis(250);

/// The servers that park.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Floor,
    Tidewait,
    Hyper,
    Nchan,
}

impl Kind {
    /// What tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Tidewait => "tidewait",
            Self::Hyper => "hyper",
            Self::Nchan => "nchan",
        }
    }

    /// How its clients ask.
    pub(crate) fn request(self) -> Request {
        match self {
            Self::Floor | Self::Tidewait | Self::Hyper => Request::Whole,
            Self::Nchan => Request::Conditional,
        }
    }
}

/// Where programs are and files go.
#[derive(Debug)]
pub(crate) struct Place {
    /// The program that is measured.
    pub(crate) tidewait: PathBuf,
    /// A folder for models, configurations and logs.
    pub(crate) folder: PathBuf,
}

/// A server that runs and serves a model.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) kind: Kind,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// From its start until it answered.
    pub(crate) ready: Duration,
    /// Where it says how many are parked.
    admin: SocketAddr,
    source: Source,
}

/// How its model is changed.
#[derive(Debug)]
enum Source {
    File(ModelFile),
    /// It is published to the server itself.
    Request,
    ConfigMap(Box<Cluster>),
}

impl Running {
    /// Starts it, and waits until it answers.
    pub(crate) fn start(kind: Kind, place: &Place, model: &[u8]) -> Outcome<Self> {
        Self::start_with(kind, place, model, false)
    }

    /// The same; Tidewait may keep past states of a model that changes as a whole.
    pub(crate) fn start_with(kind: Kind, place: &Place, model: &[u8], history: bool) -> Outcome<Self> {
        let file = ModelFile::new(&place.folder, model)?;
        let [address, admin] = ask::free()?;
        let mut command = match kind {
            Kind::Tidewait if history => with_history(place, address, admin, file.path())?,
            Kind::Floor => own("serve-floor", address, Some(file.path()))?,
            Kind::Hyper => own("serve-hyper", address, Some(file.path()))?,
            Kind::Tidewait => {
                let mut command = tidewait(&place.tidewait, address, admin);
                command.arg("--file").arg(file.path());
                command
            }
            Kind::Nchan => nginx::nchan(&place.folder, address)?,
        };
        let admin = if kind == Kind::Tidewait {
            std::thread::sleep(AT_REST);
            admin
        } else {
            address
        };
        let source = if kind == Kind::Nchan { Source::Request } else { Source::File(file) };
        let begun = Instant::now();
        let mut process = start(&mut command, kind.name(), place)?;
        let first = if kind == Kind::Nchan { "/status" } else { "/describe" };
        ask::until_answered(address, first, || process.must_run())?;
        let ready = begun.elapsed();
        let running = Self { kind, process, address, ready, admin, source };
        if kind == Kind::Nchan {
            running.change(model)?;
        }
        Ok(running)
    }

    /// Tidewait that serves a `ConfigMap`.
    pub(crate) fn from_cluster(cluster: Cluster, place: &Place, model: &[u8]) -> Outcome<Self> {
        cluster.create(model)?;
        let [address, admin] = ask::free()?;
        let mut command = tidewait(&place.tidewait, address, admin);
        command.args(["--configmap", "default/bench:model.json", "--kubeconfig"]).arg(&cluster.kubeconfig);
        let begun = Instant::now();
        let mut process = start(&mut command, "configmap", place)?;
        ask::until_answered(address, "/describe", || process.must_run())?;
        let ready = begun.elapsed();
        Ok(Self { kind: Kind::Tidewait, process, address, ready, admin, source: Source::ConfigMap(Box::new(cluster)) })
    }

    /// Changes the model.
    pub(crate) fn change(&self, model: &[u8]) -> Outcome<()> {
        match &self.source {
            Source::File(file) => file.replace(model)?,
            Source::Request => drop(ask::send(self.address, "POST", "/change", model)?),
            Source::ConfigMap(cluster) => cluster.replace(model)?,
        }
        Ok(())
    }

    /// How many clients it holds parked.
    pub(crate) fn parked(&self) -> Outcome<usize> {
        let (path, before) = match self.kind {
            Kind::Floor | Kind::Hyper => ("/parked", ""),
            Kind::Tidewait => ("/metrics", "tidewait_parked_requests{operation=\"describe\"} "),
            Kind::Nchan => ("/status", "subscribers: "),
        };
        let text = String::from_utf8(ask::get(self.admin, path)?)?;
        let number = text.lines().find_map(|line| line.strip_prefix(before)?.trim().parse().ok());
        number.ok_or_else(|| because(format!("{}: no number of parked clients in {path}", self.kind.name())))
    }
}

/// A server in front of an app, and the app.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    _app: Process,
}

impl Proxy {
    /// Starts both, and waits until the app answers through it.
    pub(crate) fn start(is_nginx: bool, place: &Place) -> Outcome<Self> {
        let [address, admin, app] = ask::free()?;
        let serving = start(&mut own("serve-app", app, None)?, "app", place)?;
        let file = ModelFile::new(&place.folder, &crate::model::small(0))?;
        let mut command = if is_nginx {
            nginx::proxy(&place.folder, address, app)?
        } else {
            let mut command = tidewait(&place.tidewait, address, admin);
            command.arg("--file").arg(file.path()).arg("--upstream").arg(format!("http://{app}"));
            command
        };
        let mut process = start(&mut command, if is_nginx { "nginx" } else { "proxy" }, place)?;
        ask::until_answered(address, hyper::PAGES[0].0, || process.must_run())?;
        Ok(Self { process, address, _app: serving })
    }
}

pub(crate) fn start(command: &mut Command, name: &str, place: &Place) -> Outcome<Process> {
    let cgroup = Cgroup::new(&format!("tidewait-bench-{}-{name}", std::process::id()));
    Process::start(command, &place.folder.join(format!("{name}.log")), cgroup)
}

/// A candidate that is part of this program.
pub(crate) fn own(command: &str, address: SocketAddr, model: Option<&Path>) -> Outcome<Command> {
    let mut own = Command::new(std::env::current_exe()?);
    own.arg(command).arg(address.to_string()).args(model);
    Ok(own)
}

/// Tidewait with room for past states that are larger than the model itself.
fn with_history(place: &Place, address: SocketAddr, admin: SocketAddr, model: &Path) -> Outcome<Command> {
    let config = place.folder.join("serve.yaml");
    let text = format!(
        "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\noperations:\n- path: /describe\n  \
         source: {{file: {{path: {:?}}}}}\n  wait: {{default: 1h, max: 1h}}\n  limits: {{historyBytes: 67108864}}\n",
        model.display().to_string()
    );
    std::fs::write(&config, text)?;
    let mut command = serve(&place.tidewait, address, admin);
    command.arg("--config").arg(config);
    Ok(command)
}

/// Tidewait, without a model yet.
fn tidewait(program: &Path, address: SocketAddr, admin: SocketAddr) -> Command {
    let mut command = serve(program, address, admin);
    // Nobody's wait ends while it is measured.
    command.args(["--wait-max", "1h", "--wait-default", "1h"]);
    command
}

pub(crate) fn serve(program: &Path, address: SocketAddr, admin: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.args(["serve", "--listen", &address.to_string(), "--admin", &admin.to_string()]);
    command
}
