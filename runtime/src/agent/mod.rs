//! Agent definitions: what an agent runs and what it asks for.
//!
//! ```text
//!  agent.toml ─ parse ─→ Definition ─ add ─→ Installed ─┐
//!  the operator's command line ──────────→ Options ─────┴─ resolve ─→ Policy
//! ```
//!
//! Text that was not understood to its last key is no [`Definition`]; a definition grants nothing
//! until it met the operator's word in [`resolve()`].

mod definition;
mod fields;
mod limits;
mod lock;
mod reader;
mod resolve;
pub mod scaffold;
mod store;
mod terms;
mod unfit;

pub use definition::{DEFINITION_MOST_BYTES, DefinedProgram, Definition, Digest, Life};
pub use limits::{LIMIT_NAMES, LimitError, set_limit};
pub use lock::digest_of_file;
pub use reader::{DefinitionError, Places, Position, Problem};
pub use resolve::{Options, ResolveError, is_own_place, resolve};
pub use store::{Added, AgentError, COMPONENT_MOST_BYTES, Installed, InstalledComponent, add, list, load, preview, remove, template_path};
pub use terms::{Difference, GRANTS_MOST_BYTES, GrantedProgram, Grants, Terms, all_of, asks_of, differences};
pub use unfit::{must_fit, unfit};
