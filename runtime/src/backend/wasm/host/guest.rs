//! One guest's store: its WASI, its limits, and the report of both.

use std::{os::fd::AsRawFd, sync::Arc};

use wasmtime::{Engine, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView, p1::WasiP1Ctx};

use super::{
    limiter::Limiter,
    meter::Meter,
    outbox::Outbox,
    places::Place,
    stdio::{CapturedIn, CapturedOut, InheritedIn, InheritedOut},
    told::Told,
};
use crate::{
    backend::{Launch, Stdio, protocol::Stream, wasm::text::one_line},
    policy::{Enforcer, Limits, Report, format_duration},
};

/// Where a guest's home is.
pub const HOME: &str = "/home";
/// Where what the team shares is.
pub const SHARED: &str = "/shared";

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
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// What a store is made of, beside the launch.
pub struct Parts<'a> {
    /// What the guest runs under.
    pub launch: &'a Launch,
    /// Its place among the launches.
    pub index: u16,
    /// Whether it has the host for itself.
    pub alone: bool,
    /// Its directories, opened.
    pub places: &'a [Place],
    /// Where its output goes.
    pub outbox: &'a Arc<Outbox>,
    /// What it is told.
    pub told: &'a Told,
}

/// Makes the store: everything that holds a promise is set here, and put on record as it is.
///
/// # Errors
/// A directory that cannot be opened.
pub fn store(engine: &Engine, parts: &Parts<'_>, meter: &Arc<Meter>, report: &mut Report) -> wasmtime::Result<Store<State>> {
    let limits = &parts.launch.policy.limits;
    let wasi = wasi(parts, report)?;
    let mut state = State { wasi, limiter: Limiter::new(limits, report) };
    bound_resources(&mut state, limits, report);
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limiter);

    store.set_hostcall_fuel(limits.hostcall.as_usize());
    report.full(Enforcer::Wasm, format!("at most {} allocated by one host call", limits.hostcall));
    report.full(Enforcer::Wasm, format!("a stack of {}", limits.stack));

    store.set_epoch_deadline(1);
    let meter = Arc::clone(meter);
    store.epoch_deadline_callback(move |_| meter.tick());
    let cpu = format!("at most {} of CPU time", format_duration(limits.cpu));
    if parts.alone {
        report.full(Enforcer::Wasm, cpu);
    } else {
        report.partial(Enforcer::Wasm, cpu, "file work is done by helper threads of the host, whose time is not counted");
    }
    Ok(store)
}

/// How many resources a guest may hold: what its open files come to, with all that belongs to them.
pub fn most_resources(limits: &Limits) -> usize {
    usize::try_from(limits.open_files.get()).unwrap_or(usize::MAX).saturating_mul(RESOURCES_A_FILE)
}

/// Bounds what the guest can hold open: each resource is memory of the host, and many are descriptors.
fn bound_resources(state: &mut State, limits: &Limits, report: &mut Report) {
    let most = most_resources(limits);
    state.wasi.ctx().table.set_max_capacity(most);
    report.full(Enforcer::Wasm, format!("at most {most} open files, streams and pollables together"));
}

fn wasi(parts: &Parts<'_>, report: &mut Report) -> wasmtime::Result<WasiP1Ctx> {
    let launch = parts.launch;
    let mut wasi = WasiCtx::builder();

    wasi.envs(&launch.env);
    report.full(Enforcer::Wasm, format!("{} variables, none inherited", launch.env.len()));
    if let crate::backend::Program::Compiled { args, .. } = &launch.program {
        wasi.args(args);
    }
    stdio(&mut wasi, parts, report);

    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    report.full(Enforcer::Wasm, "no network: no TCP, no UDP, no name lookup");
    wasi.max_random_size(launch.policy.limits.random.bytes());
    report.full(Enforcer::Wasm, format!("at most {} random bytes a call", launch.policy.limits.random));

    // In place is cheaper, and stalls nobody, where nobody else is here. It must be set before the directories, which copy it.
    wasi.allow_blocking_current_thread(parts.alone);
    for place in parts.places {
        let (perms, how) = if place.writable { (FsPerms::ReadWrite, "rw") } else { (FsPerms::ReadOnly, "ro") };
        // Opened again through the descriptor, so that it is the directory that the jail will know, whatever its path leads to by now.
        wasi.preopened_dir(format!("/proc/self/fd/{}", place.fd.as_raw_fd()), &place.guest, perms)?;
        report.full(Enforcer::Wasm, format!("{} is {} ({how})", one_line(&place.guest, PATH_MOST), one_line(&place.host, PATH_MOST)));
    }
    if launch.home.is_some() {
        wasi.initial_cwd(HOME);
    }
    report.full(Enforcer::Wasm, format!("no file outside of {} directories", parts.places.len()));
    Ok(wasi.build_p1())
}

fn stdio(wasi: &mut wasmtime_wasi::WasiCtxBuilder, parts: &Parts<'_>, report: &mut Report) {
    match parts.launch.stdio {
        Stdio::Captured => {
            let out = |stream| CapturedOut { outbox: Arc::clone(parts.outbox), guest: parts.index, stream };
            wasi.stdin(CapturedIn(parts.told.clone())).stdout(out(Stream::Stdout)).stderr(out(Stream::Stderr));
            report.full(Enforcer::Wasm, "standard streams: an empty input, output to the cell's log");
        }
        Stdio::Inherited => {
            wasi.stdin(InheritedIn::new()).stdout(InheritedOut::new(Stream::Stdout)).stderr(InheritedOut::new(Stream::Stderr));
            report.full(Enforcer::Wasm, "standard streams: the caller's own");
        }
    }
}
