//! What can be typed after `lazarus agent`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cell::AgentName;

/// The commands of `lazarus agent`.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Install an agent definition, with its component
    Add {
        /// The agent.toml
        file: PathBuf,
        /// Replace the installed definition of the same name
        #[arg(long)]
        replace: bool,
    },
    /// Approve an installed definition as it is now; shows what changed since it was approved last
    Approve {
        /// Its name
        name: AgentName,
        /// Nothing is asked in any case: for scripts that say it
        #[arg(long)]
        yes: bool,
    },
    /// Make the crate of a new agent, ready to be built
    New {
        /// Its name
        name: AgentName,
        /// The directory to make [default: the agent's name]
        directory: Option<PathBuf>,
    },
    /// Say what a WebAssembly program is, what it wants, and whether it runs here; of a definition, also what it grants of that. Runs nothing
    Check {
        /// The component or preview 1 module, binary or text; or an agent.toml
        file: PathBuf,
    },
    /// List the installed definitions
    List,
    /// Show one definition
    Show {
        /// Its name
        name: AgentName,
    },
    /// Remove a definition; cells that run it go on
    Remove {
        /// Its name
        name: AgentName,
    },
}
