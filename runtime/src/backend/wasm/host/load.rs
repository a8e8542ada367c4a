//! Loading: everything that can be done before guest code runs, and before the jail closes.

use std::{fs::File, os::fd::OwnedFd, sync::Arc};

use wasmtime::{Engine, ExternType, InstancePre, Linker, Module, Store, UnknownImportError, component};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::{
    guest::{self, Parts, State},
    meter::Meter,
    outbox::Outbox,
    p1,
    places::{self, Place},
    told::{Tell, Told, told},
};
use crate::{
    backend::{
        Launch, Program, WasmForm,
        wasm::{
            engine::{Purpose, engine},
            text::one_line,
        },
    },
    policy::Report,
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
}

/// A guest that is ready to be instantiated.
pub struct Loaded {
    /// Its place among the launches.
    pub index: u16,
    /// Its launch.
    pub launch: Launch,
    /// Its engine: nobody else's, so that its epochs and its stack are its own.
    pub engine: Engine,
    /// Its program.
    pub linked: Linked,
    /// Its store.
    pub store: Store<State>,
    /// Its CPU account.
    pub meter: Arc<Meter>,
    /// Its directories.
    pub places: Vec<Place>,
    /// What the engine enforces for it.
    pub report: Report,
    /// What it is told.
    pub told: Told,
    /// To tell it.
    pub tell: Arc<Tell>,
}

/// Loads one guest: maps its code, links it, opens its directories, makes its store. Runs none of its code, and starts no thread.
///
/// # Errors
/// Anything that keeps it from running; the other guests of the host are not concerned.
pub fn load(index: u16, launch: Launch, code: OwnedFd, alone: bool, outbox: &Arc<Outbox>) -> Result<Loaded, LoadError> {
    let Program::Compiled { form, .. } = &launch.program else { return Err(LoadError::NotCompiled) };
    let engine = engine(Purpose::Run { stack: launch.policy.limits.stack }).map_err(|error| LoadError::Engine(words(&error)))?;
    let linked = match form {
        WasmForm::Module => link_module(&engine, code.into())?,
        WasmForm::Component => link_component(&engine, &code.into())?,
        WasmForm::Agent => return Err(LoadError::Shape("it lives by events")),
    };
    let places = places::open(&launch)?;
    let (tell, told) = told();
    let meter = Meter::new(launch.policy.limits.cpu);
    let mut report = Report::new();
    let parts = Parts { launch: &launch, index, alone, places: &places, outbox, told: &told };
    let store = guest::store(&engine, &parts, &meter, &mut report).map_err(|error| LoadError::Engine(words(&error)))?;
    Ok(Loaded { index, launch, engine, linked, store, meter, places, report, told, tell: Arc::new(tell) })
}

fn link_module(engine: &Engine, code: File) -> Result<Linked, LoadError> {
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
    let component = unchecked::map_component(engine, code).map_err(|error| LoadError::Artefact(words(&error)))?;
    let mut linker = component::Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(|error| LoadError::Engine(words(&error)))?;
    let pre = linker.instantiate_pre(&component).map_err(|error| missing_import(&error))?;
    CommandPre::new(pre)
        .map(Linked::Component)
        .map_err(|_| LoadError::Shape("the component does not export wasi:cli/run, with which a program begins; build it as a command"))
}

/// Finds the import's name in what the engine says of one that is missing: ``component imports instance `a:b/c` …``.
fn missing_import(error: &wasmtime::Error) -> LoadError {
    let text = format!("{error:#}");
    let name = text.contains("component imports").then(|| text.split('`').nth(1)).flatten();
    name.map_or_else(|| LoadError::Engine(words(error)), |name| LoadError::Import(one_line(name, WORDS_MOST)))
}
