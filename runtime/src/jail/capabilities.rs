//! Privileges: none can be gained, and those that there are, are given up.

use rustix::{
    io::Errno,
    thread::{self, CapabilitySet, CapabilitySets},
};

use super::JailError;
use crate::policy::{Enforcer, Report, Wall};

/// What is promised where the bounding set of capabilities is empty, too.
pub const GAINS_NO_CAPABILITY: &str = "has no capabilities, and can gain none";

/// The highest number that a capability could have: the sets are 64 bits wide.
const CAPABILITIES_MOST: u32 = 63;

/// Forbids that a program of the jail gains what its caller did not have: set-user-id programs, file capabilities.
pub(super) fn forbid_new(report: &mut Report) -> Result<(), JailError> {
    thread::set_no_new_privs(true).map_err(JailError::step("forbid new privileges"))?;
    report.full(Enforcer::Kernel, Wall::Privileges, "gains no privileges by executing a program");
    Ok(())
}

/// Gives up every capability, in all five sets.
pub(super) fn drop_all(report: &mut Report) -> Result<(), JailError> {
    thread::clear_ambient_capability_set().map_err(JailError::step("clear the ambient capabilities"))?;
    let bounded = empty_bounding_set()?;
    let none = CapabilitySets { effective: CapabilitySet::empty(), permitted: CapabilitySet::empty(), inheritable: CapabilitySet::empty() };
    thread::set_capabilities(None, none).map_err(JailError::step("drop capabilities"))?;
    let left = thread::capabilities(None).map_err(JailError::step("read back capabilities"))?;
    if left != none {
        return Err(JailError::Step { step: "drop capabilities", source: Errno::PERM.into() });
    }
    if bounded {
        report.full(Enforcer::Kernel, Wall::Privileges, GAINS_NO_CAPABILITY);
    } else {
        // An ordinary user may not empty the bounding set; with no_new_privs, no exec could make use of it.
        report.full(Enforcer::Kernel, Wall::Privileges, "has no capabilities");
    }
    Ok(())
}

/// Empties the bounding set; `false` where this user may not.
fn empty_bounding_set() -> Result<bool, JailError> {
    for number in 0..=CAPABILITIES_MOST {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::PERM) => return Ok(false),
            // The first number that this kernel does not know.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(JailError::Step { step: "empty the bounding set of capabilities", source: errno.into() }),
        }
    }
    Ok(true)
}
