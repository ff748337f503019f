//! What `tidewait agent` is asked for: the options of its command line, and the same, resolved. What is wrong is reported all at
//! once.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::file::{self, ConfigFile};
use super::problem::Problems;
use super::reader::Reader;
use super::{Log, LogFormat, value};
use crate::bounds::{CLIENT_WAIT, DOCUMENT_BYTES};
use crate::client;

pub(crate) mod layers;
mod options;
mod status;
mod values;

pub use options::{AgentCommand, AgentOptions, StatusOptions};
pub use status::{Fault, StatusAt, StatusRequest, resolve_status};
pub(super) use values::of_host;

fn state_dir(given: Option<&str>, environment: Option<&str>, problems: &mut Problems) -> PathBuf {
    let state_dir = given.or_else(|| environment?.split(':').next()).unwrap_or_default();
    if state_dir.is_empty() {
        let remedy = "is missing: name a folder that outlives the process, such as /var/lib/tidewait-agent";
        problems.push("--state-dir", remedy);
    }
    state_dir.into()
}

/// What `tidewait agent` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Where the model comes from.
    pub source: client::Settings,
    /// Where it goes.
    pub output: AgentOutput,
    /// What must outlive the process.
    pub state_dir: PathBuf,
    /// Commands.
    pub hooks: AgentHooks,
    /// How long a new state is left before it is applied; absent: not at all.
    pub settle: Option<Settle>,
    /// The process ends once the newest state is applied or rejected, or after this.
    pub once: Option<Duration>,
    /// Where operators and the kubelet ask.
    pub admin: Option<SocketAddr>,
    /// What is held is served there; absent: nowhere.
    pub serve: Option<Serve>,
    /// What is held is stale beyond; absent: never.
    pub max_age: Option<Duration>,
    /// What is done then.
    pub on_stale: OnStale,
    /// It only says what it would do.
    pub dry_run: bool,
    /// The log.
    pub log: Log,
}

/// Where the model goes; as text where the output checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentOutput {
    /// `--out`.
    pub out: Vec<String>,
    /// `--out-dir`.
    pub out_dir: Option<PathBuf>,
    /// `--format`.
    pub format: Option<String>,
    /// `--mode`.
    pub mode: Option<String>,
    /// `--owner`.
    pub owner: Option<String>,
    /// `--group`.
    pub group: Option<String>,
    /// A file is written over, and not replaced.
    pub in_place: bool,
    /// Older trees that stay.
    pub keep: usize,
    /// It is put right where somebody else has changed it.
    pub enforce: bool,
}

/// Commands, and how they are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentHooks {
    /// Before a state is put out.
    pub check: Option<String>,
    /// Once it is.
    pub exec: Option<String>,
    /// After that.
    pub verify: Option<String>,
    /// How long the last one is repeated.
    pub verify_for: Duration,
    /// By a shell.
    pub shell: bool,
    /// With the bytes on standard input.
    pub stdin: bool,
    /// With these variables of the environment.
    pub env: Vec<String>,
    /// The output before is put back where they fail.
    pub rollback: bool,
    /// Longest time of one; absent: none.
    pub timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// Attempts of one that takes too long.
    pub attempts: u32,
    /// Longest pause before `exec`.
    pub splay: Duration,
    /// Whether `exec` runs at a start.
    pub on_start: OnStart,
    /// How long one may still take after SIGTERM.
    pub stop_timeout: Duration,
}

/// Whether `--exec` runs at a start, for what is held already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStart {
    /// Unless it has succeeded for it in this boot of the machine, as it is configured now.
    #[default]
    Auto,
    /// It does.
    Always,
    /// It does not.
    Never,
}

/// What is done once what is held is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStale {
    /// It is kept.
    #[default]
    Keep,
    /// It is kept, and `--exec` is told.
    Exec,
}

/// How long a new state is left before it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    /// Since the newest one came.
    pub least: Duration,
    /// Since the first one did, at most.
    pub most: Duration,
}

/// Where an agent serves what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The address, as it was given.
    pub listen: String,
    /// The file that says the rest.
    pub config: Option<PathBuf>,
}

const DAY: Duration = Duration::from_hours(24);

/// What an agent finds beside its command line.
#[derive(Debug, Default)]
pub struct Surroundings<'s> {
    /// Variables of its environment.
    pub variables: Vec<(String, OsString)>,
    /// The file that `--config` names.
    pub file: Option<ConfigFile>,
    /// `STATE_DIRECTORY`.
    pub state_directory: Option<String>,
    /// The host's name.
    pub host: &'s str,
}

/// What is asked for, if all of it can be: options win over the environment, the environment over the file.
pub fn resolve(options: &AgentOptions, around: &Surroundings<'_>) -> Result<Agent, Problems> {
    let mut problems = Problems::default();
    let flags = layers::from_flags(options);
    let environment = layers::from_environment(&around.variables, &mut problems);
    let file = around.file.as_ref().map(|file| file::read_agent(file, &mut problems)).unwrap_or_default();
    let mut reader = Reader { layers: vec![&flags, &environment, &file], problems: &mut problems };
    let is_for_once = options.once || options.dry_run;
    let source = source(&mut reader, is_for_once, around.host);
    let output = output(&mut reader);
    let hooks = hooks(&mut reader);
    let deadline = duration(&mut reader, "deadline", Duration::from_secs(1)..=DAY, 60);
    if let (Some(given), false) = (flags.all("deadline").first(), is_for_once) {
        reader.wrong(given, "is of no use without --once or --dry-run: give that too, or leave this out");
    }
    let settle = reader.optional("settle", values::settle).flatten();
    // There is one value: what is held is never removed because somebody has removed an operation.
    let _: Option<()> = reader.optional("on-gone", values::on_gone);
    let (max_age, on_stale) = stale(&mut reader, hooks.exec.is_some());
    let given = reader.optional("state-dir", values::text);
    let state_dir = state_dir(given.as_deref(), around.state_directory.as_deref(), reader.problems);
    let admin = reader.optional("admin", value::address);
    let serve = serve(&mut reader, is_for_once);
    let format = reader.optional("log-format", value::log_format).unwrap_or(LogFormat::Text);
    let level = reader.optional("log-level", value::log_level).unwrap_or_else(|| "info".to_owned());
    if !problems.is_empty() {
        return Err(problems);
    }
    let log = Log { format, level, access: false };
    let once = is_for_once.then_some(deadline);
    let dry_run = options.dry_run;
    Ok(Agent { source, output, state_dir, hooks, settle, once, admin, serve, max_age, on_stale, dry_run, log })
}

fn serve(reader: &mut Reader<'_>, is_for_once: bool) -> Option<Serve> {
    let listen = text(reader, "serve");
    let config = path(reader, "serve-config");
    if let (Some(given), None) = (reader.given("serve-config"), &listen) {
        reader.wrong(given, "is of no use without --serve: give that too, or leave this out");
    }
    if let (Some(given), true) = (reader.given("serve"), is_for_once) {
        reader.wrong(given, "is of no use with --once or --dry-run, which end: leave one of them out");
    }
    listen.map(|listen| Serve { listen, config })
}

fn stale(reader: &mut Reader<'_>, has_exec: bool) -> (Option<Duration>, OnStale) {
    let year = Duration::from_secs(1)..=365 * DAY;
    let max_age = reader.optional("max-age", |text| value::duration(text, &year));
    let on_stale = reader.optional("on-stale", values::on_stale).unwrap_or_default();
    for (needed, is_given) in [("--max-age", reader.contains("max-age")), ("--exec", has_exec)] {
        if let (Some(given), OnStale::Exec, false) = (reader.given("on-stale"), on_stale, is_given) {
            reader.wrong(given, &format!("is of no use without {needed}: give that too, or leave this out"));
        }
    }
    (max_age, on_stale)
}

fn source(reader: &mut Reader<'_>, is_for_once: bool, host: &str) -> client::Settings {
    let endpoints = reader.list("endpoint", values::text);
    if endpoints.is_empty() {
        reader.problems.push("--endpoint", "is missing: give the URL of a server, such as https://edge.example:8480");
    }
    let certificate = match (path(reader, "certificate"), path(reader, "key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            reader.problems.push("--key", "is missing: give the key of --certificate");
            None
        }
        (None, Some(_)) => {
            reader.problems.push("--certificate", "is missing: give the certificate of --key");
            None
        }
    };
    let wait = duration(reader, "wait", CLIENT_WAIT.0..=CLIENT_WAIT.1, 25);
    let operation = text(reader, "operation").unwrap_or_else(|| "/describe".to_owned());
    client::Settings {
        endpoints,
        select: reader.list("select", values::text),
        agent_id: text(reader, "agent-id").or_else(|| values::of_host(host)),
        // Nobody waits for a change.
        wait: if is_for_once { Duration::ZERO } else { wait },
        max_bytes: number(reader, "max-bytes", 1..=DOCUMENT_BYTES, DOCUMENT_BYTES),
        ca: path(reader, "ca"),
        certificate,
        token_file: path(reader, "token-file"),
        clear_credentials: switch(reader, "allow-clear-credentials", false),
        ..client::Settings::new("", &operation)
    }
}

fn output(reader: &mut Reader<'_>) -> AgentOutput {
    AgentOutput {
        out: reader.list("out", values::text),
        out_dir: path(reader, "out-dir"),
        format: text(reader, "format"),
        mode: text(reader, "mode"),
        owner: text(reader, "owner"),
        group: text(reader, "group"),
        in_place: switch(reader, "in-place", false),
        keep: number(reader, "keep", 0..=100, 2),
        enforce: switch(reader, "enforce", true),
    }
}

fn hooks(reader: &mut Reader<'_>) -> AgentHooks {
    let hour = || Duration::ZERO..=Duration::from_hours(1);
    let timeout = duration(reader, "exec-timeout", Duration::ZERO..=DAY, 30);
    AgentHooks {
        check: text(reader, "check"),
        exec: text(reader, "exec"),
        verify: text(reader, "verify"),
        verify_for: duration(reader, "verify-for", hour(), 10),
        shell: switch(reader, "shell", false),
        stdin: switch(reader, "stdin", false),
        env: reader.list("env", values::text),
        rollback: switch(reader, "rollback", true),
        timeout: (!timeout.is_zero()).then_some(timeout),
        kill_after: duration(reader, "kill-after", Duration::ZERO..=Duration::from_mins(10), 5),
        attempts: u32::try_from(number(reader, "exec-attempts", 1..=100, 3)).unwrap_or(1),
        splay: duration(reader, "splay", hour(), 0),
        on_start: reader.optional("exec-on-start", values::on_start).unwrap_or_default(),
        stop_timeout: duration(reader, "stop-timeout", hour(), 20),
    }
}

fn text(reader: &mut Reader<'_>, name: &str) -> Option<String> {
    reader.optional(name, values::text)
}

fn path(reader: &mut Reader<'_>, name: &str) -> Option<PathBuf> {
    text(reader, name).map(PathBuf::from)
}

fn switch(reader: &mut Reader<'_>, name: &str, default: bool) -> bool {
    reader.optional(name, value::switch).unwrap_or(default)
}

/// `default`: in seconds.
fn duration(reader: &mut Reader<'_>, name: &str, range: RangeInclusive<Duration>, default: u64) -> Duration {
    reader.optional(name, |text| value::duration(text, &range)).unwrap_or(Duration::from_secs(default))
}

fn number(reader: &mut Reader<'_>, name: &str, range: RangeInclusive<usize>, default: usize) -> usize {
    reader.optional(name, |text| value::number(text, &range)).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> AgentOptions {
        let (endpoint, state_dir) = (vec!["https://a".to_owned()], Some("state".to_owned()));
        AgentOptions { endpoint, state_dir, out: vec!["x.json".to_owned()], ..AgentOptions::default() }
    }

    fn on(host: &str) -> Surroundings<'_> {
        Surroundings { host, ..Surroundings::default() }
    }

    const FILE: &str = "apiVersion: tidewait.dev/v1alpha1\nkind: AgentConfig\n";

    fn file(text: &str) -> Surroundings<'static> {
        let file = ConfigFile { name: "f".to_owned(), text: Ok(format!("{FILE}{text}")) };
        Surroundings { file: Some(file), ..on("a") }
    }

    #[test]
    fn options_win_over_the_environment_and_that_over_the_file() {
        let text = "endpoints: [https://a, https://b]\nstateDir: s\nout: [x]\nwait: 3s\nkeep: 7\nshell: true\n\
                    exec: from file\nlog: {level: warn}\nenv: [A, B]\n";
        let variables = ["WAIT=4s", "EXEC=from environment", "ENV=C,D", "KEEP=", "SELECT=/a,/b"];
        let variables = variables.map(|pair| {
            let (name, value) = pair.split_once('=').expect("a variable");
            (format!("TIDEWAIT_AGENT_{name}"), value.into())
        });
        let given = |text: &str| Some(text.to_owned());
        let options = AgentOptions { wait: given("5s"), shell: given("false"), ..AgentOptions::default() };
        let agent = resolve(&options, &Surroundings { variables: variables.into(), ..file(text) }).expect("good");
        assert_eq!(agent.source.endpoints, ["https://a", "https://b"]);
        assert_eq!((agent.source.wait, agent.output.keep), (Duration::from_secs(5), 7));
        assert_eq!((agent.hooks.exec.as_deref(), agent.hooks.shell), (Some("from environment"), false));
        assert_eq!(
            (agent.hooks.env, agent.source.select),
            (vec!["C".to_owned(), "D".to_owned()], vec!["/a".to_owned(), "/b".to_owned()])
        );
        assert_eq!((agent.state_dir, agent.log.level), (PathBuf::from("s"), "warn".to_owned()));
    }

    #[test]
    fn the_file_of_the_page_is_good() {
        let page = include_str!("../../docs/agent.md");
        let text = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
        let file = Some(ConfigFile { name: "f".to_owned(), text: Ok(text.to_owned()) });
        let agent = resolve(&AgentOptions::default(), &Surroundings { file, ..on("a") }).expect("good");
        assert_eq!((agent.source.endpoints.len(), agent.max_age), (2, Some(Duration::from_mins(10))));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_by_its_field() {
        for (text, expected) in [
            ("keeep: 3", "f: keeep: is no field: did you mean keep?"),
            ("wait: soon", "f: wait: \"soon\" is not a duration"),
            ("enforce: 3", "f: enforce: 3 is a number, but true or false is wanted"),
            ("once: true", "f: once: is no field"),
            ("log: {levle: x}", "f: log.levle: is no field: did you mean level?"),
        ] {
            let told = resolve(&options(), &file(text)).expect_err("wrong").to_string();
            assert!(told.starts_with(expected), "{told}");
        }
        let kind = ConfigFile { name: "f".to_owned(), text: Ok("kind: ServeConfig\n".to_owned()) };
        let told = resolve(&options(), &Surroundings { file: Some(kind), ..on("a") }).expect_err("wrong").to_string();
        assert!(told.contains("f: kind: \"ServeConfig\" is text, but only AgentConfig is known"), "{told}");
        assert!(told.contains("f: apiVersion: is missing: write apiVersion: tidewait.dev/v1alpha1"), "{told}");
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let agent = resolve(&options(), &on("node-7.example")).expect("good");
        assert_eq!(agent.source.agent_id.as_deref(), Some("node-7.example"));
        assert_eq!((agent.source.wait, &*agent.source.operation), (Duration::from_secs(25), "/describe"));
        assert_eq!((agent.hooks.timeout, agent.hooks.attempts), (Some(Duration::from_secs(30)), 3));
        assert!(agent.hooks.rollback && agent.output.enforce && agent.once.is_none());
        assert_eq!(resolve(&options(), &on("a b")).expect("good").source.agent_id, None);
        let systemd = AgentOptions { state_dir: None, ..options() };
        let state_directory = Some("/var/lib/agent:/var/lib/other".to_owned());
        let agent = resolve(&systemd, &Surroundings { state_directory, ..on("a") }).expect("good");
        assert_eq!(agent.state_dir, PathBuf::from("/var/lib/agent"));
    }

    #[test]
    fn states_settle_for_a_shortest_and_a_longest_time() {
        let settle = |text: &str| {
            let options = AgentOptions { settle: Some(text.to_owned()), ..options() };
            resolve(&options, &on("a")).expect("good").settle.map(|settle| (settle.least, settle.most))
        };
        let millis = Duration::from_millis;
        assert_eq!(settle("0"), None);
        assert_eq!(settle("500ms"), Some((millis(500), millis(2000))));
        assert_eq!(settle("1s:1s"), Some((millis(1000), millis(1000))));
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_flag() {
        let given = |text: &str| Some(text.to_owned());
        let wrong = AgentOptions {
            wait: given("soon"),
            keep: given("-1"),
            rollback: given("maybe"),
            exec_attempts: given("0"),
            exec_on_start: given("often"),
            deadline: given("5s"),
            settle: given("2s:1s"),
            max_age: given("0"),
            on_gone: given("remove"),
            on_stale: given("exec"),
            certificate: given("a.crt"),
            admin: given("localhost:1"),
            ..AgentOptions::default()
        };
        let told = resolve(&wrong, &on("a")).expect_err("wrong").to_string();
        for expected in [
            "--endpoint: is missing: give the URL of a server",
            "--key: is missing: give the key of --certificate",
            "--state-dir: is missing: name a folder",
            "--wait: \"soon\"",
            "--keep: \"-1\"",
            "--rollback: \"maybe\" is neither true nor false",
            "--exec-attempts: \"0\"",
            "--exec-on-start: \"often\" is not when: write auto, always or never",
            "--admin: \"localhost:1\" is not an IP address with a port",
            "--max-age: \"0\" is out of bounds: write 1s to 8760h",
            "--on-gone: \"remove\" is nothing to do: write keep",
            "--on-stale: \"exec\" is of no use without --exec",
            "--settle: \"2s:1s\" has a MAX below its MIN",
            "--deadline: \"5s\" is of no use without --once or --dry-run",
        ] {
            assert!(told.lines().any(|line| line.starts_with(expected)), "{expected}\n{told}");
        }
    }
}
