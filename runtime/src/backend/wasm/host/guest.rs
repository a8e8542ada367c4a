//! One guest: what its stores are made of, their limits, and the report of both.

use std::sync::Arc;

use wasmtime::{
    Engine, Store,
    component::{HasSelf, Linker, Resource},
};
use wasmtime_wasi::{
    FsPerms, WasiCtx, WasiCtxView, WasiView,
    filesystem::{Descriptor, WasiFilesystemCtx},
    p1::WasiP1Ctx,
    p2::bindings::filesystem::{preopens, types},
};

use super::{
    agent::Member,
    limiter::Limiter,
    meter::Meter,
    openings::Openings,
    places::Place,
    quota::{Descriptors, Keeper, Nodes},
    random,
    stdio::{CapturedIn, CapturedOut, InheritedIn, InheritedOut},
    told::Told,
};
use crate::{
    backend::{Launch, Program, Stdio, protocol::Stream, reach, wasm::text::one_line},
    policy::{Address, ByteSize, Enforcer, Granted, LimitName, Limits, Report, Subject, Wall, format_duration},
};

/// Resources (descriptors, their streams, pollables) an open file: a descriptor, a stream each way, a pollable each.
const RESOURCES_A_FILE: usize = 5;
/// Characters of a path in a report.
const PATH_MOST: usize = 200;

/// What a guest's host functions work on.
pub struct State {
    /// WASI, of both previews: a component uses its context and table only.
    pub wasi: WasiP1Ctx,
    /// What it may have of memory, tables and instances.
    pub limiter: Limiter,
    /// Its cell.
    pub member: Member,
    /// The directories of a component.
    places: Arc<[Place]>,
    /// Which accounts a component's descriptors belong to.
    pub nodes: Nodes,
    /// What a core module's descriptors stand for.
    pub descriptors: Descriptors,
    /// How its calls ask those accounts.
    pub keeper: Keeper,
    /// What it has open.
    pub openings: Openings,
    /// What a call may have of random bytes.
    pub random: ByteSize,
}

impl State {
    /// A state without directories.
    #[cfg(test)]
    pub fn for_tests(wasi: WasiP1Ctx, limits: &Limits, member: Member, keeper: Keeper) -> Self {
        Self {
            wasi,
            limiter: Limiter::new(limits, None),
            member,
            keeper,
            places: Arc::new([]),
            nodes: Nodes::default(),
            descriptors: Descriptors::default(),
            openings: Openings::new(limits),
            random: limits.random,
        }
    }

    /// The directories that the guest was given, in their order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Lets go of what belonged to the last event: what is known of the cell, whose time passes, and a limit that the guest lived on with.
    pub fn next_event(&mut self) {
        self.member.facts = None;
        self.limiter.forget();
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// wasmtime-wasi opens a directory by its path for each context, which a closed jail does not allow, and which would cost each instance
/// a descriptor. This gives out those that are open.
impl preopens::Host for State {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let places = Arc::clone(&self.places);
        let push = |place: &Place| {
            let given = self.wasi.ctx().table.push(Descriptor::Dir(place.dir.clone()))?;
            self.nodes.opened(&given, place.ledger.clone().into());
            Ok((given, place.guest.clone()))
        };
        places.iter().map(push).collect()
    }
}

/// Gives a component WASI, with the directories that are open.
///
/// # Errors
/// What the engine says.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    preopens::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    random::link(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A guest's standard streams.
enum Streams {
    Captured,
    Inherited(InheritedIn, InheritedOut, InheritedOut),
}

/// What each store of a guest is made from: everything was opened and looked at before the jail closed.
pub struct Recipe {
    /// What the guest runs under.
    pub launch: Arc<Launch>,
    /// Its place among the launches.
    pub index: u16,
    /// Its cell.
    pub member: Member,
    places: Arc<[Place]>,
    /// The directories of a core module, which preview 1 takes from the context alone.
    preopens: WasiFilesystemCtx,
    streams: Streams,
    meter: Arc<Meter>,
    told: Told,
    alone: bool,
}

/// What a recipe is made of.
pub struct Parts {
    /// The launch.
    pub launch: Arc<Launch>,
    /// Its place among the launches.
    pub index: u16,
    /// Whether the guest has the host for itself.
    pub alone: bool,
    /// Whether it is a core module.
    pub module: bool,
    /// Its directories.
    pub places: Vec<Place>,
    /// Its cell.
    pub member: Member,
    /// What it is told.
    pub told: Told,
    /// Its CPU account.
    pub meter: Arc<Meter>,
}

impl Recipe {
    /// Prepares what the guest's stores are made of.
    ///
    /// # Errors
    /// A directory that cannot be opened.
    pub fn new(parts: Parts) -> wasmtime::Result<Self> {
        let Parts { launch, index, alone, module, places, member, told, meter } = parts;
        let streams = match launch.stdio {
            Stdio::Captured => Streams::Captured,
            Stdio::Inherited => {
                Streams::Inherited(InheritedIn::new(), InheritedOut::new(Stream::Stdout), InheritedOut::new(Stream::Stderr))
            }
        };
        let preopens = if module { preopened(&places, alone)? } else { WasiFilesystemCtx::default() };
        Ok(Self { launch, index, member, places: places.into(), preopens, streams, meter, told, alone })
    }

    /// The guest's directories.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Makes a store: everything that holds a promise is set here, and put on record by [`Recipe::promise`].
    pub fn store(&self, engine: &Engine) -> Store<State> {
        let limits = &self.launch.policy.limits;
        let mut state = State {
            wasi: self.wasi(),
            limiter: Limiter::new(limits, Some(Arc::clone(&self.member.strikes))),
            keeper: Keeper::new(self.alone, Arc::clone(&self.member.strikes)),
            member: self.member.clone(),
            places: Arc::clone(&self.places),
            nodes: Nodes::default(),
            descriptors: Descriptors::default(),
            openings: Openings::new(limits),
            random: limits.random,
        };
        // Each resource is memory of the host, and many are descriptors.
        state.wasi.ctx().table.set_max_capacity(most_resources(limits));
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(limits.hostcall.as_usize());
        store.set_epoch_deadline(1);
        let meter = Arc::clone(&self.meter);
        store.epoch_deadline_callback(move |_| meter.tick());
        store
    }

    fn wasi(&self) -> WasiP1Ctx {
        let mut wasi = WasiCtx::builder();
        wasi.envs(&self.launch.env);
        if let Program::Compiled { args, .. } = &self.launch.program {
            wasi.args(args);
        }
        match self.streams {
            Streams::Captured => {
                let out = |stream| CapturedOut { outbox: Arc::clone(&self.member.outbox), guest: self.index, stream };
                wasi.stdin(CapturedIn(self.told.clone())).stdout(out(Stream::Stdout)).stderr(out(Stream::Stderr));
            }
            Streams::Inherited(stdin, stdout, stderr) => {
                wasi.stdin(stdin).stdout(stdout).stderr(stderr);
            }
        }
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        wasi.max_random_size(self.launch.policy.limits.random.bytes());
        if self.launch.home.is_some() {
            wasi.initial_cwd(reach::WASM_HOME);
        }
        let mut wasi = wasi.build_p1();
        *wasi.ctx().ctx.filesystem() = self.preopens.clone();
        wasi
    }

    /// Puts on record what a store of this recipe holds.
    pub fn promise(&self, by_events: bool, report: &mut Report) {
        let limits = &self.launch.policy.limits;
        report.full(Enforcer::Wasm, Wall::Environment, format!("{} variables, none inherited", self.launch.env.len()));
        for (name, _) in &self.launch.env {
            report.full(Enforcer::Wasm, Subject::variable(name), format!("{name} is as it was granted"));
        }
        let streams = match self.streams {
            Streams::Captured => "standard streams: an empty input, output to the cell's log",
            Streams::Inherited(..) => "standard streams: the caller's own",
        };
        report.full(Enforcer::Wasm, Wall::Streams, streams);
        report.full(Enforcer::Wasm, Address::Network, "no network: no TCP, no UDP, no name lookup");
        let random = Subject::limit(LimitName::Random, limits.random);
        report.full(Enforcer::Wasm, random, format!("at most {} random bytes a call", limits.random));
        for place in self.places.iter() {
            let how = if place.writable { "rw" } else { "ro" };
            let promise = format!("{} is {} ({how})", one_line(&place.guest, PATH_MOST), one_line(&place.host, PATH_MOST));
            report.full(Enforcer::Wasm, place.subject(), promise);
        }
        report.full(Enforcer::Wasm, Wall::Files, format!("no file outside of {} directories", self.places.len()));
        Limiter::promise(limits, report);
        let (files, most) = (limits.open_files, most_resources(limits));
        let promise = format!("at most {files} files, directories and listings open, and {most} of these, streams and pollables together");
        report.full(Enforcer::Wasm, Subject::limit(LimitName::OpenFiles, files), promise);
        let hostcall = Subject::limit(LimitName::Hostcall, limits.hostcall);
        report.full(Enforcer::Wasm, hostcall, format!("at most {} allocated by one host call", limits.hostcall));
        report.full(Enforcer::Wasm, Subject::limit(LimitName::Stack, limits.stack), format!("a stack of {}", limits.stack));
        self.promise_space(report);
        self.promise_time(by_events, report);
    }

    fn promise_space(&self, report: &mut Report) {
        for (place, ledger) in self.places.iter().filter_map(|place| Some((place, place.ledger.as_ref()?))) {
            let allowance = ledger.allowance();
            let (home, files) = (Subject::limit(LimitName::Home, allowance.size()), Subject::limit(LimitName::Files, allowance.entries));
            let tree = if place.granted == Granted::Shared { reach::SHARED } else { "its home" };
            let bytes = format!("keeps at most {} in {tree}: a write past that fails", allowance.size());
            let entries = format!("keeps at most {} files, directories and links in {tree}: one more fails", allowance.entries);
            match place.granted {
                Granted::Shared => {
                    let because = "exact for the agents of this host, together; one that was invited writes from a host of its own: the warden \
                        measures every few seconds, and ends the agents where their sum is too much";
                    report.partial(Enforcer::Wasm, home, bytes, because);
                    report.partial(Enforcer::Wasm, files, entries, because);
                }
                Granted::Home | Granted::Mount | Granted::Read | Granted::Scratch | Granted::Client | Granted::Device | Granted::Made => {
                    report.full(Enforcer::Wasm, home, bytes);
                    report.full(Enforcer::Wasm, files, entries);
                }
            }
        }
    }

    fn promise_time(&self, by_events: bool, report: &mut Report) {
        let limits = &self.launch.policy.limits;
        let each = if by_events { " an event" } else { "" };
        let cpu = Subject::limit(LimitName::Cpu, format_duration(limits.cpu));
        let promise = format!("at most {} of CPU time{each}", format_duration(limits.cpu));
        if self.alone {
            report.full(Enforcer::Wasm, cpu, promise);
        } else {
            let because = "file work is done by helper threads of the host, whose time is not counted";
            report.partial(Enforcer::Wasm, cpu, promise, because);
        }
        if by_events {
            let event = format_duration(limits.event);
            let promise = format!("at most {event} an event, host calls included");
            report.full(Enforcer::Wasm, Subject::limit(LimitName::Event, event), promise);
            let idle = format_duration(limits.idle);
            let promise = format!("its memory is dropped after {idle} without an event");
            report.full(Enforcer::Wasm, Subject::limit(LimitName::Idle, idle), promise);
        }
    }
}

/// How many resources a guest may hold: what its open files come to, with all that belongs to them.
pub fn most_resources(limits: &Limits) -> usize {
    usize::try_from(limits.open_files.get()).unwrap_or(usize::MAX).saturating_mul(RESOURCES_A_FILE)
}

/// The directories of a core module. They are opened again, through their descriptors, so that they are those that the jail will know.
fn preopened(places: &[Place], alone: bool) -> wasmtime::Result<WasiFilesystemCtx> {
    let mut wasi = WasiCtx::builder();
    // In place is cheaper, and stalls nobody, where nobody else is here. It must be set before the directories, which copy it.
    wasi.allow_blocking_current_thread(alone);
    for place in places {
        let perms = if place.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        wasi.preopened_dir(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&*place.dir.dir)), &place.guest, perms)?;
    }
    Ok(wasi.build().filesystem().clone())
}
