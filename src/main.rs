//! `tidewait`: parse, set up logs, run, exit code (0: stopped as asked, 1: could not go on, 2: misconfigured).

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::{Signal, getpid, kill_process};
use tidewait::access::tokens;
use tidewait::admin::ask;
use tidewait::agent::{dry_run, exit, run, setup, status};
use tidewait::app::{self, App};
use tidewait::bounds::LOG_END;
use tidewait::chat;
use tidewait::config::agent::{AgentCommand, AgentOptions, StatusOptions};
use tidewait::config::chat::{resolve_chat, resolve_publish, resolve_tail};
use tidewait::config::worker::{Worker, WorkerOptions};
use tidewait::config::{self, Config, LogFormat, cli};
use tidewait::fetch;
use tidewait::lifecycle::stop::Signals;
use tidewait::lifecycle::threads;
use tidewait::operation::lineage;
use tidewait::systemd::{Given, Notify};
use tidewait::telemetry::writer::{Target, Writer};
use tidewait::telemetry::{self, chain};
use tidewait::{crd, escape, worker};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A file system that hangs must not keep a stopped process from ending.
const LAST_THREADS: Duration = Duration::from_secs(1);

const UNWRITTEN: &str = "standard output cannot be written";

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return print(&error),
    };
    let done = match cli.command {
        cli::Command::Serve(options) => config::load(&options).map(serve),
        cli::Command::Check(checked) => config::load(&checked.options).and_then(|config| {
            for variable in cli::unread_variables() {
                complain(&variable.to_string());
            }
            let mistakes = if checked.without_files { config::Problems::default() } else { app::check(&config) };
            let promises = if checked.without_files { String::new() } else { app::promises(&config) };
            let good = app::summary(&config) + &promises;
            if mistakes.is_empty() { Ok(answer(&good)) } else { Err(mistakes) }
        }),
        cli::Command::Agent(options) => return agent(&options),
        cli::Command::Fetch(options) => return ended(config::fetch::resolve(&options).map(fetch::run)),
        cli::Command::Tail(options) => return ended(resolve_tail(&options).map(|tail| chat::tail(&tail))),
        cli::Command::Publish(options) => {
            return ended(resolve_publish(&options).map(|publish| chat::publish(&publish)));
        }
        cli::Command::Chat(options) => {
            return ended(resolve_chat(&options).map(|(tail, publish)| chat::chat(&tail, &publish)));
        }
        cli::Command::Worker(options) => return worker(&options),
        cli::Command::Token(options) => Ok(token(&options)),
        cli::Command::Crd => Ok(answer(&crd::documents())),
        cli::Command::Drain(options) => cli::load_drain(&options).map(|wanted| drain(&wanted)),
    };
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&format!("tidewait: {}", escape::lines(&chain(&*error))));
            ExitCode::FAILURE
        }
        Err(problems) => {
            complain(&problems.to_string());
            ExitCode::from(2)
        }
    }
}

type Done = Result<(), Box<dyn Error>>;

/// Help and version, or what is wrong with the command line.
fn print(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match printed {
        Err(why) if !error.use_stderr() => {
            complain(&format!("tidewait: {UNWRITTEN}: {why}"));
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

fn serve(config: Config) -> Done {
    threads::check()?;
    // For every TLS connection of the process. It fails only where one is installed, and nothing has run before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = Builder::new_multi_thread().worker_threads(threads::workers()).enable_all().build()?;
    let telemetry = {
        let _inside = runtime.enter();
        telemetry::start(&config.log, config.otlp_endpoint.as_deref())?
    };
    for variable in cli::unread_variables() {
        tracing::warn!("{variable}");
    }
    let served = runtime.block_on(async {
        let for_people = config.log.format == LogFormat::Text;
        let app = App::bind(config).await?;
        if for_people {
            greet(&app.banner());
        }
        app.run(&telemetry).await
    });
    telemetry.send_spans();
    runtime.shutdown_timeout(LAST_THREADS);
    telemetry.finish();
    Ok(served?)
}

/// The exit code of an agent says why it ends: docs/agent.md.
fn agent(options: &AgentOptions) -> ExitCode {
    if let Some(AgentCommand::Status(asked)) = &options.command {
        return agent_status(asked, cli::state_directory().as_deref());
    }
    let loaded = cli::load_agent(options, &setup::host()).and_then(|config| {
        let serving = config.serve.as_ref().map(|serve| cli::load_serve(serve, &config.source)).transpose()?;
        Ok((config, serving))
    });
    let (config, serving) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems.to_string());
            return ExitCode::from(2);
        }
    };
    match run_agent(config, serving) {
        Ok((exit, text)) => print_out(&text, exit.code()),
        Err(error) => {
            complain(&format!("tidewait: {}", escape::lines(&chain(&*error))));
            let is_wrong = error.downcast_ref().is_some_and(setup::SetupError::is_misconfigured);
            if is_wrong { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// How a command has ended that asks a server, if it could begin: docs/fetch.md, docs/topics.md.
fn ended(exit: Result<fetch::Exit, config::Problems>) -> ExitCode {
    match exit {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(problems) => {
            complain(&problems.to_string());
            ExitCode::from(2)
        }
    }
}

/// The exit code of a worker says whether requests were cut: docs/worker.md.
fn worker(options: &WorkerOptions) -> ExitCode {
    let config = match cli::load_worker(options, &setup::host()) {
        Ok(config) => config,
        Err(problems) => {
            complain(&problems.to_string());
            return ExitCode::from(2);
        }
    };
    match run_worker(&config) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            complain(&format!("tidewait: {}", escape::lines(&chain(&*error))));
            ExitCode::FAILURE
        }
    }
}

fn run_worker(config: &Worker) -> Result<worker::exit::Exit, Box<dyn Error>> {
    threads::check()?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = Builder::new_multi_thread().worker_threads(threads::workers()).enable_all().build()?;
    let telemetry = {
        let _inside = runtime.enter();
        telemetry::start(&config.log, None)?
    };
    for variable in cli::unread_variables() {
        tracing::warn!("{variable}");
    }
    let notify = notify()?;
    let done = runtime.block_on(worker::run::run(config, &notify));
    runtime.shutdown_timeout(LAST_THREADS);
    telemetry.finish();
    Ok(done?)
}

/// What systemd has told this process of itself.
fn notify() -> io::Result<Notify> {
    let [socket, watchdog, watchdog_pid] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"].map(cli::variable);
    Notify::new(Given {
        socket: socket.as_deref(),
        watchdog: watchdog.as_deref(),
        watchdog_pid: watchdog_pid.as_deref(),
    })
}

fn agent_status(options: &StatusOptions, environment: Option<&str>) -> ExitCode {
    let request = match config::agent::resolve_status(options, environment) {
        Ok(request) => request,
        Err(problems) => {
            complain(&problems.to_string());
            return ExitCode::from(2);
        }
    };
    // On this thread alone: it must work where no other can be had.
    let asked = Builder::new_current_thread().enable_all().build();
    match asked.map(|runtime| runtime.block_on(status::status(&request))) {
        Ok((text, code)) => print_out(&text, code),
        Err(error) => {
            complain(&format!("tidewait: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints what a person asked for, and ends with a code.
fn print_out(text: &str, code: u8) -> ExitCode {
    match answer(text) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("tidewait: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs an agent, which serves what it holds where `serving` is given.
fn run_agent(
    mut config: config::agent::Agent,
    serving: Option<Config>,
) -> Result<(exit::Exit, String), Box<dyn Error>> {
    threads::check()?;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Little is to be done, but the output is written on one thread while the other one polls.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let telemetry = {
        let _inside = runtime.enter();
        telemetry::start(&config.log, None)?
    };
    for variable in cli::unread_variables() {
        tracing::warn!("{variable}");
    }
    let notify = notify()?;
    let done = if config.dry_run {
        runtime.block_on(dry_run::run(&config, cli::variable)).map_err(Into::into)
    } else if let Some(serving) = serving {
        config.source.relay = serving.operations.first().map(|operation| lineage::relay(operation, &serving.access));
        let start = || run::start(&config, notify, cli::variable);
        runtime.block_on(run_relay(start, serving, &telemetry)).map(|exit| (exit, String::new()))
    } else {
        let run = async { Ok(run::start(&config, notify, cli::variable)?.run().await) };
        runtime.block_on(run).map(|exit| (exit, String::new()))
    };
    runtime.shutdown_timeout(LAST_THREADS);
    telemetry.finish();
    done
}

/// Runs an agent and the port at which it serves what it holds. The port goes on while the agent ends, and then drains.
async fn run_relay(
    start: impl FnOnce() -> Result<run::Started, setup::SetupError>,
    serving: Config,
    telemetry: &telemetry::Telemetry,
) -> Result<exit::Exit, Box<dyn Error>> {
    // First, so that nothing is touched where another process listens.
    let app = App::bind(serving).await?;
    let started = start()?;
    let app = app.of_agent(started.holdings());
    let (ends, ended) = oneshot::channel();
    let mut ended = Some(ended);
    let served = app.run_until(telemetry, async || match ended.take() {
        Some(ended) => {
            let _ = ended.await;
            "the agent has ended"
        }
        // A second signal is in a hurry.
        None => match Signals::new() {
            Ok(mut signals) => signals.next().await,
            Err(_) => std::future::pending().await,
        },
    });
    let run = async {
        let exit = started.run().await;
        // It fails where the port has failed before.
        let _ = ends.send(());
        exit
    };
    let (mut served, mut run) = (std::pin::pin!(served), std::pin::pin!(run));
    tokio::select! {
        failed = &mut served => {
            // The agent ends as it always does: a command that runs has a while left.
            let _ = kill_process(getpid(), Signal::TERM);
            run.await;
            failed.map(|()| exit::Exit::Failed).map_err(Into::into)
        }
        exit = &mut run => match served.await {
            Ok(()) | Err(app::AppError::Aborted) => Ok(exit),
            Err(error) => Err(error.into()),
        },
    }
}

fn drain(wanted: &cli::Drain) -> Done {
    // On this thread alone: it must work where no other can be had.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let drained = runtime.block_on(async {
        let end = tokio::time::Instant::now() + wanted.at_least;
        let drained = ask::drain(wanted.admin, wanted.admin_ca.as_deref()).await?;
        tokio::time::sleep_until(end).await;
        Ok::<_, ask::AskError>(drained)
    });
    answer(&(escape::lines(&drained?) + "\n"))
}

/// A token that nobody has, and its line.
fn token(options: &cli::TokenOptions) -> Done {
    let mut random = [0; 32];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| "the system gives no random bytes")?;
    let token = format!("tw_{}", URL_SAFE_NO_PAD.encode(random));
    answer(&format!("{token}\n{}\n", tokens::line(&token, &options.name, &options.groups)))
}

/// What a person asked a command for.
fn answer(text: &str) -> Done {
    let mut output = io::stdout();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(|error| format!("{UNWRITTEN}: {error}").into())
}

/// What a person who starts the service may like to read. It is served also where nobody does.
fn greet(text: &str) {
    if let Ok(writer) = Writer::start(Target::Output) {
        writer.push(text.as_bytes());
        writer.finish(Duration::ZERO);
    }
}

/// Says on standard error why the process ends, unless nobody reads there.
fn complain(text: &str) {
    let line = format!("{text}\n");
    match Writer::start(Target::Error) {
        Ok(writer) => {
            writer.push(line.as_bytes());
            writer.finish(LOG_END);
        }
        // Without a thread, or the reason would be lost. Where that fails too it cannot be reported.
        Err(_) => drop(io::stderr().write_all(line.as_bytes())),
    }
}
