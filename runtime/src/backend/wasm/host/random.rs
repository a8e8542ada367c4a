//! Random bytes, so many a call.

use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::{
    WasiView as _,
    p2::bindings::random::{insecure, random},
};

use super::{ends::Exceeded, guest::State};
use crate::policy::LimitName;

impl State {
    /// Whether a call may have so many random bytes.
    ///
    /// # Errors
    /// It may not: WASI has no error for that, so that the guest ends, or its event.
    pub fn random_or_over(&self, count: u64) -> wasmtime::Result<()> {
        let most = self.random;
        if count <= most.bytes() {
            return Ok(());
        }
        Err(Exceeded { limit: LimitName::Random, message: format!("it asked for {count} random bytes at once, and may have {most}") }
            .into())
    }
}

impl random::Host for State {
    fn get_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_or_over(count)?;
        self.wasi.ctx().ctx.random().get_random_bytes(count)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.wasi.ctx().ctx.random().get_random_u64()
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, count: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_or_over(count)?;
        self.wasi.ctx().ctx.random().get_insecure_random_bytes(count)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.wasi.ctx().ctx.random().get_insecure_random_u64()
    }
}

/// Links both interfaces, in place of wasmtime's.
///
/// # Errors
/// What the engine says.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    insecure::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}
