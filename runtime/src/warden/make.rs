//! Making what a cell needs: its directory and homes, its control socket, its children.

use std::{os::unix::net::UnixListener, path::Path, sync::Arc};

use cap_std::fs::Dir;

use super::{
    child::{AgentRun, Child, Stage},
    control,
    duty::WardenError,
    held::Held,
    kept::KeptPlan,
    logs::Log,
    reopen::reopen,
    spec::{AgentPlan, Birth, WardenSpec},
};
use crate::{
    agent::Digest,
    backend::{Launch, Program, Stdio, WasmForm, process, wasm},
    cell::AgentName,
    failpoint::{self, Point},
    home::{CellDir, Lease, Place, Root},
    jail::namespaces::{self, NamespaceSupport},
    policy::{Enforcer, LimitName, Subject},
};

/// Everything of a cell that is not its children.
pub struct Made {
    /// The Lazarus root.
    pub root: Root,
    /// The cell's directory.
    pub dir: CellDir,
    /// The cell's lease: nobody else runs or removes it meanwhile. Held, never looked at.
    pub _lease: Lease,
    /// Its control socket.
    pub listener: UnixListener,
    /// What namespaces a process agent can have.
    pub namespaces: NamespaceSupport,
    /// What reapers are started from: as it was when this warden started.
    pub reaper: process::ReaperProgram,
    /// Whether its process agents take part in its talk: not those of a throwaway or a bare cell.
    pub speaks: bool,
}

/// Makes the cell's directory, takes its lease, furnishes the homes, and opens the control socket. Of a cell that lived before, the
/// directory and the homes are only opened.
///
/// # Errors
/// What cannot be made; whatever was made stays, for the caller to remove.
pub fn make(spec: &WardenSpec) -> Result<Made, WardenError> {
    // First, while owners are still seen by their numbers: a user namespace of its own knows one of them.
    let reaper = process::ReaperProgram::find();
    // Before any thread exists: a user namespace is entered by a process of one thread alone.
    let processes = spec.agents.iter().any(|plan| matches!(plan.launch.program, Program::Command { .. }));
    let namespaces = if processes {
        namespaces::prepare_warden()
    } else {
        NamespaceSupport::None { because: "the cell was summoned for wasm agents".into() }
    };
    let root = Root::open(&spec.root)?;
    let (dir, lease) = match spec.birth {
        Birth::First => create(spec, &root)?,
        Birth::Again { generation, version } => {
            let reopened = reopen(spec, &root, generation, version)?;
            reopened.0.run().and_then(control::clear).map_err(WardenError::Control)?;
            failpoint::hit(Point::WardenAgain);
            reopened
        }
    };
    let listener = dir.run().and_then(control::bind).map_err(WardenError::Control)?;
    Ok(Made { root, dir, _lease: lease, listener, namespaces, reaper, speaks: spec.homes && !spec.throwaway })
}

fn create(spec: &WardenSpec, root: &Root) -> Result<(CellDir, Lease), WardenError> {
    let dir = root.create_cell(&spec.cell)?;
    let lease = Lease::take(&dir, spec.birth.generation())?;
    if spec.homes {
        for plan in &spec.agents {
            furnish(&dir, plan)?;
        }
    }
    if !spec.throwaway {
        // After the homes: where it is there, they are whole.
        KeptPlan::of(&spec.cell, &spec.agents).write(&dir).map_err(WardenError::Control)?;
    }
    failpoint::hit(Point::WardenHome);
    Ok((dir, lease))
}

/// The place of an agent's home, which a spec names by its path.
pub fn place_of(dir: &CellDir, home: &Path, agent: &AgentName) -> Option<Place> {
    [Place::Only, Place::Member, Place::Guest].into_iter().find(|&place| dir.home_path(place, agent) == home)
}

/// Makes one agent's home, from its template if it has one.
///
/// # Errors
/// What cannot be made or copied.
pub fn furnish(dir: &CellDir, plan: &AgentPlan) -> Result<(), WardenError> {
    let Some(home) = &plan.launch.home else { return Ok(()) };
    let agent = &plan.launch.agent;
    let place = place_of(dir, home, agent).ok_or_else(|| WardenError::Home(home.clone()))?;
    let template = plan.template.as_deref().map(crate::home::ambient::open_named_dir).transpose().map_err(WardenError::Template)?;
    if let (Some((template, _)), Some(approved)) = (&template, &plan.template_sha256) {
        // By the handle that the home is seeded from: it may have been replaced since the command looked.
        let found = crate::home::digest_tree(template).map_err(WardenError::Template)?;
        if Digest::parse(approved) != Some(Digest::new(found)) {
            return Err(WardenError::TemplateChanged(agent.clone()));
        }
    }
    dir.make_home(place, agent, template.as_ref().map(|(dir, _)| dir))?;
    Ok(())
}

/// Starts the children of some agents: a reaper each for process agents, one host for all wasm agents.
///
/// # Errors
/// A child that cannot be started; those that were are ended by dropping them.
pub fn start(made: &Made, plans: &[AgentPlan], joined: bool) -> Result<Vec<Child>, WardenError> {
    // One descriptor for all: a cell may have a thousand agents.
    let logs = Arc::new(made.dir.logs().map_err(WardenError::Control)?);
    let mut children = Vec::new();
    let mut compiled = Vec::new();
    for plan in plans {
        match &plan.launch.program {
            Program::Command { .. } => {
                let launch = seen_from(&plan.launch, &made.namespaces);
                let options = process::ProcessOptions {
                    namespaces: made.namespaces.clone(),
                    groups: process::Groups::Of(made.dir.id().clone()),
                    speaks: made.speaks,
                    reaper: made.reaper.clone(),
                };
                let spawned = process::spawn(&launch, &options)?;
                children.push(Child::new(spawned, vec![run_of(&plan.launch, made.speaks, &logs)], joined));
            }
            Program::Compiled { .. } => compiled.push(plan.launch.clone()),
        }
    }
    if !compiled.is_empty() {
        let spawned = wasm::spawn(&compiled, made.root.cache())?;
        let runs = compiled.iter().map(|launch| run_of(launch, made.speaks, &logs)).collect();
        children.push(Child::new(spawned, runs, joined));
    }
    Ok(children)
}

/// Without namespaces of its own, a process sees what its team shares where that is on the machine.
pub fn seen_from(launch: &Launch, namespaces: &NamespaceSupport) -> Launch {
    let mut launch = launch.clone();
    if let (NamespaceSupport::None { .. }, Some(shared)) = (namespaces, &launch.shared) {
        let path = shared.to_string_lossy().into_owned();
        for (_, value) in launch.env.iter_mut().filter(|(name, _)| name == "LAZARUS_SHARED") {
            value.clone_from(&path);
        }
    }
    launch
}

/// Whether an agent is given events.
pub const fn lives_by_events(launch: &Launch) -> bool {
    matches!(launch.program, Program::Compiled { form: WasmForm::Agent, .. })
}

fn run_of(launch: &Launch, speaks: bool, logs: &Arc<Dir>) -> AgentRun {
    let mut held = Held::new(&launch.asked(speaks));
    let limits = &launch.policy.limits;
    let log = match launch.stdio {
        Stdio::Captured => {
            held.own().full(Enforcer::Warden, Subject::limit(LimitName::Log, limits.log), format!("leaves at most {} of log", limits.log));
            Some(Log::new(logs.clone(), &launch.agent, limits.log))
        }
        Stdio::Inherited => None,
    };
    // The host of wasm agents counts each call itself, and says so.
    if launch.home.is_some() && matches!(launch.program, Program::Command { .. }) {
        let promise = format!("keeps at most {} in its home, and in /shared", limits.home);
        let because = "measured four times a second while it grows, and every 5 s while it is quiet: it may be past that for a moment before its \
                       agent is ended; not counted are small attributes of files, and what is on its way in messages between its processes";
        held.own().partial(Enforcer::Warden, Subject::limit(LimitName::Home, limits.home), promise, because);
        let promise = format!("keeps at most {} files, directories and links in its home, and in /shared", limits.files);
        held.own().partial(Enforcer::Warden, Subject::limit(LimitName::Files, limits.files), promise, because);
    }
    AgentRun {
        agent: launch.agent.clone(),
        stage: Stage::Starting,
        by_events: lives_by_events(launch),
        program: launch.program.phrase(),
        policy: launch.policy.clone(),
        held,
        log,
        home: launch.home.clone(),
        decided: None,
        refusal: None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        cell::{CellId, Role},
        policy::Policy,
    };

    #[test]
    fn a_template_that_is_not_the_approved_one_is_not_used() {
        let temp = tempfile::tempdir().expect("a directory");
        let root = Root::open(&temp.path().join("root")).expect("a root");
        let template = temp.path().join("template");
        fs::create_dir(&template).expect("made");
        fs::write(template.join("SOUL.md"), "soul").expect("written");
        let (handle, _) = crate::home::ambient::open_named_dir(&template).expect("opened");
        let approved = Digest::new(crate::home::digest_tree(&handle).expect("digested")).to_string();
        let furnished = |number| {
            let dir = root.create_cell(&CellId::from_bits(number)).expect("a cell");
            let agent: AgentName = "scribe".parse().expect("a name");
            let home = dir.home_path(Place::Only, &agent);
            let launch = Launch {
                agent: agent.clone(),
                role: Role::Executor,
                program: Program::Command { argv: vec!["true".into()] },
                policy: Policy::default(),
                home: Some(home.clone()),
                shared: None,
                env: Vec::new(),
                stdio: Stdio::Captured,
                tick: None,
                again: false,
            };
            let (template, template_sha256) = (Some(template.clone()), Some(approved.clone()));
            let plan = AgentPlan {
                identity: crate::cell::Identity::Agent(agent),
                launch,
                template,
                template_sha256,
                source_sha256: None,
                definition: None,
            };
            (furnish(&dir, &plan), home.join("SOUL.md"))
        };
        let (made, soul) = furnished(1);
        made.expect("the one that was approved");
        assert_eq!(fs::read_to_string(soul).expect("seeded"), "soul");
        fs::write(template.join("SOUL.md"), "another").expect("replaced after the command looked");
        let (made, soul) = furnished(2);
        assert!(matches!(made, Err(WardenError::TemplateChanged(_))), "{made:?}");
        assert!(!soul.exists(), "nothing of it was seeded");
    }
}
