//! Planning: from what the operator typed and what definitions ask for, to what will be launched.
//!
//! ```text
//!  name + Wish ─→ program (definition, --component, -- COMMAND, keeper) ─┐
//!                 policy (definition AND command line)                   ├→ Planned ─ where ─→ AgentPlan
//!                 compiled code (cache)                                  ┘
//! ```

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Error, Operator, approval::Purpose};
use crate::{
    agent::{self, AgentError, DefinedProgram, Definition, Installed, Options, Position, Problem, ResolveError},
    backend::{Launch, Program, Stdio, WasmForm, reach, wasm},
    cell::{AgentName, BackendKind, Identity, OnExpire, Proposal, Role},
    home::{Place, Root, SourceError, Sources, ambient},
    policy::{Mount, Policy, READ_BY_DEFAULT, Readable, overlap, overlap_of_reads},
    warden::AgentPlan,
};

/// The default process agent: stays alive and beats. It needs nothing but a shell.
const PROCESS_KEEPER: [&str; 3] = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do : > \"$LAZARUS_HEARTBEAT\"; sleep 1 & wait $!; done"];

/// What the command line asks for, beyond names.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The backend, where it is named.
    pub backend: Option<BackendKind>,
    /// The time to live, where it is named.
    pub ttl: Option<Duration>,
    /// What happens then, where it is named.
    pub on_expire: Option<OnExpire>,
    /// The owner, where another one is named.
    pub owner: Option<Identity>,
    /// A WebAssembly file.
    pub component: Option<PathBuf>,
    /// A command; or arguments, for a component or a defined agent.
    pub command: Vec<String>,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Paths that a process agent may read and execute from, beyond the system's own.
    pub read: Vec<PathBuf>,
    /// Mounts, host paths as typed.
    pub mounts: Vec<Mount>,
    /// Limits, by name.
    pub limits: Vec<(String, String)>,
    /// Whether a process agent gets the client.
    pub client: bool,
    /// Whether the operator accepts that the kernel cannot enforce everything.
    pub accept_degraded: bool,
    /// Whether the agent gets nothing but what is named here.
    pub bare: bool,
    /// Whether an agent without a definition is a mistake, rather than a keeper.
    pub must_be_defined: bool,
    /// Whether the cell ends with the command, and the program has the caller's own streams.
    pub throwaway: bool,
}

/// One agent, decided but for its place.
#[derive(Debug, Clone)]
struct Decided {
    agent: AgentName,
    program: Program,
    source_sha256: Option<String>,
    definition: Option<String>,
    policy: Policy,
    template: Option<PathBuf>,
    template_sha256: Option<String>,
    tick: Option<Duration>,
}

/// All agents of a cell, decided but for their place.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The backend that they need.
    pub backend: BackendKind,
    /// The time to live that a definition asks for.
    pub ttl: Option<Duration>,
    /// What a definition wants to happen then.
    pub on_expire: Option<OnExpire>,
    /// Whether they get nothing but what the command line names.
    pub bare: bool,
    stdio: Stdio,
    decided: Vec<Decided>,
}

/// What an agent runs, before it is compiled or looked up.
enum Source {
    Command(Vec<String>),
    File { path: PathBuf, args: Vec<String> },
    Installed { component: agent::InstalledComponent, args: Vec<String> },
    Keeper(BackendKind),
}

impl Source {
    const fn backend(&self) -> BackendKind {
        match self {
            Self::Command(_) => BackendKind::Process,
            Self::File { .. } | Self::Installed { .. } => BackendKind::Wasm,
            Self::Keeper(backend) => *backend,
        }
    }
}

impl Operator {
    /// Decides what each agent would run and might do, to be shown: also of a definition that is not approved.
    pub(super) fn plan(&mut self, agents: &[AgentName], wish: &Wish) -> Result<Planned, Error> {
        self.decide(agents, wish, None, None)
    }

    /// Decides what an agent would run and might do by a definition that is not installed.
    pub(super) fn plan_by(&mut self, definition: Installed, wish: &Wish) -> Result<Planned, Error> {
        let agent = definition.definition.name.clone();
        self.decide(&[agent], wish, None, Some(definition))
    }

    /// Decides what each agent runs and may do. Compiles what is not compiled yet.
    ///
    /// # Errors
    /// What cannot be had; a definition that is not as it was approved, audited.
    pub(super) fn plan_for(&mut self, purpose: Purpose<'_>, agents: &[AgentName], wish: &Wish) -> Result<Planned, Error> {
        self.decide(agents, wish, Some(purpose), None)
    }

    fn decide(
        &mut self,
        agents: &[AgentName],
        wish: &Wish,
        purpose: Option<Purpose<'_>>,
        mut given: Option<Installed>,
    ) -> Result<Planned, Error> {
        let mut planned = Planned {
            backend: BackendKind::Process,
            ttl: None,
            on_expire: None,
            bare: wish.bare,
            stdio: if wish.throwaway { Stdio::Inherited } else { Stdio::Captured },
            decided: Vec::new(),
        };
        let sources = Sources::of(&self.root);
        let mut first: Option<(AgentName, BackendKind)> = None;
        for agent in agents {
            // A component named on the command line is not the defined program: the definition's grants are not for it.
            let installed = match given.take() {
                None if wish.component.is_none() => agent::load(&self.root, agent)?,
                given => given,
            };
            if wish.must_be_defined && installed.is_none() && wish.component.is_none() {
                return Err(Error::AgentNotFound(agent.clone()));
            }
            // What is compared here is what is used below: the same text, and the component's own handle.
            if let (Some(installed), Some(purpose)) = (&installed, purpose) {
                self.must_be_approved_for(installed, purpose)?;
            }
            let policy_of = installed.as_ref();
            let (ttl, on_expire) =
                policy_of.map_or((None, None), |installed| (installed.definition.life.ttl, installed.definition.life.on_expire));
            planned.ttl = planned.ttl.max(ttl);
            planned.on_expire = planned.on_expire.or(on_expire);
            let tick = policy_of.and_then(|installed| installed.definition.life.tick);
            let (policy, reads) = self.policy(&sources, policy_of, wish)?;
            let template = policy_of.and_then(|installed| installed.template.is_some().then(|| agent::template_path(&self.root, agent)));
            let terms = policy_of
                .map(|installed| (installed.terms.definition.to_string(), installed.terms.template.map(|digest| digest.to_string())));
            let (definition, template_sha256) = terms.unzip();
            let template_sha256 = template_sha256.flatten();
            let source = source(agent, installed, wish)?;
            let backend = source.backend();
            if let Some(asked) = wish.backend.filter(|asked| *asked != backend) {
                return Err(Error::WrongBackend { agent: agent.clone(), needs: backend, asked });
            }
            if backend == BackendKind::Process && policy.mounts.iter().any(|mount| mount.guest.as_str() == "/") {
                return Err(Error::Contradiction("only a WebAssembly program can have a mount at /"));
            }
            agent::must_fit(agent, &policy, &wish.limits, tick, backend)?;
            if backend == BackendKind::Process {
                must_read_what_is_read(&sources, reads, &policy)?;
            }
            self.must_leave_the_cell_its_places(&policy, backend, wish.bare)?;
            if let Some((first, first_needs)) = &first
                && *first_needs != backend
            {
                let (first, second) = (first.clone(), agent.clone());
                return Err(Error::MixedTeam { first, first_needs: *first_needs, second, second_needs: backend });
            }
            let (program, source_sha256) = self.program(agent, source)?;
            planned.decided.push(Decided {
                agent: agent.clone(),
                program,
                source_sha256,
                definition,
                policy,
                template,
                template_sha256,
                tick,
            });
            planned.backend = backend;
            first.get_or_insert((agent.clone(), backend));
        }
        Ok(planned)
    }

    /// Refuses a mount that would hide a home: `/home` of a wasm guest; of a process agent, which has it at its real path, whatever is on the way.
    fn must_leave_the_cell_its_places(&self, policy: &Policy, backend: BackendKind, bare: bool) -> Result<(), Error> {
        let hides = |mount: &&Mount| match backend {
            BackendKind::Wasm => agent::is_own_place(&mount.guest, true),
            BackendKind::Process => {
                let (guest, root) = (mount.guest.as_path(), self.root.path());
                guest.starts_with(root) || root.starts_with(guest)
            }
        };
        match policy.mounts.iter().find(hides) {
            Some(mount) if !bare => Err(ResolveError::OwnPlace(mount.guest.to_string()).into()),
            Some(_) | None => Ok(()),
        }
    }

    /// The policy: what the definition asks for and what the command line names, with every path looked at.
    /// With it, what it names for reading, and where that leads.
    pub(super) fn policy(&self, sources: &Sources, installed: Option<&Installed>, wish: &Wish) -> Result<(Policy, Vec<Readable>), Error> {
        let options = Options {
            env: wish.env.clone(),
            read: wish.read.clone(),
            mounts: wish.mounts.clone(),
            limits: wish.limits.clone(),
            client: wish.client,
            accept_degraded: wish.accept_degraded,
            bare: wish.bare,
        };
        let definition = installed.map(|installed| &installed.definition);
        let mut policy = agent::resolve(definition, &options)?;
        for mount in &mut policy.mounts {
            // What the definition asks for is told with its place in there.
            let asked = definition.zip(definition.and_then(|definition| definition.mounts.iter().position(|asked| asked == mount)));
            let checked = sources.mount(&mount.host);
            mount.host = match asked.filter(|_| !wish.mounts.contains(mount)) {
                Some((definition, index)) => checked.map_err(|error| misplaced(definition, definition.places.mounts.get(index), &error))?,
                None => checked?,
            };
        }
        // Once more with where they lead.
        if let (false, Some((_, overlap))) = (wish.bare, overlap(&policy.mounts)) {
            return Err(ResolveError::from(overlap).into());
        }
        let reads = keep_what_is_there(sources, definition, wish, &mut policy)?;
        Ok((policy, reads))
    }

    /// The program, and the digest of what was compiled.
    fn program(&self, agent: &AgentName, source: Source) -> Result<(Program, Option<String>), Error> {
        let (cached, args) = match source {
            Source::Command(argv) => return Ok((Program::Command { argv }, None)),
            Source::Keeper(BackendKind::Process) => {
                return Ok((Program::Command { argv: PROCESS_KEEPER.map(str::to_owned).to_vec() }, None));
            }
            Source::Keeper(BackendKind::Wasm) => {
                let cached = wasm::ensure_bytes(self.root.cache(), wasm::KEEPER_WAT.as_bytes())?;
                (cached, vec![agent.to_string()])
            }
            Source::Installed { mut component, args } => {
                let pin = component.sha256.to_string();
                let cached = wasm::ensure(self.root.cache(), &mut component.file, Some(&pin))
                    .map_err(|source| Error::Compile { path: component.path.clone(), source })?;
                (cached, std::iter::once(agent.to_string()).chain(args).collect())
            }
            Source::File { path, args } => {
                let open = |source| Error::Component { path: path.clone(), source };
                let mut file = ambient::open_named_file(&path, wasm::SOURCE_MOST_BYTES).map_err(open)?;
                let cached =
                    wasm::ensure(self.root.cache(), &mut file, None).map_err(|source| Error::Compile { path: path.clone(), source })?;
                let name = path.file_name().map_or_else(|| agent.to_string(), |name| name.to_string_lossy().into_owned());
                (cached, std::iter::once(name).chain(args).collect())
            }
        };
        let path = self.root.cache_path().join(cached.file_name());
        Ok((Program::Compiled { cached: path, form: cached.form, args }, Some(cached.source_sha256)))
    }
}

/// Looks at what a process agent is to read, and leaves out what this machine does not have.
fn keep_what_is_there(
    sources: &Sources,
    definition: Option<&Definition>,
    wish: &Wish,
    policy: &mut Policy,
) -> Result<Vec<Readable>, Error> {
    if policy.read.is_empty() {
        return Ok(Vec::new());
    }
    // A definition that names nothing to read gets what programs need to run at all; what is typed comes on top of either.
    if definition.is_none_or(|definition| definition.read.is_empty()) {
        policy.read.splice(0..0, READ_BY_DEFAULT.map(PathBuf::from));
    }
    let mut there: Vec<Readable> = Vec::new();
    for path in std::mem::take(&mut policy.read) {
        // A path that this machine does not have grants nothing; one that was typed is a mistake worth telling.
        let asked = definition.zip(definition.and_then(|definition| definition.read.iter().position(|asked| *asked == path)));
        let checked = sources.read(&path);
        let found = match asked.filter(|_| !wish.read.contains(&path)) {
            Some((definition, index)) => checked.map_err(|error| misplaced(definition, definition.places.read.get(index), &error))?,
            None => checked?,
        };
        match found {
            // Seen through what is granted anyway, such as /bin/sh.
            Some(host) if there.iter().any(|other| path.starts_with(&other.named) && host.starts_with(&other.host)) => {}
            Some(host) => there.push(Readable { named: path, host }),
            None if wish.read.contains(&path) => return Err(Error::NothingToRead(path)),
            None => {}
        }
    }
    policy.read = there.iter().map(|read| read.named.clone()).collect();
    match definition {
        // Nothing named would stand for the system's own, which is more than was asked for.
        Some(definition) if policy.read.is_empty() => Err(Error::NothingOfThese(definition.name.clone(), definition.read.clone())),
        Some(_) | None => Ok(there),
    }
}

/// Refuses a mount that contradicts what a process agent reads: what was named, or what every one may read.
fn must_read_what_is_read(sources: &Sources, mut reads: Vec<Readable>, policy: &Policy) -> Result<(), Error> {
    if policy.read.is_empty() {
        reads = sources.read_by_default()?.into_iter().map(|(named, host)| Readable { named, host }).collect();
    }
    match overlap_of_reads(&reads, &policy.mounts) {
        Some((_, overlap)) => Err(ResolveError::from(overlap).into()),
        None => Ok(()),
    }
}

/// A path that a definition asks for and that is never granted, or not there.
fn misplaced(definition: &Definition, at: Option<&Position>, error: &SourceError) -> Error {
    AgentError::from(definition.places.refuse(at, Problem::Source(error.whole()))).into()
}

/// What an agent runs, by the rules of the command contract.
fn source(agent: &AgentName, installed: Option<Installed>, wish: &Wish) -> Result<Source, Error> {
    if let Some(path) = &wish.component {
        return Ok(Source::File { path: path.clone(), args: wish.command.clone() });
    }
    if let Some(installed) = installed {
        return match installed.definition.program {
            DefinedProgram::Component { args, .. } => {
                let args = args.into_iter().chain(wish.command.iter().cloned()).collect();
                let component = installed.component.ok_or_else(|| Error::AgentNotFound(agent.clone()))?;
                Ok(Source::Installed { component, args })
            }
            DefinedProgram::Command { argv } => Ok(Source::Command(argv.into_iter().chain(wish.command.iter().cloned()).collect())),
            DefinedProgram::Keeper if !wish.command.is_empty() => {
                Err(Error::Contradiction("this agent is defined as the keeper, which takes no arguments: leave out what follows --"))
            }
            DefinedProgram::Keeper => Ok(Source::Keeper(wish.backend.unwrap_or(BackendKind::Process))),
        };
    }
    if !wish.command.is_empty() {
        if wish.backend == Some(BackendKind::Wasm) {
            return Err(Error::Contradiction("--backend wasm runs a component: name it with --component FILE"));
        }
        return Ok(Source::Command(wish.command.clone()));
    }
    Ok(Source::Keeper(wish.backend.unwrap_or(BackendKind::Process)))
}

/// Where an agent will be: what its environment and its paths depend on.
pub struct Situation<'a> {
    /// The directory of the cell.
    cell: PathBuf,
    proposal: &'a Proposal,
    identity: Identity,
    role: Role,
    place: Place,
}

impl<'a> Situation<'a> {
    /// The situation of an agent that is invited into a living cell.
    pub fn of_guest(root: &'a Root, proposal: &'a Proposal, identity: Identity, role: Role) -> Self {
        let place = if proposal.team { Place::Member } else { Place::Guest };
        Self { cell: root.cell_path(&proposal.cell_id), proposal, identity, role, place }
    }
}

impl Planned {
    /// The plans of a new cell's agents.
    pub(super) fn into_agents(self, root: &Root, proposal: &Proposal) -> Vec<AgentPlan> {
        self.into_agents_at(&root.cell_path(&proposal.cell_id), proposal)
    }

    /// The plans of a cell's agents, where its directory is somewhere else.
    pub(super) fn into_agents_at(self, cell: &Path, proposal: &Proposal) -> Vec<AgentPlan> {
        let place = if proposal.team { Place::Member } else { Place::Only };
        let (bare, stdio) = (self.bare, self.stdio);
        let plan = |decided: Decided| {
            let identity = Identity::Agent(decided.agent.clone());
            let situation = Situation { cell: cell.to_owned(), proposal, identity, role: Role::Executor, place };
            situated(decided, &situation, bare, stdio)
        };
        self.decided.into_iter().map(plan).collect()
    }

    /// The plan of an invited agent.
    pub(super) fn into_guest(self, situation: &Situation<'_>) -> Result<AgentPlan, Error> {
        let decided = self.decided.into_iter().next().ok_or(Error::Contradiction("nobody was invited"))?;
        Ok(situated(decided, situation, false, Stdio::Captured))
    }

    /// The first agent that lives by events, if one does.
    pub(super) fn by_events(&self) -> Option<&AgentName> {
        let lives = |program: &Program| matches!(program, Program::Compiled { form: WasmForm::Agent, .. });
        self.decided.iter().find(|decided| lives(&decided.program)).map(|decided| &decided.agent)
    }

    /// The programs and policies, for showing them.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&AgentName, &Program, &Policy)> {
        self.decided.iter().map(|decided| (&decided.agent, &decided.program, &decided.policy))
    }
}

fn situated(decided: Decided, situation: &Situation<'_>, bare: bool, stdio: Stdio) -> AgentPlan {
    let Decided { agent, program, source_sha256, definition, policy, template, template_sha256, tick } = decided;
    let Situation { cell, proposal, identity, role, place } = situation;
    let with_home = role.has_home() && !bare;
    let home = with_home.then(|| place.path(cell, &agent));
    let shared = (!bare).then(|| cell.join("shared"));
    let mut env = Vec::new();
    if !bare {
        if let Some(home) = &home {
            let seen = match program {
                Program::Command { .. } => home.clone(),
                Program::Compiled { .. } => PathBuf::from(reach::WASM_HOME),
            };
            env.extend(crate::home::variables(&seen.to_string_lossy()));
        } else {
            let without_home = ["PATH", "LANG"];
            let all = crate::home::variables("/");
            env.extend(all.into_iter().filter(|(name, _)| without_home.contains(&name.as_str())));
        }
        let own = [
            ("LAZARUS_CELL", proposal.cell_id.to_string()),
            ("LAZARUS_AGENT", agent.to_string()),
            ("LAZARUS_ROLE", role.to_string()),
            ("LAZARUS_PROJECT", proposal.project.to_string()),
            ("LAZARUS_SHARED", reach::SHARED.to_owned()),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    }
    for (name, value) in &policy.env {
        env.retain(|(there, _)| there != name);
        env.push((name.clone(), value.clone()));
    }
    let launch = Launch { agent, role: *role, program, policy, home, shared, env, stdio, tick, again: false };
    AgentPlan { identity: identity.clone(), launch, template, template_sha256, source_sha256, definition }
}
