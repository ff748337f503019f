//! What it costs to know who polls: the same polls with and without the check, turn by turn.
//!
//! The clients are told of a change and poll again, so each request has a head that the server has not seen before of this
//! client. The CPU time that is told is the server's alone.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::clients::{Again, Clients as _, Expected, Request, token};
use crate::crowd::Crowd;
use crate::model::{self, ModelFile};
use crate::outcome::Outcome;
use crate::process::Process;
use crate::{ask, figures};

/// Each has a token of its own.
const IDENTITIES: usize = 1000;
/// What each round takes the median of.
const CHANGES: u64 = 20;
/// Longer than is kept between two states.
const BETWEEN_CHANGES: Duration = Duration::from_millis(120);

/// One way to ask, and to be judged.
struct Case {
    name: &'static str,
    request: Request,
    asks: bool,
}

const CASES: [Case; 3] = [
    Case { name: "no token, no check", request: Request::Whole, asks: false },
    Case { name: "1,000 tokens, no check", request: Request::Token(IDENTITIES), asks: false },
    Case { name: "1,000 tokens, checked", request: Request::Token(IDENTITIES), asks: true },
];

/// Measures `program` with so many clients.
pub(crate) fn run(program: &Path, clients: usize, rounds: usize) -> Outcome<()> {
    let mut samples = vec![Vec::new(); CASES.len()];
    for _ in 0..rounds {
        for (case, samples) in CASES.iter().zip(&mut samples) {
            samples.push(measure(program, clients, case)?);
        }
    }
    let mut out = String::from("| polls | us of CPU per client that is told and polls again | x |\n|---|---|---|\n");
    let medians: Vec<_> = samples.iter_mut().map(|samples| median(samples)).collect();
    for (case, each) in CASES.iter().zip(&medians) {
        writeln!(out, "| {} | {} | {} |", case.name, figures::short(*each), figures::short(each / medians[0]))?;
    }
    std::io::Write::write_all(&mut std::io::stdout(), out.as_bytes())?;
    Ok(())
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Lines of the file of tokens.
fn tokens() -> String {
    let mut lines = String::new();
    for number in 0..IDENTITIES {
        let digest = Sha256::digest(token(number));
        let hex = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        writeln!(lines, "sha256:{hex} node-{number:05} edge").expect("a String takes everything");
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(program: &Path, clients: usize, case: &Case) -> Outcome<f64> {
    let folder = tempfile::tempdir()?;
    let file = ModelFile::new(folder.path(), &model::small(0))?;
    let [address, admin] = ask::free()?;
    let mut command = Command::new(program);
    command.args(["serve", "--listen", &address.to_string(), "--admin", &admin.to_string(), "--file"]).arg(file.path());
    command.args(["--wait-max", "1h", "--wait-default", "1h"]);
    if case.asks {
        let path = folder.path().join("tokens");
        std::fs::write(&path, tokens())?;
        command.arg("--access-tokens").arg(path);
    }
    let mut process = Process::start(&mut command, &folder.path().join("log"), None)?;
    ask::until_answered(admin, "/readyz", || process.must_run())?;
    let mut crowd = Crowd::new(address, case.request, Expected::Whole(model::small(0)))?;
    crowd.grow(clients)?;
    let mut spent = Vec::new();
    for generation in 1..=CHANGES {
        crowd.rest(BETWEEN_CHANGES)?;
        let before = process.cpu();
        crowd.expect(Expected::Whole(model::small(generation)), Again::WhenAsked);
        file.replace(&model::small(generation))?;
        crowd.until_told(clients)?;
        crowd.poll_again()?;
        // The last poll is read.
        crowd.rest(BETWEEN_CHANGES)?;
        crowd.verdict(clients)?;
        spent.push(process.cpu().saturating_sub(before).as_secs_f64() * 1e6 / clients as f64);
    }
    Ok(median(&mut spent))
}
