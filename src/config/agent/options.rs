//! The options of `tidewait agent`, as text.

const CONNECTION: &str = "Where the model comes from";
const OUTPUT: &str = "Where it goes";
const HOOKS: &str = "Commands";
const RUN: &str = "How it runs";

/// What can be asked of an agent.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum AgentCommand {
    /// Say how the agent is that runs with a state directory; the exit code says whether it is well
    Status(StatusOptions),
}

/// The options of `tidewait agent status`, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct StatusOptions {
    /// The state directory of the agent
    #[arg(long, value_name = "DIR", help = "The state directory of the agent [default: the first of STATE_DIRECTORY]")]
    pub state_dir: Option<String>,
    /// Ask the agent at its admin port instead
    #[arg(long, value_name = "URL", help = "Ask the agent at its --admin instead, such as http://127.0.0.1:8482")]
    pub admin: Option<String>,
    /// What is a failure: stopped, failed, rejected, stale, empty, denied [default: all of them]
    #[arg(long, value_name = "WORD[,WORD]", value_delimiter = ',')]
    pub fail_if: Vec<String>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// The options of `tidewait agent`, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AgentOptions {
    /// Instead of running one.
    #[command(subcommand)]
    pub command: Option<AgentCommand>,

    /// Configuration file (YAML): the same settings, of which those of the command line win
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,

    /// URL of a server, with its port; several times: the first one is preferred
    #[arg(long, value_name = "URL", help_heading = CONNECTION)]
    pub endpoint: Vec<String>,
    /// Path of the operation there [default: /describe]
    #[arg(long, value_name = "PATH", help_heading = CONNECTION)]
    pub operation: Option<String>,
    /// JSON Pointer to the part of the model that is wanted; several times for several parts
    #[arg(long, value_name = "POINTER", help_heading = CONNECTION)]
    pub select: Vec<String>,
    /// Name of this agent for the server [default: the host's name]
    #[arg(long, value_name = "NAME", help_heading = CONNECTION)]
    pub agent_id: Option<String>,
    /// How long the server may hold a request (1s to 10m) [default: 25s]
    #[arg(long, value_name = "DURATION", help_heading = CONNECTION)]
    pub wait: Option<String>,
    /// Bytes of a model at most [default: 67108864]
    #[arg(long, value_name = "NUMBER", help_heading = CONNECTION)]
    pub max_bytes: Option<String>,
    /// Verify servers by the authorities of this file (PEM), and not by those of the system
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub ca: Option<String>,
    /// Client certificate (PEM), with --key
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub certificate: Option<String>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub key: Option<String>,
    /// Send the token that this file holds; it is read for each request
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub token_file: Option<String>,
    /// Send it over connections that others can read, too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = CONNECTION)]
    pub allow_clear_credentials: Option<String>,

    /// Keep the model in this file; POINTER=FILE, several times: a part of it in each
    #[arg(long, value_name = "[POINTER=]FILE", help_heading = OUTPUT)]
    pub out: Vec<String>,
    /// Keep each state in a folder of its own in this one, and a link `current` to the newest
    #[arg(long, value_name = "DIR", help_heading = OUTPUT)]
    pub out_dir: Option<String>,
    /// json, pretty, yaml, string or env, where the extension of a file does not say it
    #[arg(long, value_name = "FORMAT", help_heading = OUTPUT)]
    pub format: Option<String>,
    /// Permissions of the files, such as 0640 [default: those of the file before]
    #[arg(long, value_name = "MODE", help_heading = OUTPUT)]
    pub mode: Option<String>,
    /// Owner of the files, a name or a number [default: that of the file before]
    #[arg(long, value_name = "USER", help_heading = OUTPUT)]
    pub owner: Option<String>,
    /// Group of the files, a name or a number [default: that of the file before]
    #[arg(long, value_name = "GROUP", help_heading = OUTPUT)]
    pub group: Option<String>,
    /// Older folders that stay in --out-dir (0 to 100) [default: 2]
    #[arg(long, value_name = "NUMBER", help_heading = OUTPUT)]
    pub keep: Option<String>,
    /// Write over the files, for one that is a mount point: readers can see a part of the new one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = OUTPUT)]
    pub in_place: Option<String>,
    /// Put an output right that somebody else has changed [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = OUTPUT)]
    pub enforce: Option<String>,
    /// Keep here what has to outlive the process
    #[arg(long, value_name = "DIR", help_heading = OUTPUT, help = "Keep here what has to outlive the process [default: the first of STATE_DIRECTORY, as systemd sets it]")]
    pub state_dir: Option<String>,

    /// Run this on a new state before it is put out; {} is the file, exit code 0 means that it is good
    #[arg(long, value_name = "COMMAND", help_heading = HOOKS)]
    pub check: Option<String>,
    /// Run this once the state is put out, to apply it
    #[arg(long, value_name = "COMMAND", help_heading = HOOKS)]
    pub exec: Option<String>,
    /// Run this after --exec until it succeeds, for --verify-for at most
    #[arg(long, value_name = "COMMAND", help_heading = HOOKS)]
    pub verify: Option<String>,
    /// How long --verify is repeated (0 to 1h) [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = HOOKS)]
    pub verify_for: Option<String>,
    /// Give the commands to /bin/sh, and do not split them at spaces
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = HOOKS)]
    pub shell: Option<String>,
    /// Give the commands the bytes of the state on standard input
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = HOOKS)]
    pub stdin: Option<String>,
    /// Variables of the environment that the commands get too
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',', help_heading = HOOKS)]
    pub env: Vec<String>,
    /// Put the output before back where --exec or --verify fails [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = HOOKS)]
    pub rollback: Option<String>,
    /// Longest time of a command, after which it gets SIGTERM (0 for none, to 1d) [default: 30s]
    #[arg(long, value_name = "DURATION", help_heading = HOOKS)]
    pub exec_timeout: Option<String>,
    /// From SIGTERM to SIGKILL (0 to 10m) [default: 5s]
    #[arg(long, value_name = "DURATION", help_heading = HOOKS)]
    pub kill_after: Option<String>,
    /// Attempts of a command that takes too long before the state is rejected (1 to 100) [default: 3]
    #[arg(long, value_name = "NUMBER", help_heading = HOOKS)]
    pub exec_attempts: Option<String>,
    /// Longest random pause before --exec (0 to 1h) [default: 0]
    #[arg(long, value_name = "DURATION", help_heading = HOOKS)]
    pub splay: Option<String>,
    /// Wait until no newer state has come for MIN, but for MAX at most [default: 0; MAX: 4 times MIN]
    #[arg(long, value_name = "MIN[:MAX]", help_heading = HOOKS)]
    pub settle: Option<String>,
    /// Run --exec at a start for what is held: always, never, or auto: unless it has succeeded in this boot [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = HOOKS)]
    pub exec_on_start: Option<String>,

    /// What is held is stale once no server has confirmed it for so long (1s to 8760h) [default: never]
    #[arg(long, value_name = "DURATION", help_heading = RUN)]
    pub max_age: Option<String>,
    /// What is done then
    #[arg(long, value_name = "WHAT", help_heading = RUN, help = "What is done then: keep it, or exec: run --exec with TIDEWAIT_ACTION=stale, once [default: keep]")]
    pub on_stale: Option<String>,
    /// What is done once the server has no such operation (404, 410): keep what is held [default: keep]
    #[arg(long, value_name = "WHAT", help_heading = RUN)]
    pub on_gone: Option<String>,
    /// End once the newest state is applied, or rejected
    #[arg(long, help_heading = RUN)]
    pub once: bool,
    /// Print what the newest state would change (a unified diff), and change nothing; --check looks at a copy of it
    #[arg(long, help_heading = RUN)]
    pub dry_run: bool,
    /// How long --once or --dry-run takes at most (1s to 1d) [default: 60s]
    #[arg(long, value_name = "DURATION", help_heading = RUN)]
    pub deadline: Option<String>,
    /// How long a command that runs may still take after SIGTERM (0 to 1h) [default: 20s]
    #[arg(long, value_name = "DURATION", help_heading = RUN)]
    pub stop_timeout: Option<String>,
    /// Answer operators and the kubelet at this address: /livez, /readyz, /metrics, /state [default: none]
    #[arg(long, value_name = "IP:PORT", help_heading = RUN)]
    pub admin: Option<String>,
    /// Serve what is held to others at this address, with the same ids: this agent is a relay
    #[arg(long, value_name = "IP:PORT", help_heading = RUN)]
    pub serve: Option<String>,
    /// Who may poll there, TLS and limits: a file as `tidewait serve --config` reads it, without operations
    #[arg(long, value_name = "FILE", help_heading = RUN)]
    pub serve_config: Option<String>,
    /// Form of the log: text or json [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = RUN)]
    pub log_format: Option<String>,
    /// Level of the log, or a filter such as info,tidewait=debug [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = RUN)]
    pub log_level: Option<String>,
}
