//! Members that do not live by events: process agents, through the hatches of their jails, and people, through the door of the cell.
//!
//! ```text
//!  agent ── connect ── reaper ══ hatch ══→ agents ─┐
//!                                                  ├─ conversation: bounds, parses ── LineEvent ─→ event loop ─→ post office
//!  person ── abstract socket ────────────→ door ───┘
//! ```
//!
//! The tasks here read, bound and parse, and decide nothing. Who a peer is, is known from where it came: from the hatch of one agent's
//! reaper, or by a secret of which the registry holds the digest.

mod agents;
mod conversation;
mod door;
mod lines;

pub use agents::watch_hatch;
pub use door::Door;

/// The most connections of one member at a time; an agent's next one waits, a person's is refused.
const CONNECTIONS_MOST: usize = 8;
