//! The command line, and the thin part of the configuration that touches the world: the only
//! file that reads the environment, and the one that reads the configuration file.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::agent::{self, Agent, AgentOptions, Serve, Surroundings, layers};
use super::chat::{ChatOptions, PublishOptions, TailOptions};
use super::environment::unread;
use super::fetch::FetchOptions;
use super::file::ConfigFile;
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::resolve::relay::relay;
use super::resolve::{Layers, resolve};
pub use super::settings::Options;
use super::settings::{COLLECTOR, SETTINGS, Setting, Unset, environment_name, from_environment, from_flags};
use super::worker::{self, Worker, WorkerOptions};
use super::{Config, ranges, value};
use crate::access::tokens::is_name;
use crate::bounds::CONFIG_BYTES;
use crate::client;

/// Serves models by long polling: parks requests, and answers all of them when the model changes
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "tidewait", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve models, and proxy everything else to the app
    Serve(Options),
    /// Validate the configuration that serve would use; the exit code is 0 if it is good and 2 if not
    Check(CheckOptions),
    /// Keep files on this machine as a model says that a server has, and run commands when they change
    Agent(Box<AgentOptions>),
    /// Ask any endpoint that asks to come back (303, 202, 429, 503 with Retry-After), until there is an answer
    Fetch(Box<FetchOptions>),
    /// Read the messages of a topic, as they come
    Tail(Box<TailOptions>),
    /// Publish messages to a topic: arguments, or the lines of standard input
    Publish(Box<PublishOptions>),
    /// Read a topic, and publish what you type
    Chat(Box<ChatOptions>),
    /// Dial an exchange, and have a server answer the requests that wait there
    Worker(Box<WorkerOptions>),
    /// Make a token, and print it with its line for the file of --access-tokens; it is stored nowhere
    Token(TokenOptions),
    /// Print the custom resource definitions: kubectl apply --server-side -f -
    Crd,
    /// Answer the parked requests of a running Tidewait, as a preStop hook before its pod ends
    Drain(DrainOptions),
}

/// What is validated.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct CheckOptions {
    /// The settings of `serve`.
    #[command(flatten)]
    pub options: Options,
    /// Leave out the files of credentials and TLS, which may be on another machine
    #[arg(long)]
    pub without_files: bool,
}

/// Whose token it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct TokenOptions {
    /// Whose it is: letters, digits and -._:/@, at most 253
    #[arg(value_name = "NAME", value_parser = access_name)]
    pub name: String,
    /// Groups that the owner is in
    #[arg(long, value_name = "GROUP[,GROUP]", value_delimiter = ',', value_parser = access_name)]
    pub groups: Vec<String>,
}

fn access_name(text: &str) -> Result<String, String> {
    if is_name(text) { Ok(text.to_owned()) } else { Err("write 1 to 253 letters, digits and -._:/@".to_owned()) }
}

/// Which process is to drain.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct DrainOptions {
    /// Admin port of the Tidewait to drain
    #[arg(long, value_name = "IP:PORT")]
    pub admin: Option<String>,
    /// The admin port speaks TLS with a certificate of this file, or of an authority in it (PEM)
    #[arg(long, value_name = "FILE")]
    pub admin_ca: Option<String>,
    /// Take at least this long, so that load balancers learn that the pod ends (0 to 1h) [default: 0]
    #[arg(long, value_name = "DURATION")]
    pub at_least: Option<String>,
}

/// The same, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// The admin port of the process to drain, at an address that can be asked.
    pub admin: SocketAddr,
    /// The file with its certificate, or its authority; absent: it speaks HTTP in the clear.
    pub admin_ca: Option<PathBuf>,
    /// How long it takes at least, also where nobody is parked.
    pub at_least: Duration,
}

/// Reads a command line, the program's name first; the error is also what `--help` answers, and
/// knows its exit code.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Reads what `options` does not hold, the environment and the file, and resolves all three.
pub fn load(options: &Options) -> Result<Config, Problems> {
    resolve(&gather(options, environment()))
}

/// Reads what `options` of an agent do not hold, the environment and the file, and resolves all three.
pub fn load_agent(options: &AgentOptions, host: &str) -> Result<Agent, Problems> {
    let named = layers::SETTINGS.map(layers::variable);
    let variables: Vec<_> = named.into_iter().filter_map(|name| variable(&name).map(|value| (name, value))).collect();
    let config = options.config.clone().or_else(|| {
        let of_file = layers::variable("config");
        let given = variables.iter().find(|(name, _)| *name == of_file);
        given.and_then(|(_, value)| value.to_str()).filter(|name| !name.is_empty()).map(str::to_owned)
    });
    let file = config.as_deref().map(read);
    agent::resolve(options, &Surroundings { variables, file, state_directory: state_directory(), host })
}

/// Reads what `options` of a worker do not hold, the environment, and resolves both.
pub fn load_worker(options: &WorkerOptions, host: &str) -> Result<Worker, Problems> {
    let named = worker::layers::SETTINGS.map(worker::layers::variable);
    let variables: Vec<_> = named.into_iter().filter_map(|name| variable(&name).map(|value| (name, value))).collect();
    worker::resolve(options, &variables, host)
}

/// The configuration of what an agent serves, whose file is read here.
pub fn load_serve(serve: &Serve, source: &client::Settings) -> Result<Config, Problems> {
    let file = serve.config.as_ref().map(|path| read(&path.to_string_lossy()));
    relay(&serve.listen, file.as_ref(), source)
}

/// `STATE_DIRECTORY`, as systemd sets it.
#[must_use]
pub fn state_directory() -> Option<String> {
    variable("STATE_DIRECTORY").and_then(|text| text.into_string().ok())
}

/// A line for each variable of the environment that looks like a setting and is none: misspelt, most likely.
#[must_use]
pub fn unread_variables() -> Vec<Problem> {
    let all: Vec<_> = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect();
    unread(all.iter().map(|(name, value)| (&**name, &**value)))
}

fn gather(options: &Options, environment: Vec<(String, OsString)>) -> Layers {
    let config = options.config.as_deref().or_else(|| {
        let named = environment.iter().find(|(name, _)| *name == environment_name("config"));
        named.and_then(|(_, value)| value.to_str()).filter(|name| !name.is_empty())
    });
    let file = config.map(read);
    Layers { flags: options.clone(), environment, file }
}

/// What `tidewait drain` shall do. The admin port is that of the flag, the environment, or the default.
pub fn load_drain(options: &DrainOptions) -> Result<Drain, Problems> {
    resolve_drain(options, &environment())
}

fn resolve_drain(options: &DrainOptions, environment: &[(String, OsString)]) -> Result<Drain, Problems> {
    const AT_LEAST: &str = "at-least";
    const ADMIN_CA: &str = "admin-ca";
    let mut problems = Problems::default();
    let mut flags = from_flags(&Options { admin: options.admin.clone(), ..Options::default() });
    if let Some(text) = &options.at_least {
        flags.add(AT_LEAST, format!("--{AT_LEAST}"), text);
    }
    if let Some(text) = &options.admin_ca {
        flags.add(ADMIN_CA, format!("--{ADMIN_CA}"), text);
    }
    let variables: Vec<_> =
        environment.iter().filter(|(name, _)| *name == environment_name("admin")).cloned().collect();
    let environment = from_environment(&variables, &mut problems);
    let mut reader = Reader { layers: vec![&flags, &environment], problems: &mut problems };
    let admin = reader.setting("admin", |text| match value::address(text)? {
        address if address.port() == 0 => Err("has port 0: write the port that Tidewait listens on".to_owned()),
        address => Ok(address),
    });
    let at_least = reader.optional(AT_LEAST, |text| value::duration(text, &ranges::GRACE)).unwrap_or_default();
    let admin_ca = reader.optional(ADMIN_CA, value::file_path);
    match admin {
        Some(admin) if problems.is_empty() => Ok(Drain { admin: reachable(admin), admin_ca, at_least }),
        _ => Err(problems),
    }
}

/// An address to listen on at all interfaces is no address to ask: the loopback is.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// Every setting as a table in Markdown, for docs/settings.md.
#[must_use]
pub fn reference() -> String {
    let mut table = "| flag | environment | default | meaning |\n|---|---|---|---|\n".to_owned();
    let command = Cli::command();
    let serve = command.find_subcommand("serve").into_iter().flat_map(clap::Command::get_arguments);
    for (argument, setting) in serve.filter_map(|argument| Some((argument, setting_of(argument)?))) {
        let takes_value =
            argument.get_action().takes_values() && argument.get_num_args().is_none_or(|n| n.min_values() > 0);
        let value = argument.get_value_names().filter(|_| takes_value).map(|names| format!(" {}", names.join(" ")));
        let default = match setting.default {
            Unset::Text(text) => format!("`{text}`"),
            Unset::Absent(words) => words.to_owned(),
        };
        let meaning = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let flag = format!("`--{}{}`", setting.flag, value.unwrap_or_default());
        row(&mut table, [&flag, &format!("`{}`", environment_name(setting.flag)), &default, &meaning]);
    }
    for (name, meaning) in COLLECTOR {
        row(&mut table, ["", &format!("`{name}`"), "none", meaning]);
    }
    table
}

/// Every option of `tidewait agent` as a table in Markdown, for docs/agent.md.
#[must_use]
pub fn agent_reference() -> String {
    options_of("agent")
}

/// Every option of `tidewait fetch` as a table in Markdown, for docs/fetch.md.
#[must_use]
pub fn fetch_reference() -> String {
    options_of("fetch")
}

/// Every option of `tidewait tail`, `publish` and `chat` as tables in Markdown, for docs/topics.md.
#[must_use]
pub fn chat_references() -> [String; 3] {
    ["tail", "publish", "chat"].map(options_of)
}

/// Every option of `tidewait worker` as a table in Markdown, for docs/worker.md.
#[must_use]
pub fn worker_reference() -> String {
    options_of("worker")
}

fn options_of(subcommand: &str) -> String {
    let mut table = "| option | meaning |\n|---|---|\n".to_owned();
    let command = Cli::command();
    let arguments = command.find_subcommand(subcommand).into_iter().flat_map(clap::Command::get_arguments);
    for (argument, flag) in arguments.filter_map(|argument| Some((argument, argument.get_long()?))) {
        let takes_value =
            argument.get_action().takes_values() && argument.get_num_args().is_none_or(|n| n.min_values() > 0);
        let value = argument.get_value_names().filter(|_| takes_value).map(|names| format!(" {}", names.join(" ")));
        let value = value.unwrap_or_default();
        let short = argument.get_short().map(|short| format!("`-{short}{value}`, ")).unwrap_or_default();
        let meaning = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let cells = [format!("{short}`--{flag}{value}`"), meaning].map(|cell| cell.replace('|', "\\|"));
        writeln!(table, "| {} |", cells.join(" | ")).expect("a String takes all");
    }
    table
}

fn row(table: &mut String, cells: [&str; 4]) {
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    writeln!(table, "| {} |", cells.join(" | ")).expect("a String takes all");
}

fn setting_of(argument: &clap::Arg) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| argument.get_long() == Some(setting.flag))
}

/// The parser, whose help also names the defaults and the names in the environment.
fn command() -> clap::Command {
    let with_default = |argument: clap::Arg| {
        let Some(setting) = setting_of(&argument) else { return argument };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let (Unset::Text(default) | Unset::Absent(default)) = setting.default;
        let name = environment_name(setting.flag);
        argument.help(format!("{help} [default: {default}] [env: {name}]"))
    };
    ["serve", "check", "drain"]
        .into_iter()
        .fold(Cli::command(), |command, name| command.mut_subcommand(name, |command| command.mut_args(with_default)))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> Vec<(String, OsString)> {
    let ours = SETTINGS.iter().map(|setting| environment_name(setting.flag));
    let all = ours.chain(COLLECTOR.iter().map(|(name, _)| (*name).to_owned()));
    all.filter_map(|name| std::env::var_os(&name).map(|value| (name, value))).collect()
}

/// A variable of the environment, of those that are no settings: what systemd says, and what commands of the agent are to have.
#[expect(clippy::disallowed_methods, reason = "as above")]
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Reads a configuration file, unless it is larger than [`CONFIG_BYTES`].
fn read(name: &str) -> ConfigFile {
    let bytes = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(name)?.take(CONFIG_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = match bytes() {
        Err(error) => Err(format!("cannot be read: {error}: name a file that can be")),
        Ok(bytes) if bytes.len() as u64 > CONFIG_BYTES => {
            Err(format!("is larger than {CONFIG_BYTES} bytes: name a configuration file"))
        }
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|error| format!("is not UTF-8 at byte {}: save it as UTF-8", error.utf8_error().valid_up_to())),
    };
    // A problem needs a name to stand under.
    let name = if name.is_empty() { "--config" } else { name };
    ConfigFile { name: name.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Cli, clap::Error> {
        parse(std::iter::once("tidewait").chain(arguments.iter().copied()).map(OsString::from))
    }

    #[track_caller]
    fn options(arguments: &[&str]) -> Options {
        match parsed(arguments).expect("flags").command {
            Command::Serve(options) | Command::Check(CheckOptions { options, .. }) => options,
            Command::Agent(_)
            | Command::Worker(_)
            | Command::Drain(_)
            | Command::Crd
            | Command::Fetch(_)
            | Command::Tail(_)
            | Command::Publish(_)
            | Command::Chat(_)
            | Command::Token(_) => {
                panic!("serve or check")
            }
        }
    }

    #[test]
    fn the_parser_is_sound_and_its_settings_are_the_table() {
        command().debug_assert();
        let command = Cli::command();
        for name in ["serve", "check"] {
            let flags = command.find_subcommand(name).expect(name).get_arguments().filter_map(clap::Arg::get_long);
            let flags: Vec<_> = flags.filter(|flag| !["help", "without-files"].contains(flag)).collect();
            assert_eq!(flags, SETTINGS.map(|setting| setting.flag), "{name}");
        }
        let names: BTreeSet<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(
            names,
            BTreeSet::from([
                "agent", "chat", "check", "crd", "drain", "fetch", "publish", "serve", "tail", "token", "worker"
            ])
        );
    }

    #[test]
    fn switches_may_have_a_value_and_lists_may_be_given_in_parts() {
        let given = options(&[
            "serve",
            "--access-log",
            "--allow-anonymous=false",
            "--trusted-proxies",
            "a,b",
            "--trusted-proxies=c",
        ]);
        assert_eq!(given.access_log.as_deref(), Some("true"));
        assert_eq!(given.allow_anonymous.as_deref(), Some("false"));
        assert_eq!(given.trusted_proxies, ["a", "b", "c"]);
        assert_eq!(options(&["check", "--grace=-5s"]).grace.as_deref(), Some("-5s"), "refused later, with the rest");
    }

    #[test]
    fn mistakes_in_flags_exit_with_2_and_help_with_0() {
        for (arguments, code) in [
            (&["serve", "--wait-maximum=1s"][..], 2),
            (&["serve", "--grace=1s", "--grace=2s"], 2),
            (&["agents"], 2),
            (&[], 2),
            (&["drain", "--listen=x"], 2),
            (&["token"], 2),
            (&["fetch"], 2),
            (&["fetch", "http://a", "http://b"], 2),
            (&["fetch", "--help"], 0),
            (&["token", "a b"], 2),
            (&["token", "a", "--groups=b,,c"], 2),
            (&["serve", "--help"], 0),
            (&["--version"], 0),
        ] {
            assert_eq!(parsed(arguments).expect_err("no command").exit_code(), code, "{arguments:?}");
        }
        let help = parsed(&["serve", "--help"]).expect_err("help").to_string();
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("(up to 1h) [default: 55s] [env: TIDEWAIT_WAIT_MAX]"), "{help}");
    }

    #[test]
    fn the_reference_tells_every_setting() {
        let table = reference();
        assert_eq!(table.lines().count(), 2 + SETTINGS.len() + COLLECTOR.len());
        for line in [
            "| `--configmap NAMESPACE/NAME[:KEY]` | `TIDEWAIT_CONFIGMAP` | none | Serve the model that this ConfigMap holds: one key, or all keys as one object |",
            "| `--wait-max DURATION` | `TIDEWAIT_WAIT_MAX` | `55s` | How long a request is held at most (up to 1h) |",
            "| `--access-log` | `TIDEWAIT_ACCESS_LOG` | `false` | Log each request |",
            "| `--listen IP:PORT` | `TIDEWAIT_LISTEN` | `127.0.0.1:8480` | Address for clients and for the traffic of the app |",
            "|  | `OTEL_EXPORTER_OTLP_ENDPOINT` | none | The same, to which /v1/traces is added |",
        ] {
            assert!(table.lines().any(|found| found == line), "{line}\nis not in\n{table}");
        }
    }

    #[test]
    fn drain_asks_flag_then_environment_then_default() {
        let drain = |flag: Option<&str>, variable: &str| {
            let options = DrainOptions { admin: flag.map(ToOwned::to_owned), ..DrainOptions::default() };
            let environment =
                [("TIDEWAIT_ADMIN".to_owned(), variable.into()), ("TIDEWAIT_GRACE".to_owned(), "bad".into())];
            resolve_drain(&options, &environment)
                .map_or_else(|problems| problems.to_string(), |drain| drain.admin.to_string())
        };
        assert_eq!(drain(None, ""), "127.0.0.1:8481");
        assert_eq!(drain(None, "0.0.0.0:9"), "127.0.0.1:9");
        assert_eq!(drain(Some("[::]:8"), "0.0.0.0:9"), "[::1]:8");
        assert_eq!(
            drain(Some("x"), "1.1.1.1:0"),
            "--admin: \"x\" is not an IP address with a port: write one such as 127.0.0.1:8480, 0.0.0.0:8480 or [::1]:8480\n\
             TIDEWAIT_ADMIN: \"1.1.1.1:0\" has port 0: write the port that Tidewait listens on"
        );
    }

    #[test]
    fn drain_takes_as_long_as_it_is_told_within_bounds() {
        let drain = |at_least: Option<&str>| {
            let options = DrainOptions { at_least: at_least.map(ToOwned::to_owned), ..DrainOptions::default() };
            resolve_drain(&options, &[]).map(|drain| drain.at_least).map_err(|problems| problems.to_string())
        };
        assert_eq!(drain(None), Ok(Duration::ZERO));
        assert_eq!(drain(Some("5s")), Ok(Duration::from_secs(5)));
        assert_eq!(drain(Some("2h")), Err("--at-least: \"2h\" is out of bounds: write 0 to 1h".to_owned()));
        let unit = "--at-least: \"5\" has no unit: write h, m, s or ms after the number, such as 25s";
        assert_eq!(drain(Some("5")), Err(unit.to_owned()));
    }

    #[test]
    fn the_file_is_the_one_that_the_flag_or_the_environment_names() {
        let file = |flag: Option<&str>, variable: &str| {
            let options = Options { config: flag.map(ToOwned::to_owned), ..Options::default() };
            gather(&options, vec![("TIDEWAIT_CONFIG".to_owned(), variable.into())]).file.map(|file| file.name)
        };
        assert_eq!(file(None, ""), None);
        assert_eq!(file(None, "no/b").as_deref(), Some("no/b"));
        assert_eq!(file(Some("no/a"), "no/b").as_deref(), Some("no/a"));
    }

    #[test]
    fn files_that_cannot_be_read_say_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let large = vec![b' '; usize::try_from(CONFIG_BYTES).expect("fits") + 1];
        for (name, expected) in [
            (write("good", b"kind: x"), Ok("kind: x")),
            (write("latin", b"a: \xe9"), Err("is not UTF-8 at byte 3: save it as UTF-8")),
            (write("large", &large), Err("is larger than 1048576 bytes")),
            (folder.path().to_str().expect("UTF-8").to_owned(), Err("cannot be read: Is a directory")),
            ("no/such/file".to_owned(), Err("cannot be read: No such file")),
            (String::new(), Err("cannot be read: No such file")),
        ] {
            let file = read(&name);
            match (&file.text, expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, expected),
                (Err(error), Err(expected)) => assert!(error.starts_with(expected), "{name}: {error}"),
                (text, _) => panic!("{name}: {text:?}"),
            }
            assert_eq!(file.name, if name.is_empty() { "--config" } else { &name });
        }
    }
}
