//! What can be typed: the command line as clap knows it. Values are parsed here, and decided nowhere here.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    agent_args::AgentCommand,
    audit_args::{AuditCommand, ReceiptArgs},
    cell::CellCommand,
    commands::ArchiveArgs,
};
use crate::{
    cell::{AgentName, BackendKind, Identity, OnExpire, ProjectName, Role, parse_team},
    mail::MessageId,
    operator::Recipient,
    policy::{Mount, parse_duration, parse_ttl},
};

/// Runs AI agents in cells: processes and WASI programs behind one lifecycle.
#[derive(Debug, Parser)]
#[command(name = "lazarus", version, about, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command; without one, `status`.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 refused or failed, 2 usage, 3 not found, 125 Lazarus itself failed; \
`run` passes the program's own code through.";

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Where cells, agents and the registry live [default: $XDG_DATA_HOME/lazarus]
    #[arg(long, global = true, env = "LAZARUS_ROOT", value_name = "DIR", hide_env = true)]
    pub root: Option<PathBuf>,
    /// Print exactly one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    /// Who gives the command [default: human:<login name>]
    #[arg(long = "as", global = true, env = "LAZARUS_IDENTITY", value_name = "IDENTITY", hide_env = true, value_parser = plain::<Identity>)]
    pub identity: Option<Identity>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start an agent in a new cell
    Summon {
        /// The agent: a definition's name, or any name for the built-in keeper or a program named here
        #[arg(value_parser = plain::<AgentName>)]
        agent: AgentName,
        /// The project that the cell is for
        #[arg(value_parser = plain::<ProjectName>)]
        project: ProjectName,
        /// Everything else that can be asked for
        #[command(flatten)]
        options: Box<SummonOptions>,
    },
    /// Start several agents in one new cell, each with its own home
    Team {
        /// The agents, joined with '+': scribe+critic+courier
        #[arg(value_parser = parse_team_arg)]
        agents: Team,
        /// The project that the cell is for
        #[arg(value_parser = plain::<ProjectName>)]
        project: ProjectName,
        /// Everything else that can be asked for
        #[command(flatten)]
        options: Box<SummonOptions>,
    },
    /// Let somebody into a cell; an agent or bot that has a definition is started in it
    Invite {
        /// The cell
        cell: String,
        /// Who: agent:NAME, bot:NAME or human:NAME
        #[arg(value_parser = plain::<Identity>)]
        guest: Identity,
        /// As what: executor, observer, director or auditor
        #[arg(value_parser = plain::<Role>)]
        role: Role,
        /// How long a person can join with the token that this prints [default: 24h]
        #[arg(long, value_parser = ttl, value_name = "TIME", allow_hyphen_values = true)]
        expires: Option<Duration>,
    },
    /// End a membership, at once
    Revoke {
        /// The cell
        cell: String,
        /// Who
        #[arg(value_parser = plain::<Identity>)]
        member: Identity,
    },
    /// Show the cells that are not over, or one cell
    Status {
        /// One cell
        cell: Option<String>,
        /// Closed and destroyed cells too
        #[arg(long, conflicts_with = "cell")]
        all: bool,
    },
    /// End a cell's agents gracefully; its home stays
    Close {
        /// The cell
        cell: String,
        /// How long the agents may take to end by themselves
        #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME", allow_hyphen_values = true)]
        grace: Duration,
        /// Return as soon as the agents were told
        #[arg(long)]
        no_wait: bool,
    },
    /// End a cell's agents forcefully and remove everything it had
    Destroy {
        /// The cell
        cell: String,
        /// Also where it has artifacts that were never fetched
        #[arg(long)]
        force: bool,
    },
    /// Run a program in a throwaway cell, in the foreground
    Run {
        /// An agent's name or a WebAssembly file; left out where a COMMAND follows `--`
        target: Option<String>,
        /// End the program after this time
        #[arg(long, value_parser = ttl, value_name = "TIME", allow_hyphen_values = true)]
        timeout: Option<Duration>,
        /// Give it nothing but what this command line names: no home, no variables, mounts in the order given, for WebAssembly
        /// also at / (a process still reads the system's own programs)
        #[arg(long)]
        bare: bool,
        /// The project that the cell is for
        #[arg(long, default_value = "run", value_parser = plain::<ProjectName>)]
        project: ProjectName,
        /// Everything else that can be asked for
        #[command(flatten)]
        options: Box<SummonOptions>,
    },
    /// Print what a cell's agents wrote
    Logs {
        /// The cell
        cell: String,
        /// One agent of it
        agent: Option<AgentName>,
        /// Go on printing until the cell is over
        #[arg(short, long)]
        follow: bool,
        /// Only the last lines
        #[arg(short = 'n', long, value_name = "COUNT")]
        lines: Option<usize>,
        /// When each line was written
        #[arg(short, long)]
        timestamps: bool,
    },
    /// Write to a cell's agent, or to another member
    Send {
        /// The cell
        cell: String,
        /// What: up to 32 KiB of text; - reads it from standard input
        #[arg(value_name = "TEXT")]
        text: String,
        /// To whom: agent:NAME, bot:NAME, human:NAME, a plain NAME, or all [default: the cell's only agent]
        #[arg(long, value_name = "MEMBER", value_parser = recipient)]
        to: Option<Recipient>,
        /// The message that this one answers; it then counts as handled
        #[arg(long, value_name = "MESSAGE", value_parser = plain::<MessageId>)]
        reply_to: Option<MessageId>,
        /// Wait until it is handled, and print what its receiver answers
        #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = duration)]
        wait: Option<Duration>,
    },
    /// Read messages
    Inbox {
        /// The cell
        cell: String,
        /// One message, whole
        #[arg(value_parser = plain::<MessageId>, conflicts_with_all = ["of", "follow", "ack", "parked", "all", "retry", "discard"])]
        message: Option<MessageId>,
        /// Whose messages [default: those of whoever asks]
        #[arg(long, value_name = "MEMBER", value_parser = plain::<Identity>)]
        of: Option<Identity>,
        /// Go on printing until the cell is over
        #[arg(short, long)]
        follow: bool,
        /// Mark what is shown as handled
        #[arg(long)]
        ack: bool,
        /// Those that were given up, of every member, with the reason
        #[arg(long, conflicts_with_all = ["all", "ack"])]
        parked: bool,
        /// Handled ones too
        #[arg(long)]
        all: bool,
        /// Let a parked message be delivered once more
        #[arg(long, value_name = "MESSAGE", value_parser = plain::<MessageId>, conflicts_with_all = ["of", "follow", "ack", "parked", "all", "discard"])]
        retry: Option<MessageId>,
        /// Remove a parked message
        #[arg(long, value_name = "MESSAGE", value_parser = plain::<MessageId>, conflicts_with_all = ["of", "follow", "ack", "parked", "all"])]
        discard: Option<MessageId>,
    },
    /// List a cell's artifacts, or fetch one: what its agents declared as results
    #[command(args_conflicts_with_subcommands = false, subcommand_negates_reqs = true)]
    Artifacts {
        /// The cell
        #[arg(required = true)]
        cell: Option<String>,
        /// Fetch one
        #[command(subcommand)]
        command: Option<ArtifactsCommand>,
    },
    /// Write a cell's homes, and what its members share, into a tar archive
    Archive(ArchiveArgs),
    /// Give a cell more time
    Extend {
        /// The cell
        cell: String,
        /// The time to add: 30m, 2h, 1d; a bare number counts minutes
        #[arg(value_parser = ttl, value_name = "TIME", allow_hyphen_values = true)]
        by: Duration,
    },
    /// Bring a closed or failed cell back to life from its home
    Resurrect {
        /// The cell
        cell: String,
        /// Time to live from now on: 60m, 2h, 1d; a bare number counts minutes [default: what it was summoned with]
        #[arg(long, value_parser = ttl, value_name = "TIME", allow_hyphen_values = true)]
        ttl: Option<Duration>,
        /// Go on where this machine's kernel cannot enforce everything; recorded with the cell
        #[arg(long)]
        accept_degraded: bool,
    },
    /// Attack the walls, on this machine and with this program, and say what held
    Drill {
        /// Only these: a class, an arena, or a beginning of a name; may be given often
        #[arg(long, value_name = "WORD")]
        only: Vec<String>,
        /// List the attacks, each with its allowed twin, and make none
        #[arg(long)]
        list: bool,
    },
    /// Record what ended unseen, and end what outlived its time
    Sweep,
    /// Show what an agent would be granted, or what a cell was granted and who enforces it
    Explain {
        /// An agent's name or a cell's id
        subject: String,
    },
    /// Name the rule that allows or denies something to an agent
    Why {
        /// The cell
        cell: String,
        /// A path as the agent sees it (/project/notes.txt), a host (example.com:443), or a call (send, lazarus:cell/mailbox.send,
        /// wasi:sockets/tcp, ptrace, close(2))
        #[arg(value_name = "PATH|HOST|CALL")]
        subject: String,
        /// Which of its agents [default: the only one]
        #[arg(long, value_name = "NAME", value_parser = plain::<AgentName>)]
        agent: Option<AgentName>,
        /// Answer in one sentence about writing to the path, rather than reading it
        #[arg(long)]
        write: bool,
    },
    /// Join a cell as the member whom a token is for
    Join {
        /// The token that `lazarus invite` printed; `-` reads it from standard input
        token: String,
    },
    /// Speak with the cell that this is in (for agents)
    #[command(subcommand)]
    Cell(CellCommand),
    /// Manage agent definitions
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Show and check the audit, and sign its head
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show what a teardown did, or check a receipt that was exported
    Receipt(ReceiptArgs),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The commands of `lazarus artifacts`.
#[derive(Debug, Subcommand)]
pub enum ArtifactsCommand {
    /// Fetch an artifact: lazarus artifacts CELL get NAME
    Get {
        /// Its name, or AGENT/NAME; behind the cell, where that was not named before `get`
        #[arg(required = true, num_args = 1..=2, value_names = ["CELL", "NAME"])]
        names: Vec<String>,
        /// The file to make [default: the artifact's name]; - is standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
}

/// What `summon`, `team` and `run` have in common.
#[derive(Debug, Args, Default)]
pub struct SummonOptions {
    /// process or wasm [default: what the agent's definition or program implies, else process]
    #[arg(long, value_parser = plain::<BackendKind>)]
    pub backend: Option<BackendKind>,
    /// Time to live: 60m, 2h, 1d; a bare number counts minutes [default: 60m, for a team 120m]
    #[arg(long, value_parser = ttl, value_name = "TIME", allow_hyphen_values = true)]
    pub ttl: Option<Duration>,
    /// What happens when the time to live is over [default: close]
    #[arg(long, value_name = "WHAT")]
    pub on_expire: Option<OnExpireArg>,
    /// Who owns the cell [default: who gives the command]
    #[arg(long, value_name = "IDENTITY", value_parser = plain::<Identity>)]
    pub owner: Option<Identity>,
    /// A WebAssembly program to run: a component or a preview 1 module (binary or text)
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
    /// A variable for the agent; may be given often
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub env: Vec<(String, String)>,
    /// A directory of this machine for the agent, read-only unless it ends in :rw; may be given often
    #[arg(long, value_name = "HOST:GUEST[:ro|rw]", value_parser = plain::<Mount>)]
    pub mount: Vec<Mount>,
    /// A path that a process agent may read and execute from, beyond the system's own; may be given often
    #[arg(long, value_name = "PATH")]
    pub read: Vec<PathBuf>,
    /// Give a process agent this program, so that it can speak with its cell from a shell: `lazarus cell`
    #[arg(long)]
    pub client: bool,
    /// Go on where this machine's kernel cannot enforce everything; recorded with the cell
    #[arg(long)]
    pub accept_degraded: bool,
    /// Limits
    #[command(flatten)]
    pub limits: LimitOptions,
    /// A command to run, or the arguments of the component
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

macro_rules! limit_options {
    ($($(#[$doc:meta])* $field:ident = $name:literal, $value:literal;)*) => {
        /// Limits as the command line names them; the same names stand in agent.toml.
        #[derive(Debug, Args, Default)]
        #[command(next_help_heading = "Limits")]
        pub struct LimitOptions {
            $($(#[$doc])* #[arg(long = $name, value_name = $value, allow_hyphen_values = true)] pub $field: Option<String>,)*
        }

        impl LimitOptions {
            /// The limits that were given, by name.
            pub fn given(&self) -> Vec<(String, String)> {
                [$(($name, &self.$field),)*]
                    .into_iter()
                    .filter_map(|(name, value)| value.clone().map(|value| (name.to_owned(), value)))
                    .collect()
            }
        }
    };
}

limit_options! {
    /// Memory of the agent
    memory = "memory", "SIZE";
    /// CPU time of one run, or of one event
    cpu = "cpu", "TIME";
    /// Time that one event may take (agents that live by events)
    event = "event", "TIME";
    /// Time without an event after which the agent's memory is dropped (agents that live by events)
    idle = "idle", "TIME";
    /// Messages that may wait for the agent
    messages = "messages", "COUNT";
    /// Bytes below the agent's home
    home = "home", "SIZE";
    /// Files, directories and links below the agent's home
    files = "files", "COUNT";
    /// Bytes of log kept
    log = "log", "SIZE";
    /// Open descriptors
    open_files = "open-files", "COUNT";
    /// Processes and threads (process agents)
    processes = "processes", "COUNT";
    /// Stack (wasm)
    stack = "stack", "SIZE";
    /// Elements of all tables (wasm)
    table_elements = "table-elements", "COUNT";
    /// Core instances, memories and tables, each (wasm)
    instances = "instances", "COUNT";
    /// Bytes that one host call may allocate (wasm)
    hostcall = "hostcall", "SIZE";
    /// Random bytes a call (wasm)
    random = "random", "SIZE";
}

/// What happens at the end of a time to live, as clap lists it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OnExpireArg {
    /// The cell is closed; its home stays
    Close,
    /// The cell is destroyed
    Destroy,
    /// The cell is kept, and shown as expired
    Keep,
}

impl From<OnExpireArg> for OnExpire {
    fn from(given: OnExpireArg) -> Self {
        match given {
            OnExpireArg::Close => Self::Close,
            OnExpireArg::Destroy => Self::Destroy,
            OnExpireArg::Keep => Self::Keep,
        }
    }
}

/// A team as one argument.
#[derive(Debug, Clone)]
pub struct Team(pub Vec<AgentName>);

/// What clap shows behind "invalid value … for …": only the part of a message that says what would be accepted, since it names
/// the value itself.
fn said<T, E: std::fmt::Display>(parsed: Result<T, E>) -> Result<T, String> {
    parsed.map_err(|error| {
        let message = error.to_string();
        message.rsplit_once(": ").map_or_else(|| message.clone(), |(_, accepted)| accepted.to_owned())
    })
}

pub(super) fn plain<T: FromStr<Err: std::fmt::Display>>(given: &str) -> Result<T, String> {
    said(given.parse())
}

pub(super) fn duration(given: &str) -> Result<Duration, String> {
    said(parse_duration(given))
}

fn ttl(given: &str) -> Result<Duration, String> {
    said(parse_ttl(given))
}

fn recipient(given: &str) -> Result<Recipient, String> {
    if given == "all" {
        return Ok(Recipient::All);
    }
    if given.contains(':') {
        return plain::<Identity>(given).map(Recipient::Member);
    }
    // A name of any kind: the members decide whose.
    plain::<ProjectName>(given).map(|name| Recipient::Named(name.to_string()))
}

fn parse_team_arg(given: &str) -> Result<Team, String> {
    said(parse_team(given).map(Team))
}

fn parse_variable(given: &str) -> Result<(String, String), String> {
    let (name, value) = given.split_once('=').ok_or_else(|| "write NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
