//! A run: which servers in which order, and what is printed.

use std::path::PathBuf;
use std::time::Instant;

use crate::candidates::{Kind, Place};
use crate::figures::Figures;
use crate::measure::curve;
use crate::outcome::{Outcome, because};

const USAGE: &str = "usage: tidewait-bench PROGRAM [--rounds NUMBER] [--clients NUMBER[,NUMBER]]
PROGRAM is the tidewait that is measured";

/// What was asked for.
struct Wanted {
    tidewait: PathBuf,
    rounds: usize,
    clients: Vec<usize>,
}

impl Wanted {
    fn read(arguments: &[&str]) -> Outcome<Self> {
        let (tidewait, mut rest) = arguments.split_first().ok_or_else(|| because(USAGE))?;
        let mut wanted = Self { tidewait: tidewait.into(), rounds: 3, clients: vec![1000, 2000, 5000, 10_000, 18_000] };
        loop {
            rest = match rest {
                [] => return Ok(wanted),
                ["--rounds", number, rest @ ..] => {
                    wanted.rounds = number.parse()?;
                    rest
                }
                ["--clients", numbers, rest @ ..] => {
                    wanted.clients = numbers.split(',').map(str::parse).collect::<Result<_, _>>()?;
                    rest
                }
                _ => return Err(because(USAGE)),
            }
        }
    }
}

/// Measures and prints.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what was measured, and how far it is")]
pub(crate) fn run(arguments: &[&str]) -> Outcome<()> {
    let start = Instant::now();
    let wanted = Wanted::read(arguments)?;
    let folder = tempfile::tempdir()?;
    let place = Place { tidewait: wanted.tidewait, folder: folder.path().to_owned() };
    let mut figures = Figures::default();
    for round in 0..wanted.rounds {
        let mut order = [Kind::Floor, Kind::Tidewait];
        if round % 2 == 1 {
            order.reverse();
        }
        for kind in order {
            eprintln!("{:4.0} s  round {}: {kind}", start.elapsed().as_secs_f64(), round + 1);
            curve::run(kind, &place, &wanted.clients, &mut figures)?;
        }
    }
    for what in [curve::RESIDENT, curve::CPU, curve::LAST] {
        println!("{what}");
        for clients in &wanted.clients {
            println!(
                "{clients:6}  floor {:28} tidewait {}",
                figures.cell(what, Kind::Floor.name(), *clients),
                figures.cell(what, Kind::Tidewait.name(), *clients)
            );
        }
    }
    eprintln!("{:4.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
