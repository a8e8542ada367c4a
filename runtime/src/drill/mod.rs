//! The drill: attacks on the walls, made on purpose, on this machine and with this program.
//!
//! ```text
//!  catalogue ──→ stage: a root of its own, a bystander's cell, canaries, listeners      TRUSTED
//!                  │
//!                  ├─ cells, started by this very program as an operator starts them ─→ attacker: twin, attack, twin, …   JAILED
//!                  │        what the attacker saw ←──────────────────────────────────────┘
//!                  ▼
//!                canaries: what was really read, written, reached or ended
//!                  ▼
//!                judge ──→ HELD │ CRASH │ READ │ WRITE │ ESCAPE  (or BROKEN: this drill cannot say)
//! ```
//!
//! - [`Attack`]: one row of the catalogue; declarative, with its allowed twin. [`catalogue`] has all of them.
//! - [`Seen`]: what an attempt saw of its own end. It never decides alone: [`judge`] first asks the canaries.
//! - [`Stage`]: everything outside the jail that an attack could harm, made for this drill and removed with it.
//! - `acts`: what an attacker does, by raw system calls; `process`, `trusted`: who does it where.

mod acts;
mod attack;
mod catalogue;
mod error;
mod fallen;
mod ground;
mod judge;
mod process;
mod report;
mod run;
mod seen;
mod stage;
mod trusted;
mod wasm;

pub use attack::{Act, Arena, Attack, Cell, Class, Death, Outcome};
pub use catalogue::{catalogue, chosen};
pub use error::DrillError;
pub use fallen::{SUBCOMMAND as FALLEN_SUBCOMMAND, main_attack as main_fallen_attack};
pub use ground::Ground;
pub use judge::{Disturbance, Tried, Verdict, judge};
pub use process::{SUBCOMMAND, main_attack};
pub use report::{Canaries, DrillReport, Machine};
pub use run::{Request, run};
pub use seen::Seen;
pub use stage::Stage;
