//! The members that do not live by events: their connections, and the door of the cell.

use std::io;

use super::{ACTOR, Duty};
use crate::{
    audit::{Action, Draft, Phase},
    cell::text::one_line,
    warden::{
        members::{Door, watch_hatch},
        spec::AgentPlan,
    },
};

/// Bytes of what is audited about a door that does not open.
const WHY_MOST_BYTES: usize = 200;

/// Whether people can come to the cell.
#[derive(Default)]
pub(super) enum Entrance {
    /// Nobody is expected.
    #[default]
    Shut,
    /// People are members.
    Open(#[expect(dead_code, reason = "held open")] Door),
    /// People are members, and cannot come: that was audited. It is tried again with the next of them.
    Stuck,
}

impl Duty {
    /// Serves the connections of a process agent, if it has a part in the cell's talk.
    pub(super) fn serve_agent(&mut self, plan: &AgentPlan, child: usize) -> io::Result<()> {
        let Some(hatch) = self.life.children.get_mut(child).and_then(|child| child.spawned.hatch.take()) else { return Ok(()) };
        watch_hatch(hatch, plan.identity.clone(), plan.launch.role, self.watch.sender())
    }

    /// Opens the door of the cell while people are members of it, and closes it when none is. Those who are in stay.
    pub(super) fn mind_the_door(&mut self) {
        if !self.post.expects_people() {
            self.entrance = Entrance::Shut;
            return;
        }
        if matches!(self.entrance, Entrance::Open(_)) {
            return;
        }
        match Door::open(&self.spec.cell, self.watch.sender()) {
            Ok(door) => self.entrance = Entrance::Open(door),
            Err(error) => {
                if !matches!(self.entrance, Entrance::Stuck) {
                    let why = one_line(&format!("the door of the cell does not open: {error}"), WHY_MOST_BYTES);
                    let draft = Draft::new(ACTOR, Action::Join, Phase::Failed, Some(&self.spec.cell), &why);
                    // Whoever comes is told that nobody is there.
                    let _ = self.registry().and_then(|mut registry| registry.audit(draft));
                }
                self.entrance = Entrance::Stuck;
            }
        }
    }
}
