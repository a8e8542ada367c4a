//! Everything outside of the jail that an attack could harm: made for one drill, proved to be able to tell, and removed with it.
//!
//! - [`place`]: the temporary directory, its lock, and what an interrupted drill left.
//! - [`yard`]: for each attack a directory of its own with a secret and files that must stay as they are.
//! - [`listeners`]: ports and sockets that nobody may reach; [`bystander`]: a process that nobody may touch.
//! - [`command`]: this very program, as an operator starts it, in the stage's own root.
//! - [`tamper`]: what attacks on the trusted side need done behind its back.
//! - [`set`]: how all of it is set, and cleared.

mod bystander;
mod command;
mod listeners;
mod place;
mod set;
mod tamper;
mod yard;

pub use command::Told;
pub use set::Stage;
pub(super) use yard::write;
