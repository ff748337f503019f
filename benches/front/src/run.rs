//! A run: what is measured in which order, for how long, and what is done with the figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::candidates::{Kind, Place, nginx};
use crate::cluster as kubernetes;
use crate::exchange;
use crate::figures::Figures;
use crate::measure::http2::Shared;
use crate::measure::pothead::{self, Hub};
use crate::measure::{Extent, agents, cluster, curve, http2, nodes, proxy, reverse, start, topics};
use crate::outcome::{Outcome, because};
use crate::report;

const USAGE: &str = "usage: tidewait-bench PROGRAM [--small] [--only NAME[,NAME]] [--rounds NUMBER] [--clients NUMBER[,NUMBER]] \
[--into FILE]
  PROGRAM    the tidewait that is measured
  --small    a few hundred clients, once: counts are checked, times mean nothing
  --only     measures what begins with one of these names alone: floor, tidewait, hyper, nchan, agents, http2, selections,
             patches, proxy, nginx, start,
             cluster, pothead, exchange, topics
  --rounds   how often each is measured; fewer where ten minutes are not enough for the next
  --clients  ascending numbers of clients
  --into     writes the tables into this file, too, between its lines <!-- run --> and <!-- /run -->";

/// When the last round must have ended.
const AT_MOST: Duration = Duration::from_secs(590);

/// What was asked for.
struct Wanted {
    tidewait: PathBuf,
    only: Vec<String>,
    small: bool,
    rounds: usize,
    extent: Extent,
    into: Option<PathBuf>,
}

impl Wanted {
    fn read(arguments: &[&str]) -> Outcome<Self> {
        let (tidewait, mut rest) = arguments.split_first().ok_or_else(|| because(USAGE))?;
        let extent = Extent {
            clients: vec![1000, 2000, 5000, 10_000, 18_000],
            nodes: 15_000,
            proxied: 20_000,
            jobs: 100,
            exchanged: 50_000,
            queued: 10_000,
            rates: vec![1, 10, 100, 1000],
            readers: 50,
            published: (12, 4),
        };
        let mut wanted =
            Self { tidewait: tidewait.into(), only: Vec::new(), small: false, rounds: 3, extent, into: None };
        loop {
            rest = match rest {
                [] => return Ok(wanted),
                ["--small", rest @ ..] => {
                    wanted.small = true;
                    wanted.rounds = 1;
                    wanted.extent = Extent {
                        clients: vec![100, 300],
                        nodes: 300,
                        proxied: 400,
                        jobs: 20,
                        exchanged: 2000,
                        queued: 300,
                        rates: vec![10],
                        readers: 5,
                        published: (2, 2),
                    };
                    rest
                }
                ["--only", names, rest @ ..] => {
                    wanted.only = names.split(',').map(str::to_owned).collect();
                    rest
                }
                ["--rounds", number, rest @ ..] => {
                    wanted.rounds = number.parse()?;
                    rest
                }
                ["--clients", numbers, rest @ ..] => {
                    wanted.extent.clients = numbers.split(',').map(str::parse).collect::<Result<_, _>>()?;
                    wanted.extent.nodes = wanted.extent.nodes.min(wanted.extent.most());
                    rest
                }
                ["--into", file, rest @ ..] => {
                    wanted.into = Some(file.into());
                    rest
                }
                _ => return Err(because(USAGE)),
            }
        }
    }
}

/// One measurement of a round.
#[derive(Debug, Clone, Copy)]
enum Step {
    Curve(Kind),
    Agents,
    Http2(Shared),
    Selections { patches: bool },
    Proxy((bool, &'static str)),
    Start,
    Cluster,
    Pothead(Hub),
    Exchange,
    ExchangeWaits,
    Topics,
}

impl Step {
    fn name(self) -> String {
        match self {
            Self::Curve(kind) => kind.name().to_owned(),
            Self::Agents => "agents".to_owned(),
            Self::Http2(shared) => format!("http2: {}", shared.who),
            Self::Selections { patches: false } => "selections".to_owned(),
            Self::Selections { patches: true } => "patches".to_owned(),
            Self::Proxy((false, _)) => "proxy".to_owned(),
            Self::Proxy((true, _)) => "nginx".to_owned(),
            Self::Start => "start".to_owned(),
            Self::Cluster => "cluster".to_owned(),
            Self::Pothead(hub) => format!("pothead: {}", hub.name()),
            Self::Exchange => "exchange".to_owned(),
            Self::ExchangeWaits => "exchange: what waits".to_owned(),
            Self::Topics => "topics".to_owned(),
        }
    }

    /// Whether a failure of it is one of Tidewait, or of this program; a peer's is only told.
    fn is_ours(self) -> bool {
        match self {
            Self::Curve(kind) | Self::Http2(Shared { kind, .. }) => matches!(kind, Kind::Floor | Kind::Tidewait),
            Self::Proxy((is_nginx, _)) => !is_nginx,
            Self::Pothead(hub) => hub != Hub::Pothead,
            Self::Agents
            | Self::Selections { .. }
            | Self::Start
            | Self::Cluster
            | Self::Exchange
            | Self::ExchangeWaits
            | Self::Topics => true,
        }
    }

    /// Whether this machine has what it needs, and if not, what to say.
    fn possible(self) -> Result<(), &'static str> {
        match self {
            Self::Curve(Kind::Nchan) => nginx::nchan_installed(),
            Self::Proxy((true, _)) => nginx::installed(),
            Self::Cluster => kubernetes::installed().map(drop),
            Self::Pothead(Hub::Pothead | Hub::Tidewait) => exchange::pothead::installed().map(drop),
            Self::Curve(Kind::Floor | Kind::Tidewait | Kind::Hyper)
            | Self::Proxy((false, _))
            | Self::Agents
            | Self::Http2(_)
            | Self::Selections { .. }
            | Self::Start
            | Self::Pothead(Hub::Http2)
            | Self::Exchange
            | Self::ExchangeWaits
            | Self::Topics => Ok(()),
        }
    }

    fn run(self, place: &Place, extent: &Extent, figures: &mut Figures) -> Outcome<()> {
        match self {
            Self::Curve(kind) => curve::run(kind, place, extent, figures),
            Self::Agents => agents::run(place, extent, figures),
            Self::Http2(shared) => http2::run(shared, place, extent, figures),
            Self::Selections { patches } => nodes::run(patches, place, extent, figures),
            Self::Proxy(which) => proxy::run(which, place, extent, figures),
            Self::Start => start::run(place, figures),
            Self::Cluster => cluster::run(place, extent, figures),
            Self::Pothead(hub) => pothead::run(hub, place, extent, figures),
            Self::Exchange => reverse::run(place, extent, figures),
            Self::ExchangeWaits => reverse::wait(place, extent, figures),
            Self::Topics => topics::run(place, extent, figures),
        }
    }
}

/// What can be measured on this machine, and why the rest is left out.
fn steps(only: &[String]) -> (Vec<Step>, Vec<&'static str>) {
    let mut steps: Vec<_> = report::KINDS.into_iter().map(Step::Curve).collect();
    steps.push(Step::Agents);
    steps.extend(http2::SHARED.map(Step::Http2));
    steps.extend([false, true].map(|patches| Step::Selections { patches }));
    steps.extend(proxy::BOTH.map(Step::Proxy));
    steps.extend([Step::Start, Step::Cluster]);
    steps.extend(Hub::ALL.map(Step::Pothead));
    steps.extend([Step::Exchange, Step::ExchangeWaits, Step::Topics]);
    steps.retain(|step| only.is_empty() || only.iter().any(|name| step.name().starts_with(name)));
    let left_out = steps.iter().filter_map(|step| step.possible().err()).collect();
    steps.retain(|step| step.possible().is_ok());
    (steps, left_out)
}

/// Measures and prints.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "what was measured, and how far it is")]
pub(crate) fn run(arguments: &[&str]) -> Outcome<()> {
    let start = Instant::now();
    let Wanted { tidewait, only, small, rounds, extent, into } = Wanted::read(arguments)?;
    let folder = tempfile::tempdir()?;
    let place = Place { tidewait, folder: folder.path().to_owned() };
    let (mut order, left_out) = steps(&only);
    let mut notes: Vec<_> = left_out.into_iter().map(str::to_owned).collect();
    let mut figures = Figures::default();
    let (mut done, mut longest, mut ours_failed) = (0, Duration::ZERO, None);
    while done < rounds && start.elapsed() + longest < AT_MOST {
        let (begun, is_alone) = (Instant::now(), order.len() == 1);
        order.retain(|step| {
            // It takes more than a minute, and has many samples in each round.
            if done > 0 && !is_alone && matches!(step, Step::Topics) {
                return true;
            }
            eprintln!("{:4.0} s  round {}: {}", start.elapsed().as_secs_f64(), done + 1, step.name());
            let Err(error) = step.run(&place, &extent, &mut figures) else { return true };
            let sentence = format!("{} failed: {error}", step.name()).replace(['\r', '\n'], " ");
            eprintln!("        {sentence}");
            if step.is_ours() {
                ours_failed = Some(sentence.clone());
            }
            notes.push(sentence);
            false
        });
        longest = longest.max(begun.elapsed());
        done += 1;
        // Nobody is always first.
        order.reverse();
    }
    let text = report::write(&figures, &extent, done, &place.tidewait, &notes);
    if !small {
        println!("{text}");
    }
    eprintln!("{:4.0} s in all", start.elapsed().as_secs_f64());
    into.map_or(Ok(()), |file| replace(&file, &text))?;
    match ours_failed {
        Some(sentence) => Err(because(sentence)),
        None if done == 0 => Err(because("there was no time for a round")),
        None => {
            println!("every client of {} measurements was told the right states", order.len());
            Ok(())
        }
    }
}

/// Puts the tables between two marks of a document.
fn replace(file: &Path, tables: &str) -> Outcome<()> {
    const MARKS: (&str, &str) = ("<!-- run -->\n", "<!-- /run -->");
    let text = fs::read_to_string(file)?;
    let parts = text.split_once(MARKS.0).and_then(|(before, rest)| Some((before, rest.split_once(MARKS.1)?.1)));
    let (before, after) = parts.ok_or_else(|| because(format!("{} has no {MARKS:?}", file.display())))?;
    Ok(fs::write(file, format!("{before}{}{}{}{after}", MARKS.0, tables, MARKS.1))?)
}
