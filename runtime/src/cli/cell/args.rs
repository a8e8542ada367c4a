//! What can be typed after `lazarus cell`.

use std::time::Duration;

use clap::Subcommand;

use crate::{
    cell::{Identity, Role},
    cli::args::{duration, plain},
    mail::{HISTORY_MOST, MessageId},
};

/// The commands of `lazarus cell`.
#[derive(Debug, Subcommand)]
pub enum CellCommand {
    /// Show where this is, and as whom
    Me,
    /// Show who is here
    Members,
    /// Send a message; prints its id
    Send {
        /// To whom: agent:NAME, bot:NAME or human:NAME
        #[arg(value_parser = plain::<Identity>)]
        to: Identity,
        /// What; `-` reads it from standard input
        text: String,
    },
    /// Answer a message; prints the answer's id
    Reply {
        /// The message
        #[arg(long, value_name = "ID", value_parser = plain::<MessageId>)]
        to: MessageId,
        /// What; `-` reads it from standard input
        text: String,
    },
    /// Print the next message. It is waiting again when this command ends, until it is acknowledged or failed
    Recv {
        /// Wait for one
        #[arg(long, default_value = "0s", value_parser = duration, value_name = "TIME")]
        wait: Duration,
        /// Acknowledge it once it is printed
        #[arg(long)]
        ack: bool,
    },
    /// Run a command for each message: the text on its standard input, what it prints is the reply; exit code 0 acknowledges the
    /// message, any other fails it
    Serve {
        /// End after one message
        #[arg(long)]
        once: bool,
        /// The command and its arguments. LAZARUS_MESSAGE_ID, LAZARUS_MESSAGE_SENDER and LAZARUS_MESSAGE_ATTEMPT are set for it
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Say that a message is done with
    Ack {
        /// The message
        #[arg(value_parser = plain::<MessageId>)]
        id: MessageId,
    },
    /// Say that a message cannot be handled now: it comes again later, a few times
    Fail {
        /// The message
        #[arg(value_parser = plain::<MessageId>)]
        id: MessageId,
        /// Why, in one line
        why: String,
        /// It never can be: the operator is shown it, and it does not come again
        #[arg(long)]
        park: bool,
    },
    /// Print messages that were sent, the oldest first: one's own; all of them for a director or an auditor
    History {
        /// Only those after this one
        #[arg(long, value_name = "ID", value_parser = plain::<MessageId>)]
        after: Option<MessageId>,
        /// At most so many
        #[arg(short = 'n', long, default_value_t = HISTORY_MOST, value_name = "COUNT")]
        most: u32,
    },
    /// Say that this agent is alive
    Beat,
    /// Hand over a file of the agent's home under a name; it stays until the cell is destroyed
    Artifact {
        /// The file, relative to the home
        path: String,
        /// The name
        name: String,
    },
    /// Let somebody in (directors)
    Invite {
        /// Who: agent:NAME, bot:NAME or human:NAME
        #[arg(value_parser = plain::<Identity>)]
        who: Identity,
        /// As what: executor, observer, director or auditor
        #[arg(value_parser = plain::<Role>)]
        role: Role,
    },
    /// Close the cell (directors)
    Close,
    /// Print the newest rows of the cell's audit (directors and auditors)
    Audit {
        /// At most so many
        #[arg(short = 'n', long, default_value_t = HISTORY_MOST, value_name = "COUNT")]
        most: u32,
    },
}
