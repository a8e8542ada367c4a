//! Starting a reaper, in its nursery thread.
//!
//! ```text
//!  nursery thread  enter namespaces → start the reaper ─→ make its network → open what is granted ─→ send the parcel → usher it out
//!  reaper                                   └─ is loaded ── waits for its parcel ──────────────────────────┴─→ confines itself
//!  calling thread  makes control groups ───────────────────────────────────────┘
//! ```

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, Stdio as ChildStdio},
    sync::{Arc, mpsc::Receiver},
};

use super::{
    ReaperProgram, SUBCOMMAND, SpawnError,
    plan::{Given, plan},
};
use crate::{
    backend::{Launch, Stdio, handoff, packets, parcel::Parcel, spawned::Containment},
    jail::{
        cgroup::Cgroup,
        namespaces,
        usher::{self, Usher},
    },
};

/// A reaper that is to be started.
pub(super) struct Birth {
    pub launch: Launch,
    /// Why it gets no namespaces; `None` where it does.
    pub none: Option<String>,
    pub speaks: bool,
    pub reaper: ReaperProgram,
    /// Says which control groups were made, once they are.
    pub groups: Receiver<Option<Arc<Cgroup>>>,
    pub rehearsal: bool,
}

/// A reaper that was just started.
pub(super) struct Born {
    pub child: Child,
    pub socket: OwnedFd,
    pub hatch: Option<OwnedFd>,
    pub cgroup: Option<Arc<Cgroup>>,
    pub containment: Containment,
}

/// What is left of what a reaper was told of.
struct Told {
    hatch: Option<OwnedFd>,
    cgroup: Option<Arc<Cgroup>>,
    usher: Option<Usher>,
}

/// Why a birth failed: for good, or only with namespaces.
pub(super) enum Failure {
    Namespaces(String),
    Spawn(SpawnError),
}

impl Failure {
    fn namespaces(error: io::Error) -> Self {
        Self::Namespaces(format!("make namespaces for the agent: {error}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Spawn(error.into())
    }
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

impl Birth {
    /// Starts the reaper and tells it what to do. Left to do is what its usher does.
    pub(super) fn give(self) -> Result<(Born, impl FnOnce() + use<>), Failure> {
        let own = self.none.is_none();
        if own {
            namespaces::enter().map_err(Failure::namespaces)?;
        }
        let (ours, theirs) = packets::pair().map_err(SpawnError::Handoff)?;
        let mut child = handoff::start(self.reaper.small(), SUBCOMMAND, theirs, |command| {
            match self.launch.stdio {
                Stdio::Captured => command.stdin(ChildStdio::null()).stdout(ChildStdio::piped()).stderr(ChildStdio::piped()),
                Stdio::Inherited => command.stdin(ChildStdio::inherit()).stdout(ChildStdio::inherit()).stderr(ChildStdio::inherit()),
            };
        })?;
        match self.tell(&ours) {
            Ok(Told { hatch, cgroup, usher }) => {
                let containment = if own { Containment::PidNamespace } else { Containment::Subreaper };
                let attend = || usher.into_iter().for_each(Usher::attend);
                Ok((Born { child, socket: ours, hatch, cgroup, containment }, attend))
            }
            Err(failure) => {
                // It was told nothing, and so did nothing yet. Not waited for, so that its number is still its own.
                let _ = child.kill().and_then(|()| child.wait());
                Err(failure)
            }
        }
    }

    /// Opens what the agent is given, while its reaper is loaded, and sends it.
    fn tell(self, socket: &OwnedFd) -> Result<Told, Failure> {
        let (usher, own) = match self.none {
            Some(_) => (None, None),
            None => {
                let network = namespaces::network().map_err(Failure::namespaces)?;
                let (usher, door) = usher::pair().map_err(SpawnError::Handoff)?;
                (Some(usher), Some((network, door)))
            }
        };
        let (hatch, agents_end) = self.speaks.then(packets::pair).transpose().map_err(SpawnError::Handoff)?.unzip();
        // The calling thread sends it, whatever came of it; or ended early, and has no use for an agent.
        let cgroup = self.groups.recv().map_err(|_| SpawnError::Handoff(io::Error::other("its control groups are not known")))?;
        let mut parcel = Parcel::default();
        let given = Given { cgroup: cgroup.as_deref(), hatch: agents_end, own, rehearsal: self.rehearsal };
        let spec = plan(&self.launch, self.none.as_deref(), given, &mut parcel)?;
        parcel.send(socket, &spec).map_err(SpawnError::Handoff)?;
        Ok(Told { hatch, cgroup, usher })
    }
}
