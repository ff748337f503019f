//! Measures the front of Tidewait beside its peers.
//!
//! The servers are processes of their own, and Tidewait is the built program, so that each version of it is measured in the
//! same way.

use std::process::ExitCode;
use std::time::Duration;

use outcome::{Outcome, because};

mod access;
mod answer;
mod ask;
mod candidates;
mod clients;
mod cluster;
mod counts;
mod crowd;
mod exchange;
mod figures;
mod kernel;
mod machine;
mod measure;
mod model;
mod outcome;
mod probe;
mod process;
mod report;
mod run;
mod streams;
mod tls;
mod topic;

#[expect(clippy::print_stderr, reason = "the last line of a run that failed")]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match act(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The candidates that are ours are this program, too.
fn act(arguments: &[&str]) -> Outcome<()> {
    raise_descriptors()?;
    match arguments {
        ["serve-floor", address, model] => candidates::floor::serve(address.parse()?, model.as_ref()),
        ["serve-hyper", address, model] => candidates::hyper::serve(address.parse()?, model.as_ref()),
        ["serve-app", address] => candidates::hyper::serve_app(address.parse()?),
        ["serve-workers", address, workers, slots, millis] => {
            let job = Duration::from_millis(millis.parse()?);
            exchange::workers::serve(address.parse()?, workers.parse()?, slots.parse()?, job)
        }
        ["access", program, clients, rounds] => access::run(program.as_ref(), clients.parse()?, rounds.parse()?),
        ["tls", program, clients, rounds] => tls::run(program.as_ref(), clients.parse()?, rounds.parse()?),
        arguments => run::run(arguments),
    }
}

/// Each client is a descriptor.
fn raise_descriptors() -> Outcome<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
        .map_err(|error| because(format!("descriptors: {error}")))
}
