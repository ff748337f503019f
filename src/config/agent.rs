//! What `tidewait agent` is asked for: the options of its command line, and the same, resolved. What is wrong is reported all at
//! once.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::layer::Layer;
use super::problem::Problems;
use super::reader::Reader;
use super::{Log, LogFormat, value};
use crate::bounds::{AGENT_ID_BYTES, CLIENT_WAIT, DOCUMENT_BYTES};
use crate::client;

mod options;
mod status;

pub use options::{AgentCommand, AgentOptions, StatusOptions};
pub use status::{Fault, StatusRequest, resolve_status};

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

const DAY: Duration = Duration::from_hours(24);

/// What is asked for, if all of it can be. `environment`: `STATE_DIRECTORY`. `host`: the host's name.
pub fn resolve(options: &AgentOptions, environment: Option<&str>, host: &str) -> Result<Agent, Problems> {
    let mut problems = Problems::default();
    let flags = flags(options);
    let mut reader = Reader { layers: vec![&flags], problems: &mut problems };
    let source = source(&mut reader, options, host);
    let output = AgentOutput {
        out: options.out.clone(),
        out_dir: options.out_dir.as_ref().map(PathBuf::from),
        format: options.format.clone(),
        mode: options.mode.clone(),
        owner: options.owner.clone(),
        group: options.group.clone(),
        keep: number(&mut reader, "keep", 0..=100, 2),
        enforce: switch(&mut reader, "enforce"),
    };
    let hooks = hooks(&mut reader, options);
    let deadline = duration(&mut reader, "deadline", Duration::from_secs(1)..=DAY, 60);
    if let (Some(given), false) = (reader.given("deadline"), options.once || options.dry_run) {
        reader.wrong(given, "is of no use without --once or --dry-run: give that too, or leave this out");
    }
    let settle = reader.optional("settle", settle).flatten();
    // There is one value: what is held is never removed because somebody has removed an operation.
    let _: Option<()> = reader.optional("on-gone", on_gone);
    let year = Duration::from_secs(1)..=365 * DAY;
    let max_age = reader.optional("max-age", |text| value::duration(text, &year));
    let on_stale = reader.optional("on-stale", on_stale).unwrap_or_default();
    for (needed, is_given) in [("--max-age", max_age.is_some()), ("--exec", hooks.exec.is_some())] {
        if let (Some(given), OnStale::Exec, false) = (reader.given("on-stale"), on_stale, is_given) {
            reader.wrong(given, &format!("is of no use without {needed}: give that too, or leave this out"));
        }
    }
    let state_dir = state_dir(options.state_dir.as_deref(), environment, reader.problems);
    let format = reader.optional("log-format", value::log_format).unwrap_or(LogFormat::Text);
    let level = reader.optional("log-level", value::log_level).unwrap_or_else(|| "info".to_owned());
    if !problems.is_empty() {
        return Err(problems);
    }
    let log = Log { format, level, access: false };
    let once = (options.once || options.dry_run).then_some(deadline);
    Ok(Agent { source, output, state_dir, hooks, settle, once, max_age, on_stale, dry_run: options.dry_run, log })
}

fn source(reader: &mut Reader<'_>, options: &AgentOptions, host: &str) -> client::Settings {
    if options.endpoint.is_empty() {
        reader.problems.push("--endpoint", "is missing: give the URL of a server, such as https://edge.example:8480");
    }
    let certificate = match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
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
    let operation = options.operation.as_deref().unwrap_or("/describe");
    client::Settings {
        endpoints: options.endpoint.clone(),
        select: options.select.clone(),
        agent_id: options.agent_id.clone().or_else(|| of_host(host)),
        // With --once nobody waits for a change.
        wait: if options.once || options.dry_run { CLIENT_WAIT.0 } else { wait },
        max_bytes: number(reader, "max-bytes", 1..=DOCUMENT_BYTES, DOCUMENT_BYTES),
        ca: options.ca.as_ref().map(PathBuf::from),
        certificate,
        token_file: options.token_file.as_ref().map(PathBuf::from),
        clear_credentials: options.allow_clear_credentials,
        ..client::Settings::new("", operation)
    }
}

fn hooks(reader: &mut Reader<'_>, options: &AgentOptions) -> AgentHooks {
    let hour = || Duration::ZERO..=Duration::from_hours(1);
    let timeout = duration(reader, "exec-timeout", Duration::ZERO..=DAY, 30);
    AgentHooks {
        check: options.check.clone(),
        exec: options.exec.clone(),
        verify: options.verify.clone(),
        verify_for: duration(reader, "verify-for", hour(), 10),
        shell: options.shell,
        stdin: options.stdin,
        env: options.env.clone(),
        rollback: switch(reader, "rollback"),
        timeout: (!timeout.is_zero()).then_some(timeout),
        kill_after: duration(reader, "kill-after", Duration::ZERO..=Duration::from_mins(10), 5),
        attempts: u32::try_from(number(reader, "exec-attempts", 1..=100, 3)).unwrap_or(1),
        splay: duration(reader, "splay", hour(), 0),
        on_start: reader.optional("exec-on-start", on_start).unwrap_or_default(),
        stop_timeout: duration(reader, "stop-timeout", hour(), 20),
    }
}

fn switch(reader: &mut Reader<'_>, name: &str) -> bool {
    reader.optional(name, value::switch).unwrap_or(true)
}

/// `default`: in seconds.
fn duration(reader: &mut Reader<'_>, name: &str, range: RangeInclusive<Duration>, default: u64) -> Duration {
    reader.optional(name, |text| value::duration(text, &range)).unwrap_or(Duration::from_secs(default))
}

fn number(reader: &mut Reader<'_>, name: &str, range: RangeInclusive<usize>, default: usize) -> usize {
    reader.optional(name, |text| value::number(text, &range)).unwrap_or(default)
}

/// The settings that have a form to be read.
fn flags(options: &AgentOptions) -> Layer {
    let mut flags = Layer::new("");
    let all = [
        ("wait", &options.wait),
        ("max-bytes", &options.max_bytes),
        ("keep", &options.keep),
        ("enforce", &options.enforce),
        ("verify-for", &options.verify_for),
        ("rollback", &options.rollback),
        ("exec-timeout", &options.exec_timeout),
        ("kill-after", &options.kill_after),
        ("exec-attempts", &options.exec_attempts),
        ("splay", &options.splay),
        ("settle", &options.settle),
        ("max-age", &options.max_age),
        ("on-stale", &options.on_stale),
        ("on-gone", &options.on_gone),
        ("exec-on-start", &options.exec_on_start),
        ("deadline", &options.deadline),
        ("stop-timeout", &options.stop_timeout),
        ("log-format", &options.log_format),
        ("log-level", &options.log_level),
    ];
    for (name, text) in all {
        if let Some(text) = text {
            flags.add(name, format!("--{name}"), text);
        }
    }
    flags
}

/// `MIN[:MAX]`; none: 0.
fn settle(text: &str) -> Result<Option<Settle>, String> {
    let range = Duration::ZERO..=Duration::from_hours(1);
    let (least, most) = text.split_once(':').map_or((text, None), |(least, most)| (least, Some(most)));
    let least = value::duration(least, &range)?;
    let most = most.map(|most| value::duration(most, &range)).transpose()?.unwrap_or(4 * least);
    if most < least {
        return Err("has a MAX below its MIN: write MIN:MAX, such as 2s:10s".to_owned());
    }
    Ok((!least.is_zero()).then_some(Settle { least, most }))
}

fn on_gone(text: &str) -> Result<(), String> {
    if text == "keep" { Ok(()) } else { Err("is nothing to do: write keep, the only thing that is done".to_owned()) }
}

fn on_stale(text: &str) -> Result<OnStale, String> {
    match text {
        "keep" => Ok(OnStale::Keep),
        "exec" => Ok(OnStale::Exec),
        _ => Err("is nothing to do: write keep or exec".to_owned()),
    }
}

fn on_start(text: &str) -> Result<OnStart, String> {
    match text {
        "auto" => Ok(OnStart::Auto),
        "always" => Ok(OnStart::Always),
        "never" => Ok(OnStart::Never),
        _ => Err("is not when: write auto, always or never".to_owned()),
    }
}

/// An `Agent-Id` of the host's name; none: it has characters that no `Agent-Id` has.
fn of_host(host: &str) -> Option<String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let fits = (1..=AGENT_ID_BYTES).contains(&host.len()) && host.bytes().all(is_good);
    fits.then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> AgentOptions {
        let (endpoint, state_dir) = (vec!["https://a".to_owned()], Some("state".to_owned()));
        AgentOptions { endpoint, state_dir, out: vec!["x.json".to_owned()], ..AgentOptions::default() }
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let agent = resolve(&options(), None, "node-7.example").expect("good");
        assert_eq!(agent.source.agent_id.as_deref(), Some("node-7.example"));
        assert_eq!((agent.source.wait, &*agent.source.operation), (Duration::from_secs(25), "/describe"));
        assert_eq!((agent.hooks.timeout, agent.hooks.attempts), (Some(Duration::from_secs(30)), 3));
        assert!(agent.hooks.rollback && agent.output.enforce && agent.once.is_none());
        assert_eq!(resolve(&options(), None, "a b").expect("good").source.agent_id, None);
        let systemd = AgentOptions { state_dir: None, ..options() };
        let agent = resolve(&systemd, Some("/var/lib/agent:/var/lib/other"), "a").expect("good");
        assert_eq!(agent.state_dir, PathBuf::from("/var/lib/agent"));
    }

    #[test]
    fn states_settle_for_a_shortest_and_a_longest_time() {
        let settle = |text: &str| {
            let options = AgentOptions { settle: Some(text.to_owned()), ..options() };
            resolve(&options, None, "a").expect("good").settle.map(|settle| (settle.least, settle.most))
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
            ..AgentOptions::default()
        };
        let told = resolve(&wrong, None, "a").expect_err("wrong").to_string();
        for expected in [
            "--endpoint: is missing: give the URL of a server",
            "--key: is missing: give the key of --certificate",
            "--state-dir: is missing: name a folder",
            "--wait: \"soon\"",
            "--keep: \"-1\"",
            "--rollback: \"maybe\" is neither true nor false",
            "--exec-attempts: \"0\"",
            "--exec-on-start: \"often\" is not when: write auto, always or never",
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
