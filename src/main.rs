//! `tidewait`: parse, set up logs, run, exit code (0: stopped as asked, 1: could not go on, 2: misconfigured).

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tidewait::admin::ask;
use tidewait::app::App;
use tidewait::config::{self, Config, LogFormat, cli};
use tidewait::crd;
use tidewait::telemetry::{self, chain};

/// A file system that hangs must not keep a stopped process from ending.
const LAST_THREADS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; a closed pipe is nobody who reads.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let done = match cli.command {
        cli::Command::Serve(options) => config::load(&options).map(serve),
        cli::Command::Check(options) => config::load(&options).map(|config| {
            print(&format!("the configuration is good, operations: {}\n", config.operations.len()));
            Ok(())
        }),
        cli::Command::Crd => {
            print(&crd::documents());
            Ok(Ok(()))
        }
        cli::Command::Drain(options) => cli::load_drain(&options).map(drain),
    };
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&format!("tidewait: {}", chain(&*error)));
            ExitCode::FAILURE
        }
        Err(problems) => {
            complain(&problems.to_string());
            ExitCode::from(2)
        }
    }
}

type Done = Result<(), Box<dyn Error>>;

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn serve(config: Config) -> Done {
    let runtime = runtime()?;
    let telemetry = {
        let _inside = runtime.enter();
        telemetry::start(&config.log, config.otlp_endpoint.as_deref())?
    };
    let level = telemetry.level();
    let served = runtime.block_on(async {
        let for_people = config.log.format == LogFormat::Text;
        let app = App::bind(config).await?;
        if for_people {
            print(&app.banner());
        }
        app.run(level).await
    });
    telemetry.finish();
    runtime.shutdown_timeout(LAST_THREADS);
    Ok(served?)
}

fn drain(wanted: cli::Drain) -> Done {
    let drained = runtime()?.block_on(async {
        let end = tokio::time::Instant::now() + wanted.at_least;
        let drained = ask::drain(wanted.admin).await?;
        tokio::time::sleep_until(end).await;
        Ok::<_, ask::AskError>(drained)
    });
    print(&(drained? + "\n"));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what a person asked for")]
fn print(text: &str) {
    print!("{text}");
}

#[expect(clippy::print_stderr, reason = "logs may not be set up yet")]
fn complain(text: &str) {
    eprintln!("{text}");
}
