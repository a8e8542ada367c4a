//! The guest SDK of Lazarus: what an agent reads to learn where it is.
//!
//! An agent in a cell is an ordinary program. Lazarus tells it about its cell through environment
//! variables, and watches a heartbeat file; this crate gives both types. It needs nothing but the
//! standard library, and is the same for `wasm32-wasip2` and for a native build.
//!
//! | variable | what it holds | without it |
//! |---|---|---|
//! | `HERMES_HOME` | the agent's own home, read-write | the role has no home (auditor), or the run is bare |
//! | `LAZARUS_CELL` | the cell's id | the program does not run in a cell |
//! | `LAZARUS_AGENT` | the agent's name in the cell | the same |
//! | `LAZARUS_ROLE` | its role, which decides what it may write | the same |
//! | `LAZARUS_PROJECT` | the project's name: a label, no path | the same |
//! | `LAZARUS_SHARED` | what the members of a team share | nobody shares |
//! | `LAZARUS_HEARTBEAT` | the file whose age is the agent's last sign of life | nobody watches |
//!
//! ```
//! use lazarus_guest::Cell;
//!
//! match Cell::from_env() {
//!     Ok(cell) => {
//!         println!("{} works on {} as {}", cell.agent(), cell.project(), cell.role());
//!         cell.beat().expect("the heartbeat file is in the agent's own home");
//!     }
//!     Err(outside) => eprintln!("{outside}"),
//! }
//! ```

mod cell;
mod role;

pub use cell::{Cell, CellError, variable};
pub use role::{Role, RoleError};
