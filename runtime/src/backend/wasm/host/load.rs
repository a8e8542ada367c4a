//! Loading: everything that can be done before guest code runs, and before the jail closes.

use std::{collections::BTreeMap, fs::File, os::fd::OwnedFd, sync::Arc};

use wasmtime::{Engine, ExternType, InstancePre, Linker, Module, UnknownImportError, component};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::{
    agent::{self, Desk, EventAgentIndices, Member, Pulse},
    guest::{self, Parts, Recipe, State},
    meter::Meter,
    outbox::Outbox,
    p1,
    places::Opened,
    quota::Allowance,
    stdio::InheritedOut,
    strikes::Strikes,
    told::{Tell, Told, told},
};
use crate::{
    backend::{
        Launch, Program, Stdio, WasmForm,
        protocol::Stream,
        wasm::{
            engine::{Purpose, engine},
            text::one_line,
        },
    },
    policy::{ByteSize, Report},
    unchecked,
};

/// Characters of the engine's words in a message.
const WORDS_MOST: usize = 400;

/// Why a guest cannot run. What it displays becomes the refusal.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not a wasm program at all.
    #[error("run the agent: it is a command, and this is the wasm host")]
    NotCompiled,
    /// The cache's file was refused: damaged, or of another engine.
    #[error("load the compiled program: {0}")]
    Artefact(String),
    /// A directory.
    #[error(transparent)]
    Place(#[from] super::places::PlaceError),
    /// An import that nobody provides.
    #[error("run the program: it imports {0}, which this host does not provide")]
    Import(String),
    /// An import that only agents have.
    #[error("run the program: it imports {0}, which is given only to agents that live by events: export lazarus:cell/agent")]
    ForAgents(String),
    /// An import of a later version.
    #[error("run the agent: it imports {0}, not all of which this Lazarus has: update Lazarus, or build it with an older lazarus-guest")]
    Newer(String),
    /// An agent whose export is another one.
    #[error("run the agent: its export lazarus:cell/agent is not as this Lazarus knows it: {0}")]
    Agent(String),
    /// A module that is no command.
    #[error("run the program: {0}")]
    Shape(&'static str),
    /// Anything else that the engine says.
    #[error("prepare the program: {0}")]
    Engine(String),
}

fn words(error: &wasmtime::Error) -> String {
    one_line(&format!("{error:#}"), WORDS_MOST)
}

/// A program, linked: only its instance is missing.
pub enum Linked {
    /// A core module.
    Module(InstancePre<State>),
    /// A component.
    Component(CommandPre<State>),
    /// A component that lives by events.
    Agent(agent::Linked),
}

/// A program that is ready to be instantiated, for all guests of the host that run it with the same stack: they have its engine, its code
/// and its links in common, and nothing that changes.
pub struct Ready {
    /// Its engine.
    pub engine: Engine,
    /// The engine's number, for the ticker.
    pub slot: usize,
    /// The program.
    pub linked: Linked,
}

/// A guest that is ready to be instantiated.
pub struct Loaded {
    /// Its program.
    pub program: Arc<Ready>,
    /// What its stores are made of.
    pub recipe: Recipe,
    /// Its CPU account.
    pub meter: Arc<Meter>,
    /// What the engine enforces for it.
    pub report: Report,
    /// What it is told.
    pub told: Told,
    /// To tell it.
    pub tell: Arc<Tell>,
}

/// Loads guests: maps code, links it, opens directories. Runs none of their code, and starts no thread.
pub struct Loader {
    programs: Vec<File>,
    /// By the program's number, its form and its stack.
    ready: BTreeMap<(usize, u8, u64), Arc<Ready>>,
    engines: Vec<Engine>,
    opened: Opened,
    alone: bool,
    outbox: Arc<Outbox>,
}

impl Loader {
    /// A loader of these programs, for all of these launches.
    pub fn new(programs: Vec<OwnedFd>, launches: &[Launch], outbox: &Arc<Outbox>) -> Self {
        let programs = programs.into_iter().map(File::from).collect();
        let alone = launches.len() == 1;
        let shared = launches.iter().map(|launch| Allowance::of(&launch.policy.limits)).reduce(Allowance::max);
        let opened = Opened::new(alone, shared.unwrap_or(Allowance { bytes: 0, entries: 0 }));
        Self { programs, ready: BTreeMap::new(), engines: Vec::new(), opened, alone, outbox: Arc::clone(outbox) }
    }

    /// The engines of all guests that were loaded, by their numbers.
    pub fn engines(self) -> Vec<Engine> {
        self.engines
    }

    /// Loads one guest, the `index`th launch, which runs the `program`th program.
    ///
    /// # Errors
    /// Anything that keeps it from running; the other guests of the host are not concerned.
    pub fn load(&mut self, index: u16, launch: Launch, program: usize) -> Result<Loaded, LoadError> {
        let Program::Compiled { form, .. } = &launch.program else { return Err(LoadError::NotCompiled) };
        let form = *form;
        let program = self.program(program, form, launch.policy.limits.stack)?;
        let places = self.opened.places(&launch)?;
        let (tell, told) = told();
        let meter = Meter::new(launch.policy.limits.cpu);
        let by_events = form == WasmForm::Agent;
        let desk = by_events.then(|| Arc::new(Desk::new(index, launch.agent.clone(), Arc::clone(&self.outbox))));
        let home = launch.home.as_ref().and(places.first());
        let pulse = home.map(|home| Arc::new(Pulse::new(Arc::clone(&home.dir.dir), home.ledger.clone())));
        let strikes = Arc::new(Strikes::new(Arc::clone(&self.outbox), index, launch.agent.clone()));
        let stderr = (launch.stdio == Stdio::Inherited).then(|| InheritedOut::new(Stream::Stderr));
        let member = Member { index, outbox: Arc::clone(&self.outbox), stderr, pulse, desk, strikes, facts: None };
        let parts = Parts {
            launch: Arc::new(launch),
            index,
            alone: self.alone,
            module: form == WasmForm::Module,
            places,
            member,
            told: told.clone(),
            meter: Arc::clone(&meter),
        };
        let recipe = Recipe::new(parts).map_err(|error| LoadError::Engine(words(&error)))?;
        let mut report = Report::new();
        recipe.promise(by_events, &mut report);
        Ok(Loaded { program, recipe, meter, report, told, tell: Arc::new(tell) })
    }

    /// The program, from those that are ready if it is among them.
    fn program(&mut self, number: usize, form: WasmForm, stack: ByteSize) -> Result<Arc<Ready>, LoadError> {
        let key = (number, form as u8, stack.bytes());
        if let Some(ready) = self.ready.get(&key) {
            return Ok(Arc::clone(ready));
        }
        let code = self.programs.get(number).ok_or(LoadError::NotCompiled)?;
        let engine = engine(Purpose::Run { stack }).map_err(|error| LoadError::Engine(words(&error)))?;
        let linked = match form {
            WasmForm::Module => link_module(&engine, code)?,
            WasmForm::Component => link_component(&engine, code)?,
            WasmForm::Agent => link_agent(&engine, code)?,
        };
        let slot = self.engines.len();
        self.engines.push(engine.clone());
        let ready = Arc::new(Ready { engine, slot, linked });
        self.ready.insert(key, Arc::clone(&ready));
        Ok(ready)
    }
}

fn link_module(engine: &Engine, code: &File) -> Result<Linked, LoadError> {
    let code = code.try_clone().map_err(|error| LoadError::Artefact(error.to_string()))?;
    let module = unchecked::map_module(engine, code).map_err(|error| LoadError::Artefact(words(&error)))?;
    check_command(&module)?;
    let mut linker = Linker::new(engine);
    p1::link(&mut linker).map_err(|error| LoadError::Engine(words(&error)))?;
    linker.instantiate_pre(&module).map(Linked::Module).map_err(|error| match error.downcast_ref::<UnknownImportError>() {
        Some(unknown) => LoadError::Import(one_line(&format!("{}::{}", unknown.module(), unknown.name()), WORDS_MOST)),
        None => LoadError::Engine(words(&error)),
    })
}

/// A preview 1 program is a command: it exports `_start`.
fn check_command(module: &Module) -> Result<(), LoadError> {
    match module.get_export("_start") {
        Some(ExternType::Func(start)) if start.params().len() == 0 && start.results().len() == 0 => Ok(()),
        Some(_) => Err(LoadError::Shape("its export _start is not a function without parameters and results")),
        None if module.get_export("_initialize").is_some() => {
            Err(LoadError::Shape("it is a library (a reactor): it exports _initialize, and no _start; build it as a command"))
        }
        None => Err(LoadError::Shape("it exports no _start, with which a preview 1 program begins")),
    }
}

fn link_component(engine: &Engine, code: &File) -> Result<Linked, LoadError> {
    let pre = link_with(engine, code, agent::link_command, LoadError::ForAgents)?;
    CommandPre::new(pre).map(Linked::Component).map_err(|_| {
        LoadError::Shape("the component exports neither wasi:cli/run nor lazarus:cell/agent, with one of which a program begins: build it as a command, or with lazarus-guest")
    })
}

fn link_agent(engine: &Engine, code: &File) -> Result<Linked, LoadError> {
    let pre = link_with(engine, code, agent::link_agent, LoadError::Newer)?;
    let indices = EventAgentIndices::new(&pre).map_err(|error| LoadError::Agent(words(&error)))?;
    Ok(Linked::Agent(agent::Linked { pre, indices }))
}

fn link_with(
    engine: &Engine,
    code: &File,
    cell: fn(&mut component::Linker<State>) -> wasmtime::Result<()>,
    not_of_the_cell: fn(String) -> LoadError,
) -> Result<component::InstancePre<State>, LoadError> {
    let component = unchecked::map_component(engine, code).map_err(|error| LoadError::Artefact(words(&error)))?;
    let mut linker = component::Linker::new(engine);
    guest::link(&mut linker).and_then(|()| cell(&mut linker)).map_err(|error| LoadError::Engine(words(&error)))?;
    linker.instantiate_pre(&component).map_err(|error| missing_import(&error, not_of_the_cell))
}

/// Finds the import's name in what the engine says of one that is missing: ``component imports instance `a:b/c` …``.
fn missing_import(error: &wasmtime::Error, not_of_the_cell: fn(String) -> LoadError) -> LoadError {
    let text = format!("{error:#}");
    let name = text.contains("component imports").then(|| text.split('`').nth(1)).flatten().map(|name| one_line(name, WORDS_MOST));
    match name {
        None => LoadError::Engine(words(error)),
        Some(name) if name.starts_with("lazarus:cell/") => not_of_the_cell(name),
        Some(name) => LoadError::Import(name),
    }
}
